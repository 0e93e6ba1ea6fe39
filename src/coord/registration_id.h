// Who a daemon is, beyond its node id: drawn once for a data directory and kept there. Its next start knows by that which of the
// coordinator's records is its own. Blocks; for start-up.
#pragma once

#include <string>

#include "io/durable_files.h"
#include "ringbolt/result.h"

namespace ringbolt::coord {

/// 128 bits, as 32 digits.
std::string random_id();

/// The one that `data_dir` has, drawn if there is none yet.
Result<std::string> registration_id(io::DurableFiles& files, const std::string& data_dir);

}  // namespace ringbolt::coord
