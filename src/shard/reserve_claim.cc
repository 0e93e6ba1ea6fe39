#include "shard/reserve_claim.h"

#include <utility>

namespace ringbolt {

ReserveClaim::ReserveClaim(io::Io& io, io::BufferPool& pool) : io_(io), pool_(pool) {}

ReserveClaim::~ReserveClaim() {
  pool_.cancel_wait(waiter_);
  io_.disarm(timeout_);
  io_.undefer(finish_);
  while (have_ > 0) pool_.release(buffers_[--have_]);
}

void ReserveClaim::start(Done done) {
  done_ = std::move(done);
  io_.arm(timeout_, kPatience);
  on_memory();
}

void ReserveClaim::on_memory() {
  for (; have_ < buffers_.size(); ++have_) {
    buffers_[have_] = pool_.allocate(io::BufferReserve::bytes_of(have_));
    if (!buffers_[have_]) return pool_.wait(waiter_);
  }
  io_.disarm(timeout_);
  io_.defer(finish_);
}

void ReserveClaim::on_timeout() {
  pool_.cancel_wait(waiter_);
  io_.defer(finish_);
}

void ReserveClaim::finish() {
  std::shared_ptr<io::BufferReserve> reserve;
  if (have_ == buffers_.size()) {
    reserve = std::make_shared<io::BufferReserve>(pool_, buffers_);
    have_ = 0;
  }
  const Done done = std::move(done_);
  done(std::move(reserve));  // may destroy this
}

}  // namespace ringbolt
