// How findings are made of errors, whose messages mostly end with the remedy.
#pragma once

#include <string>

#include "ctl/doctor/finding.h"
#include "ringbolt/result.h"

namespace ringbolt::ctl::doctor {

inline void add_ok(Findings& findings, std::string subject, std::string check, std::string found) {
  findings.push_back({std::move(subject), std::move(check), State::kOk, std::move(found)});
}

inline void add_unknown(Findings& findings, std::string subject, std::string check, const Error& why) {
  findings.push_back({std::move(subject), std::move(check), State::kUnknown, why.message});
}

/// Of a message "what is wrong: what to do" (io/host_check.h).
inline void add_problem(Findings& findings, std::string subject, std::string check, const Error& what) {
  const size_t colon = what.message.find(": ");
  const bool has_remedy = colon != std::string::npos;
  findings.push_back({std::move(subject), std::move(check), State::kProblem, what.message.substr(0, colon),
                      has_remedy ? what.message.substr(colon + 2) : "ringboltd does not start until this is put right"});
}

}  // namespace ringbolt::ctl::doctor
