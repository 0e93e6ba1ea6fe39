#include "volume/superblock_writer.h"

#include <cstdlib>

#include "ringbolt/assert.h"
#include "ringbolt/probe.h"

namespace ringbolt {

SuperblockWriter::SuperblockWriter(io::Io& io, Failed on_failed, void* owner)
    : io_(io), failed_callback_(on_failed), owner_(owner),
      slot_(static_cast<std::byte*>(std::aligned_alloc(kBlockBytes, Superblock::kSlotBytes))) {
  RINGBOLT_ASSERT(slot_ != nullptr);
}

SuperblockWriter::~SuperblockWriter() {
  RINGBOLT_ASSERT(!busy());
  io_.undefer(start_);
  std::free(slot_);
}

void SuperblockWriter::open(io::File file, const Superblock& current, uint32_t write_first) {
  RINGBOLT_ASSERT(!busy() && write_first < 2);
  file_ = file;
  current_ = current;
  write_first_ = write_first;
}

Superblock& SuperblockWriter::change() {
  ++changed_version_;
  if (!busy() && !failed_) io_.defer(start_);
  return current_;
}

void SuperblockWriter::wait(SuperblockWaiter& waiter) {
  RINGBOLT_ASSERT(!waiter.waiting_);
  if (failed_) return;
  waiter.waiting_ = true;
  waiter.version_ = changed_version_;
  waiter.next_ = nullptr;
  (last_ != nullptr ? last_->next_ : first_) = &waiter;
  last_ = &waiter;
  // Nothing to write: still answer from a completion, so that callers see one order of events.
  if (changed_version_ == durable_version_) change();
}

void SuperblockWriter::start() {
  if (failed_ || busy() || changed_version_ == durable_version_) return;
  writing_version_ = changed_version_;
  current_.generation += 1;
  // Both slots get these bytes: what is changed meanwhile belongs to the next generation.
  current_.encode(slot_);
  slots_done_ = 0;
  write_slot();
}

void SuperblockWriter::write_slot() {
  const uint32_t slot = slots_done_ == 0 ? write_first_ : 1 - write_first_;
  io_.write(file_, slot_, Superblock::kSlotBytes, Superblock::kSlotOffset[slot], write_);
}

void SuperblockWriter::on_written(int32_t result) {
  if (result < 0) return fail(result);
  if (defect(Defect::kSuperblockNotFlushed)) return on_flushed(0);
  io_.flush(file_, flush_);
}

void SuperblockWriter::on_flushed(int32_t result) {
  if (result < 0) return fail(result);
  if (++slots_done_ < 2 && !defect(Defect::kOneSlot)) return write_slot();
  durable_version_ = writing_version_;
  while (first_ != nullptr && first_->version_ <= durable_version_) {
    SuperblockWaiter* waiter = first_;
    first_ = waiter->next_;
    if (first_ == nullptr) last_ = nullptr;
    waiter->waiting_ = false;
    waiter->function_(*waiter);
  }
  if (changed_version_ != durable_version_) io_.defer(start_);
}

void SuperblockWriter::fail(int32_t result) {
  failed_ = true;
  mark(Mark::kSuperblockFailed);
  // Nobody is called any more; whoever waits learns it from the failure of the store.
  for (; first_ != nullptr; first_ = first_->next_) first_->waiting_ = false;
  last_ = nullptr;
  failed_callback_(owner_, -result);
}

}  // namespace ringbolt
