// How long something took, as counts in buckets that grow by a fifth: enough for a percentile that is right within a fifth.
// Counts only grow; a window of time is the difference of two copies. No allocation. One thread counts; any may copy meanwhile, and has each
// count as it was at some moment.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "io/io.h"

namespace ringbolt::repl {

class LatencyHistogram {
 public:
  LatencyHistogram() = default;
  LatencyHistogram(const LatencyHistogram& other) { *this = other; }
  LatencyHistogram& operator=(const LatencyHistogram& other) {
    for (size_t i = 0; i < kBuckets; ++i) set(i, other.at(i));
    return *this;
  }

  void add(io::Nanos latency) {
    const size_t bucket = bucket_of(latency);
    set(bucket, at(bucket) + 1);
  }
  void add(const LatencyHistogram& other) {
    for (size_t i = 0; i < kBuckets; ++i) set(i, at(i) + other.at(i));
  }
  [[nodiscard]] uint64_t count() const {
    uint64_t sum = 0;
    for (size_t i = 0; i < kBuckets; ++i) sum += at(i);
    return sum;
  }
  /// Upper end of the bucket in which the `per_mille`-th thousandth lies; 0 if there is nothing.
  [[nodiscard]] io::Nanos percentile(uint32_t per_mille) const {
    const uint64_t total = count();
    if (total == 0) return 0;
    const uint64_t wanted = (total * per_mille + 999) / 1000;
    uint64_t seen = 0;
    for (size_t i = 0; i < kBuckets; ++i) {
      seen += at(i);
      if (seen >= wanted) return upper_end(i);
    }
    return upper_end(kBuckets - 1);
  }
  /// Calls `tell(upper end, count)` for each bucket that is not empty, in order.
  template <class Tell>
  void each(const Tell& tell) const {
    for (size_t i = 0; i < kBuckets; ++i) {
      if (const uint32_t n = at(i); n > 0) tell(upper_end(i), n);
    }
  }
  /// What was added since `before`, an earlier copy.
  [[nodiscard]] LatencyHistogram since(const LatencyHistogram& before) const {
    LatencyHistogram window;
    for (size_t i = 0; i < kBuckets; ++i) window.set(i, at(i) - before.at(i));  // wraps as it should
    return window;
  }

 private:
  // Four buckets for each power of two, of microseconds: 1 us to about an hour.
  static constexpr size_t kBuckets = 128;
  // Ordinary loads and stores to the processor: only one thread writes, so nothing is read, changed and written as one.
  [[nodiscard]] uint32_t at(size_t bucket) const { return counts_[bucket].load(std::memory_order_relaxed); }
  void set(size_t bucket, uint32_t count) { counts_[bucket].store(count, std::memory_order_relaxed); }
  static size_t bucket_of(io::Nanos latency) {
    const auto micros = static_cast<uint64_t>(latency < 0 ? 0 : latency / io::kMicrosecond);
    if (micros < 4) return static_cast<size_t>(micros);
    const auto power = static_cast<size_t>(std::bit_width(micros)) - 1;  // at least 2
    const size_t quarter = (micros >> (power - 2)) & 3;
    return std::min(power * 4 - 4 + quarter, kBuckets - 1);
  }
  static io::Nanos upper_end(size_t bucket) {
    if (bucket < 4) return static_cast<io::Nanos>(bucket + 1) * io::kMicrosecond;
    const size_t power = (bucket + 4) / 4;
    return static_cast<io::Nanos>(((bucket % 4) + 5) << (power - 2)) * io::kMicrosecond;
  }

  std::array<std::atomic<uint32_t>, kBuckets> counts_{};
};

}  // namespace ringbolt::repl
