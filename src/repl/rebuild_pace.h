// How fast a base lane may go so that clients hardly notice: their 99th percentile is to stay within twice of what it is without
// the lane, and the lane gets on all the same. Pure: told what clients saw, says a rate.
//
// It alternates. In a short pause the lane reads nothing, and clients show what their latency is alone; in the slices between
// they show what the lane does to them. Too slow in a slice: the rate goes down by much, from what was really read; else it goes
// up by little. Where clients do nothing there is nobody to yield to: the rate doubles in short steps.
//
// Two sets of clients are looked at: those of the volume that is copied, and all of this node together. The second is coarse, since a
// percentile of all says little of one volume among many; but an idle volume's rebuild must not push a busy one aside.
#pragma once

#include <algorithm>
#include <cstdint>

#include "io/io.h"
#include "repl/client_watch.h"

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
  /// Of pauses in a row, where clients send little.
  static constexpr io::Nanos kPauseMost = 200 * io::kMillisecond;
  static constexpr uint32_t kSlicesPerPause = 8;

  /// A part as it was.
  struct Seen {
    ClientWatch::Seen own;   ///< clients of the volume
    ClientWatch::Seen node;  ///< of all volumes of this node
    uint64_t bytes = 0;      ///< what the lane began to read
  };

  /// The present part is over.
  void end_part(const Seen& seen) {
    switch (part_) {
      case Part::kSettling: part_ = Part::kPause; return;
      case Part::kPause: return end_pause(seen);
      case Part::kSliceAlone:
      case Part::kSlice: return end_slice(seen);
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
  /// What the volume's clients see without the lane, as far as known; 0: not yet.
  [[nodiscard]] io::Nanos alone() const { return own_.alone(); }

 private:
  using Verdict = ClientWatch::Verdict;
  enum class Part : uint8_t { kSliceAlone, kSlice, kSettling, kPause };

  void end_pause(const Seen& seen) {
    paused_ += kPause;
    own_.end_pause(seen.own.latency);
    node_.end_pause(seen.node.latency);
    if ((own_.learned() && node_.learned()) || paused_ >= kPauseMost) part_ = Part::kSlice;
  }

  void end_slice(const Seen& seen) {
    const bool whole = part_ == Part::kSlice;
    const io::Nanos length = part();
    switch (std::max(own_.end_slice(seen.own, length, whole), node_.end_slice(seen.node, length, whole))) {
      case Verdict::kNobody: rate_ = std::min(rate_ * 2, kRateMax); break;
      case Verdict::kFine: rate_ = std::min(rate_ + rate_ / 8, kRateMax); break;
      case Verdict::kUnknown: break;
      case Verdict::kSlow: {
        // A rate that the lane has never reached is not what slows clients down, and takes long to come down.
        const uint64_t achieved = seen.bytes * uint64_t{io::kSecond / kSliceAlone} / static_cast<uint64_t>(length / kSliceAlone);
        rate_ = std::max(std::min(rate_, achieved) * 3 / 5, kRateMin);
        break;
      }
    }
    const bool present = own_.present() || node_.present();
    part_ = !present && seen.own.nothing() && seen.node.nothing() ? Part::kSliceAlone : Part::kSlice;
    if (whole && present) ++slices_;
    // The first pause comes at once: without it nothing can be compared.
    if (own_.unknown() || node_.unknown() || slices_ >= kSlicesPerPause) {
      slices_ = 0;
      paused_ = 0;
      own_.begin_pause();
      node_.begin_pause();
      part_ = Part::kSettling;
    }
  }

  uint64_t rate_ = kRateStart;
  ClientWatch own_, node_;
  io::Nanos paused_ = 0;
  uint32_t slices_ = 0;
  Part part_ = Part::kSliceAlone;
};

}  // namespace ringbolt::repl
