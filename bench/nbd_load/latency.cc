#include "bench/nbd_load/latency.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace ringbolt::bench {

// Bucket b < kSteps holds the value b. Above, each power of two [2^e, 2^(e+1)) has kSteps buckets.

uint32_t LatencyHistogram::bucket_of(uint64_t value) {
  if (value < kSteps) return static_cast<uint32_t>(value);
  const auto exponent = static_cast<uint32_t>(std::bit_width(value)) - 1;
  const auto step = static_cast<uint32_t>(value >> (exponent - kStepBits)) & (kSteps - 1);
  return (exponent - kStepBits + 1) * kSteps + step;
}

uint64_t LatencyHistogram::upper_end(uint32_t bucket) {
  if (bucket < kSteps) return bucket;
  const uint32_t shift = bucket / kSteps - 1;
  const uint64_t first = (uint64_t{kSteps} + bucket % kSteps) << shift;
  return first + ((uint64_t{1} << shift) - 1);
}

void LatencyHistogram::add(uint64_t nanoseconds) {
  ++buckets_[bucket_of(nanoseconds)];
  ++count_;
  sum_ += nanoseconds;
  max_ = std::max(max_, nanoseconds);
}

double LatencyHistogram::mean() const {
  return count_ == 0 ? 0 : static_cast<double>(sum_) / static_cast<double>(count_);
}

uint64_t LatencyHistogram::percentile(double part) const {
  if (count_ == 0) return 0;
  const auto wanted =
      std::max<uint64_t>(1, static_cast<uint64_t>(std::ceil(part * static_cast<double>(count_))));
  uint64_t seen = 0;
  for (uint32_t bucket = 0; bucket < buckets_.size(); ++bucket) {
    seen += buckets_[bucket];
    if (seen >= wanted) return std::min(upper_end(bucket), max_);
  }
  return max_;
}

}  // namespace ringbolt::bench
