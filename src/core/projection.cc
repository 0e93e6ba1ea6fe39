#include "core/projection.h"

namespace ringbolt::core {

namespace {

/// Nothing is lost by it, so whatever else is wrong is named first.
constexpr const char* kBaseFull = "no space left for the base image";

std::string of_replica(const ReplicaView& replica, const char* what) {
  std::string text = std::string(what) + ": replica " + replica.id;
  if (!replica.reason.empty()) text += " (" + replica.reason + ")";
  return text;
}

Projection project_primary(const VolumeView& volume) {
  if (!volume.role_applied) return {"bootstrap_pending", "awaiting_role_apply", false};
  if (!volume.serving) {
    if (!volume.shipper_configured) return {"bootstrap_pending", "awaiting_shipper_configured", false};
    for (const ReplicaView& replica : volume.replicas) {
      if (replica.in_sync && !replica.connected) return {"bootstrap_pending", of_replica(replica, "awaiting_shipper_connected"), false};
    }
    return {"bootstrap_pending", "awaiting_barrier_durability", false};
  }
  if (!volume.shipper_configured) return {"degraded", "awaiting_shipper_configured", false};
  for (const ReplicaView& replica : volume.replicas) {
    if (replica.needs_rebuild) return {"needs_rebuild", of_replica(replica, "needs_rebuild"), false};
  }
  for (const ReplicaView& replica : volume.replicas) {
    if (!replica.connected) return {"degraded", of_replica(replica, "awaiting_shipper_connected"), false};
    if (!replica.in_session) return {"degraded", of_replica(replica, "awaiting_shipper_configured"), false};
    // One of the set that comes back counts, so that nothing is acknowledged without it, before it has everything.
    if (replica.recovering || !replica.in_sync) return {"degraded", of_replica(replica, "recovery_in_progress"), false};
  }
  if (volume.base_full) return {"degraded", kBaseFull, false};
  return {"publish_healthy", "", true};
}

Projection project_replica(const VolumeView& volume) {
  // A primary that had to give way says so until somebody ships to it.
  const std::string prefix = volume.fenced.empty() ? "" : volume.fenced + "; ";
  if (!volume.role_applied) return {"bootstrap_pending", prefix + "awaiting_role_apply", false};
  if (!volume.receiver_ready) return {"bootstrap_pending", prefix + "awaiting_receiver_ready", false};
  if (!volume.has_session) return {"bootstrap_pending", prefix + "awaiting_shipper_connected", false};
  if (volume.base_full) return {"replica_ready", prefix + kBaseFull, false};
  return {"replica_ready", prefix + "replica_not_primary", true};
}

}  // namespace

Projection project(const VolumeView& volume) {
  if (volume.failed) return {volume.role == Role::kReplica ? "needs_rebuild" : "degraded", volume.failure, false};
  if (volume.role == Role::kNone) return {"allocated_only", "awaiting_role_apply", false};
  if (!volume.base_usable) {
    if (!volume.damage.empty()) return {"needs_rebuild", volume.damage, false};
    return {"needs_rebuild", volume.has_session ? "recovery_in_progress" : "the base image is marked unusable", false};
  }
  return volume.role == Role::kPrimary ? project_primary(volume) : project_replica(volume);
}

}  // namespace ringbolt::core
