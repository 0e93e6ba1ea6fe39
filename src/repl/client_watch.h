// How one set of clients fares beside a base lane, and without it: what a rebuild's pace is judged by. Pure.
//
// A percentile needs requests. Clients that send many show theirs in one slice; of those that send few, slices are put together until there
// are enough, and the percentile that is compared is one that so few can show: a single slow request among thirty is no sign of anything. What is
// seen less than twice a second is not yielded to.
#pragma once

#include <algorithm>
#include <cstdint>

#include "io/io.h"
#include "repl/latency_histogram.h"

namespace ringbolt::repl {

class ClientWatch {
 public:
  /// So many requests have a 99th percentile, fewer a 90th, and fewer than that a median.
  static constexpr uint64_t kForP99 = 300, kForP90 = 30;
  /// So long slices are put together at most; and who sends fewer than kRequestsFew in it is not yielded to.
  static constexpr io::Nanos kTogether = 2 * io::kSecond;
  static constexpr uint64_t kRequestsFew = 4;
  /// Requests in pauses: without fewer nothing is compared; a run of pauses has shown enough with as many, or if there are plenty of earlier ones.
  static constexpr uint64_t kAloneMin = 15, kAlonePlenty = 60;
  /// Older ones count half when there are more.
  static constexpr uint64_t kAloneKept = 1000;
  /// Of what clients see without the lane, in percent: the most that slices may show. Below the twice that is promised, as the rate goes
  /// up until a slice shows more, and as there is more between here and a client.
  static constexpr int64_t kLimitPercent = 150;

  /// In this order: of several sets of clients the last one decides.
  enum class Verdict : uint8_t {
    kNobody,   ///< to yield to
    kFine,
    kUnknown,  ///< not enough is known yet
    kSlow,     ///< the lane slows them down too much
  };

  /// A part of time as they had it.
  struct Seen {
    LatencyHistogram latency;  ///< of the requests that ended in it
    uint64_t waited = 0;       ///< those that were open when it began
    uint64_t waiting = 0;      ///< and when it ended
    [[nodiscard]] bool nothing() const { return waited == 0 && waiting == 0 && latency.count() == 0; }
  };

  /// A slice in which the lane ran is over. `whole`: long enough to say that a request without an answer was stalled.
  Verdict end_slice(const Seen& seen, io::Nanos length, bool whole) {
    if (seen.latency.count() > 0) stuck_ = false;
    if (whole && seen.latency.count() == 0 && seen.waited > 0) {
      // Clients that get no answer at all must not be taken for none; unless they get none without the lane, either: what they wait for may be
      // this very rebuild.
      stalled_ = !stuck_;
      return judged(stuck_ ? Verdict::kNobody : Verdict::kSlow);
    }
    beside_.add(seen.latency);
    together_ += length;
    const uint64_t count = beside_.count();
    if (count >= kRequestsFew) present_ = true;
    if (!present_) {
      if (together_ >= kTogether) return judged(Verdict::kNobody);
      return Verdict::kNobody;
    }
    // What is plain is not waited for.
    if (known() && count >= kForP90 && is_slow(900, 930)) return judged(Verdict::kSlow);
    if (count < kForP99 && together_ < kTogether) return Verdict::kUnknown;
    if (count < kRequestsFew) {
      present_ = false;
      return judged(Verdict::kNobody);
    }
    if (!known()) return judged(Verdict::kUnknown);
    // Compared with a little more than the same of theirs alone: that was counted over fewer requests, or other ones.
    const bool slow = count >= kForP99 ? is_slow(990, 995) : count >= kForP90 ? is_slow(900, 930) : is_slow(500, 600);
    return judged(slow ? Verdict::kSlow : Verdict::kFine);
  }

  void begin_pauses() { answered_ = 0; }
  /// One pause of those in a row is over.
  void end_pause(const LatencyHistogram& latency) {
    answered_ += latency.count();
    without_.add(latency);
  }
  /// They have shown what they had to, or there is nobody who could show it.
  [[nodiscard]] bool pauses_suffice() const {
    if (stalled_) return answered_ > 0;
    return !present_ || answered_ >= kAloneMin || without_.count() >= kAlonePlenty;
  }
  void end_pauses() {
    stuck_ = stalled_ && answered_ == 0;
    stalled_ = false;
    if (without_.count() > kAloneKept) without_.halve();
  }

  /// A pause is to show something at once: what they see without the lane, or whether it is the lane that they wait for.
  [[nodiscard]] bool wants_pause() const { return stalled_ || unknown(); }
  /// There are clients to yield to, and what they see without the lane is not known yet.
  [[nodiscard]] bool unknown() const { return present_ && !known(); }
  [[nodiscard]] bool present() const { return present_ || stalled_; }
  /// Their 99th percentile without the lane, as far as known; 0: not yet.
  [[nodiscard]] io::Nanos alone() const { return known() ? without_.percentile(990) : 0; }

 private:
  [[nodiscard]] bool known() const { return without_.count() >= kAloneMin; }
  [[nodiscard]] bool is_slow(uint32_t per_mille, uint32_t alone_per_mille) const {
    return beside_.percentile(per_mille) * 100 > kLimitPercent * without_.percentile(alone_per_mille);
  }
  Verdict judged(Verdict verdict) {
    beside_ = {};
    together_ = 0;
    return verdict;
  }

  LatencyHistogram beside_;   // since the last verdict
  io::Nanos together_ = 0;    // of these slices
  LatencyHistogram without_;  // of pauses
  uint64_t answered_ = 0;     // in this run of pauses
  bool present_ = false;
  bool stalled_ = false;  // in the last slice, and not asked yet whether the lane is why
  bool stuck_ = false;    // it is not
};

}  // namespace ringbolt::repl
