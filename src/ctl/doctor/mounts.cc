#include "ctl/doctor/mounts.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

namespace ringbolt::ctl::doctor {

namespace {

/// Spaces and the like stand there as "\040".
std::string unescaped(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool is_escape = text[i] == '\\' && i + 3 < text.size() &&
                           std::all_of(&text[i + 1], &text[i + 4], [](char c) { return c >= '0' && c <= '7'; });
    if (!is_escape) {
      result += text[i];
      continue;
    }
    result += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
    i += 3;
  }
  return result;
}

void add_options(std::string_view text, std::vector<std::string>& options) {
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    options.emplace_back(text.substr(0, comma));
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
}

/// "27 1 254:0 / /data rw,relatime shared:1 - ext4 /dev/vda rw,discard": there may be any number of words before the dash.
std::optional<Mount> parse_mount(std::string_view line) {
  const auto words = words_of(line);
  const auto dash = std::find(words.begin(), words.end(), "-");
  if (words.size() < 6 || words.end() - dash < 4 || dash - words.begin() < 6) return std::nullopt;
  Mount mount{unescaped(words[4]), std::string(dash[1]), unescaped(dash[2]), {}};
  add_options(words[5], mount.options);
  add_options(dash[3], mount.options);
  return mount;
}

bool lies_below(const std::string& path, const std::string& point) {
  return point == "/" || path == point || (path.starts_with(point) && path[point.size()] == '/');
}

}  // namespace

bool Mount::has_option(std::string_view option) const { return std::find(options.begin(), options.end(), option) != options.end(); }

Result<Mount> mount_of(const HostFiles& files, const std::string& path) {
  BOOST_OUTCOME_TRY(const std::string text, files.read("/proc/self/mountinfo"));
  std::optional<Mount> best;
  for (const std::string_view line : lines_of(text)) {
    std::optional<Mount> mount = parse_mount(line);
    // A later one at the same place covers the earlier.
    if (mount && lies_below(path, mount->point) && (!best || mount->point.size() >= best->point.size())) best = std::move(mount);
  }
  if (best) return *best;
  return make_error(Errc::kNotFound, fmt::format("/proc/self/mountinfo has no mount for {}", path));
}

}  // namespace ringbolt::ctl::doctor
