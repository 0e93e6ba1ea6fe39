// What of the configuration changes while the volume runs: limits, and where its replicas are found.
#include <fmt/format.h>

#include <algorithm>

#include "log/log.h"
#include "repl/volume.h"

namespace ringbolt::repl {

void Volume::change(io::Nanos replica_timeout, bool wait_for_lost_replicas, uint32_t wal_retain_percent) {
  options_.replica_timeout = replica_timeout;
  options_.wait_for_lost_replicas = wait_for_lost_replicas;
  options_.store.wal_retain_percent = wal_retain_percent;
  store_.set_wal_retain(wal_retain_percent);
  if (primary_ != nullptr) primary_->members().change(replica_timeout, wait_for_lost_replicas);
  if (replica_ != nullptr) replica_->set_timeout(replica_timeout);
}

/// Not through an assignment: one that is given at run time is kept with the volume, and the file's addresses would count no
/// more. The engine decides about replicas by their ids; where they are found is looked up when it is carried out (located()).
Status Volume::move_replica(const std::string& replica, const std::string& address) {
  const auto& assignment = engine_.state().assignment;
  if (!assignment) return make_error(Errc::kNotPermitted, "nothing that the configuration says of the volume is in force");
  if (!is_configurations(*assignment) || taking_) {
    const core::Assignment& in_force = taking_ ? *taking_ : *assignment;
    return make_error(Errc::kNotPermitted, fmt::format("the assignment given at run time ({} of epoch {}, change {}) is in force", to_string(in_force.role),
                                                       in_force.epoch.value(), in_force.version));
  }
  const auto found = std::find_if(options_.replicas.begin(), options_.replicas.end(), [&](const auto& one) { return one.id == replica; });
  if (found == options_.replicas.end()) return make_error(Errc::kNotPermitted, fmt::format("{} was no replica at the start", replica));
  log::info({.volume = name(), .replica = replica}, "replica {} is found at {} from now on (before: {})", replica, address, found->address);
  found->address = address;
  if (primary_ != nullptr && !serving_stopped_) primary_->members().move(replica, address);
  return boost::outcome_v2::success();
}

/// The configuration's replicas, of its assignment, where they are now.
std::vector<core::ReplicaAddress> Volume::located(std::vector<core::ReplicaAddress> replicas) const {
  const auto& assignment = engine_.state().assignment;
  if (!assignment || !is_configurations(*assignment)) return replicas;
  for (core::ReplicaAddress& replica : replicas) {
    for (const core::ReplicaAddress& known : options_.replicas) {
      if (known.id == replica.id) replica.address = known.address;
    }
  }
  return replicas;
}

}  // namespace ringbolt::repl
