// Making a copy anew: where it begins, and where it ends. What comes between is appended and written as
// usual: the WAL lane through append_frame(), the base lane through write_base().
//
// The rebuild mark is in the superblock, in both slots, from before the first byte until after the last
// flush. So it makes no difference when the power fails: the copy is what it was, or says that it must be
// rebuilt, or is complete.
//
// The log begins anew at the first block of its area, whatever lies there. The old log's frames stay on the
// device, and some of them may have the very Lsns, the term and the place of frames that the new log will
// have: the primary's log is the same. Also their chain can be made to fit, as the first frame of every new log
// follows no other one. What tells them apart for certain is the log's key, which each frame carries: it is
// a new one from here on, recorded in the same write as the mark, and recovery takes nothing that carries
// another one for a part of this log.

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "log/log.h"
#include "ringbolt/assert.h"
#include "ringbolt/probe.h"
#include "volume/store.h"

namespace ringbolt {

// --- the beginning -------------------------------------------------------------------------------------

void Store::begin_rebuild(Lsn base, const core::TermHistory& history, Done done) {
  RINGBOLT_ASSERT(open_ && stopping_ == Stopping::kNo && !finish_done_ && !facts().volume.is_nil());
  // No superblock that says so could be read again, and no record in the log would be history.
  if (history.empty() || history.last()->term.epoch > facts().epoch || base.value() >= UINT64_MAX / 2) {
    return done(make_error(Errc::kInvalid, fmt::format("cannot be rebuilt from Lsn {} on: its history ends in epoch {}, promised is {}", base.value(),
                                                       history.empty() ? 0 : history.last()->term.epoch.value(), facts().epoch.value())));
  }
  done_ = std::move(done);
  rebuild_base_ = base;
  rebuild_history_ = history;
  stopping_ = Stopping::kForRebuild;
  rebuilding_ = false;
  wal_->seal();
  checkpointer_->set_paused(true);
  base_writer_->stop();
  continue_stopping();
}

/// Once no device is working on anything of what the copy was: a write that lands later would be one that
/// the mark came too late for, or hit what the rebuild wrote.
void Store::continue_rebuild() {
  if (failed()) return end_pause(make_error(Errc::kIo, failure_));
  if (checkpointer_->running() || !wal_->idle() || !base_writer_->quiet()) return;
  stopping_ = Stopping::kRecordingRebuild;
  Superblock& s = superblock_.change();
  s.rebuild_mark = !defect(Defect::kNoRebuildMark);
  s.base_seeded = false;
  s.clean_shutdown = false;
  s.history = rebuild_history_;
  s.in_sync.clear();
  s.handed_over = Lsn{};
  s.checkpoint = s.base_limit = s.durable = rebuild_base_;
  s.tail_first = rebuild_base_.next();
  s.tail_block = 0;
  s.tail_previous_checksum = 0;
  s.cuts += 1;
  s.log_key = io_.random();
  superblock_.wait(rebuild_begun_);
}

void Store::on_rebuild_begun() {
  if (!wal_unreadable_) return begin_rebuilt_log();
  // A sector that the device lost stays unreadable until it is written, and the new log may not come there before the
  // next restart, whose recovery would find this copy damaged again. Now that the mark is durable, nothing there is needed.
  log::warn({.volume = config_.name}, "the WAL could not be read, it is written anew: {} bytes", config_.wal_bytes);
  scratch_ = static_cast<std::byte*>(std::aligned_alloc(kBlockBytes, kFrameBytesMax));
  RINGBOLT_ASSERT(scratch_ != nullptr);
  std::memset(scratch_, 0, kFrameBytesMax);
  zeroed_bytes_ = 0;
  renew_wal();
}

void Store::renew_wal() {
  const uint64_t left = config_.wal_bytes - zeroed_bytes_;
  if (left == 0) return io_.flush(wal_file_, renewal_flush_);
  io_.write(wal_file_, scratch_, static_cast<uint32_t>(std::min<uint64_t>(left, kFrameBytesMax)), zeroed_bytes_, renewal_write_);
}

void Store::on_wal_renewed(int32_t result) {
  if (result < 0) {
    fail(fmt::format("writing the WAL anew between byte {} and {}, as it could not be read: {}", zeroed_bytes_,
                     std::min(config_.wal_bytes, zeroed_bytes_ + kFrameBytesMax), std::strerror(-result)));
  }
  if (failed()) return continue_stopping();
  zeroed_bytes_ += static_cast<uint64_t>(result);
  renew_wal();
}

void Store::on_renewal_flushed(int32_t result) {
  if (result < 0) fail(fmt::format("flushing the WAL that was written anew: {}", std::strerror(-result)));
  if (failed()) return continue_stopping();
  std::free(scratch_);
  scratch_ = nullptr;
  wal_unreadable_ = false;
  begin_rebuilt_log();
}

void Store::begin_rebuilt_log() {
  const Superblock& s = superblock_.current();
  damage_.clear();
  index_->clear();
  wal_->restore_begin(s.tail_first, s.tail_block, s.tail_previous_checksum, s.log_mark());
  wal_->restore_end(rebuild_base_);
  flush_requested_position_ = wal_->append_position();
  checkpointer_->restore(rebuild_base_);
  base_writer_->resume();
  rebuilding_ = true;
  log::info({.volume = config_.name, .lsn = rebuild_base_}, "this copy is being rebuilt, its log begins anew after Lsn {}", rebuild_base_.value());
  end_pause(boost::outcome_v2::success());
}

// --- in between ----------------------------------------------------------------------------------------

void Store::write_base(BaseWrite& job) {
  if (failed()) return job.done(job, EIO);
  // While the store stops, the writer refuses it.
  RINGBOLT_ASSERT(rebuilding_ || stopping_ != Stopping::kNo);
  RINGBOLT_ASSERT(job.first.value() + job.blocks <= config_.volume_bytes / kBlockBytes);
  base_writer_->write(job);
}

// --- the end -------------------------------------------------------------------------------------------

void Store::finish_rebuild(Lsn achieved, Done done) {
  RINGBOLT_ASSERT(rebuilding_ && stopping_ == Stopping::kNo && base_writer_->quiet() && wal_->durable() >= achieved);
  finish_done_ = std::move(done);
  rebuild_achieved_ = achieved;
  rebuilding_ = false;
  if (failed()) return end_finish();
  finishing_ = true;
  if (defect(Defect::kRebuiltBaseNotFlushed)) return on_rebuild_flushed(0);
  io_.flush(base_file_, rebuild_flush_);
}

void Store::on_rebuild_flushed(int32_t result) {
  if (result < 0) fail(fmt::format("flushing the base image: {}", std::strerror(-result)));
  if (failed()) return end_finish();
  Superblock& s = superblock_.change();
  s.rebuild_mark = false;
  // The base lane may have brought something of all records up to there, and none of them can be taken back.
  s.base_limit = std::max(s.base_limit, rebuild_achieved_);
  s.durable = std::max(s.durable, wal_->durable());
  superblock_.wait(rebuild_finished_);
}

void Store::on_rebuild_finished() {
  finishing_ = failed();
  if (!failed()) log::info({.volume = config_.name, .lsn = rebuild_achieved_}, "this copy has been rebuilt up to Lsn {}", rebuild_achieved_.value());
  end_finish();
}

/// Once; later failures find nobody waiting.
void Store::end_finish() {
  if (!finish_done_) return;
  Done done = std::move(finish_done_);
  finish_done_ = nullptr;
  if (failed()) {
    done(make_error(Errc::kIo, failure_));
  } else {
    done(boost::outcome_v2::success());
  }
  continue_stopping();  // close() may wait for it
}

}  // namespace ringbolt
