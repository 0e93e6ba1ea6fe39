#include "control/http_target.h"

namespace ringbolt {
namespace {

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

Result<std::string> unescape(std::string_view segment) {
  std::string text;
  for (size_t i = 0; i < segment.size(); ++i) {
    if (segment[i] != '%') {
      text += segment[i];
      continue;
    }
    const int high = i + 1 < segment.size() ? hex_value(segment[i + 1]) : -1;
    const int low = i + 2 < segment.size() ? hex_value(segment[i + 2]) : -1;
    if (high < 0 || low < 0) {
      return make_error(Errc::kInvalid, "the path has a '%' without two hexadecimal digits");
    }
    text += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return text;
}

}  // namespace

Result<std::vector<std::string>> parse_target(std::string_view target) {
  constexpr std::string_view kScheme = "http://";
  if (target.starts_with(kScheme)) {
    const size_t path = target.find('/', kScheme.size());
    target = path == std::string_view::npos ? std::string_view("/") : target.substr(path);
  }
  target = target.substr(0, target.find('?'));
  if (!target.starts_with('/')) return make_error(Errc::kInvalid, "the target is not a path");
  target.remove_prefix(1);
  std::vector<std::string> segments;
  while (true) {
    const size_t slash = target.find('/');
    BOOST_OUTCOME_TRY(std::string segment, unescape(target.substr(0, slash)));
    segments.push_back(std::move(segment));
    if (slash == std::string_view::npos) return segments;
    target.remove_prefix(slash + 1);
  }
}

std::string escape_segment(std::string_view segment) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string text;
  for (const char c : segment) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '.' || c == '_' || c == '-' || c == '~';
    if (plain) {
      text += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      text += '%';
      text += kHex[byte >> 4];
      text += kHex[byte & 15];
    }
  }
  return text;
}

}  // namespace ringbolt
