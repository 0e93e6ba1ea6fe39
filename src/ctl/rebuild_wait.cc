#include "ctl/rebuild_wait.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

#include "ctl/volume_json.h"

namespace ringbolt::ctl {

namespace json = boost::json;

RebuildWait::Look RebuildWait::look(const json::value& volume, double seconds) {
  pace_.look(volume, seconds);
  if (text(volume, "role") != "primary") return {State::kFailed, std::nullopt, "this node is not the volume's primary any more"};
  const json::array& replicas = elements(find(volume, "replicas"));
  const auto found = std::find_if(replicas.begin(), replicas.end(), [&](const json::value& one) { return text(one, "id") == replica_; });
  if (found == replicas.end()) return {State::kFailed, std::nullopt, fmt::format("{} is a replica no more", replica_)};
  const json::value& replica = *found;
  if (text(replica, "rebuild_order") == "cancelled") return {State::kFailed, std::nullopt, "the rebuild was cancelled"};
  const json::value* session = session_of(replica);
  const std::string kind = session == nullptr ? "-" : text(*session, "kind");
  const std::string phase = session == nullptr ? "-" : text(*session, "phase");
  const std::string reason = session == nullptr ? "-" : text(*session, "reason");
  const std::string because = reason == "-" ? "" : ": " + reason;
  const std::optional<uint64_t> id = session == nullptr ? std::nullopt : number(*session, "id");
  // What went on before the order is not looked at: the replica may have been in sync then.
  if (text(replica, "rebuild_order") == "ordered") return {State::kWaiting, std::nullopt, "waits for the rebuild to begin" + (kind == "rebuild" ? because : "")};
  if (kind == "rebuild" && phase == "failed") {
    failed_ = id;
    failure_ = reason;
    return {State::kWaiting, std::nullopt, "the rebuild failed" + because + "; waits for the next one"};
  }
  if (kind == "rebuild" && phase == "idle") return {State::kWaiting, std::nullopt, "waits for the rebuild to begin" + because};
  if (kind == "rebuild") {
    seen_ = id;
    const auto progress = pace_.progress(replica);
    std::string words = progress ? progress->words : phase;
    if (flag(*session, "losing_ground")) words += std::string("; losing ground: ") + kLosingGround;
    return {State::kRunning, percent_done(replica), std::move(words)};
  }
  if (!flag(replica, "in_sync") || !flag(replica, "connected") || phase != "running") {
    return {State::kWaiting, std::nullopt, flag(replica, "connected") ? fmt::format("waits for {} to be in sync", replica_) : fmt::format("{} is cut off{}", replica_, because)};
  }
  // Nothing of it was there to be copied again, so another session does.
  if (failed_ && id && *id > *failed_ && seen_ <= failed_) {
    return {State::kFailed, std::nullopt, fmt::format("the rebuild failed: {}; {} is in sync without it", failure_, replica_)};
  }
  return {State::kInSync, 100, fmt::format("{} is in sync", replica_)};
}

}  // namespace ringbolt::ctl
