// How fast a base lane may go so that clients hardly notice: their 99th percentile is to stay within twice of what it is without
// the lane, and the lane gets on all the same. Pure: told what clients saw, says a rate.
//
// It alternates. In a short pause the lane reads nothing, and clients show what their latency is alone; in the slices between
// they show what the lane does to them. Too slow in a slice: the rate goes down by much, from what was really read; else it goes
// up by little. Where clients do nothing there is nobody to yield to: the rate doubles in short steps.
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
  /// As long as there are no clients at all.
  static constexpr io::Nanos kSliceAlone = 25 * io::kMillisecond;
  /// Of a pause: what the lane had under way ends, and requests that it had slowed down.
  static constexpr io::Nanos kSettle = 20 * io::kMillisecond;
  static constexpr io::Nanos kPause = 40 * io::kMillisecond;
  static constexpr uint32_t kSlicesPerPause = 8;
  /// Fewer requests say nothing of a percentile.
  static constexpr uint64_t kRequestsMin = 30;
  /// Of what clients see without the lane, in percent: the most that a slice may show. Below the twice that is promised, as the rate goes
  /// up until a slice shows more, and as there is more between here and a client.
  static constexpr int64_t kLimitPercent = 150;

  /// A part as it was.
  struct Seen {
    LatencyHistogram clients;  ///< the requests that ended in it
    uint64_t waited = 0;       ///< those that were open when it began
    uint64_t waiting = 0;      ///< and when it ended
    uint64_t bytes = 0;        ///< what the lane began to read
  };

  /// The present part is over.
  void end_part(const Seen& seen) {
    const uint64_t count = seen.clients.count();
    const io::Nanos p99 = seen.clients.percentile(990);
    // Clients that get no answer at all must not be taken for none: what was open then has waited for all of the part.
    const bool stalled = count == 0 && seen.waited > 0;
    const bool nobody = count == 0 && seen.waited == 0 && seen.waiting == 0;
    switch (part_) {
      case Part::kSettling: part_ = Part::kPause; return;
      case Part::kPause:
        if (count >= kRequestsMin / 2) alone_ = alone_ == 0 ? p99 : (alone_ * 3 + p99) / 4;
        part_ = Part::kSlice;
        return;
      case Part::kSliceAlone:
        if (nobody) {
          rate_ = std::min(rate_ * 2, kRateMax);
        } else {
          part_ = Part::kSlice;  // too short to judge by
        }
        return;
      case Part::kSlice: break;
    }
    if (stalled || (count >= kRequestsMin && alone_ != 0 && p99 * 100 > kLimitPercent * alone_)) {
      // A rate that the lane has never reached is not what slows clients down, and takes long to come down.
      const uint64_t achieved = seen.bytes * uint64_t{io::kSecond / kSlice};
      rate_ = std::max(std::min(rate_, achieved) * 3 / 5, kRateMin);
    } else if (count < kRequestsMin) {
      rate_ = std::min(rate_ * 2, kRateMax);  // nobody minds
    } else if (alone_ != 0) {
      rate_ = std::min(rate_ + rate_ / 8, kRateMax);
    }
    if (nobody) {
      part_ = Part::kSliceAlone;
    } else if (count >= kRequestsMin && (alone_ == 0 || ++slices_ >= kSlicesPerPause)) {
      // The first pause comes at once: without it nothing can be compared.
      slices_ = 0;
      part_ = Part::kSettling;
    }
  }

  [[nodiscard]] bool pausing() const { return part_ == Part::kSettling || part_ == Part::kPause; }
  /// How long the present part is.
  [[nodiscard]] io::Nanos part() const {
    switch (part_) {
      case Part::kSliceAlone: return kSliceAlone;
      case Part::kSlice: return kSlice;
      case Part::kSettling: return kSettle;
      case Part::kPause: return kPause;
    }
    return kSlice;
  }
  /// Bytes per second, kRateMin .. kRateMax.
  [[nodiscard]] uint64_t rate() const { return rate_; }
  /// What clients see without the lane, as far as known; 0: not yet.
  [[nodiscard]] io::Nanos alone() const { return alone_; }

 private:
  uint64_t rate_ = kRateStart;
  io::Nanos alone_ = 0;
  uint32_t slices_ = 0;
  enum class Part : uint8_t { kSliceAlone, kSlice, kSettling, kPause };
  Part part_ = Part::kSliceAlone;
};

}  // namespace ringbolt::repl
