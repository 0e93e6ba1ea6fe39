#include "ctl/doctor/host_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <system_error>

namespace ringbolt::ctl::doctor {

namespace {

namespace fs = std::filesystem;

/// /proc/net/tcp of a busy host is the longest that is read.
constexpr size_t kFileBytesMax = 64u << 20;
/// No host has more.
constexpr uint32_t kCpusMax = 1u << 16;

Error read_failure(const std::string& path, int error) {
  return make_error(error == ENOENT ? Errc::kNotFound : Errc::kIo, fmt::format("{}: {}", path, std::strerror(error)));
}

bool parse_cpu(std::string_view text, uint32_t& into) {
  const auto [rest, failure] = std::from_chars(text.data(), text.data() + text.size(), into);
  return failure == std::errc() && rest == text.data() + text.size() && into < kCpusMax;
}

}  // namespace

Result<std::string> HostFiles::read(const std::string& path) const {
  const int fd = ::open((root_ + path).c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0) return read_failure(path, errno);
  std::string text;
  char part[16384];
  ssize_t got = 0;
  do {
    got = ::read(fd, part, sizeof part);
    if (got > 0) text.append(part, static_cast<size_t>(got));
  } while ((got > 0 && text.size() < kFileBytesMax) || (got < 0 && errno == EINTR));
  const int error = errno;
  ::close(fd);
  if (got < 0) return read_failure(path, error);
  text.erase(text.find_last_not_of(" \t\n") + 1);
  return text;
}

Result<uint64_t> HostFiles::read_number(const std::string& path) const {
  BOOST_OUTCOME_TRY(const std::string text, read(path));
  uint64_t value = 0;
  const auto [rest, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure == std::errc() && rest == text.data() + text.size()) return value;
  return make_error(Errc::kInvalid, fmt::format("{}: \"{}\" is not a number", path, text));
}

bool HostFiles::exists(const std::string& path) const { return ::access((root_ + path).c_str(), F_OK) == 0; }

std::vector<std::string> HostFiles::list(const std::string& path) const {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator at(root_ + path, error), end; !error && at != end; at.increment(error)) {
    names.push_back(at->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::optional<std::string> HostFiles::link(const std::string& path) const {
  std::error_code error;
  const fs::path target = fs::read_symlink(root_ + path, error);
  return error ? std::nullopt : std::optional(target.string());
}

std::optional<std::string> HostFiles::real_path(const std::string& path) const {
  std::error_code error;
  const std::string full = fs::canonical(root_ + path, error).string();
  if (error) return std::nullopt;
  const std::string top = root_.empty() ? std::string() : fs::canonical(root_, error).string();
  if (error || !full.starts_with(top)) return std::nullopt;
  return full.substr(top.size());
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    lines.push_back(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return lines;
}

std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  while (true) {
    const size_t begin = text.find_first_not_of(" \t\n");
    if (begin == std::string_view::npos) return words;
    text.remove_prefix(begin);
    const size_t end = std::min(text.find_first_of(" \t\n"), text.size());
    words.push_back(text.substr(0, end));
    text.remove_prefix(end);
  }
}

Result<std::vector<uint32_t>> parse_cpu_list(std::string_view text) {
  std::vector<uint32_t> cpus;
  std::string_view rest = text;
  while (!rest.empty()) {
    const size_t comma = std::min(rest.find(','), rest.size());
    const std::string_view part = rest.substr(0, comma);
    rest.remove_prefix(std::min(comma + 1, rest.size()));
    const size_t dash = part.find('-');
    uint32_t from = 0, to = 0;
    const bool valid = parse_cpu(part.substr(0, dash), from) &&
                       (dash == std::string_view::npos ? (to = from, true) : parse_cpu(part.substr(dash + 1), to)) && from <= to;
    if (!valid) return make_error(Errc::kInvalid, fmt::format("\"{}\" is not a list of numbers", text));
    for (uint32_t cpu = from; cpu <= to; ++cpu) cpus.push_back(cpu);
  }
  return cpus;
}

}  // namespace ringbolt::ctl::doctor
