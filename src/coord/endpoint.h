// Where a member of the coordinator is found: "http://HOST:PORT" or "https://HOST:PORT". Pure.
#pragma once

#include <string>
#include <string_view>

#include "io/address.h"
#include "ringbolt/result.h"

namespace ringbolt::coord {

struct Endpoint {
  bool tls = false;
  io::Address address;
  std::string url;  ///< as it was given
};

/// Errors: kInvalid, with the form that was expected.
Result<Endpoint> parse_endpoint(std::string_view url);

}  // namespace ringbolt::coord
