#include "volume/block_reader.h"

#include <cerrno>
#include <cstring>

#include "log/log.h"
#include "ringbolt/assert.h"
#include "ringbolt/crc32c.h"
#include "ringbolt/probe.h"

namespace ringbolt {

BlockReader::BlockReader(io::Io& io, Wal& wal, const DirtyIndex& index, ReaderGate& gate, io::File base,
                         const std::string& name)
    : io_(io), wal_(wal), index_(index), gate_(gate), base_(base), name_(name) {
  ops_.reserve(kOpsMax);
  free_ops_.reserve(kOpsMax);
}

BlockReader::~BlockReader() {
  // Jobs may be unfinished if the process "died" (simulation); what must not be is a device still
  // reading into their buffers.
  for (const auto& op : ops_) RINGBOLT_ASSERT(!op->completion.pending());
}

void BlockReader::read(ReadJob& job) {
  RINGBOLT_ASSERT(job.blocks > 0 && job.blocks <= kFramePayloadBlocksMax);
  job.newest = Lsn{};
  job.next_block = 0;
  job.pending = 0;
  job.error = 0;
  job.next = nullptr;
  job.ticket = gate_.enter();
  advance(job);
}

/// Issues reads until the job is covered or no op is free.
void BlockReader::advance(ReadJob& job) {
  job.issuing = true;
  while (job.next_block < job.blocks) {
    if (!issue_next(job)) {
      (waiting_last_ != nullptr ? waiting_last_->next : waiting_first_) = &job;
      waiting_last_ = &job;
      job.next = nullptr;
      job.issuing = false;
      return;
    }
  }
  job.issuing = false;
  finish_if_done(job);
}

void BlockReader::note_version(ReadJob& job, uint32_t lsn_short) const {
  const Lsn head = wal_.head();
  const Lsn lsn(head.value() - static_cast<uint32_t>(static_cast<uint32_t>(head.value()) - lsn_short));
  job.newest = std::max(job.newest, lsn);
}

/// Handles the next run of blocks that lie together. False if it needs an op and none is free.
bool BlockReader::issue_next(ReadJob& job) {
  const uint32_t at = job.next_block;
  std::byte* const data = job.data + size_t{at} * kBlockBytes;
  const DirtyIndex::Entry* entry = index_.find(job.first.plus(at));
  if (entry != nullptr && entry->wal_block == DirtyIndex::kZeros) {
    std::memset(data, 0, kBlockBytes);
    note_version(job, entry->lsn);
    ++job.next_block;
    return true;
  }
  if (entry != nullptr) {
    if (const std::byte* memory = wal_.find_payload(entry->lsn, entry->wal_block)) {
      std::memcpy(data, memory, kBlockBytes);
      note_version(job, entry->lsn);
      ++job.next_block;
      return true;
    }
  }
  if (free_ops_.empty() && ops_.size() < kOpsMax) {
    ops_.push_back(std::make_unique<ReadOp>(*this));
    free_ops_.push_back(ops_.back().get());
  }
  if (free_ops_.empty()) {
    mark(Mark::kReadQueued);
    return false;
  }
  ReadOp& op = *free_ops_.back();
  free_ops_.pop_back();
  op.job = &job;
  op.first_block = at;
  op.blocks = 0;
  op.from_wal = entry != nullptr;
  uint64_t offset;
  if (entry != nullptr) {
    const uint32_t first_wal_block = entry->wal_block;
    offset = uint64_t{first_wal_block} * kBlockBytes;
    while (entry != nullptr && entry->wal_block == first_wal_block + op.blocks && op.blocks < kRunBlocksMax &&
           wal_.find_payload(entry->lsn, entry->wal_block) == nullptr) {
      op.crcs[op.blocks++] = entry->crc;
      note_version(job, entry->lsn);
      entry = at + op.blocks < job.blocks ? index_.find(job.first.plus(at + op.blocks)) : nullptr;
    }
  } else {
    offset = job.first.plus(at).value() * kBlockBytes;
    while (at + op.blocks < job.blocks && index_.find(job.first.plus(at + op.blocks)) == nullptr) ++op.blocks;
  }
  if (op.from_wal) mark(Mark::kReadFromLog);
  job.next_block += op.blocks;
  ++job.pending;
  op.begun_at = io_.now();
  io_.read(op.from_wal ? wal_.geometry().file : base_, data, op.blocks * kBlockBytes, offset, op.completion);
  return true;
}

void BlockReader::ReadOp::on_done(int32_t result) { reader->op_done(*this, result); }

void BlockReader::op_done(ReadOp& op, int32_t result) {
  ReadJob& job = *op.job;
  (op.from_wal ? wal_times_ : base_times_).add(io_.now() - op.begun_at);
  if (result < 0) {
    RINGBOLT_LOG_LIMITED(kError, {.volume = name_}, "reading {} blocks at block {} from the {} failed: {}", op.blocks,
                       job.first.plus(op.first_block).value(), op.from_wal ? "WAL" : "base image", std::strerror(-result));
    job.error = EIO;
  } else if (op.from_wal) {
    for (uint32_t i = 0; i < op.blocks; ++i) {
      const std::byte* block = job.data + size_t{op.first_block + i} * kBlockBytes;
      if (crc32c(block, kBlockBytes) == op.crcs[i]) continue;
      RINGBOLT_LOG_LIMITED(kError, {.volume = name_}, "block {} in the WAL does not match its checksum", job.first.plus(op.first_block + i).value());
      job.error = EIO;
    }
  }
  free_ops_.push_back(&op);
  --job.pending;
  // Who waits takes the op first: `done` below may begin a new read, and one that always finds the
  // freed op gone would keep the reader gate, and so checkpoints, waiting.
  ReadJob* const next = waiting_first_;
  if (next != nullptr) {
    waiting_first_ = next->next;
    if (waiting_first_ == nullptr) waiting_last_ = nullptr;
    advance(*next);
  }
  if (next != &job) finish_if_done(job);
}

void BlockReader::finish_if_done(ReadJob& job) {
  if (job.issuing || job.pending > 0 || job.next_block < job.blocks) return;
  gate_.leave(job.ticket);
  job.done(job, job.error);
}

}  // namespace ringbolt
