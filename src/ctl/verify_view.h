// What `ringboltctl verify` shows of one look at a volume's comparisons, and when it is over. Pure.
#pragma once

#include <boost/json/fwd.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ringbolt::ctl {

enum class VerifyEnd : uint8_t {
  kRunning,
  kEqual,
  kDifferent,
  kFailed,  ///< it ended before all was compared, and what was is equal; or nobody knows of it any more
};

struct VerifyLook {
  std::string replica;
  VerifyEnd end = VerifyEnd::kRunning;
  std::optional<uint64_t> percent;
  std::string words;                ///< one line
  std::vector<std::string> ranges;  ///< that differ, one a line
};

/// The replicas that `verify`, an answer of the API, names.
std::vector<std::string> verified_replicas(const boost::json::value& verify);
/// What it says of `replica`.
VerifyLook look_at_verify(const boost::json::value& verify, const std::string& replica);

}  // namespace ringbolt::ctl
