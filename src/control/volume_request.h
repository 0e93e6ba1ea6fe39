// The bodies of POST /v1/volumes and /v1/volumes/NAME/resize.
#pragma once

#include <string_view>

#include "control/config.h"
#include "ringbolt/result.h"

namespace ringbolt {

/// `{"name": "vol1", "size": "1GiB", "wal_size": "256MiB", "path": "/dev/sdb", "wal_path": ""}`; sizes also as numbers of
/// bytes, all but name and size may be absent. Errors: kInvalid, with what is wrong and where.
Result<VolumeConfig> parse_volume_request(std::string_view body);

/// `{"size": "2GiB"}`: what the volume is to have, likewise.
Result<uint64_t> parse_resize_request(std::string_view body);

}  // namespace ringbolt
