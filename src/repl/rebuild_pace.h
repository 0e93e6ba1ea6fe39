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
  /// Before a pause: what the lane had under way ends, and requests that it had slowed down.
  static constexpr io::Nanos kSettle = 20 * io::kMillisecond;
  static constexpr uint32_t kSettlesMost = 15;
  static constexpr io::Nanos kPause = 40 * io::kMillisecond;
  /// Of pauses in a row, where clients send little.
  static constexpr io::Nanos kPauseMost = 200 * io::kMillisecond;
  static constexpr uint32_t kSlicesPerPause = 8;

  /// A part as it was.
  struct Seen {
    ClientWatch::Seen own;   ///< clients of the volume
    ClientWatch::Seen node;  ///< of all volumes of this node
    uint64_t bytes = 0;      ///< what the lane began to read
    bool under_way = false;  ///< some of it is not dealt with yet
  };

  /// The present part is over.
  void end_part(const Seen& seen) {
    switch (part_) {
      case Part::kSettling:
        // Once more when all is done: what the lane delayed ends then.
        if (settled_ || ++settles_ >= kSettlesMost) part_ = Part::kPause;
        settled_ = !seen.under_way;
        return;
      case Part::kPause: return end_pause(seen);
      case Part::kSliceAlone:
      case Part::kSlice: return end_slice(seen);
    }
  }

  /// Another lane of this node pauses: this one does, too, and learns from it. Who just did so goes on instead; false then.
  bool join_pause() {
    if (pausing() || just_paused_) return false;
    begin_pause();
    return true;
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

  void begin_pause() {
    slices_ = settles_ = 0;
    settled_ = false;
    paused_ = 0;
    own_.begin_pauses();
    node_.begin_pauses();
    part_ = Part::kSettling;
  }

  void end_pause(const Seen& seen) {
    paused_ += kPause;
    own_.end_pause(seen.own.latency);
    node_.end_pause(seen.node.latency);
    if (!(own_.pauses_suffice() && node_.pauses_suffice()) && paused_ < kPauseMost) return;
    own_.end_pauses();
    node_.end_pauses();
    just_paused_ = true;
    part_ = Part::kSlice;
  }

  void end_slice(const Seen& seen) {
    const bool whole = part_ == Part::kSlice;
    const io::Nanos length = part();
    bytes_ += seen.bytes;
    time_ += length;
    // Where another lane's pause took all of the slice, this one's turn is still to come: two that pause in turns must not keep each other from reading.
    const bool idle = just_paused_ && seen.bytes == 0;
    just_paused_ = idle;
    hear(own_said_, own_.end_slice(seen.own, length, whole));
    hear(node_said_, node_.end_slice(seen.node, length, whole));
    const Verdict verdict = std::max(own_said_, node_said_);
    switch (verdict) {
      case Verdict::kNobody: rate_ = std::min(rate_ * 2, kRateMax); break;
      case Verdict::kFine:
        // Of slices that were put together each one counts, up to a few.
        rate_ = std::min(rate_ + rate_ / 8 * static_cast<uint64_t>(std::clamp<io::Nanos>(time_ / kSlice, 1, 4)), kRateMax);
        break;
      case Verdict::kUnknown: break;
      case Verdict::kSlow: {
        // A rate that the lane has never reached is not what slows clients down, and takes long to come down.
        const uint64_t achieved = bytes_ * uint64_t{io::kSecond / kSliceAlone} / static_cast<uint64_t>(time_ / kSliceAlone);
        rate_ = std::max(std::min(rate_, achieved) * 3 / 5, kRateMin);
        break;
      }
    }
    if (verdict != Verdict::kUnknown) {
      bytes_ = 0;
      time_ = 0;
      own_said_ = node_said_ = Verdict::kUnknown;
    }
    const bool unknown = own_.unknown() || node_.unknown();
    // Whatever it was before they came.
    if (unknown) rate_ = std::min(rate_, kRateStart);
    const bool present = own_.present() || node_.present();
    part_ = !present && seen.own.nothing() && seen.node.nothing() ? Part::kSliceAlone : Part::kSlice;
    if (whole && present) ++slices_;
    // The first pause comes at once: without it nothing can be compared.
    if (!idle && (own_.wants_pause() || node_.wants_pause() || slices_ >= kSlicesPerPause)) begin_pause();
  }

  /// Each set of clients has enough requests to judge by after slices of its own number: what one has said holds until the other has said something.
  static void hear(Verdict& said, Verdict now) {
    if (now != Verdict::kUnknown) said = now;
  }

  uint64_t rate_ = kRateStart;
  ClientWatch own_, node_;
  Verdict own_said_ = Verdict::kUnknown, node_said_ = Verdict::kUnknown;  // since the last change of the rate
  uint64_t bytes_ = 0;   // read since the last verdict
  io::Nanos time_ = 0;
  io::Nanos paused_ = 0;  // in this run of pauses
  uint32_t slices_ = 0, settles_ = 0;
  bool settled_ = false;
  bool just_paused_ = false;
  Part part_ = Part::kSliceAlone;
};

}  // namespace ringbolt::repl
