// Findings as text for people, and as JSON.
#pragma once

#include <string>

#include "ctl/doctor/finding.h"

namespace ringbolt::ctl::doctor {

/// Grouped by subject, in the order in which they came; at most 80 columns, which `colour` does not change.
std::string report_text(const Findings& findings, bool colour);
std::string report_json(const Findings& findings);
bool has_problem(const Findings& findings);

}  // namespace ringbolt::ctl::doctor
