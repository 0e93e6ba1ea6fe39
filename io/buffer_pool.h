// A shard's data buffers: a buddy allocator over one reserved range, grown in chunks up to a limit.
// Chunks can be registered with the ring when they come into use. Owned by one shard; no locks. With a PagePopulator the
// next chunk is made ready on another thread before it is needed.
//
// Who may have how much of it is decided in memory_share.h.
//
// Sizes are powers of two from 4 KiB to kFrameBytesMax, every buffer aligned to its size's block
// (at least 4 KiB). A full pool is back-pressure: the caller queues a PoolWaiter and goes on later.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "io/page_populator.h"
#include "ringbolt/result.h"
#include "ringbolt/types.h"

namespace ringbolt::io {

/// A piece of the pool: a value without a destructor; give it back with BufferPool::release.
struct Buffer {
  std::byte* data = nullptr;
  uint32_t bytes = 0;  ///< power of two, kBlockBytes .. kFrameBytesMax
  explicit operator bool() const { return data != nullptr; }
};

/// Somebody who waits for memory. Woken in order of arrival, once per queueing, when at least one
/// buffer was given back; it tries again and queues again if it still gets nothing.
class PoolWaiter {
 public:
  using Function = void (*)(PoolWaiter&);
  explicit PoolWaiter(Function function) : function_(function) {}
  PoolWaiter(const PoolWaiter&) = delete;
  PoolWaiter& operator=(const PoolWaiter&) = delete;
  [[nodiscard]] bool queued() const { return queued_; }

 private:
  friend class BufferPool;
  Function function_;
  PoolWaiter* next_ = nullptr;
  PoolWaiter* previous_ = nullptr;
  uint64_t round_ = 0;  ///< of run_waiters(): who queues during a round waits for the next one
  bool queued_ = false;
};

class MemoryShare;

class BufferPool {
 public:
  /// Reserves address space for `limit_bytes` (rounded up to whole chunks of 8 MiB, at least one).
  /// `on_chunk(data, bytes)` is called when a chunk comes into use for the first time; chunks come
  /// into use in ascending order without gaps. Throws std::bad_alloc if not even address space is
  /// to be had (start-up only). Memory that the kernel refuses later counts as an exhausted pool.
  /// With a `populator` the next chunk within the limit is made ready when less than kAheadBytes are free in whole blocks of
  /// kFrameBytesMax, and comes into use by an allocation after that. Nobody waits for it: a pool that has nothing left before takes the chunk as it is.
  explicit BufferPool(uint64_t limit_bytes,
                      std::function<void(std::byte*, size_t)> on_chunk = nullptr,
                      std::unique_ptr<PagePopulator> populator = nullptr);
  ~BufferPool();
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  static constexpr size_t kChunkBytes = kShardMemoryStep;
  /// What a busy shard takes while a chunk is being made ready, some 25 ms. An idle one keeps as much in memory.
  static constexpr size_t kAheadBytes = kChunkBytes;

  /// A buffer of at least `bytes` (1 .. kFrameBytesMax), rounded up to a power of two; empty if the
  /// pool is exhausted (after asking the reclaimers). Contents undefined. Cost: no malloc.
  Buffer allocate(uint32_t bytes);
  /// Gives it back and wakes waiters (from run_waiters, not from inside release).
  void release(Buffer buffer);
  /// Gives back the unused upper part: returns the same data with `bytes` rounded up to a power of
  /// two.
  Buffer shrink(Buffer buffer, uint32_t bytes);

  /// Queues at the end; no-op if already queued.
  void wait(PoolWaiter& waiter);
  void cancel_wait(PoolWaiter& waiter);
  /// Wakes the waiters of before this call in order if memory was released since the last call.
  /// Called by the loop at the end of a turn.
  void run_waiters();
  /// A reclaimer could give something back now that it could not before: waiters try again. (Becoming
  /// reclaimable releases nothing; without this hint they would wait for ever.)
  void hint_reclaimable() {
    if (first_waiter_ != nullptr) released_ = true;
  }
  [[nodiscard]] bool waiters_runnable() const { return released_ && first_waiter_ != nullptr; }
  [[nodiscard]] bool has_waiters() const { return first_waiter_ != nullptr; }
  /// For whoever watches: how many wait now (counted one by one), and how often somebody began to.
  [[nodiscard]] uint64_t waiters() const {
    uint64_t count = 0;
    for (const PoolWaiter* waiter = first_waiter_; waiter != nullptr; waiter = waiter->next_) ++count;
    return count;
  }
  [[nodiscard]] uint64_t waits() const { return waits_; }

  /// A holder of memory that is only a cache: asked when an allocation would fail. Returns whether
  /// it gave anything back. Registered for life; order of registration is order of asking.
  using Reclaimer = std::function<bool()>;
  /// Returns an id for remove_reclaimer.
  uint32_t add_reclaimer(Reclaimer reclaimer);
  void remove_reclaimer(uint32_t id);

  /// Takes a buffer out of circulation: from now on only take_aside() gives it out, and release()
  /// leads back there. Counts as used all the time. For BufferReserve.
  void set_aside(Buffer buffer);
  /// False if it is out.
  bool take_aside(Buffer buffer);
  /// Ends that. False if it is out: then it stays set aside for good.
  bool return_aside(Buffer buffer);
  [[nodiscard]] uint64_t aside_bytes() const { return aside_bytes_; }

  [[nodiscard]] uint64_t limit_bytes() const { return limit_bytes_; }
  [[nodiscard]] uint64_t used_bytes() const { return used_bytes_; }
  /// Why a chunk last came into use without having been made ready, if that was tried and failed; else empty. Merely slower.
  [[nodiscard]] const std::string& populate_failure() const { return populate_failure_; }
  /// Whether a chunk is being made ready at this moment.
  [[nodiscard]] bool populating() const { return populator_ != nullptr && populator_->busy(); }

 private:
  static constexpr uint32_t kClasses = 8;  // 4 KiB << 0 .. 7
  static constexpr uint8_t kFree = 0x10;
  static constexpr uint8_t kUsed = 0x20;
  static constexpr uint8_t kAside = 0x40;     // set aside, not out
  static constexpr uint8_t kAsideOut = 0x80;  // set aside, out
  friend class MemoryShare;
  struct FreeBlock {
    FreeBlock* next;
    FreeBlock* previous;
  };
  Buffer allocate_class(uint32_t size_class);
  bool grow();
  void prepare_ahead();
  bool take_prepared();
  void free_block(std::byte* data, uint32_t size_class);
  void push_free(std::byte* data, uint32_t size_class);
  void remove_free(std::byte* data, uint32_t size_class);
  [[nodiscard]] size_t block_index(const std::byte* data) const;
  void unlink(PoolWaiter& waiter);
  void divide();

  uint64_t limit_bytes_;
  uint64_t used_bytes_ = 0;
  std::byte* base_ = nullptr;
  size_t chunks_limit_ = 0;
  size_t chunks_used_ = 0;
  FreeBlock* free_[kClasses] = {};
  /// Blocks of the largest class that are free. The pool grows when it has none of them, however much is free between small
  /// frames, each of which leaves less than one where it was gathered.
  size_t whole_free_ = 0;
  /// Per 4 KiB block: 0 = inside a block, kFree + class = a free block starts here, kUsed + class =
  /// a buffer that is out starts here, likewise for what is set aside. It is what catches a release of what was not allocated.
  std::vector<uint8_t> block_state_;
  std::function<void(std::byte*, size_t)> on_chunk_;
  std::unique_ptr<PagePopulator> populator_;
  size_t chunk_asked_for_ = SIZE_MAX;  ///< index of the last one that the populator was given: each once, also if it fails
  std::string populate_failure_;
  std::vector<std::pair<uint32_t, Reclaimer>> reclaimers_;
  uint32_t next_reclaimer_ = 1;
  PoolWaiter* first_waiter_ = nullptr;
  PoolWaiter* last_waiter_ = nullptr;
  uint64_t round_ = 0;
  uint64_t waits_ = 0;
  bool released_ = false;
  bool reclaiming_ = false;

  // See memory_share.h.
  std::vector<MemoryShare*> shares_;
  uint64_t aside_bytes_ = 0;
  int64_t share_own_ = 0;      // of each share
  int64_t common_bytes_ = 0;   // of all of them together
  int64_t common_used_ = 0;
};

}  // namespace ringbolt::io
