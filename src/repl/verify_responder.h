// The replica's side of a comparison of copies: reads blocks through its own read path and answers with their checksums.
#pragma once

#include <deque>

#include "io/buffer_pool.h"
#include "io/io.h"
#include "repl/link.h"
#include "volume/store.h"

namespace ringbolt::repl {

class VerifyResponder {
 public:
  /// `on_quiet`: a read has ended after forget().
  VerifyResponder(io::BufferPool& pool, Store& store, void (*on_quiet)(void* owner), void* owner);
  ~VerifyResponder();
  VerifyResponder(const VerifyResponder&) = delete;
  VerifyResponder& operator=(const VerifyResponder&) = delete;

  /// False: more questions at once than may be, or blocks that the volume does not have.
  [[nodiscard]] bool ask(const Verify& question, Link& link);
  /// Records were applied, or the store failed.
  void on_applied() { answer_next(); }
  /// The connection is over: what was asked needs no answer.
  void forget();
  /// No read is in flight.
  [[nodiscard]] bool quiet() const { return !reading_; }

  static constexpr size_t kQuestionsMax = 16;

 private:
  void answer_next();
  void read_done(int error);

  io::BufferPool& pool_;
  Store& store_;
  void (*on_quiet_)(void* owner);
  void* owner_;
  Link* link_ = nullptr;
  std::deque<Verify> questions_;
  bool reading_ = false;
  bool answering_ = false;
  ReadJob job_;
  io::Buffer buffer_;
  struct MemoryWaiter : io::PoolWaiter {
    explicit MemoryWaiter(VerifyResponder& owner)
        : PoolWaiter([](PoolWaiter& waiter) { static_cast<MemoryWaiter&>(waiter).responder->answer_next(); }), responder(&owner) {}
    VerifyResponder* responder;
  } memory_{*this};
};

}  // namespace ringbolt::repl
