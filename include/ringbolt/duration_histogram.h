// How long something took, in fixed buckets that double from 8 us to about 17 s: what a monitoring system adds up over
// volumes and hosts. Counts and the sum only grow. No allocation, no lock: one thread adds, a copy is a snapshot.
//
// repl/latency_histogram.h has the finer buckets of the live page, which looks at differences only and lets counts wrap.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace ringbolt {

class DurationHistogram {
 public:
  /// Buckets with an upper bound; what took longer is in one more.
  static constexpr size_t kBounds = 22;

  void add(int64_t nanoseconds) {
    const auto nanos = static_cast<uint64_t>(std::max<int64_t>(nanoseconds, 0));
    ++counts_[bucket_of(nanos)];
    sum_ns_ += nanos;
  }
  void add(const DurationHistogram& other) {
    for (size_t i = 0; i <= kBounds; ++i) counts_[i] += other.counts_[i];
    sum_ns_ += other.sum_ns_;
  }
  /// The most that is counted in bucket `index`, in nanoseconds. Requires: index < kBounds.
  static constexpr uint64_t upper_ns(size_t index) { return uint64_t{1000} << (kFirstPower + index); }
  /// Of that bucket alone; `index` == kBounds: what took longer than all bounds.
  [[nodiscard]] uint64_t count_in(size_t index) const { return counts_[index]; }
  [[nodiscard]] uint64_t count() const {
    uint64_t sum = 0;
    for (const uint64_t n : counts_) sum += n;
    return sum;
  }
  [[nodiscard]] uint64_t sum_ns() const { return sum_ns_; }
  bool operator==(const DurationHistogram&) const = default;

 private:
  static constexpr size_t kFirstPower = 3;  // 2^3 us

  static size_t bucket_of(uint64_t nanos) {
    const uint64_t micros = (nanos + 999) / 1000;  // up: a bound belongs to its bucket
    if (micros <= (1u << kFirstPower)) return 0;
    return std::min<size_t>(static_cast<size_t>(std::bit_width(micros - 1)) - kFirstPower, kBounds);
  }

  std::array<uint64_t, kBounds + 1> counts_{};
  uint64_t sum_ns_ = 0;
};

}  // namespace ringbolt
