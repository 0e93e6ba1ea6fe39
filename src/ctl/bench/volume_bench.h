// A volume as its clients have it, through its NBD export.
#pragma once

#include <functional>
#include <string>

#include "ctl/bench/measured.h"
#include "io/address.h"

namespace ringbolt::ctl::bench {

/// Why what is connected to must not be measured, or (`writes`) written to; empty: it may be.
using MayBench = std::function<std::string(bool writes)>;

/// Reads and flushes, and writes if `overwrite`, which destroys what the volume holds. Asks `may` when a request has been answered, and
/// again before it writes. Tells each line as soon as it is measured; stops at the first that fails.
void bench_volume(const std::string& volume, const io::Address& nbd, bool overwrite, Clock::duration time, const MayBench& may,
                  const std::function<void(const Measured&)>& tell);

}  // namespace ringbolt::ctl::bench
