// The body of POST /v1/volumes/NAME/rebuild. Bytes from a client: any input gives a node's id, or an error.
#pragma once

#include <string>
#include <string_view>

#include "ringbolt/result.h"

namespace ringbolt {

/// The replica of `{"replica": ...}`. Errors: kInvalid, one line of bounded length that says what is wrong and where.
Result<std::string> parse_rebuild(std::string_view body);

}  // namespace ringbolt
