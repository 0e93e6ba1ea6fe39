// The simulator's own test: mistakes of a kind that one makes, seeded in the code (ringbolt/probe.h), must all be found, each within
// a number of seeds. One that is not found any more says that a checker, a fault or a workload has lost its edge.
#pragma once

#include <cstdint>
#include <string>

namespace ringbolt::sim {

/// Runs each defect (only: just that one; empty: all) in a process of its own, over seeds from `first` on, until it is found or its
/// bound is reached; as many at a time as there are processors. Prints a table. 0: all found; 1: not; 2: there is no such defect.
int check_defects(const std::string& only, uint64_t first);

}  // namespace ringbolt::sim
