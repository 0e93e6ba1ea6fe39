// Bodies of TimerHeap. Every Timer knows its index, so that moving and disarming need no search.
#include "io/timer_heap.h"

#include "ringbolt/assert.h"

namespace ringbolt::io {

bool TimerHeap::before(const Timer& a, const Timer& b) {
  return a.deadline_ != b.deadline_ ? a.deadline_ < b.deadline_ : a.sequence_ < b.sequence_;
}

void TimerHeap::place(Timer* timer, size_t index) {
  heap_[index] = timer;
  timer->heap_index_ = static_cast<uint32_t>(index);
}

void TimerHeap::sift_up(size_t index) {
  Timer* timer = heap_[index];
  while (index > 0) {
    const size_t parent = (index - 1) / 2;
    if (!before(*timer, *heap_[parent])) break;
    place(heap_[parent], index);
    index = parent;
  }
  place(timer, index);
}

void TimerHeap::sift_down(size_t index) {
  Timer* timer = heap_[index];
  for (;;) {
    size_t child = 2 * index + 1;
    if (child >= heap_.size()) break;
    if (child + 1 < heap_.size() && before(*heap_[child + 1], *heap_[child])) ++child;
    if (!before(*heap_[child], *timer)) break;
    place(heap_[child], index);
    index = child;
  }
  place(timer, index);
}

void TimerHeap::remove_at(size_t index) {
  heap_[index]->heap_index_ = Timer::kNotArmed;
  Timer* last = heap_.back();
  heap_.pop_back();
  if (index == heap_.size()) return;
  place(last, index);
  sift_up(index);
  sift_down(last->heap_index_);
}

void TimerHeap::arm(Timer& timer, Nanos deadline) {
  if (timer.armed()) disarm(timer);
  timer.deadline_ = deadline;
  timer.sequence_ = next_sequence_++;
  heap_.push_back(&timer);
  sift_up(heap_.size() - 1);
}

void TimerHeap::disarm(Timer& timer) {
  if (!timer.armed()) return;
  RINGBOLT_ASSERT(timer.heap_index_ < heap_.size() && heap_[timer.heap_index_] == &timer);
  remove_at(timer.heap_index_);
}

size_t TimerHeap::fire_due(Nanos now, const bool* stop) {
  const uint64_t armed_before = next_sequence_;
  size_t fired = 0;
  // A timer armed during this call has at least this call's time as deadline, so among equals it
  // sorts behind the older ones and ends the loop.
  while (due(now) && heap_.front()->sequence_ < armed_before) {
    Timer* timer = heap_.front();
    remove_at(0);
    timer->fire();
    ++fired;
    if (stop != nullptr && *stop) break;
  }
  return fired;
}

void TimerHeap::clear() {
  for (Timer* timer : heap_) timer->heap_index_ = Timer::kNotArmed;
  heap_.clear();
}

}  // namespace ringbolt::io
