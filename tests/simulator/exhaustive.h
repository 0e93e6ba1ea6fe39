// Small stories, with everything that can go wrong once: a process or its power ends at each disk operation, each disk operation fails,
// each message is the last one of its connection. Small and complete finds what large and random misses.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "child.h"
#include "plan.h"

namespace ringbolt::sim {

struct Story {
  std::string name;
  std::string what;
  Plan plan;
};

/// Two nodes, two blocks, six requests, and one thing that an operator or a crash does.
std::vector<Story> stories();

/// The story with each fault in turn. `part` of `parts`: of each `parts` faults one, others in other parts.
std::vector<Plan> with_each_fault(const Story& story, uint64_t part, uint64_t parts);

}  // namespace ringbolt::sim
