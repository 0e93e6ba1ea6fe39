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
#include <exception>
#include <memory>

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

std::unique_ptr<spdlog::formatter> make_formatter() {
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  if (stderr_is_journal()) {
    formatter->add_flag<JournalMark>('*').set_pattern("%*%v");
  } else {
    formatter->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %-7l %v");
  }
  return formatter;
}

spdlog::logger& logger() {
  // Never destroyed: threads may still log while static objects are being destroyed.
  static spdlog::logger* const instance = [] {
    auto* made = new spdlog::logger("ringbolt", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_formatter(make_formatter());
    made->set_level(spdlog::level::info);
    made->flush_on(spdlog::level::trace);
    return made;
  }();
  return *instance;
}

LineTaker line_taker = nullptr;
void* line_context = nullptr;

constexpr std::string_view kCutMark = " [cut]";

}  // namespace

void set_level(Level level) { logger().set_level(to_spdlog(level)); }

void take_lines(LineTaker taker, void* context) {
  line_taker = taker;
  line_context = context;
}

bool enabled(Level level) { return logger().should_log(to_spdlog(level)); }

std::string_view journal_mark(Level level) { return stderr_is_journal() ? mark_of(to_spdlog(level)) : std::string_view(); }

bool is_journal_stream(const char* stream, int fd) {
  struct stat status {};
  if (stream == nullptr || fstat(fd, &status) != 0) return false;
  return std::string_view(stream) == fmt::format("{}:{}", status.st_dev, status.st_ino);
}

std::string printable(std::string_view line) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string text;
  text.reserve(line.size());
  for (const char c : line) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7f) {
      text += c;
    } else {
      text += "\\x";
      text += kHex[byte >> 4];
      text += kHex[byte & 15];
    }
    if (text.size() > kLineBytesMax) break;
  }
  if (text.size() > kLineBytesMax) {
    size_t keep = kLineBytesMax - kCutMark.size();
    // Not in the middle of a UTF-8 sequence.
    while (keep > 0 && (static_cast<unsigned char>(text[keep]) & 0xc0) == 0x80) --keep;
    text.resize(keep);
    text += kCutMark;
  }
  return text;
}

void write(Level level, std::string_view line) noexcept {
  try {
    if (line_taker != nullptr) return line_taker(level, line, line_context);
    // As an argument, not as the format: the text may contain braces.
    logger().log(to_spdlog(level), "{}", printable(line));
  } catch (const std::exception& failure) {
    // Out of memory or the like; the line is still worth a raw attempt.
    std::fprintf(stderr, "ringbolt: log line lost: %s\n", failure.what());
  }
}

void write_format(Level level, fmt::string_view format, fmt::format_args args) noexcept {
  try {
    fmt::memory_buffer buffer;
    fmt::vformat_to(std::back_inserter(buffer), format, args);
    write(level, std::string_view(buffer.data(), buffer.size()));
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "ringbolt: log line lost: %s\n", failure.what());
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
