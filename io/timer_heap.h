// The timers of one Io: a binary heap of intrusive Timers, earliest deadline first, ties in the
// order of arming. Shared by the real and the simulated implementation so that both fire alike.
#pragma once

#include <cstdint>
#include <vector>

#include "io/io.h"

namespace ringbolt::io {

class TimerHeap {
 public:
  /// Room for `reserve` armed timers without allocation.
  explicit TimerHeap(size_t reserve = 4096) { heap_.reserve(reserve); }
  ~TimerHeap() { clear(); }
  TimerHeap(const TimerHeap&) = delete;
  TimerHeap& operator=(const TimerHeap&) = delete;

  void arm(Timer& timer, Nanos deadline);
  void disarm(Timer& timer);
  [[nodiscard]] bool empty() const { return heap_.empty(); }
  [[nodiscard]] size_t size() const { return heap_.size(); }
  /// Requires: not empty.
  [[nodiscard]] Nanos next_deadline() const { return heap_.front()->deadline_; }
  [[nodiscard]] bool due(Nanos now) const { return !empty() && next_deadline() <= now; }

  /// Fires, in order, the timers due at `now` that were armed before this call: one that arms
  /// itself again with no delay gets its turn in the next call, so that the loop goes on. Stops
  /// early when
  /// `*stop` becomes true (checked after each timer). Returns how many fired.
  size_t fire_due(Nanos now, const bool* stop = nullptr);
  /// Disarms all.
  void clear();

 private:
  [[nodiscard]] static bool before(const Timer& a, const Timer& b);
  void place(Timer* timer, size_t index);
  void sift_up(size_t index);
  void sift_down(size_t index);
  void remove_at(size_t index);

  std::vector<Timer*> heap_;
  uint64_t next_sequence_ = 1;
};

}  // namespace ringbolt::io
