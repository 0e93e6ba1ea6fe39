// What the configuration says of the coordinator and of this node in it, as src/coord takes it.
#pragma once

#include <optional>
#include <string>

#include "control/config.h"
#include "coord/coordinator.h"

namespace ringbolt {

/// All that blocks and can fail before this node is in the cluster.
struct ClusterMember {
  coord::CoordinatorOptions options;
  std::string incarnation, registration;
};

/// nullopt: there is no coordinator. Makes the data directory if it is missing. Blocks. Errors: which file cannot be used, and why.
Result<std::optional<ClusterMember>> prepare_member(const Config& config);

/// `admin`: where it really listens.
coord::NodeRecord node_record(const Config& config, const ClusterMember& member, const std::string& admin);

}  // namespace ringbolt
