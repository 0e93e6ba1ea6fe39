// Questions of the control thread to the daemon's shards, asked for many clients at once.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <utility>

#include "ringbolt/assert.h"

namespace ringbolt {

/// One kind of question to the daemon. At most one is open at a time, whatever clients do: who asks
/// meanwhile waits for the next one, because the answer under way may be older than the question.
/// Thread: all members on the control thread.
template <class Answer>
class Question {
 public:
  using Waiter = std::function<void(const Answer&)>;
  using Ticket = uint64_t;
  /// Asks the daemon and arranges for on_answer() to be called on the control thread; or returns
  /// false because there is no daemon to ask (any more). Who waits then runs into its time limit.
  using Ask = std::function<bool()>;

  explicit Question(Ask ask) : ask_(std::move(ask)) {}

  Ticket add(Waiter waiter) {
    const Ticket ticket = next_ticket_++;
    next_.emplace(ticket, std::move(waiter));
    if (!open_) open();
    return ticket;
  }
  /// The waiter of `ticket` is not called any more.
  void remove(Ticket ticket) {
    current_.erase(ticket);
    next_.erase(ticket);
  }
  void on_answer(const Answer& answer) {
    RINGBOLT_ASSERT(open_);
    open_ = false;
    const std::map<Ticket, Waiter> answered = std::exchange(current_, {});
    if (!next_.empty()) open();
    for (const auto& [ticket, waiter] : answered) waiter(answer);
  }

 private:
  void open() {
    open_ = ask_();
    if (open_) current_ = std::exchange(next_, {});
  }

  Ask ask_;
  bool open_ = false;
  Ticket next_ticket_ = 1;
  std::map<Ticket, Waiter> current_;  ///< wait for the open question
  std::map<Ticket, Waiter> next_;     ///< wait for the one after it
};

}  // namespace ringbolt
