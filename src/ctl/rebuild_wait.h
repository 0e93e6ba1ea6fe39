// Follows an ordered rebuild from one look at the volume to the next. Pure.
#pragma once

#include <boost/json/fwd.hpp>
#include <cstdint>
#include <optional>
#include <string>

#include "ctl/pace.h"

namespace ringbolt::ctl {

class RebuildWait {
 public:
  enum class State : uint8_t {
    kWaiting,   ///< for its beginning, or the next one's
    kRunning,
    kInSync,    ///< the replica is: there is nothing to wait for any more
    kFailed,    ///< and it does not go on
  };
  struct Look {
    State state = State::kWaiting;
    std::optional<uint64_t> percent;
    std::string words;
  };

  explicit RebuildWait(std::string replica) : replica_(std::move(replica)) {}

  /// `seconds`: since the last call.
  Look look(const boost::json::value& volume, double seconds);

 private:
  std::string replica_;
  Pace pace_;
  std::optional<uint64_t> seen_;  ///< the newest rebuild that was seen to go on
  std::optional<uint64_t> failed_;
  std::string failure_;
};

}  // namespace ringbolt::ctl
