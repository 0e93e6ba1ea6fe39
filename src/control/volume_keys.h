// What a volume's definition in JSON has, whoever sent or kept it: the keys of a [[volume]] that say what it is, not what
// role it has.
#pragma once

#include "control/config.h"
#include "control/request_body.h"

namespace ringbolt {

/// Reads "name", "size", "wal_size", "path" and "wal_path"; the first two must be there. Sizes are in the forms of the
/// configuration file. Throws request_body::BadBody.
VolumeConfig read_volume_keys(const request_body::ObjectReader& in);

/// Just "size", which must be there.
uint64_t read_volume_size(const request_body::ObjectReader& in);

}  // namespace ringbolt
