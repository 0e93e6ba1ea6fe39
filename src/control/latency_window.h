// What counts of latencies, which only grow, say of the time between two looks at them. Pure.
#pragma once

#include <optional>
#include <vector>

#include "control/status.h"

namespace ringbolt {

/// What was added to `now` since `before`; nullopt if that is no earlier part of the same count. Both in order, without empty buckets.
std::optional<std::vector<LatencyBucket>> latency_added(const std::vector<LatencyBucket>& before, const std::vector<LatencyBucket>& now);
uint64_t latency_total(const std::vector<LatencyBucket>& window);
/// The upper end of the bucket in which the `per_mille`-th thousandth lies; 0 if there is nothing.
uint64_t latency_percentile_us(const std::vector<LatencyBucket>& window, uint64_t per_mille);

}  // namespace ringbolt
