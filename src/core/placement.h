// Where copies go, and which node can be spared. Pure values: what is known of nodes and volumes in, an answer with its reason out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "ringbolt/types.h"

namespace ringbolt::core {

struct NodeFacts {
  std::string id;
  std::string host;  ///< nodes of one host fail together; empty: a host of its own
  std::string zone;  ///< likewise hosts of one zone; empty: one zone, too
  uint64_t capacity_bytes = 0, free_bytes = 0;
  size_t copies = 0;      ///< that it has already
  bool reachable = true;  ///< registered, its lease alive
  bool draining = false;  ///< takes no new copies
};

struct PlacementRequest {
  uint64_t bytes = 0;             ///< of one copy: volume and log
  size_t copies = 1;              ///< in all, with those in `present`
  std::vector<std::string> present;  ///< nodes that have one: they stay
};

struct Placement {
  std::vector<std::string> nodes;  ///< to have a new copy each, the first choice first; empty if `reason` is not
  std::string reason;              ///< why there are not enough, naming what each node that was left out lacks
};

/// Always on different hosts, in as many zones as there are, and there on the nodes that are the least full afterwards.
Placement place(std::span<const NodeFacts> nodes, const PlacementRequest& request);

struct VolumeCopies {
  std::string name;
  Durability durability = Durability::kSyncAll;
  std::string primary;
  std::vector<std::string> copies;   ///< nodes, the primary's among them
  std::vector<std::string> in_sync;  ///< likewise
};

struct StopAnswer {
  bool safe = true;
  std::vector<std::string> reasons;  ///< one for each volume that would stand still, or be left without its last good copy
};

/// Whether every volume goes on, by itself, when `node` is gone: with the copies that are reachable now.
StopAnswer safe_to_stop(const std::string& node, std::span<const NodeFacts> nodes, std::span<const VolumeCopies> volumes);

}  // namespace ringbolt::core
