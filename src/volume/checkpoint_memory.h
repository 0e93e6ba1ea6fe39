// Memory set aside for checkpoints, shared by the volumes of a shard. It comes out of the pool once,
// at the start: a checkpoint must never wait for memory that is held by requests which themselves
// wait for the checkpoint to free WAL space.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "io/buffer_pool.h"

namespace ringbolt {

/// One block to copy. `data` null: zeros.
struct CheckpointItem {
  uint32_t lba;
  uint32_t lsn;
  const std::byte* data;
};

/// What one running checkpoint batch needs.
struct CheckpointSet {
  static constexpr uint32_t kSpans = 2;
  static constexpr uint32_t kCopies = 4;
  static constexpr uint32_t kItemsMax = 8192;
  static constexpr uint32_t kCopyBytes = 128u << 10;
  static constexpr uint64_t kBytes = uint64_t{kSpans} * kFrameBytesMax + uint64_t{kCopies} * kCopyBytes;
  static_assert(kItemsMax >= kZeroRecordBlocksMax + kFramePayloadBytesMax / kBlockBytes);

  std::array<io::Buffer, kSpans> spans;    ///< kFrameBytesMax each, for WAL frames read back
  std::array<io::Buffer, kCopies> copies;  ///< kCopyBytes each, for merging neighbours
  std::vector<CheckpointItem> items;       ///< capacity kItemsMax
};

class CheckpointMemory {
 public:
  /// Waits for a set. Intrusive; called once, possibly from inside acquire().
  struct Waiter {
    void (*granted)(Waiter& waiter, CheckpointSet* set) = nullptr;
    Waiter* next = nullptr;
    bool queued = false;
  };

  /// Takes about an eighth of the pool, one to four sets. Requires: an empty pool of at least 8 MiB.
  explicit CheckpointMemory(io::BufferPool& pool);
  ~CheckpointMemory();
  CheckpointMemory(const CheckpointMemory&) = delete;
  CheckpointMemory& operator=(const CheckpointMemory&) = delete;

  void acquire(Waiter& waiter);
  void cancel(Waiter& waiter);
  void release(CheckpointSet* set);

 private:
  io::BufferPool& pool_;
  std::vector<std::unique_ptr<CheckpointSet>> sets_;
  std::vector<CheckpointSet*> free_;
  Waiter* first_ = nullptr;
};

}  // namespace ringbolt
