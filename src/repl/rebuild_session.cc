#include "repl/rebuild_session.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "log/log.h"
#include "ringbolt/assert.h"
#include "ringbolt/crc32c.h"
#include "ringbolt/probe.h"

namespace ringbolt::repl {

RebuildSession::RebuildSession(io::Io& io, io::BufferPool& pool, Store& store, RebuildListener& listener)
    : io_(io), pool_(pool), store_(store), listener_(listener) {}

RebuildSession::~RebuildSession() {
  io_.disarm(deadline_);
  for (const auto& chunk : chunks_) {
    if (chunk->buffer) pool_.release(chunk->buffer);
  }
}

uint64_t RebuildSession::blocks_total() const { return store_.config().volume_bytes / kBlockBytes; }

// --- beginning ------------------------------------------------------------------------------------------

std::optional<Refused> RebuildSession::problem_of(const RebuildConfig& config) const {
  if (store_.failed()) return Refused{Reason::kLocalWalCorrupt, store_.failure()};
  if (config.epoch < store_.facts().epoch) {
    return Refused{Reason::kEpochMismatch,
                   fmt::format("epoch {} is over, the current one is {}", config.epoch.value(), store_.facts().epoch.value())};
  }
  if (config.snapshot != 0) return Refused{Reason::kSnapshotUnavailable, fmt::format("snapshot {} is not known here", config.snapshot)};
  if (config.id == SessionId{} || config.target < config.base || config.target == Lsn{} || config.history.empty()) {
    return Refused{Reason::kProtocolViolation, "a rebuild without a session id, a history, or a target after its base"};
  }
  return std::nullopt;
}

OrRefused<void> RebuildSession::start(const RebuildConfig& config) {
  if (active() && config.id == config_.id && config.epoch == config_.epoch) return boost::outcome_v2::success();
  if (auto problem = problem_of(config)) return std::move(*problem);
  if (active() || !quiet()) return Refused{Reason::kNotReady, fmt::format("session {} is not over", config_.id.value())};
  config_ = config;
  begin();
  return boost::outcome_v2::success();
}

OrRefused<void> RebuildSession::supersede(const RebuildConfig& config) {
  if (active() && config.id == config_.id && config.epoch == config_.epoch) return boost::outcome_v2::success();
  if (auto problem = problem_of(config)) return std::move(*problem);
  if (active()) mark(Mark::kRebuildSuperseded);
  cancel(Reason::kSuperseded);
  next_ = config;
  tell_if_quiet();
  return boost::outcome_v2::success();
}

void RebuildSession::begin() {
  phase_ = SessionPhase::kAccepted;
  quiet_told_ = false;
  store_busy_ = true;
  barrier_ = Lsn{};
  achieved_.reset();
  next_base_ = Lba{};
  last_chunk_ = 0;
  newest_read_ = Lsn{};
  blocks_done_ = blocks_skipped_ = 0;
  marked_ = config_.base;
  log_begun_ = false;
  // Before the copy is marked unusable: without a bitmap nothing can be made of it.
  bitmap_ = std::make_unique<RebuildBitmap>(blocks_total());
  if (!bitmap_->has_memory()) {
    store_busy_ = false;
    fail(Reason::kNotReady, fmt::format("no memory for a bitmap of {} bytes", bitmap_->bytes()));
    return tell_if_quiet();
  }
  if (config_.deadline > 0) io_.arm(deadline_, config_.deadline);
  store_.begin_rebuild(config_.base, config_.history, [this](const Status& status) {
    store_busy_ = false;
    if (phase_ == SessionPhase::kAccepted) {
      if (!status.has_value()) {
        fail(Reason::kLocalWalCorrupt, status.error().message);
      } else {
        log_begun_ = true;
        phase_ = SessionPhase::kRunning;
        listener_.on_rebuild_running();
      }
    }
    tell_if_quiet();
  });
}

// --- the two lanes ----------------------------------------------------------------------------------------

void RebuildSession::wal_applied() {
  if (bitmap_ == nullptr || !log_begun_) return;
  const Wal& wal = store_.wal();
  const Lsn limit = defect(Defect::kBitsLate) ? store_.checkpoint() : wal.written();
  while (marked_ < limit) {
    // What has just been written is still in memory: nothing is dropped from there before its owner was told.
    const Frame* const frame = wal.find_frame(marked_.next());
    RINGBOLT_ASSERT(frame != nullptr);
    const FrameHeader header = frame->header();
    const Lsn last = std::min(frame->last(), limit);
    for (uint32_t i = 0; i < header.record_count() && header.first_lsn().plus(i) <= last; ++i) {
      const WalRecord record = header.record(i);
      if (header.first_lsn().plus(i) > marked_ && record.blocks > 0) bitmap_->mark_applied(Lba(record.lba), record.blocks);
    }
    marked_ = last;
  }
}

std::optional<Refused> RebuildSession::problem_of_session(SessionId session, Epoch epoch, SessionPhase phase) const {
  if (epoch != config_.epoch || epoch < store_.facts().epoch) {
    return Refused{Reason::kEpochMismatch, fmt::format("epoch {} where {} is rebuilt", epoch.value(), config_.epoch.value())};
  }
  if (session != config_.id || phase_ == SessionPhase::kIdle) {
    return Refused{Reason::kSuperseded, fmt::format("session {} where {} is current", session.value(), config_.id.value())};
  }
  if (phase_ != phase) {
    return Refused{Reason::kProtocolViolation, fmt::format("session {} is {}, not {}", session.value(), to_string(phase_), to_string(phase))};
  }
  return std::nullopt;
}

OrRefused<bool> RebuildSession::apply_base(SessionId session, Epoch epoch, const SessionDataFields& fields, io::Buffer& data) {
  if (auto problem = problem_of_session(session, epoch, SessionPhase::kRunning)) return std::move(*problem);
  const auto refuse = [&](const char* what) {
    return Refused{Reason::kProtocolViolation, fmt::format("chunk {} at block {}: {}", fields.chunk, fields.first.value(), what)};
  };
  if (fields.chunk != last_chunk_ + 1) return refuse("not the next one");
  if (fields.first != next_base_ || fields.blocks > blocks_total() - next_base_.value()) return refuse("not the next blocks of the volume");
  if (fields.last != (fields.first.value() + fields.blocks == blocks_total())) return refuse("called the last one wrongly");
  if (in_flight_ >= kChunksMax) return false;
  if (!fields.zeros && crc32c(data.data, fields.data_bytes()) != fields.data_crc) return refuse("checksum mismatch");
  if (free_chunks_.empty()) {
    chunks_.push_back(std::make_unique<Chunk>());
    chunks_.back()->owner = this;
    free_chunks_.push_back(chunks_.back().get());
  }
  Chunk& chunk = *free_chunks_.back();
  free_chunks_.pop_back();
  chunk.number = last_chunk_ = fields.chunk;
  chunk.done = false;
  chunk.buffer = std::exchange(data, {});
  next_base_ = next_base_.plus(fields.blocks);
  newest_read_ = std::max(newest_read_, fields.read);
  order_.push_back(&chunk);
  ++in_flight_;
  chunk.write.first = fields.first;
  chunk.write.blocks = fields.blocks;
  chunk.write.data = fields.zeros ? nullptr : chunk.buffer.data;
  chunk.write.bitmap = bitmap_.get();
  chunk.write.owner = &chunk;
  chunk.write.done = [](BaseWrite& write, int error) {
    Chunk& written = *static_cast<Chunk*>(write.owner);
    written.owner->chunk_written(written, error);
  };
  store_.write_base(chunk.write);
  return true;
}

void RebuildSession::chunk_written(Chunk& chunk, int error) {
  --in_flight_;
  chunk.done = true;
  if (chunk.buffer) pool_.release(std::exchange(chunk.buffer, {}));
  if (active()) {
    blocks_done_ += chunk.write.blocks_written;
    blocks_skipped_ += chunk.write.blocks_skipped;
  }
  const uint64_t block = chunk.write.first.value();
  uint64_t applied = 0;
  while (!order_.empty() && order_.front()->done) {
    applied = order_.front()->number;
    free_chunks_.push_back(order_.front());
    order_.pop_front();
  }
  if (active() && error != 0) {
    fail(error == ENOSPC || error == EDQUOT ? Reason::kNotReady : Reason::kLocalExtentCorrupt,
         fmt::format("writing the base image at block {}: {}", block, std::strerror(error)));
  } else if (active() && applied != 0) {
    listener_.on_base_applied(applied);
  }
  tell_if_quiet();
}

// --- the end ----------------------------------------------------------------------------------------------

OrRefused<void> RebuildSession::mark_base_complete(SessionId session, Epoch epoch, Lsn barrier) {
  if (auto problem = problem_of_session(session, epoch, SessionPhase::kRunning)) return std::move(*problem);
  if (next_base_.value() != blocks_total() || in_flight_ > 0) {
    return Refused{Reason::kProtocolViolation, fmt::format("called complete with {} of {} blocks", next_base_.value(), blocks_total())};
  }
  if (barrier < config_.target) {
    return Refused{Reason::kProtocolViolation,
                   fmt::format("complete at Lsn {}, before its target {}", barrier.value(), config_.target.value())};
  }
  // Up to there the base image has something of every record: below it nothing may be cut off any more.
  if (barrier < newest_read_) {
    return Refused{Reason::kProtocolViolation,
                   fmt::format("complete at Lsn {}, before a block read at {}", barrier.value(), newest_read_.value())};
  }
  phase_ = SessionPhase::kBaseComplete;
  barrier_ = barrier;
  try_complete();
  return boost::outcome_v2::success();
}

std::optional<Lsn> RebuildSession::try_complete() {
  if (phase_ == SessionPhase::kCompleted) return achieved_;
  if (phase_ != SessionPhase::kBaseComplete || store_busy_ || store_.failed()) return std::nullopt;
  Wal& wal = store_.wal();
  if (wal.durable() < barrier_ && !defect(Defect::kNoBarrier)) {
    mark(Mark::kBarrierWaited);
    if (wal.head() >= barrier_) wal.request_flush(barrier_);
    return std::nullopt;
  }
  // Not what the log happens to have by now: of later records the base lane brought nothing, so they can still be cut off.
  const Lsn achieved = barrier_;
  store_busy_ = true;
  store_.finish_rebuild(achieved, [this, achieved](const Status& status) {
    store_busy_ = false;
    if (phase_ == SessionPhase::kBaseComplete) {
      if (!status.has_value()) {
        fail(Reason::kLocalExtentCorrupt, status.error().message);
      } else {
        mark(Mark::kRebuildCompleted);
        achieved_ = achieved;
        end(SessionPhase::kCompleted);
        listener_.on_rebuild_completed(achieved);
      }
    }
    tell_if_quiet();
  });
  return std::nullopt;
}

void RebuildSession::fail(Reason reason, std::string text) {
  mark(Mark::kRebuildFailed);
  end(SessionPhase::kFailed);
  listener_.on_rebuild_failed(reason, text);
}

void RebuildSession::cancel(Reason reason) {
  next_.reset();
  if (!active()) return;
  log::info({.volume = store_.config().name, .session = config_.id}, "rebuild {} ends: {}", config_.id.value(), to_string(reason));
  end(SessionPhase::kFailed);
  tell_if_quiet();
}

void RebuildSession::end(SessionPhase phase) {
  phase_ = phase;
  io_.disarm(deadline_);
}

void RebuildSession::on_deadline() {
  fail(Reason::kDeadlineExceeded, "it is not complete in time");
  tell_if_quiet();
}

/// The bitmap stays for as long as base writes look at it.
void RebuildSession::tell_if_quiet() {
  if (active() || !quiet()) return;
  bitmap_.reset();
  if (next_) {
    config_ = *std::exchange(next_, std::nullopt);
    return begin();
  }
  if (std::exchange(quiet_told_, true)) return;
  listener_.on_rebuild_quiet();
}

}  // namespace ringbolt::repl
