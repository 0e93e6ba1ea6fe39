#include "control/volume_load.h"

#include <cmath>

#include "control/latency_window.h"

namespace ringbolt {
namespace {

uint64_t rate(uint64_t count, double seconds) { return static_cast<uint64_t>(std::llround(static_cast<double>(count) / seconds)); }

}  // namespace

std::optional<VolumeLoad> load_between(const VolumeStatus& before, const VolumeStatus& now, double seconds) {
  if (before.role != now.role || before.epoch != now.epoch || seconds <= 0) return std::nullopt;
  if (!before.wal_head || !now.wal_head || *now.wal_head < *before.wal_head) return std::nullopt;
  const auto window = latency_added(before.latency, now.latency);
  if (!window) return std::nullopt;
  const uint64_t total = latency_total(*window);
  VolumeLoad load;
  if (now.role == "primary") load.requests_per_second = rate(total, seconds);
  load.records_per_second = rate(*now.wal_head - *before.wal_head, seconds);
  if (before.wal_position_bytes && now.wal_position_bytes && *now.wal_position_bytes >= *before.wal_position_bytes) {
    load.log_bytes_per_second = rate(*now.wal_position_bytes - *before.wal_position_bytes, seconds);
  }
  if (total > 0) {
    const auto at = [&](uint64_t per_mille) { return latency_percentile_us(*window, per_mille); };
    load.latency = VolumeLoad::Percentiles{at(500), at(900), at(990), at(999)};
  }
  return load;
}

}  // namespace ringbolt
