// The body of DELETE /v1/volumes/NAME. Bytes from a client: any input is taken, or an error.
#pragma once

#include <string_view>

#include "ringbolt/result.h"

namespace ringbolt {

/// Nothing, or `{"force": true}`: whether also a volume that could not be opened is meant. Errors: kInvalid, one line of bounded
/// length that says what is wrong and where.
Result<bool> parse_deletion(std::string_view body);

}  // namespace ringbolt
