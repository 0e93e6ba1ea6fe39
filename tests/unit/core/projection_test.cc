// What a volume's state is called.
#include "core/projection.h"

#include <catch2/catch.hpp>
#include <vector>

using namespace ringbolt;
using namespace ringbolt::core;

namespace {

ReplicaView replica(const std::string& id) {
  return {.id = id,
          .connected = true,
          .in_session = true,
          .in_sync = true,
          .needs_rebuild = false,
          .reason = "",
          .recovering = false};
}

VolumeView primary(const std::vector<ReplicaView>& replicas) {
  VolumeView view;
  view.role = Role::kPrimary;
  view.serving = true;
  view.replicas = replicas;
  return view;
}

void check(const VolumeView& view, const std::string& mode, const std::string& reason,
           bool healthy) {
  const Projection projection = project(view);
  CHECK(projection.mode == mode);
  CHECK(projection.reason == reason);
  CHECK(projection.healthy == healthy);
}

}  // namespace

TEST_CASE("core: the mode of a volume without a role, failed, or with an unusable base image",
          "[core]") {
  check({}, "allocated_only", "awaiting_role_apply", false);
  VolumeView failed = primary({});
  failed.failed = true;
  failed.failure = "WAL write: Input/output error";
  check(failed, "degraded", "WAL write: Input/output error", false);
  failed.role = Role::kReplica;
  check(failed, "needs_rebuild", "WAL write: Input/output error", false);
  VolumeView unusable;
  unusable.role = Role::kReplica;
  unusable.base_usable = false;
  check(unusable, "needs_rebuild", "the base image is marked unusable", false);
  unusable.has_session = true;
  check(unusable, "needs_rebuild", "recovery_in_progress", false);
  unusable.damage = "the WAL is damaged at byte 0";
  check(unusable, "needs_rebuild", "the WAL is damaged at byte 0", false);
}

TEST_CASE("core: the mode of a replica", "[core]") {
  VolumeView view;
  view.role = Role::kReplica;
  check(view, "bootstrap_pending", "awaiting_shipper_connected", false);
  view.has_session = true;
  check(view, "replica_ready", "replica_not_primary", true);
  // One that had to give way says to whom, at each step.
  view.fenced = "fenced by epoch 3";
  check(view, "replica_ready", "fenced by epoch 3; replica_not_primary", true);
  view.has_session = false;
  check(view, "bootstrap_pending", "fenced by epoch 3; awaiting_shipper_connected", false);
  view.receiver_ready = false;
  check(view, "bootstrap_pending", "fenced by epoch 3; awaiting_receiver_ready", false);
  view.fenced.clear();
  check(view, "bootstrap_pending", "awaiting_receiver_ready", false);
  view.role_applied = false;
  check(view, "bootstrap_pending", "awaiting_role_apply", false);
}

TEST_CASE("core: a copy without space for its base image is not healthy; what else is wrong is named first", "[core]") {
  VolumeView view = primary({});
  view.base_full = true;
  check(view, "degraded", "no space left for the base image", false);
  std::vector<ReplicaView> replicas = {replica("n2")};
  replicas[0].connected = false;
  view.replicas = replicas;
  check(view, "degraded", "awaiting_shipper_connected: replica n2", false);
  VolumeView other;
  other.role = Role::kReplica;
  other.base_full = true;
  check(other, "bootstrap_pending", "awaiting_shipper_connected", false);
  other.has_session = true;
  check(other, "replica_ready", "no space left for the base image", false);
}

TEST_CASE("core: the mode of a primary names the first obstacle", "[core]") {
  check(primary({}), "publish_healthy", "", true);
  std::vector<ReplicaView> replicas = {replica("n2"), replica("n3")};
  check(primary(replicas), "publish_healthy", "", true);

  VolumeView starting = primary(replicas);
  starting.shipper_configured = false;
  check(starting, "degraded", "awaiting_shipper_configured", false);
  starting.serving = false;
  check(starting, "bootstrap_pending", "awaiting_shipper_configured", false);
  starting.role_applied = false;
  check(starting, "bootstrap_pending", "awaiting_role_apply", false);
  starting = primary(replicas);
  starting.serving = false;
  check(starting, "bootstrap_pending", "awaiting_barrier_durability", false);
  replicas[1].connected = false;
  check(starting = primary(replicas), "degraded", "awaiting_shipper_connected: replica n3", false);
  starting.serving = false;
  check(starting, "bootstrap_pending", "awaiting_shipper_connected: replica n3", false);
  // One that does not count is not what a starting primary waits for.
  replicas[1].in_sync = false;
  check(
      [&] {
        VolumeView view = primary(replicas);
        view.serving = false;
        return view;
      }(),
      "bootstrap_pending", "awaiting_barrier_durability", false);

  replicas[1] = replica("n3");
  replicas[1].in_session = false;
  check(primary(replicas), "degraded", "awaiting_shipper_configured: replica n3", false);
  replicas[1].in_session = true;
  // In the set, so that nothing is acknowledged without it, and on its way.
  replicas[1].recovering = true;
  check(primary(replicas), "degraded", "recovery_in_progress: replica n3", false);
  replicas[1].recovering = false;
  replicas[1].in_sync = false;
  replicas[1].reason = "4 GiB behind";
  check(primary(replicas), "degraded", "recovery_in_progress: replica n3 (4 GiB behind)", false);
  replicas[0].connected = false;
  replicas[1].needs_rebuild = true;
  check(primary(replicas), "needs_rebuild", "needs_rebuild: replica n3 (4 GiB behind)", false);
}
