#include "control/volume_events.h"

#include <algorithm>
#include <utility>

namespace ringbolt {
namespace {

using Projection = ProjectionChanged::Projection;

Projection projection_of(const VolumeStatus& volume) { return {volume.mode, volume.reason, volume.role, volume.epoch, volume.healthy}; }

/// Without what has events of its own, or is nobody's to see.
VolumeStatus shown(VolumeStatus volume) {
  volume.verifications.clear();
  volume.why.clear();
  volume.latency.clear();
  volume.reads = volume.writes = {};
  volume.wal_position_bytes.reset();
  volume.moments.reset();
  return volume;
}

/// Of a replica what is no number.
bool same_state(const ReplicaStatus& left, const ReplicaStatus& right) {
  if (left.connected != right.connected || left.in_sync != right.in_sync || left.rebuild_order != right.rebuild_order) return false;
  if (left.address != right.address || left.session.has_value() != right.session.has_value()) return false;
  if (!left.session) return true;
  const SessionStatus &a = *left.session, &b = *right.session;
  return a.id == b.id && a.kind == b.kind && a.phase == b.phase && a.reason == b.reason;
}

const ReplicaStatus* find(const VolumeStatus& volume, const std::string& id) {
  const auto found = std::find_if(volume.replicas.begin(), volume.replicas.end(), [&](const ReplicaStatus& one) { return one.id == id; });
  return found == volume.replicas.end() ? nullptr : &*found;
}

bool has(const VolumeStatus& volume, const AlarmStatus& alarm) {
  return std::any_of(volume.alarms.begin(), volume.alarms.end(),
                     [&](const AlarmStatus& one) { return one.alarm == alarm.alarm && one.replica == alarm.replica; });
}

void compare_replicas(const VolumeStatus& before, const VolumeStatus& now, uint64_t time_ms, std::vector<Event>& events) {
  for (const ReplicaStatus& replica : now.replicas) {
    const ReplicaStatus* const old = find(before, replica.id);
    if (old != nullptr && same_state(*old, replica)) continue;
    events.push_back({time_ms, SessionChanged{now.name, true, replica, old == nullptr ? std::nullopt : std::optional(*old)}});
  }
  for (const ReplicaStatus& old : before.replicas) {
    if (find(now, old.id) != nullptr) continue;
    ReplicaStatus gone;
    gone.id = old.id;
    gone.address = old.address;
    events.push_back({time_ms, SessionChanged{now.name, false, gone, old}});
  }
}

/// What is no number: mode, sessions, alarms.
void compare(const VolumeStatus& before, const VolumeStatus& now, uint64_t missed, uint64_t time_ms, std::vector<Event>& events) {
  if (projection_of(before) != projection_of(now) || missed > 0) {
    events.push_back({time_ms, ProjectionChanged{now.name, projection_of(now), projection_of(before), missed}});
  }
  compare_replicas(before, now, time_ms, events);
  for (const AlarmStatus& alarm : before.alarms) {
    if (!has(now, alarm)) events.push_back({time_ms, AlarmChanged{now.name, alarm, false}});
  }
  for (const AlarmStatus& alarm : now.alarms) {
    if (!has(before, alarm)) events.push_back({time_ms, AlarmChanged{now.name, alarm, true}});
  }
}

/// Maps of the rebuilds that go on; the replicas whose map is another one.
std::vector<std::string> look_at_rebuilds(const VolumeStatus& volume, std::map<std::string, RebuildMap>& maps) {
  std::vector<std::string> changed;
  std::map<std::string, RebuildMap> now;
  for (const ReplicaStatus& replica : volume.replicas) {
    if (!replica.session || replica.session->kind != "rebuild" || replica.session->base_bytes_total == 0) continue;
    RebuildMap& map = now[replica.id];
    const auto known = maps.find(replica.id);
    if (known != maps.end()) map = known->second;
    if (map.look(*replica.session)) changed.push_back(replica.id);
  }
  maps = std::move(now);
  return changed;
}

uint64_t newest_moment(const VolumeStatus& volume) { return volume.moments && !volume.moments->empty() ? volume.moments->back()->number : 0; }

/// Moments of one volume only grow in number: that one was deleted, and another one made of that name, since the look before.
bool is_another(const VolumeStatus& volume, uint64_t known_moment) { return volume.moments && newest_moment(volume) < known_moment; }

}  // namespace

void VolumeWatch::look_at(const VolumeStatus& volume, double seconds, Known& known, std::vector<Event>& events) const {
  VolumeStatus before = known.volume;
  if (volume.moments) {
    for (const auto& moment : *volume.moments) {
      if (moment->number <= known.moment) continue;
      compare(before, moment->volume, moment->number - known.moment - 1, moment->unix_time_ms, events);
      known.moment = moment->number;
      before = moment->volume;
    }
  }
  compare(before, volume, 0, time_ms_, events);
  if (volume.why != known.volume.why) events.push_back({time_ms_, WhySeen{volume}});
  for (const std::string& replica : look_at_rebuilds(volume, known.maps)) {
    events.push_back({time_ms_, RebuildSeen{volume.name, replica, known.maps[replica]}});
  }
  auto load = load_between(known.volume, volume, seconds);
  VolumeStatus visible = shown(volume);
  known.volume = volume;
  if (visible == known.shown && load == known.load) return;
  known.shown = std::move(visible);
  known.load = load;
  events.push_back({time_ms_, VolumeSeen{known.shown, std::move(load)}});
}

std::vector<Event> VolumeWatch::look(const std::vector<VolumeStatus>& volumes, double seconds, uint64_t unix_time_ms) {
  time_ms_ = unix_time_ms;
  std::vector<Event> events;
  std::map<std::string, Known> now;
  for (const VolumeStatus& volume : volumes) {
    const auto known = known_.find(volume.name);
    const bool another = known != known_.end() && is_another(volume, known->second.moment);
    if (known != known_.end() && !another) {
      look_at(volume, seconds, known->second, events);
      now.insert(known_.extract(known));
      continue;
    }
    if (another) {
      events.push_back({time_ms_, VolumeGone{volume.name}});
      known_.erase(known);
    }
    Known first{volume, shown(volume), std::nullopt, newest_moment(volume), {}};
    look_at_rebuilds(volume, first.maps);
    if (looked_) tell_all(volume.name, first, events);
    now.emplace(volume.name, std::move(first));
  }
  for (const auto& [name, gone] : known_) events.push_back({time_ms_, VolumeGone{name}});
  known_ = std::move(now);
  looked_ = true;
  return events;
}

void VolumeWatch::tell_all(const std::string& name, const Known& known, std::vector<Event>& events) const {
  events.push_back({time_ms_, VolumeSeen{known.shown, known.load}});
  events.push_back({time_ms_, WhySeen{known.volume}});
  for (const auto& [replica, map] : known.maps) events.push_back({time_ms_, RebuildSeen{name, replica, map}});
  for (const AlarmStatus& alarm : known.volume.alarms) events.push_back({time_ms_, AlarmChanged{name, alarm, true}});
}

std::vector<Event> VolumeWatch::opening() const {
  std::vector<Event> events;
  for (const auto& [name, known] : known_) tell_all(name, known, events);
  return events;
}

}  // namespace ringbolt
