// The body of POST /v1/node/reload. Bytes from a client: any input is taken, or an error.
#pragma once

#include <string_view>

#include "ringbolt/result.h"

namespace ringbolt {

/// Nothing or `{}`: a reload has no options. Errors: kInvalid, one line of bounded length that says what is wrong and where.
Status check_reload(std::string_view body);

}  // namespace ringbolt
