// Every key of the configuration file with what it holds and when a change of it takes effect: the one list that
// --describe-config, the manual's test and a reload go by.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "control/config.h"

namespace ringbolt {

/// When a change of a key in the file takes effect.
enum class Effect : uint8_t {
  kAtReload,  ///< at SIGHUP and `ringboltctl reload`, and so at a start as well
  kAtStart,   ///< at the daemon's next start
};

template <class Owner>
struct ConfigField {
  const char* name;  ///< "node.memory", "volume.replica.id"
  Effect effect;
  bool required;
  std::string (*show)(const Owner& owner);  ///< the value as the file would have it
  void (*take)(Owner& into, const Owner& from);
};

// Each in the order in which a file would have them.
std::span<const ConfigField<Config>> config_fields();
std::span<const ConfigField<VolumeConfig>> volume_config_fields();
std::span<const ConfigField<ReplicaConfig>> replica_config_fields();

}  // namespace ringbolt
