// Takes a new volume's own memory (io/memory_share.h) out of a pool that serves others already: all of it may be in use
// just then, or in pieces that are too small. What the log and clients have comes back by itself, so it waits, for a
// bounded time, and keeps what it has got so far.
#pragma once

#include <functional>
#include <memory>

#include "io/buffer_pool.h"
#include "io/io.h"
#include "io/memory_share.h"

namespace ringbolt {

class ReserveClaim {
 public:
  /// Null: the pool had not enough within kPatience.
  using Done = std::function<void(std::shared_ptr<io::BufferReserve>)>;
  static constexpr io::Nanos kPatience = 30 * io::kSecond;

  ReserveClaim(io::Io& io, io::BufferPool& pool);
  /// What it has goes back.
  ~ReserveClaim();
  ReserveClaim(const ReserveClaim&) = delete;
  ReserveClaim& operator=(const ReserveClaim&) = delete;

  /// Once; `done` is called from a later turn.
  void start(Done done);

 private:
  void on_memory();
  void on_timeout();
  void finish();

  io::Io& io_;
  io::BufferPool& pool_;
  io::BufferReserve::Buffers buffers_;
  size_t have_ = 0;
  Done done_;
  struct Waiter : io::PoolWaiter {
    explicit Waiter(ReserveClaim& owner) : PoolWaiter([](PoolWaiter& self) { static_cast<Waiter&>(self).claim->on_memory(); }), claim(&owner) {}
    ReserveClaim* claim;
  } waiter_{*this};
  io::TimerOf<&ReserveClaim::on_timeout> timeout_{*this};
  io::DeferredOf<&ReserveClaim::finish> finish_{*this};
};

}  // namespace ringbolt
