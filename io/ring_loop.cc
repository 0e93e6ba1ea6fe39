// RingIo: the loop. With IORING_SETUP_DEFER_TASKRUN the completion queue fills only while this
// thread is inside io_uring_enter(GETEVENTS), at most about twenty at a time; the kernel sets a
// flag in shared memory when an enter is worth it, which is what spinning looks at.
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "io/ring_internal.h"
#include "ringbolt/assert.h"

namespace ringbolt::io {

namespace {

// Bounds of one turn, so that no source of work starves the others.
constexpr size_t kReapMax = 256;
constexpr int kEndRoundsMax = 4;

// Spinning: an exponential average of how often it paid, over about the last eight times.
constexpr uint32_t kScoreOne = 1024;
constexpr uint32_t kScoreWorthwhile = 128;
constexpr uint32_t kProbeEvery = 32;
constexpr int kLooksPerClockReading = 16;

Nanos clock_now() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * kSecond + time.tv_nsec;
}

void pause_cpu() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

Status RingIo::run(const std::function<void()>& end_of_turn) {
  while (!stopping_) {
    turn(end_of_turn);
    if (!stopping_) wait_for_work();
    if (failure_ != 0) {
      return make_error(Errc::kIo, std::string("io_uring failed: ") + std::strerror(failure_));
    }
  }
  // What the last turn prepared (goodbyes, cancellations) still goes out.
  if (io_uring_sq_ready(&ring_->uring) > 0) enter();
  stopping_ = false;
  stop_posted_ = false;
  return boost::outcome_v2::success();
}

void RingIo::turn(const std::function<void()>& end_of_turn) {
  ++counters_.turns;
  now_ = clock_now();
  account_for_waiting();
  run_messages();
  run_failed();
  reap();
  if (!timers_.empty()) {
    now_ = clock_now();
    timers_.fire_due(now_);
  }
  run_end_of_turn(end_of_turn);
}

void RingIo::run_messages() {
  if (mailbox_.empty()) return;
  for (Message* message = mailbox_.take_all(); message != nullptr;) {
    Message* next = message->next_in_mailbox;
    messages_left_ = next;
    ++counters_.messages;
    message->run();
    message = next;
  }
}

uint64_t RingIo::messages_waiting() const {
  uint64_t count = mailbox_.count();
  for (const Message* message = messages_left_; message != nullptr; message = message->next_in_mailbox) ++count;
  return count;
}

/// A turn begins: what came before it, if it was waiting, is over. By readings of the clock that are there anyway.
void RingIo::account_for_waiting() {
  if (began_ == 0) began_ = now_;
  if (asleep_since_ != 0) counters_.asleep += now_ - std::exchange(asleep_since_, 0);
  if (spinning_since_ != 0) counters_.spinning += now_ - std::exchange(spinning_since_, 0);
}

// Only those of before this turn's callbacks: one that fails again waits for the next turn.
void RingIo::run_failed() {
  for (size_t count = failed_count_; count > 0; --count) {
    Completion& failed = *first_failed_;
    first_failed_ = failed.state().next;
    if (first_failed_ == nullptr) last_failed_ = nullptr;
    --failed_count_;
    failed.complete(failed.state().result);
  }
}

void RingIo::reap() {
  io_uring& uring = ring_->uring;
  size_t handled = 0;
  // By index: handling one can need room in the queue and spill more.
  for (; handled < ring_->spilled.size(); ++handled) {
    const Ring::Spilled spilled = ring_->spilled[handled];
    on_event(spilled.tag, spilled.result);
  }
  ring_->spilled.clear();
  while (handled < kReapMax && io_uring_cq_ready(&uring) > 0) {
    const unsigned head = *uring.cq.khead;
    const io_uring_cqe& event = uring.cq.cqes[head & *uring.cq.kring_mask];
    const uint64_t tag = event.user_data;
    const int32_t result = event.res;
    // Given back before the callback, which may submit and thereby need the room.
    io_uring_cq_advance(&uring, 1);
    ++handled;
    on_event(tag, result);
    if (!ring_->spilled.empty()) break;  // older than what is in the queue now: next turn, in order
  }
}

void RingIo::on_event(uint64_t tag, int32_t result) {
  ++counters_.completions;
  if (tag == kIgnoreTag) return;
  if (tag == kDoorbellTag) {
    if (result < 0 && result != -EINTR && result != -EAGAIN) {
      failure_ = -result;
      return;
    }
    ++counters_.doorbells;
    listen_to_doorbell();
    return;
  }
  --in_flight_;
  on_completion(*reinterpret_cast<Completion*>(tag), result);
}

void RingIo::run_end_of_turn(const std::function<void()>& end_of_turn) {
  // Waiters defer work, deferred work gives memory back: a few rounds, the rest next turn.
  for (int round = 0; round < kEndRoundsMax; ++round) {
    const bool waiters = pool_ != nullptr && pool_->waiters_runnable();
    if (!waiters && deferred_.empty()) break;
    if (waiters) pool_->run_waiters();
    deferred_.run();
  }
  if (end_of_turn) end_of_turn();
}

// --- waiting -------------------------------------------------------------------------------------

bool RingIo::work_here() const {
  return io_uring_cq_ready(&ring_->uring) > 0 || !mailbox_.empty() || first_failed_ != nullptr ||
         !ring_->spilled.empty() || !deferred_.empty() ||
         (pool_ != nullptr && pool_->waiters_runnable());
}

bool RingIo::kernel_has_work() const {
  return (IO_URING_READ_ONCE(*ring_->uring.sq.kflags) &
          (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

void RingIo::wait_for_work() {
  const bool due = timers_.due(now_);
  if (work_here() || kernel_has_work() || due) {
    // No waiting, but what was prepared goes to the devices before the next batch is looked at.
    if (io_uring_sq_ready(&ring_->uring) > 0 || kernel_has_work()) enter();
    return;
  }
  if (spin_is_worthwhile()) {
    if (io_uring_sq_ready(&ring_->uring) > 0) {
      enter();
      if (work_here() || failure_ != 0) return;
    }
    if (spin()) return;
  }
  sleep();
}

bool RingIo::spin_is_worthwhile() {
  if (options_.spin == 0) return false;
  if (spin_score_ >= kScoreWorthwhile) return true;
  // Once in a while, to notice that the load changed.
  if (++spins_skipped_ < kProbeEvery) return false;
  spins_skipped_ = 0;
  return true;
}

// Returns whether there is something to do.
bool RingIo::spin() {
  spinning_since_ = clock_now();
  Nanos end = spinning_since_ + options_.spin;
  bool until_timer = false;
  if (!timers_.empty() && timers_.next_deadline() < end) {
    end = timers_.next_deadline();
    until_timer = true;
  }
  for (int look = 1;; ++look) {
    if (kernel_has_work()) {
      enter();
      if (work_here()) break;
    }
    if (work_here()) break;
    if (look % kLooksPerClockReading == 0 && clock_now() >= end) {
      if (until_timer) return true;  // says nothing about spinning
      ++counters_.spins_unpaid;
      spin_score_ -= spin_score_ / 8;
      return false;
    }
    pause_cpu();
  }
  ++counters_.spins_paid;
  spin_score_ += (kScoreOne - spin_score_) / 8;
  return true;
}

void RingIo::sleep() {
  // From here on a producer rings the doorbell; one that pushed just before is seen by this check.
  if (!mailbox_.prepare_sleep()) return;
  __kernel_timespec timeout{};
  bool timed = false;
  const Nanos now = clock_now();
  if (!timers_.empty()) {
    const Nanos left = timers_.next_deadline() - now;
    if (left <= 0) {
      mailbox_.woke();
      if (io_uring_sq_ready(&ring_->uring) > 0) enter();
      return;
    }
    timeout.tv_sec = left / kSecond;
    timeout.tv_nsec = left % kSecond;
    timed = true;
  }
  if (spinning_since_ != 0) counters_.spinning += now - std::exchange(spinning_since_, 0);
  asleep_since_ = now;
  io_uring& uring = ring_->uring;
  counters_.submitted += io_uring_sq_ready(&uring);
  ++counters_.enters;
  ++counters_.sleeps;
  io_uring_cqe* event = nullptr;
  const int result = timed ? io_uring_submit_and_wait_timeout(&uring, &event, 1, &timeout, nullptr)
                           : io_uring_submit_and_wait(&uring, 1);
  mailbox_.woke();
  note_result(result);
}

// --- system calls --------------------------------------------------------------------------------

void RingIo::note_result(int result) {
  // Timed out; interrupted; short of memory or of room for completions, which the next turn makes.
  if (result >= 0 || result == -ETIME || result == -EINTR || result == -EAGAIN ||
      result == -EBUSY) {
    return;
  }
  failure_ = -result;
}

void RingIo::enter() {
  io_uring& uring = ring_->uring;
  counters_.submitted += io_uring_sq_ready(&uring);
  ++counters_.enters;
  note_result(io_uring_submit_and_get_events(&uring));
}

io_uring_sqe* RingIo::next_entry() {
  io_uring& uring = ring_->uring;
  for (;;) {
    if (io_uring_sqe* entry = io_uring_get_sqe(&uring)) return entry;
    // Full. Submitting makes room; no callback runs from here.
    counters_.submitted += io_uring_sq_ready(&uring);
    ++counters_.enters;
    const int result = io_uring_submit(&uring);
    if (result >= 0 || result == -EINTR) continue;
    // Anything else means that this code broke the ring.
    RINGBOLT_ASSERT(result == -EAGAIN || result == -EBUSY);
    spill();
  }
}

// The kernel takes no more until completions are taken out, and this may be inside a callback.
void RingIo::spill() {
  io_uring& uring = ring_->uring;
  io_uring_get_events(&uring);
  while (io_uring_cq_ready(&uring) > 0) {
    const io_uring_cqe& event = uring.cq.cqes[*uring.cq.khead & *uring.cq.kring_mask];
    ring_->spilled.push_back({event.user_data, event.res});
    io_uring_cq_advance(&uring, 1);
  }
}

void RingIo::listen_to_doorbell() {
  io_uring_sqe* entry = next_entry();
  io_uring_prep_read(entry, doorbell_, &doorbell_value_, sizeof(doorbell_value_), 0);
  io_uring_sqe_set_data64(entry, kDoorbellTag);
}

void RingIo::arm(Timer& timer, Nanos delay) {
  RINGBOLT_ASSERT(delay >= 0);
  // From the clock, not from the turn's beginning: no timer fires early because a turn was long.
  timers_.arm(timer, clock_now() + delay);
}

}  // namespace ringbolt::io
