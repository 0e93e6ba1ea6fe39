// An operator's orders to rebuild a replica, or not to: taken here, decided on by the engine.
#include <fmt/format.h>

#include "core/plan.h"
#include "log/log.h"
#include "repl/in_sync_set.h"
#include "repl/volume.h"

namespace ringbolt::repl {

namespace {

constexpr io::Nanos kAskForPlace = 500 * io::kMillisecond;

}  // namespace

void Volume::rebuild(const std::string& replica, bool wanted, std::function<void(Status)> done) {
  if (!damage().empty()) return done(make_error(Errc::kIo, damage()));
  if (!opened_ || stopping_) return done(make_error(Errc::kBusy, fmt::format("volume {} is not open", name())));
  if (primary_ == nullptr || serving_stopped_) {
    return done(make_error(Errc::kNotPermitted, fmt::format("volume {} is {} here; its primary decides on rebuilds", name(), to_string(role_))));
  }
  if (!core::is_assigned(engine_.state(), replica)) {
    return done(make_error(Errc::kNotFound, fmt::format("volume {} has no replica \"{}\"", name(), replica)));
  }
  log::info("volume {}: replica {}: a rebuild is {}", name(), replica, wanted ? "ordered" : "cancelled");
  rebuilds_waiting_.erase(replica);
  if (wanted && !may_order_rebuild(replica)) {
    log::info("volume {}: replica {}: the rebuild waits: {} run on this node, as many as may", name(), replica, options_.rebuild->parallel);
    rebuilds_waiting_.insert(replica);
    io_.arm(rebuild_places_, kAskForPlace);
    return done(boost::outcome_v2::success());
  }
  order_rebuild(replica, wanted);
  rebuilds_ordered_.push_back(std::move(done));
}

/// The order ends the session of a copy. One that counts for durability goes on counting until its rebuild can begin.
bool Volume::may_order_rebuild(const std::string& replica) {
  InSyncSet& members = primary_->members();
  Shipper* const shipper = members.find(replica);
  return shipper == nullptr || !members.contains(replica) || shipper->reserve_ahead();
}

void Volume::order_rebuild(const std::string& replica, bool wanted) {
  // Sessions of syncs up to the newest one are older than the order, also one that is just being decided on.
  tell(core::RebuildOrdered{replica, primary_->term(), ++rebuild_orders_, wanted, primary_->last_sync()});
}

/// Nobody says when a place is free: another volume's rebuild, on another shard, may have had it.
void Volume::ask_for_rebuild_places() {
  if (primary_ == nullptr || serving_stopped_ || stopping_) return rebuilds_waiting_.clear();
  std::erase_if(rebuilds_waiting_, [this](const std::string& replica) {
    if (!core::is_assigned(engine_.state(), replica)) return true;
    if (!may_order_rebuild(replica)) return false;
    order_rebuild(replica, true);
    return true;
  });
  if (!rebuilds_waiting_.empty()) io_.arm(rebuild_places_, kAskForPlace);
}

/// When the engine knows of them, so that the volume's status says so to whoever gave the order.
void Volume::answer_rebuild_orders(const Status& status) {
  for (const auto& done : std::exchange(rebuilds_ordered_, {})) done(status);
}

}  // namespace ringbolt::repl
