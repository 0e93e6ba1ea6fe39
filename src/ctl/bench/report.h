// What was measured, as a table that grows line by line, and as JSON.
#pragma once

#include <string>
#include <vector>

#include "ctl/bench/measured.h"

namespace ringbolt::ctl::bench {

/// Lines of at most 80 columns, with their line ends.
std::string title_line();
/// `last_target`: of the line before; a new one has a line of its own.
std::string measured_line(const Measured& measured, const std::string& last_target);
std::string not_measured_lines(const std::vector<NotMeasured>& left_out);
std::string bench_json(const std::vector<Measured>& measured, const std::vector<NotMeasured>& left_out);

}  // namespace ringbolt::ctl::bench
