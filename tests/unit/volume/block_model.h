// What a volume must contain: the list of its records, and the blocks that follow from any prefix
// of it. Every version of every block has a stamp of its own, so that an old, lost or foreign
// version is told from the right one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "ringbolt/types.h"
#include "volume/wal_format.h"

namespace ringbolt::test {

/// A block of words that follow from `stamp`; 0: zeros.
void fill_block(std::byte* block, uint64_t stamp);
bool block_is(const std::byte* block, uint64_t stamp);

class BlockModel {
 public:
  /// `first_stamp`: so that another model's versions are told apart from these.
  explicit BlockModel(uint64_t volume_blocks, uint64_t first_stamp = 1)
      : stamps_(volume_blocks), next_stamp_(first_stamp) {}

  /// The stamp of the first payload block of the next record, never used before; the blocks after
  /// it have the stamps after it.
  uint64_t next_stamp() const { return next_stamp_; }
  void append(RecordKind kind, uint64_t lba, uint32_t blocks);
  /// The volume has more blocks from now on, all zeros.
  void grow(uint64_t volume_blocks) { stamps_.resize(volume_blocks); }
  /// Forgets the records after `head`.
  void truncate(Lsn head);

  [[nodiscard]] Lsn head() const { return Lsn(records_.size()); }
  [[nodiscard]] uint64_t volume_blocks() const { return stamps_.size(); }
  [[nodiscard]] uint64_t stamp(uint64_t lba) const { return stamps_[lba]; }
  /// Stamps of all blocks when the log ends at `head`.
  [[nodiscard]] std::vector<uint64_t> stamps_at(Lsn head) const;

 private:
  struct Record {
    RecordKind kind;
    uint64_t lba;
    uint32_t blocks;
    uint64_t stamp;
  };
  static void apply(const Record& record, std::vector<uint64_t>& stamps);

  std::vector<Record> records_;
  std::vector<uint64_t> stamps_;
  uint64_t next_stamp_;
};

}  // namespace ringbolt::test
