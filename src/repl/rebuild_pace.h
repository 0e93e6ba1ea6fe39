// How fast a base lane may go so that clients hardly notice: their 99th percentile is to stay within twice of what it is without
// the lane, and the lane gets on all the same. Pure: told what clients saw, says a rate.
//
// It alternates. In a short pause the lane reads nothing, and clients show what their latency is alone; in the slices between
// they show what the lane does to them. Too slow in a slice: the rate goes down by much; else it goes up by little. Where
// clients do nothing there is nobody to yield to.
#pragma once

#include <algorithm>
#include <cstdint>

#include "io/io.h"
#include "repl/latency_histogram.h"

namespace ringbolt::repl {

class RebuildPace {
 public:
  static constexpr uint64_t kRateMin = uint64_t{8} << 20;  ///< bytes per second: an end is always in sight
  static constexpr uint64_t kRateStart = uint64_t{64} << 20;
  static constexpr uint64_t kRateMax = uint64_t{64} << 30;
  static constexpr io::Nanos kSlice = 200 * io::kMillisecond;
  static constexpr io::Nanos kPause = 40 * io::kMillisecond;
  static constexpr uint32_t kSlicesPerPause = 8;
  /// Fewer requests say nothing of a percentile.
  static constexpr uint64_t kRequestsMin = 30;

  /// The present part is over; `clients`: the requests that ended in it.
  void end_part(const LatencyHistogram& clients) {
    const uint64_t count = clients.count();
    const io::Nanos p99 = clients.percentile(990);
    if (pausing_) {
      if (count >= kRequestsMin / 2) alone_ = alone_ == 0 ? p99 : (alone_ * 3 + p99) / 4;
      pausing_ = false;
      return;
    }
    if (count < kRequestsMin) {
      rate_ = std::min(rate_ * 2, kRateMax);  // nobody minds
    } else if (alone_ != 0) {
      rate_ = p99 > 2 * alone_ ? std::max(rate_ * 3 / 5, kRateMin) : std::min(rate_ + rate_ / 8, kRateMax);
    }
    busy_ = count >= kRequestsMin;
    // The first pause comes at once: without it nothing can be compared.
    if (busy_ && (alone_ == 0 || ++slices_ >= kSlicesPerPause)) {
      slices_ = 0;
      pausing_ = true;
    }
  }

  [[nodiscard]] bool pausing() const { return pausing_; }
  [[nodiscard]] io::Nanos part() const { return pausing_ ? kPause : kSlice; }
  /// Bytes per second, kRateMin .. kRateMax.
  [[nodiscard]] uint64_t rate() const { return rate_; }
  /// What clients see without the lane, as far as known; 0: not yet.
  [[nodiscard]] io::Nanos alone() const { return alone_; }

 private:
  uint64_t rate_ = kRateStart;
  io::Nanos alone_ = 0;
  uint32_t slices_ = 0;
  bool pausing_ = false;
  bool busy_ = false;
};

}  // namespace ringbolt::repl
