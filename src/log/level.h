// The words of logging that options, the configuration file and the API share.
#pragma once

#include <cstdint>

namespace ringbolt::log {

enum class Level : uint8_t { kDebug, kInfo, kWarn, kError };

constexpr const char* to_string(Level level) {
  switch (level) {
    case Level::kDebug: return "debug";
    case Level::kInfo: return "info";
    case Level::kWarn: return "warn";
    case Level::kError: return "error";
  }
  return "error";
}

/// How a line looks.
enum class Format : uint8_t {
  kText,  ///< for people
  kJson,  ///< one JSON object a line
};

constexpr const char* to_string(Format format) { return format == Format::kText ? "text" : "json"; }

}  // namespace ringbolt::log
