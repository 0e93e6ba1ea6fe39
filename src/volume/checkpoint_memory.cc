#include "volume/checkpoint_memory.h"

#include <algorithm>

#include "ringbolt/assert.h"

namespace ringbolt {

CheckpointMemory::CheckpointMemory(io::BufferPool& pool) : pool_(pool) {
  const uint64_t count = std::clamp<uint64_t>(pool.limit_bytes() / 8 / CheckpointSet::kBytes, 1, 4);
  for (uint64_t i = 0; i < count; ++i) {
    auto set = std::make_unique<CheckpointSet>();
    for (io::Buffer& buffer : set->spans) buffer = pool.allocate(kFrameBytesMax);
    for (io::Buffer& buffer : set->copies) buffer = pool.allocate(CheckpointSet::kCopyBytes);
    RINGBOLT_ASSERT(set->spans.back() && set->copies.back());
    set->items.reserve(CheckpointSet::kItemsMax);
    free_.push_back(set.get());
    sets_.push_back(std::move(set));
  }
}

CheckpointMemory::~CheckpointMemory() {
  RINGBOLT_ASSERT(free_.size() == sets_.size());
  for (const auto& set : sets_) {
    for (const io::Buffer& buffer : set->spans) pool_.release(buffer);
    for (const io::Buffer& buffer : set->copies) pool_.release(buffer);
  }
}

void CheckpointMemory::acquire(Waiter& waiter) {
  RINGBOLT_ASSERT(!waiter.queued);
  if (!free_.empty()) {
    CheckpointSet* set = free_.back();
    free_.pop_back();
    waiter.granted(waiter, set);
    return;
  }
  waiter.queued = true;
  waiter.next = nullptr;
  Waiter** end = &first_;
  while (*end != nullptr) end = &(*end)->next;
  *end = &waiter;
}

void CheckpointMemory::cancel(Waiter& waiter) {
  if (!waiter.queued) return;
  Waiter** at = &first_;
  while (*at != &waiter) at = &(*at)->next;
  *at = waiter.next;
  waiter.queued = false;
}

void CheckpointMemory::release(CheckpointSet* set) {
  set->items.clear();
  if (first_ == nullptr) {
    free_.push_back(set);
    return;
  }
  Waiter* waiter = first_;
  first_ = waiter->next;
  waiter->queued = false;
  waiter->granted(*waiter, set);
}

}  // namespace ringbolt
