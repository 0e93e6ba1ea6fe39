// The one place that knows spdlog.
#include "log/log.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <exception>
#include <iterator>
#include <memory>
#include <string>

namespace ringbolt::log {
namespace {

spdlog::level::level_enum to_spdlog(Level level) {
  switch (level) {
    case Level::kDebug: return spdlog::level::debug;
    case Level::kInfo: return spdlog::level::info;
    case Level::kWarn: return spdlog::level::warn;
    case Level::kError: return spdlog::level::err;
  }
  return spdlog::level::err;
}

/// Decided once, and by what the process was started with.
bool stderr_is_journal() {
  static const bool is = is_journal_stream(std::getenv("JOURNAL_STREAM"), STDERR_FILENO);
  return is;
}

/// A priority as syslog counts them, in the form that systemd takes from a service's stderr.
constexpr std::string_view mark_of(spdlog::level::level_enum level) {
  switch (level) {
    case spdlog::level::debug: return "<7>";
    case spdlog::level::info: return "<6>";
    case spdlog::level::warn: return "<4>";
    default: return "<3>";
  }
}

class JournalMark final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&, spdlog::memory_buf_t& line) override {
    const std::string_view mark = mark_of(message.level);
    line.append(mark.data(), mark.data() + mark.size());
  }
  [[nodiscard]] std::unique_ptr<custom_flag_formatter> clone() const override { return std::make_unique<JournalMark>(); }
};

/// A line comes with all that it has to say but, as text, its time and level.
std::unique_ptr<spdlog::formatter> make_formatter(bool with_time) {
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  if (stderr_is_journal()) {
    formatter->add_flag<JournalMark>('*').set_pattern("%*%v");
  } else {
    formatter->set_pattern(with_time ? "%Y-%m-%dT%H:%M:%S.%e%z %-7l %v" : "%v");
  }
  return formatter;
}

/// Where lines go. `bare` has no level that it drops.
spdlog::logger* make_logger(bool with_time) {
  auto* made = new spdlog::logger("ringbolt", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  made->set_formatter(make_formatter(with_time));
  made->set_level(with_time ? spdlog::level::info : spdlog::level::trace);
  made->flush_on(spdlog::level::trace);
  return made;
}

spdlog::logger& logger() {
  // Never destroyed: threads may still log while static objects are being destroyed.
  static spdlog::logger* const instance = make_logger(true);
  return *instance;
}

spdlog::logger& bare_logger() {
  static spdlog::logger* const instance = make_logger(false);
  return *instance;
}

Format line_format = Format::kText;

/// As RFC 3339 has it, in UTC: the time zone of the process is nothing that who reads the line knows.
std::string now_text() {
  const auto now = std::chrono::system_clock::now();
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count() % 1000;
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min,
                     utc.tm_sec, ms);
}

/// Out of memory or the like; that there was a line is still worth a raw attempt.
void lost(const std::exception& failure) { std::fprintf(stderr, "ringbolt: log line lost: %s\n", failure.what()); }

LineTaker line_taker = nullptr;
void* line_context = nullptr;

}  // namespace

void set_level(Level level) { logger().set_level(to_spdlog(level)); }

void take_lines(LineTaker taker, void* context) {
  line_taker = taker;
  line_context = context;
}

bool enabled(Level level) { return logger().should_log(to_spdlog(level)); }

bool is_journal_stream(const char* stream, int fd) {
  struct stat status {};
  if (stream == nullptr || fstat(fd, &status) != 0) return false;
  return std::string_view(stream) == fmt::format("{}:{}", status.st_dev, status.st_ino);
}

void set_format(Format format) {
  line_format = format;
  logger().set_formatter(make_formatter(format == Format::kText));
}

void write(Level level, const Fields& fields, std::string_view words) noexcept {
  try {
    if (line_taker != nullptr) return line_taker(level, text_line(fields, words), line_context);
    // As an argument, not as the format: the text may contain braces.
    logger().log(to_spdlog(level), "{}", line_format == Format::kText ? text_line(fields, words) : json_line(now_text(), level, fields, words));
  } catch (const std::exception& failure) {
    lost(failure);
  }
}

void write_bare(Level level, std::string_view words) noexcept {
  try {
    bare_logger().log(to_spdlog(level), "{}", line_format == Format::kText ? printable(words) : json_line(now_text(), level, {}, words));
  } catch (const std::exception& failure) {
    lost(failure);
  }
}

void write_format(Level level, const Fields& fields, fmt::string_view format, fmt::format_args args) noexcept {
  try {
    fmt::memory_buffer buffer;
    fmt::vformat_to(std::back_inserter(buffer), format, args);
    write(level, fields, std::string_view(buffer.data(), buffer.size()));
  } catch (const std::exception& failure) {
    lost(failure);
  }
}

std::optional<uint64_t> RateLimit::admit(int64_t now) {
  int64_t start = period_start_ns_.load(std::memory_order_relaxed);
  if (now - start >= kPeriodNs &&
      period_start_ns_.compare_exchange_strong(start, now, std::memory_order_relaxed)) {
    lines_.store(0, std::memory_order_relaxed);
  }
  if (lines_.fetch_add(1, std::memory_order_relaxed) >= kLinesPerPeriod) {
    dropped_.fetch_add(1, std::memory_order_relaxed);
    return std::nullopt;
  }
  return dropped_.exchange(0, std::memory_order_relaxed);
}

int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace ringbolt::log
