// What a volume did for its clients between two looks at it. Pure.
#pragma once

#include <cstdint>
#include <optional>

#include "control/status.h"

namespace ringbolt {

struct VolumeLoad {
  struct Percentiles {
    uint64_t p50_us = 0, p90_us = 0, p99_us = 0, p999_us = 0;
    bool operator==(const Percentiles&) const = default;
  };
  std::optional<uint64_t> requests_per_second;  ///< answered: reads, writes, flushes, trims; nullopt: it is no primary
  uint64_t records_per_second = 0;              ///< logged: what changes the volume
  std::optional<uint64_t> log_bytes_per_second;
  std::optional<Percentiles> latency;  ///< of the requests that were answered, right within a fifth; nullopt: there were none
  bool operator==(const VolumeLoad&) const = default;
};

/// Nullopt if the two have nothing in common to compare: another role or epoch, or a log that was cut.
/// `seconds`: from one look to the other.
std::optional<VolumeLoad> load_between(const VolumeStatus& before, const VolumeStatus& now, double seconds);

}  // namespace ringbolt
