// An operator's orders to rebuild a replica, or not to: taken here, decided on by the engine.
#include <fmt/format.h>

#include "core/plan.h"
#include "log/log.h"
#include "repl/volume.h"

namespace ringbolt::repl {

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
  // Sessions of syncs up to the newest one are older than the order, also one that is just being decided on.
  tell(core::RebuildOrdered{replica, primary_->term(), ++rebuild_orders_, wanted, primary_->last_sync()});
  rebuilds_ordered_.push_back(std::move(done));
}

/// When the engine knows of them, so that the volume's status says so to whoever gave the order.
void Volume::answer_rebuild_orders(const Status& status) {
  for (const auto& done : std::exchange(rebuilds_ordered_, {})) done(status);
}

}  // namespace ringbolt::repl
