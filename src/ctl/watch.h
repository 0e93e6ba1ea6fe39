// What `ringboltctl watch` shows of one look at a volume. Pure.
#pragma once

#include <boost/json/fwd.hpp>
#include <string>
#include <vector>

#include "ctl/pace.h"

namespace ringbolt::ctl {

/// The volume as lines of at most `columns`, without line ends. `colour`: the mode in the colour of how good it is.
std::vector<std::string> watch_lines(const boost::json::value& volume, const Pace& pace, size_t columns, bool colour);

}  // namespace ringbolt::ctl
