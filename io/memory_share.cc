// See memory_share.h for the rule that this keeps.
#include "io/memory_share.h"

#include <algorithm>
#include <bit>

#include "ringbolt/assert.h"

namespace ringbolt::io {

// --- the reserve ------------------------------------------------------------------------------------

namespace {

BufferReserve::Buffers allocate_all(BufferPool& pool) {
  BufferReserve::Buffers buffers;
  for (size_t i = 0; i < buffers.size(); ++i) {
    buffers[i] = pool.allocate(BufferReserve::bytes_of(i));
    RINGBOLT_ASSERT(buffers[i]);
  }
  return buffers;
}

}  // namespace

BufferReserve::BufferReserve(BufferPool& pool) : BufferReserve(pool, allocate_all(pool)) {}

BufferReserve::BufferReserve(BufferPool& pool, const Buffers& buffers) : pool_(pool), buffers_(buffers) {
  for (size_t i = 0; i < buffers_.size(); ++i) {
    RINGBOLT_ASSERT(buffers_[i].bytes >= bytes_of(i));
    pool.set_aside(buffers_[i]);
  }
}

BufferReserve::~BufferReserve() {
  // One may still be out when the process "died" (simulation): the pool goes next.
  for (const Buffer& buffer : buffers_) static_cast<void>(pool_.return_aside(buffer));
}

Buffer BufferReserve::allocate(Use use, uint32_t bytes) {
  const Buffer buffer = pool_.allocate(bytes);
  return buffer ? buffer : take(use);
}

Buffer BufferReserve::take(Use use) {
  const auto first = static_cast<size_t>(use);
  const size_t count = use == Use::kEdge ? 2 : 1;
  for (size_t i = first; i < first + count; ++i) {
    if (pool_.take_aside(buffers_[i])) return buffers_[i];
  }
  return {};
}

// --- shares -----------------------------------------------------------------------------------------

MemoryShare::MemoryShare(BufferPool& pool) : pool_(pool) {
  pool.shares_.push_back(this);
  pool.divide();
}

MemoryShare::~MemoryShare() {
  std::erase(pool_.shares_, this);
  pool_.divide();
}

/// At set-up only: what each share has for itself, and what they have together.
void BufferPool::divide() {
  const auto limit = static_cast<int64_t>(limit_bytes_);
  const int64_t all = std::max<int64_t>(0, limit - limit / 8 - static_cast<int64_t>(aside_bytes_)) / 4 * 3;
  common_bytes_ = all / 2;
  share_own_ = shares_.empty() ? 0 : all / 2 / static_cast<int64_t>(shares_.size());
  common_used_ = 0;
  for (const MemoryShare* share : shares_) common_used_ += std::max<int64_t>(0, share->held_ - share_own_);
}

bool MemoryShare::may_hold(int64_t more) const {
  const int64_t before = std::max<int64_t>(0, held_ - pool_.share_own_);
  const int64_t after = std::max<int64_t>(0, held_ + more - pool_.share_own_);
  return after == 0 || after <= pool_.common_bytes_ - (pool_.common_used_ - before + after);
}

uint64_t MemoryShare::limit() const {
  const int64_t before = std::max<int64_t>(0, held_ - pool_.share_own_);
  return static_cast<uint64_t>(pool_.share_own_ + std::max<int64_t>(0, pool_.common_bytes_ - pool_.common_used_ + before) / 2);
}

void MemoryShare::charge(int64_t bytes) {
  const int64_t before = std::max<int64_t>(0, held_ - pool_.share_own_);
  held_ += bytes;
  RINGBOLT_ASSERT(held_ >= 0);
  pool_.common_used_ += std::max<int64_t>(0, held_ - pool_.share_own_) - before;
}

Buffer MemoryShare::allocate(uint32_t bytes) {
  if (!may_hold(std::max<int64_t>(kBlockBytes, std::bit_ceil(bytes)))) return {};
  const Buffer buffer = pool_.allocate(bytes);
  if (buffer) charge(buffer.bytes);
  return buffer;
}

void MemoryShare::release(Buffer buffer) {
  charge(-int64_t{buffer.bytes});
  pool_.release(buffer);
}

void MemoryShare::forgo(uint32_t buffer_bytes) {
  charge(-int64_t{buffer_bytes});
  // Nothing was given back, yet who waits for this share may have it now.
  pool_.hint_reclaimable();
}

}  // namespace ringbolt::io
