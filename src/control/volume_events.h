// What happened to volumes, from looks at them one after another. Pure: neither asks nor sends.
//
// Between two looks a volume may change more than once. Where it recorded that (VolumeStatus::moments: its mode, role or
// epoch changed) each of these moments counts as a look of its own, so none is lost; what else came and went in between is.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "control/rebuild_map.h"
#include "control/status.h"
#include "control/volume_load.h"

namespace ringbolt {

/// Numbers: the volume as it is, at most once for each look.
struct VolumeSeen {
  VolumeStatus volume;
  std::optional<VolumeLoad> load;  ///< nullopt: nothing to compare with
};

/// Its mode, reason, health, role or epoch is another one.
struct ProjectionChanged {
  struct Projection {
    std::string mode, reason, role;
    std::optional<uint64_t> epoch;
    bool healthy = false;
    bool operator==(const Projection&) const = default;
  };
  std::string volume;
  Projection now, before;
  uint64_t missed = 0;  ///< so many changes came before this one that are not known any more
};

/// A replica is connected or not, counts or not, or its session is another one or in another phase.
struct SessionChanged {
  std::string volume;
  bool assigned = true;  ///< false: it is a replica of the volume no more
  ReplicaStatus now;
  std::optional<ReplicaStatus> before;  ///< nullopt: it was no replica of the volume
};

struct AlarmChanged {
  std::string volume;  ///< empty: of the node
  AlarmStatus alarm;
  bool active = false;
};

/// The chain of facts behind its mode is another one.
struct WhySeen {
  VolumeStatus volume;
};

/// How far a rebuild's base lane is, where.
struct RebuildSeen {
  std::string volume, replica;
  RebuildMap map;
};

/// There is no such volume any more.
struct VolumeGone {
  std::string volume;
};

struct Event {
  uint64_t unix_time_ms = 0;  ///< when it happened, or was seen
  std::variant<VolumeSeen, ProjectionChanged, SessionChanged, AlarmChanged, WhySeen, RebuildSeen, VolumeGone> what;
};

class VolumeWatch {
 public:
  /// What is different from the look before. The first one is compared with nothing: opening() tells all of it.
  /// `seconds`: since the look before.
  std::vector<Event> look(const std::vector<VolumeStatus>& volumes, double seconds, uint64_t unix_time_ms);

  /// Everything as it was at the last look, for somebody who knows nothing.
  [[nodiscard]] std::vector<Event> opening() const;

 private:
  struct Known {
    VolumeStatus volume;
    VolumeStatus shown;  ///< what of it is a matter of VolumeSeen
    std::optional<VolumeLoad> load;
    uint64_t moment = 0;  ///< the last one that was told
    std::map<std::string, RebuildMap> maps;  ///< by replica
  };
  void look_at(const VolumeStatus& volume, double seconds, Known& known, std::vector<Event>& events) const;
  void tell_all(const std::string& name, const Known& known, std::vector<Event>& events) const;

  std::map<std::string, Known> known_;
  bool looked_ = false;
  uint64_t time_ms_ = 0;
};

}  // namespace ringbolt
