// The target of an HTTP request as path segments. Bytes from a client: any input gives a result or
// an error.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ringbolt/result.h"

namespace ringbolt {

/// "/v1/volumes/a%2db?x=1" -> {"v1", "volumes", "a-b"}; "/" -> {""}. The query is dropped; the absolute
/// form ("http://host/path") is accepted. Errors: kInvalid for what is no path or a bad escape.
Result<std::vector<std::string>> parse_target(std::string_view target);

/// `segment` with everything but letters, digits, '.', '_', '-', '~' as %XX.
std::string escape_segment(std::string_view segment);

}  // namespace ringbolt
