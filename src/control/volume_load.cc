#include "control/volume_load.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace ringbolt {
namespace {

/// What was added to `now` since `before`; nullopt if that is an earlier part of another count.
std::optional<std::vector<LatencyBucket>> added(const std::vector<LatencyBucket>& before, const std::vector<LatencyBucket>& now) {
  std::vector<LatencyBucket> window;
  auto old = before.begin();
  for (const LatencyBucket& bucket : now) {
    // A bucket that was not empty stays so.
    if (old != before.end() && old->upper_ns < bucket.upper_ns) return std::nullopt;
    uint32_t count = bucket.count;
    if (old != before.end() && old->upper_ns == bucket.upper_ns) count -= (old++)->count;  // wraps as it should
    // So many in one look nobody has: it has begun anew.
    if (count > std::numeric_limits<int32_t>::max()) return std::nullopt;
    if (count > 0) window.push_back({bucket.upper_ns, count});
  }
  if (old != before.end()) return std::nullopt;
  return window;
}

uint64_t percentile_us(const std::vector<LatencyBucket>& window, uint64_t total, uint64_t per_mille) {
  const uint64_t wanted = (total * per_mille + 999) / 1000;
  uint64_t seen = 0;
  for (const LatencyBucket& bucket : window) {
    seen += bucket.count;
    if (seen >= wanted) return bucket.upper_ns / 1000;
  }
  return 0;
}

uint64_t rate(uint64_t count, double seconds) { return static_cast<uint64_t>(std::llround(static_cast<double>(count) / seconds)); }

}  // namespace

std::optional<VolumeLoad> load_between(const VolumeStatus& before, const VolumeStatus& now, double seconds) {
  if (before.role != now.role || before.epoch != now.epoch || seconds <= 0) return std::nullopt;
  if (!before.wal_head || !now.wal_head || *now.wal_head < *before.wal_head) return std::nullopt;
  const auto window = added(before.latency, now.latency);
  if (!window) return std::nullopt;
  uint64_t total = 0;
  for (const LatencyBucket& bucket : *window) total += bucket.count;
  VolumeLoad load;
  if (now.role == "primary") load.requests_per_second = rate(total, seconds);
  load.records_per_second = rate(*now.wal_head - *before.wal_head, seconds);
  if (before.wal_position_bytes && now.wal_position_bytes && *now.wal_position_bytes >= *before.wal_position_bytes) {
    load.log_bytes_per_second = rate(*now.wal_position_bytes - *before.wal_position_bytes, seconds);
  }
  if (total > 0) {
    const auto at = [&](uint64_t per_mille) { return percentile_us(*window, total, per_mille); };
    load.latency = VolumeLoad::Percentiles{at(500), at(900), at(990), at(999)};
  }
  return load;
}

}  // namespace ringbolt
