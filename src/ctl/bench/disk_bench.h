// Reads and writes of a file or device through the project's io layer, as a volume's log and base image are read and written.
#pragma once

#include <functional>
#include <string>

#include "ctl/bench/disk_target.h"
#include "ctl/bench/measured.h"
#include "io/ring_io.h"

namespace ringbolt::ctl::bench {

enum class DiskKind : uint8_t { kRead, kWrite, kDurableWrite };

struct DiskWorkload : Workload {
  DiskKind kind = DiskKind::kRead;
  bool in_order = false;  ///< from the beginning, and over again; else anywhere
};

/// Tells each line as soon as it is measured; stops at the first that fails. Writes only where `target` allows it.
void bench_disk(io::RingIo& io, const std::string& label, const DiskTarget& target, Clock::duration time, const std::function<void(const Measured&)>& tell);

}  // namespace ringbolt::ctl::bench
