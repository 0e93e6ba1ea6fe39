// Where the newest logged version of each block lies: Lba -> (Lsn, place in the WAL, CRC).
// An open-addressing table (linear probing, backward-shift deletion): 16 bytes per slot, no allocation after
// construction but in grow(). One thread.
#pragma once

#include <bit>
#include <cstdint>
#include <memory>
#include <optional>

#include "ringbolt/types.h"

namespace ringbolt {

/// The low 32 bits of an Lsn: enough to tell apart records that are in the WAL at the same time.
constexpr uint32_t short_lsn(Lsn lsn) { return static_cast<uint32_t>(lsn.value()); }

class DirtyIndex {
 public:
  /// `wal_block` of a block whose newest version is zeros.
  static constexpr uint32_t kZeros = UINT32_MAX;

  struct Entry {
    uint32_t lba;
    uint32_t lsn;        ///< short_lsn
    uint32_t wal_block;  ///< block within the WAL, or kZeros
    uint32_t crc;        ///< CRC32C of the block; 0 for kZeros
  };
  static_assert(sizeof(Entry) == 16);

  /// Room for `entries_max` blocks at a load of at most 2/3.
  explicit DirtyIndex(uint32_t entries_max);
  /// False if there was no memory for it: then nothing else may be called.
  [[nodiscard]] bool has_memory() const { return slots_ != nullptr && used_ != nullptr; }
  /// Bytes of memory at most; only what was ever used of it is really taken.
  [[nodiscard]] static uint64_t bytes_max(uint32_t entries_max) { return slots_for(entries_max) * sizeof(Entry); }

  [[nodiscard]] uint32_t size() const { return size_; }
  [[nodiscard]] uint32_t capacity() const { return entries_max_; }
  /// Whether `more` further blocks can be entered.
  [[nodiscard]] bool has_room(uint32_t more) const { return entries_max_ - size_ >= more; }

  [[nodiscard]] const Entry* find(Lba lba) const;
  /// Enters or replaces. Requires: lba < 2^32, and has_room(1) if it is new.
  void put(Lba lba, Lsn lsn, uint32_t wal_block, uint32_t crc);
  /// Removes the entry only if it is still the version `lsn` (compare-and-remove): a newer write may
  /// have replaced it while the older version was being copied.
  bool remove_if(Lba lba, uint32_t lsn);
  void clear();
  /// There is room for `entries_max` from now on, if there is memory for it. Takes as long as entering what is in it again.
  void grow(uint32_t entries_max);

 private:
  [[nodiscard]] static uint64_t slots_for(uint32_t entries_max) { return std::bit_ceil(uint64_t{entries_max} + entries_max / 2 + 64); }
  [[nodiscard]] uint32_t home(uint32_t lba) const {
    return static_cast<uint32_t>((uint64_t{lba} * 0x9E3779B97F4A7C15ull) >> shift_);
  }
  [[nodiscard]] bool used(uint32_t slot) const { return (used_[slot / 64] >> (slot % 64)) & 1; }
  void set_used(uint32_t slot, bool value) {
    const uint64_t bit = uint64_t{1} << (slot % 64);
    used_[slot / 64] = value ? used_[slot / 64] | bit : used_[slot / 64] & ~bit;
  }

  /// Where the entry of this block is, or the free slot that it would get.
  [[nodiscard]] uint32_t slot_of(uint32_t lba) const {
    uint32_t slot = home(lba);
    while (used(slot) && slots_[slot].lba != lba) slot = (slot + 1) & mask_;
    return slot;
  }

  uint32_t entries_max_;
  uint32_t mask_ = 0;
  uint32_t shift_ = 0;
  uint32_t size_ = 0;
  // Zero pages of untouched slots cost nothing until they are used.
  struct Freed {
    void operator()(void* memory) const;
  };
  std::unique_ptr<Entry[], Freed> slots_;
  std::unique_ptr<uint64_t[], Freed> used_;
};

}  // namespace ringbolt
