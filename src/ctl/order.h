// What `assign` and `promote` ask for: from the command line's words to the API's body, and what to do
// next if it is refused. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ringbolt/result.h"

namespace ringbolt::ctl {

struct OrderArguments {
  std::string volume;
  std::string role;                   ///< primary | replica | none
  std::string epoch;
  std::vector<std::string> replicas;  ///< ID=HOST:PORT
  bool no_replicas = false;           ///< an empty list, where leaving out `replicas` means "as they are"
  std::string durability;             ///< empty: as it is
  bool promote = false, force = false;
};

/// The JSON body for POST /v1/volumes/NAME/assignment. Errors: kInvalid, a mistake of usage.
Result<std::string> order_body(const OrderArguments& order);

/// What a person can do about the API's error `code`; empty if the message has said everything.
std::string next_step(std::string_view code, const OrderArguments& order);

/// What a person can do when no answer came although the order may have arrived.
std::string next_step_unanswered(const OrderArguments& order);

}  // namespace ringbolt::ctl
