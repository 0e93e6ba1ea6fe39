// Latencies of a run in constant memory: a histogram whose steps are 1/128 of the value.
#pragma once

#include <array>
#include <cstdint>

namespace ringbolt::bench {

class LatencyHistogram {
 public:
  void add(uint64_t nanoseconds);
  [[nodiscard]] uint64_t count() const { return count_; }
  /// Nanoseconds; 0 if empty.
  [[nodiscard]] double mean() const;
  /// Nanoseconds that a `part` (0 .. 1) of the values do not exceed, at most 1 % too high; 0 if
  /// empty.
  [[nodiscard]] uint64_t percentile(double part) const;

 private:
  static constexpr uint32_t kStepBits = 7;
  static constexpr uint32_t kSteps = 1u << kStepBits;
  static uint32_t bucket_of(uint64_t value);
  static uint64_t upper_end(uint32_t bucket);

  std::array<uint64_t, (65 - kStepBits) * kSteps> buckets_{};
  uint64_t count_ = 0;
  uint64_t sum_ = 0;
  uint64_t max_ = 0;
};

}  // namespace ringbolt::bench
