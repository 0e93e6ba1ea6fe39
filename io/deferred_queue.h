// The end-of-turn work of one Io: an intrusive first-in first-out list. Shared by the real and the
// simulated implementation so that both run it alike.
#pragma once

#include <cstddef>

#include "io/io.h"

namespace ringbolt::io {

class DeferredQueue {
 public:
  DeferredQueue() = default;
  ~DeferredQueue() { clear(); }
  DeferredQueue(const DeferredQueue&) = delete;
  DeferredQueue& operator=(const DeferredQueue&) = delete;

  /// Bounds one run(): what is left runs in the next turn, so that two pieces of work that queue
  /// each other cannot keep the loop from its completions.
  static constexpr size_t kRunMax = 1024;

  [[nodiscard]] bool empty() const { return first_ == nullptr; }

  /// No-op if it is queued already.
  void push(Deferred& deferred) {
    if (deferred.queued_) return;
    deferred.queued_ = true;
    deferred.next_ = nullptr;
    deferred.previous_ = last_;
    (last_ != nullptr ? last_->next_ : first_) = &deferred;
    last_ = &deferred;
  }

  void remove(Deferred& deferred) {
    if (!deferred.queued_) return;
    (deferred.previous_ != nullptr ? deferred.previous_->next_ : first_) = deferred.next_;
    (deferred.next_ != nullptr ? deferred.next_->previous_ : last_) = deferred.previous_;
    deferred.next_ = nullptr;
    deferred.previous_ = nullptr;
    deferred.queued_ = false;
  }

  /// Runs what is queued and what that queues, up to kRunMax. Stops early when `*stop` becomes
  /// true.
  void run(const bool* stop = nullptr) {
    for (size_t ran = 0; first_ != nullptr && ran < kRunMax; ++ran) {
      Deferred& deferred = *first_;
      remove(deferred);
      deferred.run();
      if (stop != nullptr && *stop) return;
    }
  }

  void clear() {
    while (first_ != nullptr) remove(*first_);
  }

 private:
  Deferred* first_ = nullptr;
  Deferred* last_ = nullptr;
};

}  // namespace ringbolt::io
