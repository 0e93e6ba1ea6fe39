// Which blocks of a volume a rebuild's WAL lane has brought already: one bit per block, dense, for one
// session. A bit is set when a record for the block has been *applied* here (written to this copy's WAL,
// so that it can be replayed), not when it was received; a base block whose bit is set is skipped.
//
// Lock-free, from any thread: applying, copying and reporting may happen on different ones. Bits are
// only ever set, so a test that sees one may rely on it for the session's life. A test that sees none
// says only that it was not set at that moment: what keeps an older base write from landing on top of a
// newer record then is told in base_writer.h.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>

#include "ringbolt/types.h"

namespace ringbolt {

class RebuildBitmap {
 public:
  /// All bits clear. `blocks` >= 1: the volume's.
  explicit RebuildBitmap(uint64_t blocks);
  RebuildBitmap(const RebuildBitmap&) = delete;
  RebuildBitmap& operator=(const RebuildBitmap&) = delete;
  /// False if there was no memory for it: then nothing else may be called.
  [[nodiscard]] bool has_memory() const { return words_ != nullptr; }

  /// Sets the bits of `blocks` blocks from `first` on, which must lie in the volume. For a write, a zero
  /// and a trim record alike.
  void mark_applied(Lba first, uint64_t blocks);
  [[nodiscard]] bool is_applied(Lba lba) const;
  /// Whether a base block is to be written: no record has been applied to it.
  [[nodiscard]] bool should_apply_base(Lba lba) const { return !is_applied(lba); }

  /// Blocks whose bit is set: each counts once, whoever sets it first.
  [[nodiscard]] uint64_t applied_count() const { return applied_.load(std::memory_order_acquire); }
  [[nodiscard]] uint64_t total() const { return blocks_; }

  struct Run {
    Lba first;
    uint32_t blocks;  ///< >= 1
  };
  /// The first run of clear bits in [from, end), as long as it is there; empty if all are set. Each of
  /// its bits was clear at some moment during the call. Requires: end <= total().
  [[nodiscard]] std::optional<Run> next_clear(Lba from, Lba end) const;

  /// Bytes of memory at most; only what was ever marked of it is really taken.
  [[nodiscard]] uint64_t bytes() const { return bytes_for(blocks_); }
  [[nodiscard]] static constexpr uint64_t bytes_for(uint64_t blocks) { return (blocks + 63) / 64 * 8; }

 private:
  [[nodiscard]] std::atomic_ref<uint64_t> word(uint64_t index) const { return std::atomic_ref<uint64_t>(words_[index]); }
  /// The first bit in [at, end) that is set, or that is clear; `end` if there is none.
  [[nodiscard]] uint64_t find(bool set, uint64_t at, uint64_t end) const;

  uint64_t blocks_;
  std::atomic<uint64_t> applied_{0};
  // Zero pages of parts that nobody marks cost nothing.
  struct Freed {
    void operator()(void* memory) const;
  };
  std::unique_ptr<uint64_t[], Freed> words_;
};

}  // namespace ringbolt
