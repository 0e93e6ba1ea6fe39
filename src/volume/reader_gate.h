// Lets the checkpointer wait for reads (and a rebuild's base writes) that began before a moment, without
// stopping later ones.
//
// Three races need it. A read of a clean block goes to the base image; meanwhile the block may be
// written, committed and checkpointed, and the device may then return a mix of old and new: so a
// checkpoint waits for the reads in flight when it chose its blocks (later ones find the blocks in
// the dirty index and do not touch the base). A read that found a block in the WAL must be done
// before that part of the WAL is written again. And base_writer.h says why base writes hold tickets.
#pragma once

#include <array>
#include <cstdint>

#include "ringbolt/assert.h"

namespace ringbolt {

class ReaderGate {
 public:
  using Drained = void (*)(void* owner);

  /// A read (or a base write) begins; returns the ticket for leave().
  uint32_t enter() {
    ++readers_[side_];
    return side_;
  }
  void leave(uint32_t ticket) {
    RINGBOLT_ASSERT(readers_[ticket] > 0);
    if (--readers_[ticket] == 0 && drained_ != nullptr && ticket != side_) finish();
  }
  /// Calls `drained` when all reads that have begun by now are done, possibly at once. One at a time.
  void drain(Drained drained, void* owner) {
    RINGBOLT_ASSERT(drained_ == nullptr && readers_[1 - side_] == 0);
    side_ = 1 - side_;
    drained_ = drained;
    owner_ = owner;
    if (readers_[1 - side_] == 0) finish();
  }
  [[nodiscard]] bool idle() const { return readers_[0] == 0 && readers_[1] == 0; }

 private:
  void finish() {
    const Drained drained = drained_;
    drained_ = nullptr;
    drained(owner_);
  }
  std::array<uint32_t, 2> readers_{};
  uint32_t side_ = 0;
  Drained drained_ = nullptr;
  void* owner_ = nullptr;
};

}  // namespace ringbolt
