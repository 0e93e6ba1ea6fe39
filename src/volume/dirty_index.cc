#include "volume/dirty_index.h"

#include <cstdlib>
#include <cstring>
#include <utility>

#include "ringbolt/assert.h"
#include "ringbolt/probe.h"

namespace ringbolt {

void DirtyIndex::Freed::operator()(void* memory) const { std::free(memory); }

DirtyIndex::DirtyIndex(uint32_t entries_max) : entries_max_(entries_max) {
  const uint64_t slots = slots_for(entries_max);
  RINGBOLT_ASSERT(slots <= uint64_t{1} << 32);
  mask_ = static_cast<uint32_t>(slots - 1);
  shift_ = static_cast<uint32_t>(64 - std::countr_zero(slots));
  slots_.reset(static_cast<Entry*>(std::calloc(slots, sizeof(Entry))));
  used_.reset(static_cast<uint64_t*>(std::calloc(slots / 64, sizeof(uint64_t))));
}

const DirtyIndex::Entry* DirtyIndex::find(Lba lba) const {
  const auto key = static_cast<uint32_t>(lba.value());
  for (uint32_t slot = home(key); used(slot); slot = (slot + 1) & mask_) {
    if (slots_[slot].lba == key) return &slots_[slot];
  }
  return nullptr;
}

void DirtyIndex::put(Lba lba, Lsn lsn, uint32_t wal_block, uint32_t crc) {
  RINGBOLT_ASSERT(lba.value() <= UINT32_MAX);
  const auto key = static_cast<uint32_t>(lba.value());
  const uint32_t slot = slot_of(key);
  if (!used(slot)) {
    RINGBOLT_ASSERT(size_ < entries_max_);
    set_used(slot, true);
    ++size_;
  }
  slots_[slot] = Entry{key, short_lsn(lsn), wal_block, crc};
}

bool DirtyIndex::remove_if(Lba lba, uint32_t lsn) {
  const auto key = static_cast<uint32_t>(lba.value());
  const uint32_t slot = slot_of(key);
  if (!used(slot)) return false;
  if (slots_[slot].lsn != lsn) {
    mark(Mark::kNewerThanCheckpoint);
    if (!defect(Defect::kNewerEntryCleared)) return false;
  }
  // Close the gap: move back each following entry whose home does not lie behind the gap.
  uint32_t gap = slot;
  for (uint32_t next = (gap + 1) & mask_; used(next); next = (next + 1) & mask_) {
    const uint32_t distance_home = (next - home(slots_[next].lba)) & mask_;
    const uint32_t distance_gap = (next - gap) & mask_;
    if (distance_home >= distance_gap) {
      slots_[gap] = slots_[next];
      gap = next;
    }
  }
  set_used(gap, false);
  --size_;
  return true;
}

void DirtyIndex::clear() {
  // Only slots in use were ever touched; a fresh table would cost address space again.
  std::memset(used_.get(), 0, (uint64_t{mask_} + 1) / 8);
  size_ = 0;
}

void DirtyIndex::grow(uint32_t entries_max) {
  if (entries_max <= entries_max_) return;
  DirtyIndex larger(entries_max);
  if (!larger.has_memory()) return;
  for (uint64_t slot = 0; slot <= mask_; ++slot) {
    if (!used(static_cast<uint32_t>(slot))) continue;
    const uint32_t place = larger.slot_of(slots_[slot].lba);
    larger.set_used(place, true);
    larger.slots_[place] = slots_[slot];
  }
  larger.size_ = size_;
  *this = std::move(larger);
}

}  // namespace ringbolt
