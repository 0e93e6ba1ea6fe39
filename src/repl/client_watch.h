// How one set of clients fares beside a base lane, and without it: what a rebuild's pace is judged by. Pure.
//
// A percentile needs requests. Clients that send many show it in one slice; of those that send few, slices are put together until there are
// enough, and so are pauses. What is seen less than twice a second has no percentile that is worth waiting for.
#pragma once

#include <algorithm>
#include <cstdint>

#include "io/io.h"
#include "repl/latency_histogram.h"

namespace ringbolt::repl {

class ClientWatch {
 public:
  /// Fewer requests say nothing of a percentile.
  static constexpr uint64_t kRequestsMin = 30;
  static constexpr uint64_t kPauseRequestsMin = kRequestsMin / 2;
  /// So long slices are put together at most; and who sends fewer than kRequestsFew in it is not yielded to.
  static constexpr io::Nanos kTogether = 2 * io::kSecond;
  static constexpr uint64_t kRequestsFew = 4;
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
    const bool stalled = whole && seen.latency.count() == 0 && seen.waited > 0;
    beside_.add(seen.latency);
    together_ += length;
    const uint64_t count = beside_.count();
    if (count >= kRequestsFew) present_ = true;
    // Clients that get no answer at all must not be taken for none.
    if (stalled) return judged(Verdict::kSlow);
    if (count < kRequestsMin && together_ < kTogether) return present_ ? Verdict::kUnknown : Verdict::kNobody;
    if (count < kRequestsFew) {
      present_ = false;
      return judged(Verdict::kNobody);
    }
    if (alone_ == 0) return judged(Verdict::kUnknown);
    return judged(beside_.percentile(990) * 100 > kLimitPercent * alone_ ? Verdict::kSlow : Verdict::kFine);
  }

  /// A pause of the lane is over.
  void end_pause(const LatencyHistogram& latency) {
    without_.add(latency);
    if (without_.count() < kPauseRequestsMin) return;
    const io::Nanos p99 = without_.percentile(990);
    alone_ = alone_ == 0 ? p99 : (alone_ * 3 + p99) / 4;
    without_ = {};
    learned_ = true;
  }
  /// The pauses since begin_pause() have shown what they had to, or there is nobody who could show it.
  [[nodiscard]] bool learned() const { return learned_ || !present_; }
  void begin_pause() { learned_ = false; }

  /// There are clients to yield to, and what they see without the lane is not known yet.
  [[nodiscard]] bool unknown() const { return present_ && alone_ == 0; }
  [[nodiscard]] bool present() const { return present_; }
  /// Their 99th percentile without the lane, as far as known; 0: not yet.
  [[nodiscard]] io::Nanos alone() const { return alone_; }

 private:
  Verdict judged(Verdict verdict) {
    beside_ = {};
    together_ = 0;
    return verdict;
  }

  LatencyHistogram beside_, without_;
  io::Nanos together_ = 0;  // of beside_
  io::Nanos alone_ = 0;
  bool present_ = false;
  bool learned_ = false;
};

}  // namespace ringbolt::repl
