#include "ctl/verify_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

#include "ctl/pace.h"
#include "ctl/table.h"
#include "ctl/volume_json.h"

namespace ringbolt::ctl {

namespace json = boost::json;

namespace {

/// What is in the logs has been checked by its checksums on both sides.
uint64_t bytes_passed(const json::value& one) { return number(one, "bytes_compared").value_or(0) + number(one, "bytes_in_log").value_or(0); }

std::string compared_words(const json::value& one) {
  std::string words = bytes(one, "bytes_compared") + " compared";
  if (number(one, "bytes_in_log").value_or(0) > 0) words += ", " + bytes(one, "bytes_in_log") + " written all the time and checked in both logs";
  return words;
}

std::string running_words(const json::value& one, uint64_t passed, uint64_t total) {
  std::string words = fmt::format("{} of {}", human_bytes(passed), human_bytes(total));
  const uint64_t differing = number(one, "bytes_differing").value_or(0);
  if (differing > 0) words += fmt::format(", {} differ so far", human_bytes(differing));
  const uint64_t seconds = number(one, "seconds_since_begin").value_or(0);
  if (seconds > 0 && passed > 0 && passed < total) words += ", " + human_time((total - passed) * seconds / passed + 1) + " left";
  return words;
}

std::vector<std::string> range_lines(const json::value& one) {
  std::vector<std::string> lines;
  uint64_t listed = 0;
  for (const json::value& range : elements(find(one, "differing"))) {
    lines.push_back(fmt::format("  from byte {}: {} bytes", text(range, "offset"), text(range, "length")));
    listed += number(range, "length").value_or(0);
  }
  const uint64_t all = number(one, "bytes_differing").value_or(0);
  if (all > listed) lines.push_back(fmt::format("  and {} more in further ranges", human_bytes(all - listed)));
  return lines;
}

}  // namespace

std::vector<std::string> verified_replicas(const json::value& verify) {
  std::vector<std::string> names;
  for (const json::value& one : elements(find(verify, "replicas"))) names.push_back(text(one, "id"));
  return names;
}

VerifyLook look_at_verify(const json::value& verify, const std::string& replica) {
  VerifyLook look;
  look.replica = replica;
  const json::array& all = elements(find(verify, "replicas"));
  const auto found = std::find_if(all.begin(), all.end(), [&](const json::value& one) { return text(one, "id") == replica; });
  if (found == all.end()) {
    look.end = VerifyEnd::kFailed;
    look.words = "the daemon knows of no comparison any more";
    return look;
  }
  const json::value& one = *found;
  const uint64_t total = number(one, "bytes_total").value_or(0);
  const uint64_t passed = std::min(bytes_passed(one), total);
  if (total > 0) look.percent = static_cast<uint64_t>(static_cast<double>(passed) / static_cast<double>(total) * 100);
  const std::string state = text(one, "state");
  if (state == "running") {
    look.words = running_words(one, passed, total);
    return look;
  }
  const uint64_t differing = number(one, "bytes_differing").value_or(0);
  const std::string early = state == "completed" ? "" : fmt::format("; it ended early: {}", text(one, "problem"));
  if (differing > 0) {
    look.end = VerifyEnd::kDifferent;
    look.ranges = range_lines(one);
    look.words = fmt::format("DIFFERENT in {}: {}{}", human_bytes(differing), compared_words(one), early);
  } else if (state == "completed") {
    look.end = VerifyEnd::kEqual;
    look.words = "equal: " + compared_words(one);
  } else {
    look.end = VerifyEnd::kFailed;
    look.words = fmt::format("not known: {}{}", compared_words(one), early);
  }
  return look;
}

}  // namespace ringbolt::ctl
