// Log lines for the operator, on stderr: `log::info("listening on {}", address)`. One line per
// call, flushed at once, never longer than kLineBytesMax, without control characters (text that came
// from a peer cannot forge a line). A line has its time and level; if stderr is systemd's journal, which
// keeps both by itself, just the level, as the journal reads it: "<4>volume vol0: ...".
//
// A line is a write to stderr on the calling thread. The data path therefore logs changes of state
// only, and what a peer can provoke at will goes through RINGBOLT_LOG_LIMITED.
#pragma once

#include <fmt/format.h>

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ringbolt::log {

enum class Level : uint8_t { kDebug, kInfo, kWarn, kError };

/// Longest line in bytes, without time stamp and level; the rest is cut and marked.
inline constexpr size_t kLineBytesMax = 2048;

/// Lines below `level` are dropped from now on. Initially kInfo. Thread: any.
void set_level(Level level);
[[nodiscard]] bool enabled(Level level);

/// Lines go to `taker` instead of stderr, all levels that are enabled; null: to stderr again. For simulations. Thread: not while
/// others log.
using LineTaker = void (*)(Level level, std::string_view line, void* context);
void take_lines(LineTaker taker, void* context);

/// Writes one line, as it is. Thread: any; never throws.
void write(Level level, std::string_view line) noexcept;
/// Formats and writes one line. Thread: any; never throws.
void write_format(Level level, fmt::string_view format, fmt::format_args args) noexcept;

template <class... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::kDebug)) {
    write_format(Level::kDebug, format, fmt::make_format_args(args...));
  }
}

template <class... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::kInfo)) write_format(Level::kInfo, format, fmt::make_format_args(args...));
}

template <class... Args>
void warn(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::kWarn)) write_format(Level::kWarn, format, fmt::make_format_args(args...));
}

template <class... Args>
void error(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::kError)) write_format(Level::kError, format, fmt::make_format_args(args...));
}

/// What a line that goes to stderr by other ways than these begins with: "<3>" if that is the journal, else nothing.
[[nodiscard]] std::string_view journal_mark(Level level);

/// Whether `stream`, the value of $JOURNAL_STREAM ("DEVICE:INODE"; null: not set), names what `fd` is. It may not be:
/// who has a service's environment need not have its stderr.
[[nodiscard]] bool is_journal_stream(const char* stream, int fd);

/// `line` as the log would show it: control characters as \xNN, cut to kLineBytesMax.
std::string printable(std::string_view line);

/// Lets through a few lines per period and counts the rest. One per call site. Thread: any; two
/// threads that race at the start of a period may let one line more through, never lose the count.
class RateLimit {
 public:
  static constexpr int64_t kPeriodNs = 10'000'000'000;
  static constexpr uint64_t kLinesPerPeriod = 5;

  /// nullopt: drop this line. Else how many lines were dropped since the last one let through.
  std::optional<uint64_t> admit(int64_t now_ns);

 private:
  // Far in the past, so that the very first line opens a period.
  std::atomic<int64_t> period_start_ns_{INT64_MIN / 2};
  std::atomic<uint64_t> lines_{0};
  std::atomic<uint64_t> dropped_{0};
};

/// Monotonic clock for RateLimit.
[[nodiscard]] int64_t now_ns();

template <class... Args>
void write_limited(RateLimit& limit, Level level, fmt::format_string<Args...> format,
                   Args&&... args) {
  if (!enabled(level)) return;
  const std::optional<uint64_t> dropped = limit.admit(now_ns());
  if (!dropped) return;
  if (*dropped > 0) info("({} lines like the next one were left out)", *dropped);
  write_format(level, format, fmt::make_format_args(args...));
}

}  // namespace ringbolt::log

/// `RINGBOLT_LOG_LIMITED(kWarn, "client {}: {}", id, what);` At most RateLimit::kLinesPerPeriod lines
/// per period from this place in the code. A macro because each call site needs its own counter.
#define RINGBOLT_LOG_LIMITED(level, ...)                                                      \
  do {                                                                                        \
    static ::ringbolt::log::RateLimit ringbolt_log_limit;                                     \
    ::ringbolt::log::write_limited(ringbolt_log_limit, ::ringbolt::log::Level::level, __VA_ARGS__); \
  } while (false)
