// One run of a plan: faults for a while, then everything is put right, and the cluster must become whole again; then it is compared,
// stopped, and compared again.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "checks.h"
#include "plan.h"
#include "ringbolt/probe.h"

namespace ringbolt::sim {

struct RunOptions {
  uint64_t steps_max = UINT64_MAX;  ///< events of the world with faults; then they end
  /// Gets what happens in words, with the time; empty: nobody, which is much faster.
  std::function<void(const std::string& line)> narrator;
};

struct Outcome {
  std::optional<Broken> broken;
  uint64_t trace_hash = 0;
  uint64_t steps = 0;
  io::Nanos simulated = 0;
  uint64_t requests = 0;  ///< answered
  uint64_t failed = 0;    ///< answered with an error
  uint64_t events = 0;    ///< of the plan, that did something
  std::array<uint64_t, kMarks> marks{};  ///< how often each was reached
  // Of each node, while there were faults:
  std::vector<uint64_t> disk_operations, sends;
};

Outcome run(const Plan& plan, const RunOptions& options = {});

}  // namespace ringbolt::sim
