#include "control/config_changes.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>

#include "ringbolt/assert.h"

namespace ringbolt {
namespace {

template <class Volumes>
auto* find_volume(Volumes& volumes, const std::string& name) {
  const auto found = std::find_if(volumes.begin(), volumes.end(), [&](const VolumeConfig& one) { return one.name == name; });
  return found == volumes.end() ? nullptr : &*found;
}

template <class Replicas>
auto* find_replica(Replicas& replicas, const std::string& id) {
  const auto found = std::find_if(replicas.begin(), replicas.end(), [&](const ReplicaConfig& one) { return one.id == id; });
  return found == replicas.end() ? nullptr : &*found;
}

template <class Owner>
void compare(std::span<const ConfigField<Owner>> fields, const Owner& from, const Owner& to, const ConfigChange& of, std::vector<ConfigChange>& changes) {
  for (const ConfigField<Owner>& field : fields) {
    ConfigChange change = of;
    change.key = field.name;
    change.from = field.show(from);
    change.to = field.show(to);
    change.effect = field.effect;
    if (change.from != change.to) changes.push_back(std::move(change));
  }
}

/// Those that only one of two lists has; `id` is the key that tells them apart.
template <class Owner, class Find>
void compare_presence(const ConfigField<Owner>& id, const std::vector<Owner>& from, const std::vector<Owner>& to, Find find, ConfigChange of,
                      std::vector<ConfigChange>& changes) {
  of.key = id.name;
  of.effect = id.effect;
  for (const Owner& one : from) {
    if (find(to, one)) continue;
    changes.push_back(of);
    changes.back().from = id.show(one);
  }
  for (const Owner& one : to) {
    if (find(from, one)) continue;
    changes.push_back(of);
    changes.back().to = id.show(one);
  }
}

void compare_volumes(const VolumeConfig& from, const VolumeConfig& to, std::vector<ConfigChange>& changes) {
  ConfigChange of;
  of.volume = from.name;
  compare(volume_config_fields(), from, to, of, changes);
  const auto find = [](const std::vector<ReplicaConfig>& in, const ReplicaConfig& one) { return find_replica(in, one.id) != nullptr; };
  compare_presence(replica_config_fields().front(), from.replicas, to.replicas, find, of, changes);
  for (const ReplicaConfig& replica : from.replicas) {
    const ReplicaConfig* const now = find_replica(to.replicas, replica.id);
    if (now == nullptr) continue;
    const size_t first = changes.size();
    of.replica = replica.id;
    compare(replica_config_fields(), replica, *now, of, changes);
    // Of another role or epoch the replicas are another assignment's, which the file gives at a start only.
    const bool same_assignment = from.role == to.role && from.epoch == to.epoch;
    for (size_t i = first; i < changes.size() && !same_assignment; ++i) changes[i].effect = Effect::kAtStart;
  }
}

}  // namespace

std::vector<ConfigChange> config_changes(const Config& from, const Config& to) {
  std::vector<ConfigChange> changes;
  compare(config_fields(), from, to, ConfigChange{}, changes);
  const auto find = [](const std::vector<VolumeConfig>& in, const VolumeConfig& one) { return find_volume(in, one.name) != nullptr; };
  compare_presence(volume_config_fields().front(), from.volumes, to.volumes, find, ConfigChange{}, changes);
  for (const VolumeConfig& volume : from.volumes) {
    if (const VolumeConfig* const now = find_volume(to.volumes, volume.name)) compare_volumes(volume, *now, changes);
  }
  return changes;
}

void take_change(Config& into, const Config& from, const ConfigChange& change) {
  RINGBOLT_ASSERT(change.effect == Effect::kAtReload);
  const auto take = [&](auto fields, auto& owner, const auto& other) {
    for (const auto& field : fields) {
      if (change.key == field.name) field.take(owner, other);
    }
  };
  if (change.volume.empty()) return take(config_fields(), into, from);
  VolumeConfig* const volume = find_volume(into.volumes, change.volume);
  const VolumeConfig* const other = find_volume(from.volumes, change.volume);
  RINGBOLT_ASSERT(volume != nullptr && other != nullptr);
  if (change.replica.empty()) return take(volume_config_fields(), *volume, *other);
  ReplicaConfig* const replica = find_replica(volume->replicas, change.replica);
  const ReplicaConfig* const moved = find_replica(other->replicas, change.replica);
  RINGBOLT_ASSERT(replica != nullptr && moved != nullptr);
  take(replica_config_fields(), *replica, *moved);
}

std::string name_of(const ConfigChange& change) {
  if (change.volume.empty()) return change.key;
  return change.replica.empty() ? fmt::format("{} ({})", change.key, change.volume) : fmt::format("{} ({}, {})", change.key, change.volume, change.replica);
}

}  // namespace ringbolt
