#include "ctl/pace.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cmath>

#include "control/latency_window.h"
#include "ctl/table.h"
#include "ctl/volume_json.h"

namespace ringbolt::ctl {

namespace json = boost::json;

namespace {

std::optional<double> rate(const std::optional<uint64_t>& before, const std::optional<uint64_t>& now, double seconds) {
  if (!before || !now || *now < *before || seconds <= 0) return std::nullopt;
  return static_cast<double>(*now - *before) / seconds;
}

/// What is skipped is done: the log has brought something newer.
std::optional<uint64_t> base_passed(const json::value& session) {
  const std::optional<uint64_t> done = number(session, "base_bytes_done");
  if (!done) return std::nullopt;
  return *done + number(session, "base_bytes_skipped").value_or(0);
}

/// Empty where there is no such thing (a daemon of another version).
std::optional<RequestCounts> counts_of(const json::value& volume, std::string_view path) {
  const json::value* counts = find(volume, path);
  if (counts == nullptr) return std::nullopt;
  const std::optional<uint64_t> bytes = number(*counts, "bytes");
  const json::value* latency = find(*counts, "latency_us");
  if (!bytes || latency == nullptr || !latency->is_array()) return std::nullopt;
  RequestCounts result{{}, *bytes};
  for (const json::value& pair : latency->get_array()) {
    if (!pair.is_array() || pair.get_array().size() != 2) return std::nullopt;
    const auto upper_us = json::try_value_to<uint64_t>(pair.get_array()[0]);
    const auto count = json::try_value_to<uint32_t>(pair.get_array()[1]);
    if (!upper_us || !count) return std::nullopt;
    result.latency.push_back({*upper_us * 1000, *count});
  }
  return result;
}

std::optional<Pace::Answered> answered(const std::optional<RequestCounts>& before, const std::optional<RequestCounts>& now, double seconds) {
  if (!before || !now || now->bytes < before->bytes || seconds <= 0) return std::nullopt;
  const auto window = latency_added(before->latency, now->latency);
  if (!window) return std::nullopt;  // the daemon was started again
  return Pace::Answered{static_cast<double>(latency_total(*window)) / seconds, static_cast<double>(now->bytes - before->bytes) / seconds,
                        latency_percentile_us(*window, 500), latency_percentile_us(*window, 990)};
}

}  // namespace

std::string bar(uint64_t percent, size_t columns) {
  const size_t room = columns - 2;
  const size_t full = room * std::min<uint64_t>(percent, 100) / 100;
  return fmt::format("[{:#<{}}{:.<{}}]", "", full, "", room - full);
}

std::string human_time(uint64_t seconds) {
  const auto two = [](uint64_t large, const char* large_unit, uint64_t small, const char* small_unit) {
    return small == 0 ? fmt::format("{} {}", large, large_unit) : fmt::format("{} {} {} {}", large, large_unit, small, small_unit);
  };
  if (seconds < 60) return fmt::format("{} s", seconds);
  if (seconds < 3600) return two(seconds / 60, "min", seconds % 60, "s");
  if (seconds < 86400) return two(seconds / 3600, "h", seconds % 3600 / 60, "min");
  return two(seconds / 86400, "d", seconds % 86400 / 3600, "h");
}

std::string rebuild_words(const json::value& replica, std::optional<double> measured) {
  const json::value& session = *session_of(replica);
  const std::optional<uint64_t> percent = percent_done(replica);
  std::string words = percent ? fmt::format("{}% ", *percent) : std::string();
  words += fmt::format("({} of {}, {} skipped)", bytes(session, "base_bytes_done"), bytes(session, "base_bytes_total"), bytes(session, "base_bytes_skipped"));
  const std::optional<uint64_t> said = number(session, "base_bytes_per_second");
  const std::optional<double> speed = said ? std::optional(static_cast<double>(*said)) : measured;
  if (speed) words += fmt::format(", {}/s", human_bytes(static_cast<uint64_t>(*speed)));
  if (text(session, "phase") == "base_complete") return words + ", the base image is copied, the log follows";
  // While it loses ground the time that the base lane takes is not the time that is left.
  if (flag(session, "losing_ground")) return words;
  std::optional<uint64_t> left = number(session, "seconds_left");
  const std::optional<uint64_t> total = number(session, "base_bytes_total");
  const std::optional<uint64_t> passed = base_passed(session);
  if (!left && !said && measured && *measured >= 1 && total && passed && *total >= *passed) {
    left = static_cast<uint64_t>(std::ceil(static_cast<double>(*total - *passed) / *measured));
  }
  return left ? words + ", " + human_time(*left) + " left" : words;
}

void Pace::look(const json::value& volume, double seconds) {
  const std::optional<uint64_t> epoch = number(volume, "epoch");
  const std::optional<uint64_t> head = number(volume, "boundary.wal_head");
  // In another epoch the log may have been cut and grown again.
  writes_ = epoch == epoch_ ? rate(head_, head, seconds) : std::nullopt;
  epoch_ = epoch;
  head_ = head;
  const auto count = [&](std::string_view path, std::optional<RequestCounts>& counted, std::optional<Answered>& in_between) {
    std::optional<RequestCounts> counts = counts_of(volume, path);
    in_between = answered(counted, counts, seconds);
    counted = std::move(counts);
  };
  count("requests.reads", reads_counted_, client_reads_);
  count("requests.writes", writes_counted_, client_writes_);
  std::map<std::string, Replica> now;
  for (const json::value& replica : elements(find(volume, "replicas"))) {
    const std::string id = text(replica, "id");
    const auto before = replicas_.find(id);
    Replica& known = now[id];
    known.written = number(replica, "written_lsn");
    const json::value* session = session_of(replica);
    if (session == nullptr) continue;
    known.session = number(*session, "id");
    known.base = base_passed(*session);
    // Of another session the positions begin anew.
    if (before == replicas_.end() || !known.session || before->second.session != known.session) continue;
    known.records = rate(before->second.written, known.written, seconds);
    known.base_bytes = rate(before->second.base, known.base, seconds);
  }
  replicas_ = std::move(now);
}

std::string Pace::catchup_words(const json::value& session, const Replica& known) const {
  std::string words = fmt::format("Lsn {} of {}", known.written ? std::to_string(*known.written) : "-", head_ ? std::to_string(*head_) : "-");
  if (!known.records) return words;
  words += fmt::format(", {:.0f} records/s", *known.records);
  if (text(session, "phase") == "completed" || !known.written || !head_ || !writes_ || *head_ <= *known.written) return words;
  // It ends at the head, which moves on meanwhile.
  const double gains = *known.records - *writes_;
  if (gains < 1) return words + ", it does not gain on the writes";
  return words + ", " + human_time(static_cast<uint64_t>(std::ceil(static_cast<double>(*head_ - *known.written) / gains))) + " left";
}

std::optional<Pace::Progress> Pace::progress(const json::value& replica) const {
  const json::value* session = session_of(replica);
  const auto known = replicas_.find(text(replica, "id"));
  if (session == nullptr || known == replicas_.end()) return std::nullopt;
  const std::string phase = text(*session, "phase");
  if (phase == "idle" || phase == "failed") return std::nullopt;
  const std::string kind = text(*session, "kind");
  if (kind == "rebuild") return Progress{percent_done(replica), rebuild_words(replica, known->second.base_bytes)};
  if (kind == "catchup") return Progress{percent_done(replica), catchup_words(*session, known->second)};
  return std::nullopt;
}

}  // namespace ringbolt::ctl
