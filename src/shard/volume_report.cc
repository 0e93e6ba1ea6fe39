#include "shard/volume_report.h"

#include <algorithm>
#include <chrono>
#include <tuple>
#include <utility>

#include "repl/volume.h"

namespace ringbolt {
namespace {

auto changes_of(const VolumeStatus& volume) { return std::tie(volume.mode, volume.reason, volume.healthy, volume.role, volume.epoch); }

VolumeStatus status_of(const repl::Volume& volume) {
  VolumeStatus status = volume.status();
  status.alarms = alarms_of(status, volume.engine().state().copy);
  return status;
}

}  // namespace

std::vector<AlarmStatus> alarms_of(const VolumeStatus& volume, const core::CopyObserved& copy) {
  std::vector<AlarmStatus> alarms;
  if (!copy.failure.empty()) alarms.push_back({Alarm::kCopyFailed, {}, copy.failure});
  if (!copy.damage.empty()) alarms.push_back({Alarm::kCopyDamaged, {}, copy.damage});
  if (copy.base_full) alarms.push_back({Alarm::kBaseFull, {}, "no space left for the base image: writes fail when the log is full"});
  for (const ReplicaStatus& replica : volume.replicas) {
    if (!replica.in_sync) {
      const bool told = replica.session && !replica.session->reason.empty();
      alarms.push_back({Alarm::kReplicaOutOfSync, replica.id, "replica " + replica.id + " is not in the in-sync set" + (told ? ": " + replica.session->reason : "")});
    }
    if (replica.session && replica.session->losing_ground) {
      alarms.push_back({Alarm::kRebuildLosingGround, replica.id, "replica " + replica.id + ": writes come faster than its rebuild takes them"});
    }
  }
  for (const VerifyStatus& one : volume.verifications) {
    if (one.bytes_differing == 0) continue;
    alarms.push_back({Alarm::kCopiesDiffer, one.replica, "replica " + one.replica + ": " + std::to_string(one.bytes_differing) + " bytes differ from the primary's copy"});
  }
  return alarms;
}

void VolumeReport::note(const repl::Volume& volume) {
  const auto since_1970 = std::chrono::system_clock::now().time_since_epoch();
  note(status_of(volume), static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(since_1970).count()));
}

void VolumeReport::note(VolumeStatus now, uint64_t unix_time_ms) {
  const VolumeMoment* const last = moments_->empty() ? nullptr : moments_->back().get();
  if (last != nullptr && changes_of(last->volume) == changes_of(now)) return;
  auto moment = std::make_shared<VolumeMoment>();
  moment->number = last == nullptr ? 1 : last->number + 1;
  moment->unix_time_ms = unix_time_ms;
  moment->volume = std::move(now);
  const size_t kept = std::min(moments_->size(), kMomentsMax - 1);
  auto moments = std::make_shared<VolumeMoments>(moments_->end() - static_cast<ptrdiff_t>(kept), moments_->end());
  moments->push_back(std::move(moment));
  moments_ = std::move(moments);
}

VolumeStatus VolumeReport::look(const repl::Volume& volume) const {
  VolumeStatus status = status_of(volume);
  status.moments = moments_;
  return status;
}

}  // namespace ringbolt
