// The buddy allocator behind BufferPool. Address space is reserved once and made usable chunk by
// chunk; the free lists live inside the free blocks, their states in one byte per 4 KiB block.
#include "io/buffer_pool.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <new>

#include "ringbolt/assert.h"

#if defined(__SANITIZE_ADDRESS__)
#define RINGBOLT_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define RINGBOLT_ASAN 1
#endif
#endif
#ifdef RINGBOLT_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace ringbolt::io {

namespace {

// Under AddressSanitizer a free block's bytes (except its list links) must not be touched.
void forbid(const std::byte* data, size_t bytes) {
#ifdef RINGBOLT_ASAN
  __asan_poison_memory_region(data, bytes);
#else
  static_cast<void>(data);
  static_cast<void>(bytes);
#endif
}

void permit(const std::byte* data, size_t bytes) {
#ifdef RINGBOLT_ASAN
  __asan_unpoison_memory_region(data, bytes);
#else
  static_cast<void>(data);
  static_cast<void>(bytes);
#endif
}

constexpr uint32_t class_bytes(uint32_t size_class) { return kBlockBytes << size_class; }

uint32_t class_for(uint32_t bytes) {
  const uint32_t blocks = (bytes + kBlockBytes - 1) / kBlockBytes;
  return static_cast<uint32_t>(std::bit_width(blocks - 1));
}

// Chunks start at multiples of this, so that a chunk can consist of whole huge pages.
constexpr size_t kBaseAlignment = 2u << 20;

}  // namespace

BufferPool::BufferPool(uint64_t limit_bytes, std::function<void(std::byte*, size_t)> on_chunk,
                       std::unique_ptr<PagePopulator> populator)
    : on_chunk_(std::move(on_chunk)), populator_(std::move(populator)) {
  static_assert(class_bytes(kClasses - 1) == kFrameBytesMax);
  static_assert(kChunkBytes % kFrameBytesMax == 0 && kBaseAlignment % kFrameBytesMax == 0);
  chunks_limit_ = std::max<size_t>(1, (limit_bytes + kChunkBytes - 1) / kChunkBytes);
  limit_bytes_ = chunks_limit_ * kChunkBytes;
  const size_t reserve = limit_bytes_ + kBaseAlignment;
  void* mapped =
      mmap(nullptr, reserve, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();

  const auto at = reinterpret_cast<uintptr_t>(mapped);
  const uintptr_t aligned = (at + kBaseAlignment - 1) & ~(kBaseAlignment - 1);
  base_ = reinterpret_cast<std::byte*>(aligned);
  const size_t before = aligned - at;
  const size_t after = reserve - before - limit_bytes_;
  if (before > 0) munmap(mapped, before);
  if (after > 0) munmap(base_ + limit_bytes_, after);
  // A child process must not share pages into which the device still writes.
  const int dontfork = madvise(base_, limit_bytes_, MADV_DONTFORK);
  RINGBOLT_ASSERT(dontfork == 0);
  block_state_.assign(limit_bytes_ / kBlockBytes, 0);
}

BufferPool::~BufferPool() {
  populator_.reset();  // it may have a chunk under way
  permit(base_, chunks_used_ * kChunkBytes);
  munmap(base_, limit_bytes_);
}

size_t BufferPool::block_index(const std::byte* data) const {
  RINGBOLT_ASSERT(data >= base_ && data < base_ + chunks_used_ * kChunkBytes);
  const auto offset = static_cast<size_t>(data - base_);
  RINGBOLT_ASSERT(offset % kBlockBytes == 0);
  return offset / kBlockBytes;
}

void BufferPool::push_free(std::byte* data, uint32_t size_class) {
  permit(data, sizeof(FreeBlock));
  auto* block = new (data) FreeBlock{free_[size_class], nullptr};
  if (block->next != nullptr) block->next->previous = block;
  free_[size_class] = block;
  if (size_class == kClasses - 1) ++whole_free_;
  block_state_[block_index(data)] = static_cast<uint8_t>(kFree + size_class);
  forbid(data + sizeof(FreeBlock), class_bytes(size_class) - sizeof(FreeBlock));
}

void BufferPool::remove_free(std::byte* data, uint32_t size_class) {
  auto* block = reinterpret_cast<FreeBlock*>(data);
  if (block->next != nullptr) block->next->previous = block->previous;
  if (block->previous != nullptr) {
    block->previous->next = block->next;
  } else {
    RINGBOLT_ASSERT(free_[size_class] == block);
    free_[size_class] = block->next;
  }
  if (size_class == kClasses - 1) --whole_free_;
  block_state_[block_index(data)] = 0;
}

bool BufferPool::grow() {
  if (chunks_used_ == chunks_limit_) return false;
  std::byte* chunk = base_ + chunks_used_ * kChunkBytes;
  if (!take_prepared()) {
    // Refused memory is treated as an exhausted pool: callers wait for what others give back.
    if (mprotect(chunk, kChunkBytes, PROT_READ | PROT_WRITE) != 0) return false;
    // A chunk that gets registered is pinned as a whole, and huge pages make it few segments for
    // the device. Merely faster, so a kernel without them is no error.
    if (on_chunk_) static_cast<void>(madvise(chunk, kChunkBytes, MADV_HUGEPAGE));
  }
  ++chunks_used_;
  if (on_chunk_) on_chunk_(chunk, kChunkBytes);
  // Pushed backwards, so that allocation goes upwards.
  for (size_t offset = kChunkBytes; offset > 0; offset -= kFrameBytesMax) {
    push_free(chunk + offset - kFrameBytesMax, kClasses - 1);
  }
  return true;
}

/// Whether the next chunk is ready. One that still is under way is left to whoever touches its pages first: the populator
/// changes no contents, and stops after the piece that it is at.
bool BufferPool::take_prepared() {
  if (populator_ == nullptr || chunk_asked_for_ != chunks_used_) return false;
  if (populator_->busy()) {
    populator_->give_up();
    return false;
  }
  const Status& outcome = populator_->outcome();
  if (outcome.has_error()) populate_failure_ = outcome.error().message;
  return outcome.has_value();
}

void BufferPool::prepare_ahead() {
  if (chunks_used_ == chunks_limit_ || populating()) return;
  if (chunk_asked_for_ != chunks_used_) {
    chunk_asked_for_ = chunks_used_;
    populator_->begin(base_ + chunks_used_ * kChunkBytes, kChunkBytes);
  } else if (populator_->outcome().has_value()) {
    grow();
  }
}

Buffer BufferPool::allocate_class(uint32_t size_class) {
  uint32_t found = size_class;
  while (found < kClasses && free_[found] == nullptr) ++found;
  if (found == kClasses) {
    if (!grow()) return {};
    found = kClasses - 1;
  }
  auto* data = reinterpret_cast<std::byte*>(free_[found]);
  remove_free(data, found);
  while (found > size_class) {
    --found;
    push_free(data + class_bytes(found), found);
  }
  const uint32_t bytes = class_bytes(size_class);
  permit(data, bytes);
  block_state_[block_index(data)] = static_cast<uint8_t>(kUsed + size_class);
  used_bytes_ += bytes;
  if (populator_ != nullptr && whole_free_ * kFrameBytesMax < kAheadBytes) prepare_ahead();
  return {data, bytes};
}

Buffer BufferPool::allocate(uint32_t bytes) {
  RINGBOLT_ASSERT(bytes >= 1 && bytes <= kFrameBytesMax);
  const uint32_t size_class = class_for(bytes);
  Buffer buffer = allocate_class(size_class);
  if (buffer || reclaiming_) return buffer;
  reclaiming_ = true;
  for (auto& [id, reclaimer] : reclaimers_) {
    while (!buffer && reclaimer()) buffer = allocate_class(size_class);
    if (buffer) break;
  }
  reclaiming_ = false;
  return buffer;
}

void BufferPool::free_block(std::byte* data, uint32_t size_class) {
  size_t index = block_index(data);
  while (size_class < kClasses - 1) {
    const size_t buddy = index ^ (size_t{1} << size_class);
    if (block_state_[buddy] != kFree + size_class) break;
    remove_free(base_ + buddy * kBlockBytes, size_class);
    index = std::min(index, buddy);
    ++size_class;
  }
  push_free(base_ + index * kBlockBytes, size_class);
  released_ = true;
}

void BufferPool::release(Buffer buffer) {
  RINGBOLT_ASSERT(buffer.data != nullptr && std::has_single_bit(buffer.bytes));
  const uint32_t size_class = class_for(buffer.bytes);
  const size_t index = block_index(buffer.data);
  if ((block_state_[index] & kAsideOut) != 0) {
    block_state_[index] = static_cast<uint8_t>(block_state_[index] - kAsideOut + kAside);
    released_ = true;
    return;
  }
  RINGBOLT_ASSERT(block_state_[index] == kUsed + size_class);
  block_state_[index] = 0;
  used_bytes_ -= buffer.bytes;
  free_block(buffer.data, size_class);
}

Buffer BufferPool::shrink(Buffer buffer, uint32_t bytes) {
  RINGBOLT_ASSERT(bytes >= 1 && bytes <= buffer.bytes);
  uint32_t size_class = class_for(buffer.bytes);
  const uint32_t wanted = class_for(bytes);
  const size_t index = block_index(buffer.data);
  // What is set aside stays whole.
  if ((block_state_[index] & kAsideOut) != 0) return {buffer.data, class_bytes(wanted)};
  RINGBOLT_ASSERT(block_state_[index] == kUsed + size_class);
  while (size_class > wanted) {
    --size_class;
    // Its buddy is the part that stays in use, so there is nothing to merge with.
    push_free(buffer.data + class_bytes(size_class), size_class);
    used_bytes_ -= class_bytes(size_class);
    released_ = true;
  }
  block_state_[index] = static_cast<uint8_t>(kUsed + wanted);
  return {buffer.data, class_bytes(wanted)};
}

void BufferPool::set_aside(Buffer buffer) {
  const size_t index = block_index(buffer.data);
  const uint32_t size_class = class_for(buffer.bytes);
  RINGBOLT_ASSERT(block_state_[index] == kUsed + size_class);
  block_state_[index] = static_cast<uint8_t>(kAside + size_class);
  aside_bytes_ += buffer.bytes;
  divide();
}

bool BufferPool::take_aside(Buffer buffer) {
  uint8_t& state = block_state_[block_index(buffer.data)];
  if ((state & kAside) == 0) return false;
  state = static_cast<uint8_t>(state - kAside + kAsideOut);
  return true;
}

bool BufferPool::return_aside(Buffer buffer) {
  uint8_t& state = block_state_[block_index(buffer.data)];
  if ((state & kAside) == 0) return false;
  state = static_cast<uint8_t>(kUsed + class_for(buffer.bytes));
  aside_bytes_ -= buffer.bytes;
  release(buffer);
  divide();
  return true;
}

void BufferPool::wait(PoolWaiter& waiter) {
  if (waiter.queued_) return;
  ++waits_;
  waiter.queued_ = true;
  waiter.round_ = round_;
  waiter.next_ = nullptr;
  waiter.previous_ = last_waiter_;
  (last_waiter_ != nullptr ? last_waiter_->next_ : first_waiter_) = &waiter;
  last_waiter_ = &waiter;
}

void BufferPool::unlink(PoolWaiter& waiter) {
  (waiter.previous_ != nullptr ? waiter.previous_->next_ : first_waiter_) = waiter.next_;
  (waiter.next_ != nullptr ? waiter.next_->previous_ : last_waiter_) = waiter.previous_;
  waiter.next_ = nullptr;
  waiter.previous_ = nullptr;
  waiter.queued_ = false;
}

void BufferPool::cancel_wait(PoolWaiter& waiter) {
  if (waiter.queued_) unlink(waiter);
}

void BufferPool::run_waiters() {
  if (!released_) return;
  released_ = false;
  // The round, not a marker in the list, tells the old waiters from the new: a woken waiter may
  // cancel any other one and may look at has_waiters().
  const uint64_t round = ++round_;
  while (first_waiter_ != nullptr && first_waiter_->round_ < round) {
    PoolWaiter& waiter = *first_waiter_;
    unlink(waiter);
    waiter.function_(waiter);
  }
}

uint32_t BufferPool::add_reclaimer(Reclaimer reclaimer) {
  RINGBOLT_ASSERT(!reclaiming_);
  reclaimers_.emplace_back(next_reclaimer_, std::move(reclaimer));
  return next_reclaimer_++;
}

void BufferPool::remove_reclaimer(uint32_t id) {
  RINGBOLT_ASSERT(!reclaiming_);
  std::erase_if(reclaimers_, [id](const auto& entry) { return entry.first == id; });
}

}  // namespace ringbolt::io
