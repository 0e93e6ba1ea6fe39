// What `ringboltctl doctor` has to say: one line each, with what to do about it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ringbolt::ctl::doctor {

enum class State : uint8_t {
  kOk,
  kWarning,  ///< works, but slower, later or less safely than it could
  kProblem,  ///< does not work, or loses data
  kUnknown,  ///< could not be determined; `found` says why
};

constexpr const char* to_string(State state) {
  switch (state) {
    case State::kOk: return "ok";
    case State::kWarning: return "warning";
    case State::kProblem: return "problem";
    case State::kUnknown: return "unknown";
  }
  return "unknown";
}

struct Finding {
  std::string subject;  ///< what it is about: "host", "disk nvme0n1", "nbd.listen 127.0.0.1:10809"
  std::string check;    ///< a name that stays, for scripts: "write_cache"
  State state = State::kUnknown;
  std::string found;
  std::string remedy = {};  ///< always there with kWarning and kProblem
  bool operator==(const Finding&) const = default;
};

using Findings = std::vector<Finding>;

}  // namespace ringbolt::ctl::doctor
