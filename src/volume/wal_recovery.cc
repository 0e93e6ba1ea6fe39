#include "volume/wal_recovery.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "ringbolt/assert.h"
#include "ringbolt/probe.h"

namespace ringbolt {

WalRecovery::WalRecovery(io::Io& io, Wal& wal, const Start& start, Listener& listener)
    : io_(io), wal_(wal), start_(start), listener_(listener),
      window_(static_cast<std::byte*>(std::aligned_alloc(kBlockBytes, kWindowBlocks * kBlockBytes))),
      previous_checksum_(start.tail_previous_checksum), end_(start.tail_first.value() - 1) {
  RINGBOLT_ASSERT(window_ != nullptr);
}

WalRecovery::~WalRecovery() {
  RINGBOLT_ASSERT(!read0_.pending() && !read1_.pending());
  std::free(window_);
}

void WalRecovery::run() {
  wal_.restore_begin(start_.tail_first, start_.tail_block, start_.tail_previous_checksum, start_.mark);
  step();
}

void WalRecovery::step() {
  while (phase_ != Phase::kDone) {
    const bool goes_on = phase_ == Phase::kFrames ? step_frame() : step_proof();
    if (!goes_on) return;  // a read is under way, or it is over
  }
}

bool WalRecovery::have(uint64_t block, uint64_t count) {
  if (block >= window_first_ && block + count <= window_first_ + window_blocks_) return true;
  const uint64_t capacity = wal_.capacity_blocks();
  RINGBOLT_ASSERT(block + count <= capacity && count <= kWindowBlocks);
  window_first_ = block;
  window_blocks_ = std::min(kWindowBlocks, capacity - block);
  const uint64_t half = std::min<uint64_t>(window_blocks_, kFrameBytesMax / kBlockBytes);
  const io::File file = wal_.geometry().file;
  read_error_ = 0;
  reads_pending_ = window_blocks_ > half ? 2 : 1;
  io_.read(file, window_, static_cast<uint32_t>(half * kBlockBytes), block * kBlockBytes, read0_);
  if (window_blocks_ > half) {
    io_.read(file, window_ + half * kBlockBytes, static_cast<uint32_t>((window_blocks_ - half) * kBlockBytes),
             (block + half) * kBlockBytes, read1_);
  }
  return false;
}

void WalRecovery::on_read(int32_t result) {
  if (result < 0) read_error_ = result;
  if (--reads_pending_ > 0) return;
  if (read_error_ != 0) {
    // An unreadable block is not a torn tail: cutting there could discard acknowledged records.
    finish(make_error(Errc::kIo, fmt::format("cannot read the WAL between byte {} and {}: {}", window_first_ * kBlockBytes,
                                             (window_first_ + window_blocks_) * kBlockBytes, std::strerror(-read_error_))));
    return;
  }
  step();
}

/// Last Lsn of the frame that is part of history; first_lsn() - 1 if none is.
Lsn WalRecovery::live_end(const FrameHeader& header) const {
  const core::TermHistory& history = *start_.history;
  Lsn live(header.first_lsn().value() - 1);
  if (history.empty()) return live;
  while (live < header.last_lsn()) {
    const Lsn lsn = live.next();
    if (start_.limit && lsn > *start_.limit) break;
    const auto term = history.term_at(lsn);
    if (term && *term != header.term() && !defect(Defect::kStaleFrames)) break;
    live = lsn;
  }
  return live;
}

/// A whole frame of another volume at the tail: the configuration names the wrong file, which must not
/// be written to. Ends the recovery then.
bool WalRecovery::is_of_another_volume(const FrameHeader& header) {
  const FrameFields fields = header.fields();
  Uuid owner;
  std::memcpy(owner.bytes.data(), fields.uuid, sizeof fields.uuid);
  if (owner == wal_.geometry().volume || header.check(owner, kVolumeBytesMax / kBlockBytes) != nullptr) return false;
  finish(make_error(Errc::kInvalid, fmt::format("the WAL is that of another volume, {}: configure the right wal_path", owner.to_string())));
  return true;
}

bool WalRecovery::step_frame() {
  const uint64_t capacity = wal_.capacity_blocks();
  const uint64_t block = wal_.device_block(wal_.append_position());
  if (scanned_ >= capacity) {
    end_of_log("the WAL is full");
    return true;
  }
  if (!have(block, 1)) return false;
  const FrameHeader header(at(block));
  if (const char* wrong = header.check(wal_.geometry().volume, wal_.geometry().volume_blocks)) {
    // Only here, as behind the tail may lie whatever clients once wrote, copies of WALs too.
    if (scanned_ == 0 && is_of_another_volume(header)) return false;
    end_of_log(wrong);
    return true;
  }
  const FrameFields fields = header.fields();
  if (fields.log_key != start_.mark.key) {
    end_of_log("a frame of another log, or a client's data");
    return true;
  }
  const uint64_t blocks = header.total_blocks();
  if (fields.previous_checksum != previous_checksum_ && !defect(Defect::kStaleFrames)) {
    mark(Mark::kChainBroken);
    end_of_log("a frame that does not continue the chain");
    return true;
  }
  if (header.first_lsn() != end_.next() || block + blocks > capacity || scanned_ + blocks > capacity) {
    end_of_log("a frame at the wrong position");
    return true;
  }
  if (header.is_pad()) {
    if (block + blocks != capacity) {
      end_of_log("a pad frame that does not reach the end");
      return true;
    }
    wal_.restore_pad(static_cast<uint32_t>(blocks), fields.checksum);
  } else {
    if (!have(block, blocks)) return false;
    // The window may have moved: look again.
    const FrameHeader whole(at(block));
    if (const auto bad = whole.check_payload(at(block) + kBlockBytes); bad && !defect(Defect::kTornTailTaken)) {
      mark(Mark::kTornTailCut);
      end_of_log(fmt::format("payload block {} of the frame does not match its checksum", *bad));
      return true;
    }
    const Lsn live = live_end(whole);
    if (live < whole.first_lsn()) {
      mark(Mark::kDeadRecords);
      end_of_log("records of a discarded term");
      return true;
    }
    uint32_t payload = 0;
    for (uint32_t i = 0; whole.first_lsn().plus(i) <= live; ++i) {
      const WalRecord record = whole.record(i);
      const auto wal_block = static_cast<uint32_t>(block + 1 + payload);
      if (!listener_.on_record(whole.first_lsn().plus(i), record, wal_block, whole, payload)) {
        finish(make_error(Errc::kCorrupt, fmt::format("the WAL holds more dirty blocks than the index takes (at byte {})",
                                                      block * kBlockBytes)));
        return false;
      }
      if (has_payload(record.kind)) payload += record.blocks;
    }
    wal_.restore_frame(FramePlace{whole.first_lsn(), live, wal_.append_position(), static_cast<uint32_t>(blocks),
                                  previous_checksum_},
                       fields.checksum);
    end_ = live;
  }
  previous_checksum_ = fields.checksum;
  scanned_ += blocks;
  return true;
}

void WalRecovery::end_of_log(std::string why) {
  end_reason_ = std::move(why);
  if (start_.limit) {
    if (end_ < *start_.limit) {
      finish(make_error(Errc::kCorrupt, fmt::format("the log ends at {} before the fork at {}: {}", end_.value(),
                                                    start_.limit->value(), end_reason_)));
      return;
    }
    finish(boost::outcome_v2::success());
    return;
  }
  if (end_ < start_.durable) {
    mark(Mark::kDamageFound);
    finish(make_error(Errc::kCorrupt,
                      fmt::format("the WAL ends at Lsn {} (byte {}: {}), but records up to {} had been flushed", end_.value(),
                                  wal_.device_block(wal_.append_position()) * kBlockBytes, end_reason_, start_.durable.value())));
    return;
  }
  phase_ = Phase::kProof;
}

/// Goes over the rest of the area for a later frame that was sealed when the record after the end had
/// been flushed: then the end is damage, not a torn tail. A frame of before the last cut is no such
/// frame: cutting took back what it calls flushed, and what has been written since over its place or
/// before it may well be torn. Within the time between two cuts a log only grows, and what it had
/// flushed a recovery finds again, so there no frame claims too much, whichever lap it is from. What is
/// not a frame but a client's data can look like one, except that it does not have the key.
bool WalRecovery::step_proof() {
  const uint64_t capacity = wal_.capacity_blocks();
  if (scanned_ >= capacity) {
    finish(boost::outcome_v2::success());
    return false;
  }
  const uint64_t block = (start_.tail_block + scanned_) % capacity;
  if (!have(block, 1)) return false;
  const FrameHeader header(at(block));
  const FrameFields fields = header.fields();
  if (Lsn(fields.durable_lsn) > end_ && header.mark() == start_.mark &&
      header.check(wal_.geometry().volume, wal_.geometry().volume_blocks) == nullptr) {
    mark(Mark::kDamageProven);
    finish(make_error(Errc::kCorrupt,
                      fmt::format("the WAL is damaged at byte {} ({}): the frame of Lsn {} at byte {} proves that records up to "
                                  "{} had been flushed, but only {} are readable",
                                  wal_.device_block(wal_.append_position()) * kBlockBytes, end_reason_, fields.first_lsn,
                                  block * kBlockBytes, fields.durable_lsn, end_.value())));
    return false;
  }
  ++scanned_;
  return true;
}

void WalRecovery::finish(Status status) {
  phase_ = Phase::kDone;
  if (status.has_value()) wal_.restore_end(start_.durable);
  listener_.on_recovered(std::move(status));
}

}  // namespace ringbolt
