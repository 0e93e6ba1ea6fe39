// How other threads talk to a shard: a lock-free queue of intrusive messages with one consumer, and
// a doorbell that is rung only for a sleeper, once.
//
// The race that matters: the consumer decides to sleep while a producer pushes. The consumer first
// sets sleeping_, then looks at the queue again; the producer first pushes, then looks at sleeping_.
// Both steps are sequentially consistent, so at least one of the two sees the other.
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

namespace ringbolt::io {

/// A message: run on the consumer's thread, once. The message owns itself from push() on (typically
/// it deletes itself or goes back to a pool in run()).
struct Message {
  virtual ~Message() = default;
  virtual void run() = 0;
  /// Instead of run(), if the consumer ended first. Overridden by messages that are not on the heap.
  virtual void discard() { delete this; }
  Message* next_in_mailbox = nullptr;
};

class Mailbox {
 public:
  /// Any thread. Returns true if the consumer slept and the caller must ring its doorbell (true for
  /// exactly one of the pushes that find it asleep).
  [[nodiscard]] bool push(Message* message) {
    Message* head = head_.load(std::memory_order_relaxed);
    do {
      message->next_in_mailbox = head;
    } while (!head_.compare_exchange_weak(head, message, std::memory_order_seq_cst));
    return sleeping_.load(std::memory_order_seq_cst) &&
           sleeping_.exchange(false, std::memory_order_seq_cst);
  }

  [[nodiscard]] bool empty() const { return head_.load(std::memory_order_acquire) == nullptr; }

  /// Consumer: how many there are, one by one. Whoever pushes changes none that is in the list already.
  [[nodiscard]] uint64_t count() const {
    uint64_t messages = 0;
    for (const Message* message = head_.load(std::memory_order_acquire); message != nullptr; message = message->next_in_mailbox) ++messages;
    return messages;
  }

  /// Consumer: all messages pushed so far, oldest first, linked by next_in_mailbox.
  Message* take_all() {
    Message* list = head_.exchange(nullptr, std::memory_order_acquire);
    Message* oldest_first = nullptr;
    while (list != nullptr) {
      Message* next = list->next_in_mailbox;
      list->next_in_mailbox = oldest_first;
      oldest_first = list;
      list = next;
    }
    return oldest_first;
  }

  /// Consumer: announces sleep. Returns false (and stays awake) if a message is there.
  bool prepare_sleep() {
    sleeping_.store(true, std::memory_order_seq_cst);
    if (head_.load(std::memory_order_seq_cst) == nullptr) return true;
    sleeping_.store(false, std::memory_order_relaxed);
    return false;
  }
  /// Consumer: awake again, for whatever reason.
  void woke() { sleeping_.store(false, std::memory_order_relaxed); }

 private:
  alignas(64) std::atomic<Message*> head_{nullptr};
  alignas(64) std::atomic<bool> sleeping_{false};
};

}  // namespace ringbolt::io
