// The configuration file's keys, described: what `ringboltd --describe-config` prints, and what tests hold the manual against.
#pragma once

#include <string>
#include <vector>

#include "control/config_table.h"

namespace ringbolt {

struct ConfigKey {
  std::string name;      ///< "node.memory", "volume.replica.id"
  std::string standard;  ///< what holds without it, as it would be written in the file; empty: it is required
  Effect effect = Effect::kAtStart;
};

/// In the order in which a file would have them.
std::vector<ConfigKey> describe_config_keys();

/// The same as lines in three columns, which at least two spaces divide.
std::string config_keys_text();

}  // namespace ringbolt
