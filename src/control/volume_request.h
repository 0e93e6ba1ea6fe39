// The body of POST /v1/volumes.
#pragma once

#include <string_view>

#include "control/config.h"
#include "ringbolt/result.h"

namespace ringbolt {

/// `{"name": "vol1", "size": "1GiB", "wal_size": "256MiB", "path": "/dev/sdb", "wal_path": ""}`; sizes also as numbers of
/// bytes, all but name and size may be absent. Errors: kInvalid, with what is wrong and where.
Result<VolumeConfig> parse_volume_request(std::string_view body);

}  // namespace ringbolt
