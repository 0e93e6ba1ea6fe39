// Log lines for the operator, on stderr: `log::info("listening on {}", address)`, or with what it is about as fields:
// `log::warn({.volume = name, .lsn = lsn}, "the log is damaged: {}", what)`. One line per call, flushed at once, of bounded
// length, without control characters (text that came from a peer cannot forge a line; line.h). As text a line has its time
// and level; if stderr is systemd's journal, which keeps both by itself, just the level, as the journal reads it:
// "<4>volume vol0: ...". As JSON it has them always, and the journal's mark in front.
//
// A line is a write to stderr on the calling thread. The data path therefore logs changes of state
// only, and what a peer can provoke at will goes through RINGBOLT_LOG_LIMITED.
#pragma once

#include <fmt/format.h>

#include <atomic>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include "log/fields.h"
#include "log/level.h"
#include "log/line.h"

namespace ringbolt::log {

/// Lines below `level` are dropped from now on. Initially kInfo. Thread: any.
void set_level(Level level);
[[nodiscard]] bool enabled(Level level);

/// Of all lines from now on. Initially kText. Thread: not while others log.
void set_format(Format format);

/// Lines go to `taker` instead of stderr, all levels that are enabled, as text without time and level; null: to stderr again. For
/// simulations. Thread: not while others log.
using LineTaker = void (*)(Level level, std::string_view line, void* context);
void take_lines(LineTaker taker, void* context);

/// Writes one line. Thread: any; never throws.
void write(Level level, const Fields& fields, std::string_view words) noexcept;
/// Formats and writes one line. Thread: any; never throws.
void write_format(Level level, const Fields& fields, fmt::string_view format, fmt::format_args args) noexcept;
/// One that people and scripts look for, whatever the level is: as text it is nothing but the words.
void write_bare(Level level, std::string_view words) noexcept;

template <class... Args>
void debug(const Fields& fields, fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::kDebug)) write_format(Level::kDebug, fields, format, fmt::make_format_args(args...));
}
template <class... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::kDebug)) write_format(Level::kDebug, {}, format, fmt::make_format_args(args...));
}

template <class... Args>
void info(const Fields& fields, fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::kInfo)) write_format(Level::kInfo, fields, format, fmt::make_format_args(args...));
}
template <class... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::kInfo)) write_format(Level::kInfo, {}, format, fmt::make_format_args(args...));
}

template <class... Args>
void warn(const Fields& fields, fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::kWarn)) write_format(Level::kWarn, fields, format, fmt::make_format_args(args...));
}
template <class... Args>
void warn(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::kWarn)) write_format(Level::kWarn, {}, format, fmt::make_format_args(args...));
}

template <class... Args>
void error(const Fields& fields, fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::kError)) write_format(Level::kError, fields, format, fmt::make_format_args(args...));
}
template <class... Args>
void error(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::kError)) write_format(Level::kError, {}, format, fmt::make_format_args(args...));
}

/// Whether `stream`, the value of $JOURNAL_STREAM ("DEVICE:INODE"; null: not set), names what `fd` is. It may not be:
/// who has a service's environment need not have its stderr.
[[nodiscard]] bool is_journal_stream(const char* stream, int fd);

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
void write_limited(RateLimit& limit, Level level, const Fields& fields, fmt::format_string<Args...> format, Args&&... args) {
  if (!enabled(level)) return;
  const std::optional<uint64_t> dropped = limit.admit(now_ns());
  if (!dropped) return;
  Fields counted = fields;
  counted.left_out = *dropped;
  write_format(level, counted, format, fmt::make_format_args(args...));
}
template <class... Args>
void write_limited(RateLimit& limit, Level level, fmt::format_string<Args...> format, Args&&... args) {
  write_limited(limit, level, Fields{}, format, std::forward<Args>(args)...);
}

}  // namespace ringbolt::log

/// `RINGBOLT_LOG_LIMITED(kWarn, {.client = address}, "it said {}", what);` At most RateLimit::kLinesPerPeriod lines per period
/// from this place in the code; the next one has the number of the others as a field. A macro because each call site needs its
/// own counter.
#define RINGBOLT_LOG_LIMITED(level, ...)                                                      \
  do {                                                                                        \
    static ::ringbolt::log::RateLimit ringbolt_log_limit;                                     \
    ::ringbolt::log::write_limited(ringbolt_log_limit, ::ringbolt::log::Level::level, __VA_ARGS__); \
  } while (false)
