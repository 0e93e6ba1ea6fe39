#include "control/latency_window.h"

#include <limits>

namespace ringbolt {

std::optional<std::vector<LatencyBucket>> latency_added(const std::vector<LatencyBucket>& before, const std::vector<LatencyBucket>& now) {
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

uint64_t latency_total(const std::vector<LatencyBucket>& window) {
  uint64_t total = 0;
  for (const LatencyBucket& bucket : window) total += bucket.count;
  return total;
}

uint64_t latency_percentile_us(const std::vector<LatencyBucket>& window, uint64_t per_mille) {
  const uint64_t wanted = (latency_total(window) * per_mille + 999) / 1000;
  uint64_t seen = 0;
  for (const LatencyBucket& bucket : window) {
    seen += bucket.count;
    if (seen >= wanted) return bucket.upper_ns / 1000;
  }
  return 0;
}

}  // namespace ringbolt
