// An intrusive FIFO of requests. A request is in at most one queue at a time.
#pragma once

#include "ringbolt/assert.h"
#include "volume/request.h"

namespace ringbolt::repl {

class RequestQueue {
 public:
  [[nodiscard]] bool empty() const { return first_ == nullptr; }
  [[nodiscard]] Request* front() const { return first_; }
  [[nodiscard]] Request* back() const { return last_; }
  void push(Request& request) {
    request.next = nullptr;
    request.previous = last_;
    (last_ != nullptr ? last_->next : first_) = &request;
    last_ = &request;
  }
  void remove(Request& request) {
    (request.previous != nullptr ? request.previous->next : first_) = request.next;
    (request.next != nullptr ? request.next->previous : last_) = request.previous;
    request.next = request.previous = nullptr;
  }
  Request* pop() {
    Request* request = first_;
    if (request != nullptr) remove(*request);
    return request;
  }

 private:
  Request* first_ = nullptr;
  Request* last_ = nullptr;
};

}  // namespace ringbolt::repl
