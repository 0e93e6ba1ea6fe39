// How long records are under way to a replica: from their handing to the connection to their acknowledgement as written. For
// people and monitoring. Of the sends that are not acknowledged yet the oldest few are timed, each once; no allocation.
#pragma once

#include <array>
#include <cstddef>

#include "io/io.h"
#include "ringbolt/duration_histogram.h"
#include "ringbolt/types.h"

namespace ringbolt::repl {

class RoundTrips {
 public:
  /// Everything up to `last` has been handed to the connection. While there is no room, a send is not timed.
  void sent(Lsn last, io::Nanos now) {
    if (size_ == kMax) return;
    sends_[(first_ + size_++) % kMax] = {last, now};
  }
  void acknowledged(Lsn written, io::Nanos now) {
    while (size_ > 0 && sends_[first_].last <= written) {
      times_.add(now - sends_[first_].at);
      first_ = (first_ + 1) % kMax;
      --size_;
    }
  }
  /// What is under way on a connection that is over is acknowledged by nobody.
  void forget() { size_ = 0; }
  [[nodiscard]] const DurationHistogram& times() const { return times_; }

 private:
  static constexpr size_t kMax = 64;
  struct Send {
    Lsn last;
    io::Nanos at = 0;
  };
  std::array<Send, kMax> sends_{};
  size_t first_ = 0, size_ = 0;
  DurationHistogram times_;
};

}  // namespace ringbolt::repl
