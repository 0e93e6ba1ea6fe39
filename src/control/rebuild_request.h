// The bodies of POST /v1/volumes/NAME/rebuild and /verify. Bytes from a client: any input gives a node's id, or an error.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "ringbolt/result.h"

namespace ringbolt {

/// The replica of `{"replica": ...}`. Errors: kInvalid, one line of bounded length that says what is wrong and where.
Result<std::string> parse_rebuild(std::string_view body);
/// Likewise, and `{}` is nullopt: all of them.
Result<std::optional<std::string>> parse_verify(std::string_view body);

}  // namespace ringbolt
