// Makes the plan of a failing run smaller, as long as the same rule is broken.
#pragma once

#include <functional>
#include <string>

#include "plan.h"

namespace ringbolt::sim {

/// `tries_max`: runs that it may take. `progress` is told what has been left out so far.
Plan shrink(const Plan& failing, const std::string& rule, uint64_t tries_max, const std::function<void(const std::string& line)>& progress);

}  // namespace ringbolt::sim
