#include "volume/rebuild_bitmap.h"

#include <algorithm>
#include <bit>
#include <cstdlib>

#include "ringbolt/assert.h"

namespace ringbolt {

namespace {

/// The bits of one word that [at, end) covers; `at` lies in it.
uint64_t mask_of(uint64_t at, uint64_t end) {
  const uint64_t from = at % 64;
  const uint64_t bits = std::min(end - at, 64 - from);
  return (~uint64_t{0} >> (64 - bits)) << from;
}

}  // namespace

void RebuildBitmap::Freed::operator()(void* memory) const { std::free(memory); }

RebuildBitmap::RebuildBitmap(uint64_t blocks) : blocks_(blocks) {
  RINGBOLT_ASSERT(blocks > 0 && blocks <= kVolumeBytesMax / kBlockBytes);
  words_.reset(static_cast<uint64_t*>(std::calloc((blocks + 63) / 64, sizeof(uint64_t))));
}

void RebuildBitmap::mark_applied(Lba first, uint64_t blocks) {
  RINGBOLT_ASSERT(first.value() <= blocks_ && blocks <= blocks_ - first.value());
  const uint64_t end = first.value() + blocks;
  uint64_t fresh = 0;
  for (uint64_t at = first.value(); at < end; at = (at / 64 + 1) * 64) {
    const uint64_t mask = mask_of(at, end);
    // Of two who mark a block at the same time one sees it clear, and counts it.
    const uint64_t before = word(at / 64).fetch_or(mask, std::memory_order_acq_rel);
    fresh += static_cast<uint64_t>(std::popcount(mask & ~before));
  }
  if (fresh > 0) applied_.fetch_add(fresh, std::memory_order_acq_rel);
}

bool RebuildBitmap::is_applied(Lba lba) const {
  RINGBOLT_ASSERT(lba.value() < blocks_);
  return (word(lba.value() / 64).load(std::memory_order_acquire) >> (lba.value() % 64) & 1) != 0;
}

uint64_t RebuildBitmap::find(bool set, uint64_t at, uint64_t end) const {
  for (; at < end; at = (at / 64 + 1) * 64) {
    const uint64_t bits = word(at / 64).load(std::memory_order_acquire);
    const uint64_t wanted = (set ? bits : ~bits) >> (at % 64);
    if (wanted != 0) return std::min(end, at + static_cast<uint64_t>(std::countr_zero(wanted)));
  }
  return end;
}

std::optional<RebuildBitmap::Run> RebuildBitmap::next_clear(Lba from, Lba end) const {
  RINGBOLT_ASSERT(end.value() <= blocks_);
  const uint64_t first = find(false, from.value(), end.value());
  if (first >= end.value()) return std::nullopt;
  // From the block behind it: the first one itself may have been set since.
  const uint64_t last = find(true, first + 1, end.value());
  return Run{Lba(first), static_cast<uint32_t>(std::min<uint64_t>(last - first, UINT32_MAX))};
}

}  // namespace ringbolt
