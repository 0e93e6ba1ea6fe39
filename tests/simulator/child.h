// Runs in other processes: whatever they do, an assertion of the code under test included, is an outcome.
#pragma once

#include "run.h"

namespace ringbolt::sim {

/// As run(), without a narrator. A process that ends in another way than by its outcome breaks the rule "assertions hold".
Outcome run_in_child(const Plan& plan, const RunOptions& options = {});

/// The same for many plans, on as many processors as there are. `next` gives plans until it gives none; `done` is told of each outcome, in
/// any order; if it gives false no more plans are taken.
void run_in_children(const std::function<std::optional<Plan>()>& next, const std::function<bool(const Plan& plan, const Outcome& outcome)>& done,
                     const RunOptions& options = {});

}  // namespace ringbolt::sim
