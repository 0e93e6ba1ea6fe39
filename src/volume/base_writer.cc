#include "volume/base_writer.h"

#include <algorithm>
#include <cerrno>

#include "ringbolt/assert.h"
#include "ringbolt/probe.h"

namespace ringbolt {

BaseWriter::BaseWriter(io::Io& io, ReaderGate& gate, io::File base, void (*on_quiet)(void* owner), void* owner)
    : io_(io), gate_(gate), base_(base), on_quiet_(on_quiet), owner_(owner) {
  for (WriteOp& op : ops_) {
    op.writer = this;
    free_ops_[free_size_++] = &op;
  }
}

BaseWriter::~BaseWriter() {
  // Jobs may be unfinished if the process "died" (simulation); what must not be is a device still
  // reading from their buffers.
  for (const WriteOp& op : ops_) RINGBOLT_ASSERT(!op.completion.pending());
}

void BaseWriter::resume() {
  RINGBOLT_ASSERT(quiet());
  stopped_ = false;
}

void BaseWriter::write(BaseWrite& job) {
  RINGBOLT_ASSERT(job.blocks > 0 && job.blocks <= BaseWrite::kBlocksMax && job.bitmap != nullptr && job.done != nullptr);
  job.blocks_written = job.blocks_skipped = 0;
  job.next_block = job.pending = 0;
  job.error = 0;
  job.issued = false;
  job.next = nullptr;
  ++jobs_;
  (last_ != nullptr ? last_->next : first_) = &job;
  last_ = &job;
  issue_more();
}

/// Issues device writes, oldest job first, until all are issued or no op is free.
void BaseWriter::issue_more() {
  // A job that ends may give the next one from inside its `done`: the loop below takes that too.
  if (issuing_) return;
  issuing_ = true;
  while (first_ != nullptr) {
    BaseWrite& job = *first_;
    if (!issue(job)) break;
    first_ = job.next;
    if (first_ == nullptr) last_ = nullptr;
    job.issued = true;
    if (job.pending == 0) finish(job);
  }
  issuing_ = false;
}

/// False if an op is needed and none is free.
bool BaseWriter::issue(BaseWrite& job) {
  const uint32_t step = job.data != nullptr ? kWriteBlocksMax : kZeroBlocksMax;
  while (job.next_block < job.blocks && job.error == 0) {
    if (stopped_) {
      job.error = ECANCELED;
      break;
    }
    const Lba from = job.first.plus(job.next_block);
    const uint32_t span = std::min(step, job.blocks - job.next_block);
    auto run = job.bitmap->next_clear(from, from.plus(span));
    if (defect(Defect::kBaseOverLog)) run = RebuildBitmap::Run{from, span};
    const auto skipped = run ? static_cast<uint32_t>(run->first.minus(from)) : span;
    if (skipped > 0) mark(Mark::kWalWins);
    job.blocks_skipped += skipped;
    job.next_block += skipped;
    if (!run) continue;
    if (free_size_ == 0) return false;
    WriteOp& op = *free_ops_[--free_size_];
    op.job = &job;
    op.blocks = run->blocks;
    op.ticket = gate_.enter();
    const uint64_t offset = run->first.value() * kBlockBytes;
    if (job.data == nullptr) {
      io_.zero(base_, offset, uint64_t{op.blocks} * kBlockBytes, op.completion);
    } else {
      io_.write(base_, job.data + size_t{job.next_block} * kBlockBytes, op.blocks * kBlockBytes, offset, op.completion);
    }
    ++job.pending;
    job.next_block += op.blocks;
  }
  return true;
}

void BaseWriter::op_done(WriteOp& op, int32_t result) {
  BaseWrite& job = *op.job;
  if (result >= 0) {
    job.blocks_written += op.blocks;
  } else if (job.error == 0) {
    job.error = -result;
  }
  // If it is still in the queue, what is called below may end it.
  const bool ended = --job.pending == 0 && job.issued;
  free_ops_[free_size_++] = &op;
  gate_.leave(op.ticket);
  issue_more();
  if (ended) finish(job);
}

void BaseWriter::finish(BaseWrite& job) {
  --jobs_;
  job.done(job, job.error);
  if (stopped_ && quiet()) on_quiet_(owner_);
}

}  // namespace ringbolt
