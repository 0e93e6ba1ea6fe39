// Who may have how much of a shard's pool. The rule, in three parts:
//
// 1. *Every volume has a reserve* (BufferReserve), set aside when it is opened: one frame and one pad for
//    its log, the edge blocks of one request, one buffer to read the log back for a replica that lags. It
//    is used only when the pool has nothing, and whatever uses it ends by itself: a device completes the
//    write or the read, a peer takes what it is sent or is given up after the replication timeout. So
//    the request at the head of a volume's queue, and the next frame that a replica is sent, need nobody
//    else's memory.
// 2. *What waits for a client, a peer or a commit is charged to a share* (MemoryShare); each volume has two:
//    payloads that are not logged yet, and replies that are not sent yet. The shares together have three
//    quarters of what the pool has beside checkpoints and reserves. Half of that belongs to the shares in
//    equal parts. Of the other half a share may have at most as much as it leaves free, so that a
//    blocked one always leaves something to those who come later. Within the share for replies a
//    client may have at most as much as it leaves free.
// 3. *Everything else is the log's*: frames that are being written, and written ones, which are a cache.
//    That comes back by itself.
//
// Below that, a connection which has nothing under way goes on in pieces that need no memory (a write,
// from its staging buffer) or a single block (a read): see nbd/connection.h.
#pragma once

#include <array>
#include <cstdint>

#include "io/buffer_pool.h"

namespace ringbolt::io {

/// Memory for what must never wait for the memory of others. Whatever it gives out goes back by
/// BufferPool::release, like any other buffer.
class BufferReserve {
 public:
  enum class Use : uint8_t {
    kFrame,     ///< kFrameBytesMax: the head of the queue, or what a replica receives
    kReadBack,  ///< kFrameBytesMax: the log, read back for a replica that lags
    kPad,       ///< kBlockBytes
    kEdge,      ///< kBlockBytes, two of them
  };
  /// Of the pool, per volume.
  static constexpr uint64_t kBytes = 2 * uint64_t{kFrameBytesMax} + 3 * kBlockBytes;

  static constexpr size_t kBuffers = 5;
  using Buffers = std::array<Buffer, kBuffers>;
  /// Of the n-th of them.
  static constexpr uint32_t bytes_of(size_t index) { return index < 2 ? kFrameBytesMax : kBlockBytes; }

  /// Requires: the pool has that much (a daemon that starts: what is configured was checked).
  explicit BufferReserve(BufferPool& pool);
  /// Of buffers of the pool, which are its own from here on.
  BufferReserve(BufferPool& pool, const Buffers& buffers);
  ~BufferReserve();
  BufferReserve(const BufferReserve&) = delete;
  BufferReserve& operator=(const BufferReserve&) = delete;

  /// From the pool, or what is set aside for this use if the pool has nothing, or empty.
  Buffer allocate(Use use, uint32_t bytes);
  /// Only what is set aside.
  Buffer take(Use use);

 private:
  BufferPool& pool_;
  Buffers buffers_;  // in order of Use
};

/// See rule 2.
class MemoryShare {
 public:
  /// Best before anything is charged: shares are divided again.
  explicit MemoryShare(BufferPool& pool);
  ~MemoryShare();
  MemoryShare(const MemoryShare&) = delete;
  MemoryShare& operator=(const MemoryShare&) = delete;

  /// Empty if the share or the pool is used up. What waits on the pool is woken in either case.
  Buffer allocate(uint32_t bytes);
  void release(Buffer buffer);
  /// The buffer stays in use, but is no longer this share's: it belongs to the log now.
  void forgo(uint32_t buffer_bytes);

  [[nodiscard]] uint64_t held() const { return static_cast<uint64_t>(held_); }
  /// The most it may hold now.
  [[nodiscard]] uint64_t limit() const;

  /// How many wait for this share. Who holds some of it and waits for its client hurries then.
  uint32_t waiting = 0;

 private:
  friend class BufferPool;
  [[nodiscard]] bool may_hold(int64_t more) const;
  void charge(int64_t bytes);
  BufferPool& pool_;
  int64_t held_ = 0;
};

}  // namespace ringbolt::io
