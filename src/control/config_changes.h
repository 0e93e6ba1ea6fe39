// What differs between two configurations, key by key. Pure.
#pragma once

#include <string>
#include <vector>

#include "control/config_table.h"

namespace ringbolt {

struct ConfigChange {
  std::string key;              ///< "node.memory", "volume.replica.address"
  std::string volume, replica;  ///< which one's; empty: the key is not of one
  std::string from, to;         ///< as a file has them; empty: it is not there
  Effect effect = Effect::kAtStart;
  bool operator==(const ConfigChange&) const = default;
};

/// In the order of the keys. A volume or a replica that only one of them has is a change of its name or id.
std::vector<ConfigChange> config_changes(const Config& from, const Config& to);

/// Puts the value that `from` has of this key into `into`. Requires: it takes effect at a reload.
void take_change(Config& into, const Config& from, const ConfigChange& change);

/// "volume.replica.address (vol0, n2)"
std::string name_of(const ConfigChange& change);

}  // namespace ringbolt
