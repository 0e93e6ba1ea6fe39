// Sets of nodes by their ids, as the coordinator's decisions have them: few, in the order in which they were given.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

namespace ringbolt::core {

inline bool contains(const std::vector<std::string>& nodes, const std::string& id) { return std::find(nodes.begin(), nodes.end(), id) != nodes.end(); }

}  // namespace ringbolt::core
