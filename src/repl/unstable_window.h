// How much was logged that is not yet stable (flushed on every counting copy). It is bounded, because
// unstable records cannot be checkpointed: a replica whose WAL is full of them could not even read on
// to learn that they became stable.
#pragma once

#include <array>
#include <cstdint>

#include "ringbolt/types.h"

namespace ringbolt::repl {

class UnstableWindow {
 public:
  void add(Lsn lsn, uint64_t blocks) {
    total_ += blocks;
    if (size_ == kMarksMax) {
      // Coarser at the end: the newest mark grows.
      Mark& last = marks_[(first_ + size_ - 1) % kMarksMax];
      last.lsn = lsn;
      last.blocks += blocks;
      return;
    }
    marks_[(first_ + size_++) % kMarksMax] = Mark{lsn, blocks};
  }
  void release(Lsn stable) {
    while (size_ > 0 && marks_[first_].lsn <= stable) {
      total_ -= marks_[first_].blocks;
      first_ = (first_ + 1) % kMarksMax;
      --size_;
    }
  }
  [[nodiscard]] uint64_t blocks() const { return total_; }

 private:
  static constexpr size_t kMarksMax = 4096;
  struct Mark {
    Lsn lsn;
    uint64_t blocks;
  };
  std::array<Mark, kMarksMax> marks_{};
  size_t first_ = 0, size_ = 0;
  uint64_t total_ = 0;
};

}  // namespace ringbolt::repl
