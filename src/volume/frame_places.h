// Where the frames of a WAL lie: every frame that holds records, from the tail to the head. Compact,
// as there may be one for each block of the WAL: frames lie one behind the other and their Lsns are
// dense, so that lengths are enough (6.75 bytes a frame); memory is touched as frames need it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "ringbolt/types.h"

namespace ringbolt {

/// Where a frame lies on the device. `live_last` excludes records that were cut off.
struct FramePlace {
  Lsn first;
  Lsn live_last;
  uint64_t position;
  uint32_t blocks;             ///< header and payload
  uint32_t previous_checksum;  ///< what its header must carry as the chain
};

class FramePlaces {
 public:
  /// Room for as many frames as a WAL of `wal_blocks` can hold. All memory is set aside here.
  explicit FramePlaces(uint64_t wal_blocks);

  void clear();
  /// Appends. Requires: it begins at the Lsn after the last one's, at or behind its end, holds 1 .. 255
  /// records in 1 .. 255 blocks; and all places together lie within `wal_blocks`.
  void push(const FramePlace& place);
  [[nodiscard]] bool empty() const { return chunks_size_ == 0; }
  /// The oldest. Requires: not empty.
  [[nodiscard]] FramePlace front() const;
  /// The one that holds `lsn`.
  [[nodiscard]] std::optional<FramePlace> find(Lsn lsn) const;
  /// The newest one that begins before `position`.
  [[nodiscard]] std::optional<FramePlace> last_before(uint64_t position) const;
  /// The newest one at or before `position` that begins with a record at or before `first`; the oldest
  /// one if there is none. Requires: not empty.
  [[nodiscard]] FramePlace candidate(uint64_t position, Lsn first) const;
  /// Drops all before the one at `position`. Requires: there is one.
  void drop_before(uint64_t position);

  /// Bytes of memory in use now, and at most.
  [[nodiscard]] uint64_t used_bytes() const { return uint64_t{chunks_taken_} * sizeof(Chunk); }
  [[nodiscard]] static uint64_t bytes_max(uint64_t wal_blocks) { return chunks_max(wal_blocks) * sizeof(Chunk); }

 private:
  static constexpr uint32_t kChunkFrames = 32;
  struct Chunk {
    uint64_t first;  // of its first frame, as `position`
    uint64_t position;
    uint32_t frames;
    uint32_t previous_checksum[kChunkFrames];
    uint8_t records[kChunkFrames];
    uint8_t blocks[kChunkFrames];
  };
  struct Freed {
    void operator()(void* memory) const;
  };

  /// Full chunks, the oldest and the newest one, and one that ends early at each pad frame: with two
  /// laps in the area at once, two of those.
  static uint64_t chunks_max(uint64_t wal_blocks) { return wal_blocks / kChunkFrames + 4; }
  [[nodiscard]] Chunk& chunk_at(size_t index) const { return chunks_[order_[(order_first_ + index) % order_.size()]]; }
  /// The last chunk whose `field` is at most `limit`; empty if there is none.
  [[nodiscard]] std::optional<size_t> search(uint64_t Chunk::* field, uint64_t limit) const;
  Chunk& take_chunk();
  void drop_chunk();
  template <class Wanted>
  std::optional<FramePlace> last_in(size_t chunk, const Wanted& wanted) const;

  std::unique_ptr<Chunk[], Freed> chunks_;
  std::vector<uint32_t> order_;  // a ring: the chunks in use, oldest first
  size_t order_first_ = 0;
  size_t chunks_size_ = 0;
  uint32_t skipped_ = 0;  // frames of the oldest chunk that are gone
  struct {
    Lsn first;
    uint64_t position = 0;
  } end_;  // of the newest frame: where one would begin that follows without a pad
  /// Chunks given back, taken again before fresh ones: only as many are ever touched as are needed at once.
  std::vector<uint32_t> free_;
  uint32_t chunks_taken_ = 0;  // fresh ones taken so far
};

}  // namespace ringbolt
