// An operator's orders to rebuild a replica, or not to: taken here, decided on by the engine.
#include <fmt/format.h>

#include "core/plan.h"
#include "log/log.h"
#include "repl/in_sync_set.h"
#include "repl/volume.h"

namespace ringbolt::repl {

namespace {

/// Longer than copies that are lost and need one wait between two attempts.
constexpr io::Nanos kAskForPlace = 3 * io::kSecond;

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
  log::info({.volume = name(), .replica = replica}, "replica {}: a rebuild is {}", replica, wanted ? "ordered" : "cancelled");
  rebuilds_waiting_.erase(replica);
  // Sessions of syncs up to the newest one are older than the order, also one that is just being decided on.
  const core::RebuildOrdered order{replica, primary_->term(), 0, wanted, primary_->last_sync()};
  if (wanted && !may_order_rebuild(replica)) {
    log::info({.volume = name(), .replica = replica}, "replica {}: the rebuild waits: {}", replica, rebuild_waits_for());
    rebuilds_waiting_.emplace(replica, order);
    if (!rebuild_places_.armed()) io_.arm(rebuild_places_, kAskForPlace);
    return done(boost::outcome_v2::success());
  }
  order_rebuild(order);
  rebuilds_ordered_.push_back(std::move(done));
}

/// The order ends the session of a copy. One that counts for durability goes on counting until its rebuild can begin.
bool Volume::may_order_rebuild(const std::string& replica) {
  InSyncSet& members = primary_->members();
  Shipper* const shipper = members.find(replica);
  return shipper == nullptr || !members.counts(replica) || shipper->place().take_ahead();
}

void Volume::order_rebuild(core::RebuildOrdered order) {
  order.count = ++rebuild_orders_;
  tell(std::move(order));
}

std::string Volume::rebuild_waits_for() const { return fmt::format("{} rebuilds run on this node, as many as may", options_.rebuild->parallel); }

/// Nobody says when a place is free: another volume's rebuild, on another shard, may have had it.
void Volume::ask_for_rebuild_places() {
  const bool over = primary_ == nullptr || serving_stopped_ || stopping_ || !damage().empty();
  std::erase_if(rebuilds_waiting_, [this, over](const auto& waiting) {
    const auto& [replica, order] = waiting;
    if (over || !core::is_assigned(engine_.state(), replica)) {
      log::info({.volume = name(), .replica = replica}, "replica {}: the rebuild that waited is not done: {}", replica,
                over ? "this copy is not a primary that could" : "it is a replica no more");
      return true;
    }
    if (!may_order_rebuild(replica)) return false;
    // As of when it was given: a rebuild that has begun since has fulfilled it.
    order_rebuild(order);
    return true;
  });
  if (!rebuilds_waiting_.empty()) io_.arm(rebuild_places_, kAskForPlace);
}

/// Taken for an order that has been cancelled, or was fulfilled otherwise: no rebuild comes that would give it back.
void Volume::give_back_places() {
  if (primary_ == nullptr) return;
  InSyncSet& members = primary_->members();
  for (size_t i = 0; i < members.size(); ++i) {
    Shipper& shipper = members.shipper(i);
    const core::ReplicaState* const known = engine_.state().find(shipper.peer().id);
    if (shipper.place().ahead() && (known == nullptr || !core::rebuild_is_ordered(*known))) shipper.place().give_back();
  }
}

/// When the engine knows of them, so that the volume's status says so to whoever gave the order.
void Volume::answer_rebuild_orders(const Status& status) {
  for (const auto& done : std::exchange(rebuilds_ordered_, {})) done(status);
}

}  // namespace ringbolt::repl
