#include "ctl/watch.h"

#include <fmt/format.h>

#include <boost/json.hpp>

#include "ctl/table.h"
#include "ctl/volume_json.h"

namespace ringbolt::ctl {

namespace json = boost::json;

namespace {

constexpr size_t kWideBarColumns = 32;

/// What a person is to see at a glance: nothing to do, it is being worked at, somebody should look.
const char* colour_of(const json::value& volume) {
  if (flag(volume, "healthy")) return "\x1b[32m";
  return text(volume, "mode") == "needs_rebuild" ? "\x1b[31m" : "\x1b[33m";
}

class Lines {
 public:
  explicit Lines(size_t columns) : columns_(columns) {}
  /// Cut where it does not fit.
  void add(const std::string& line) {
    std::string cut = plain(line);
    if (cut.size() > columns_) cut = cut.substr(0, columns_ - 1) + "~";
    lines_.push_back(std::move(cut));
  }
  /// Broken where it does not fit.
  void add_field(const std::string& title, const std::string& what) {
    std::string rest = field(title, what, columns_);
    for (size_t end; (end = rest.find('\n')) != std::string::npos; rest.erase(0, end + 1)) lines_.push_back(rest.substr(0, end));
  }
  std::vector<std::string> take() { return std::move(lines_); }

 private:
  size_t columns_;
  std::vector<std::string> lines_;
};

std::string human_latency(uint64_t micros) {
  if (micros < 1000) return fmt::format("{} us", micros);
  if (micros < 100'000) return fmt::format("{:.1f} ms", static_cast<double>(micros) / 1000);
  if (micros < 1'000'000) return fmt::format("{} ms", micros / 1000);
  return fmt::format("{:.1f} s", static_cast<double>(micros) / 1'000'000);
}

std::string requests_words(const std::optional<Pace::Answered>& answered) {
  if (!answered) return "-";
  if (answered->per_second == 0) return "none";
  return fmt::format("{}/s, {}/s, latency p50 {}, p99 {}", answered->per_second < 1 ? "<1" : fmt::format("{:.0f}", answered->per_second),
                     human_bytes(static_cast<uint64_t>(answered->bytes_per_second)), human_latency(answered->p50_us), human_latency(answered->p99_us));
}

void add_replica(const json::value& replica, const Pace& pace, Lines& lines) {
  const json::value* session = session_of(replica);
  std::string line = fmt::format("{:<14}{:<17}lag {:<11}", text(replica, "id"), replica_state(replica), bytes(replica, "lag_bytes"));
  if (session != nullptr) line += fmt::format("session {}: {} {}", text(*session, "id"), text(*session, "kind"), text(*session, "phase"));
  lines.add(line);
  if (const auto progress = pace.progress(replica)) {
    if (progress->percent) lines.add(fmt::format("  {} {}%", bar(*progress->percent, kWideBarColumns), *progress->percent));
    lines.add_field("", progress->words);
  }
  if (session == nullptr) return;
  if (flag(*session, "losing_ground")) lines.add_field("  losing ground", kLosingGround);
  const std::string reason = text(*session, "reason");
  if (reason != "-") lines.add_field("  reason", reason);
}

}  // namespace

std::vector<std::string> watch_lines(const json::value& volume, const Pace& pace, size_t columns, bool colour) {
  Lines lines(columns);
  const std::string mode = text(volume, "mode");
  lines.add(fmt::format("{}, {} of epoch {}, {}, {} clients: {}", text(volume, "name"), text(volume, "role"), text(volume, "epoch"),
                        text(volume, "durability"), text(volume, "clients"), mode));
  const std::string reason = text(volume, "reason");
  if (reason != "-") lines.add_field("reason", reason);
  if (text(volume, "role") == "primary") {
    lines.add_field("reads", requests_words(pace.client_reads()));
    lines.add_field("writes", requests_words(pace.client_writes()));
  }
  lines.add_field("log", fmt::format("{} records/s, WAL {} of {} used", pace.writes() ? fmt::format("{:.0f}", *pace.writes()) : "-",
                                     bytes(volume, "wal.used_bytes"), bytes(volume, "wal.capacity_bytes")));
  lines.add_field("positions", fmt::format("head {}, written {}, durable {}, committed {}, checkpoint {}", text(volume, "boundary.wal_head"),
                                           text(volume, "boundary.written_lsn"), text(volume, "boundary.durable_lsn"),
                                           text(volume, "boundary.committed_lsn"), text(volume, "boundary.checkpoint_lsn")));
  for (const json::value& replica : elements(find(volume, "replicas"))) add_replica(replica, pace, lines);
  std::vector<std::string> result = lines.take();
  // Only the mode, at the end of the first line, and only if it was not cut.
  if (colour && result.front().ends_with(plain(mode))) {
    result.front().insert(result.front().size() - plain(mode).size(), colour_of(volume));
    result.front() += "\x1b[0m";
  }
  return result;
}

}  // namespace ringbolt::ctl
