// What the control thread is told of a volume: its status, what is wrong with it, and how it was when it changed last.
// On the volume's shard.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "control/status.h"
#include "core/events.h"

namespace ringbolt {

namespace repl {
class Volume;
}

/// What somebody should look at. `copy`: what is known of the copy here. Pure.
std::vector<AlarmStatus> alarms_of(const VolumeStatus& volume, const core::CopyObserved& copy);

/// Remembers how a volume was whenever its mode, role or epoch had changed, so that whoever looks only now and then sees
/// each of these changes. A volume's changes are seldom (each of them is a line in the log, too), and the last few are kept.
class VolumeReport {
 public:
  static constexpr size_t kMomentsMax = 32;

  /// May have changed: to be called after each change, and harmless otherwise.
  void note(const repl::Volume& volume);
  [[nodiscard]] VolumeStatus look(const repl::Volume& volume) const;

  /// Of note(): `now` is how the volume is.
  void note(VolumeStatus now, uint64_t unix_time_ms);
  [[nodiscard]] const std::shared_ptr<const VolumeMoments>& moments() const { return moments_; }

 private:
  // Never changed, but replaced: looks of the past have it, on other threads.
  std::shared_ptr<const VolumeMoments> moments_ = std::make_shared<const VolumeMoments>();
};

}  // namespace ringbolt
