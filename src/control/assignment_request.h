// The body of POST /v1/volumes/NAME/assignment. Bytes from a client: any input gives an order that
// keeps all limits, or an error.
#pragma once

#include <string_view>

#include "control/daemon.h"
#include "ringbolt/result.h"

namespace ringbolt {

/// Reads `{"role": ..., "epoch": ..., "replicas": [{"id": ..., "address": ...}], "durability": ...,
/// "promote": ..., "force": ...}`; role and epoch are required. Errors: kInvalid, one line of bounded
/// length that says what is wrong and where.
Result<AssignmentOrder> parse_assignment(std::string_view body);

}  // namespace ringbolt
