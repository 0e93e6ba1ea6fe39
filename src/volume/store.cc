#include "volume/store.h"

#include <fmt/format.h>

#include <cstdlib>
#include <cstring>

#include "log/log.h"
#include "ringbolt/assert.h"
#include "ringbolt/probe.h"

namespace ringbolt {

Store::Store(io::Io& io, io::BufferPool& pool, CheckpointMemory& memory, StoreConfig config, StoreListener& listener)
    : io_(io), pool_(pool), memory_(memory), config_(std::move(config)), listener_(listener),
      superblock_(
          io, [](void* self, int error) { static_cast<Store*>(self)->fail(fmt::format("writing the superblock: {}", std::strerror(error))); },
          this) {}

Store::~Store() {
  io_.disarm(tick_);
  io_.disarm(open_retry_);
  io_.undefer(opened_damaged_);
  std::free(scratch_);
}

// --- appending --------------------------------------------------------------------------------------

/// Whether `blocks` further blocks can be entered in the index; if not, asks for a checkpoint. A
/// recovery enters every block logged after the recorded checkpoint, those that the running round has
/// taken out already too, and must find room for them.
bool Store::take_index_room(uint32_t blocks) {
  const uint64_t entered = index_->size() + checkpointer_->unrecorded() + blocks;
  if (std::min(entered, config_.volume_bytes / kBlockBytes) <= index_->capacity()) return true;
  checkpointer_->poke();
  return false;
}

Wal::Admission Store::prepare(RecordKind kind, uint32_t blocks) {
  if (!takes_records() || !take_index_room(blocks)) return Wal::Admission::kNoSpace;
  // A term record may be what others wait for, to become stable.
  if (kind != RecordKind::kTerm && checkpointer_->holds_back(has_payload(kind) ? blocks + 1 : 1)) return Wal::Admission::kNoSpace;
  const Wal::Admission admission = wal_->prepare(kind, blocks);
  if (admission == Wal::Admission::kNoSpace) checkpointer_->poke();
  return admission;
}

Lsn Store::append(RecordKind kind, Lba lba, uint32_t blocks) {
  const Wal::Appended appended = wal_->append(kind, lba, blocks);
  for (uint32_t i = 0; i < blocks; ++i) {
    if (has_payload(kind)) {
      index_->put(lba.plus(i), appended.lsn, appended.wal_block + i, appended.crcs[i]);
    } else if (!defect(Defect::kZerosNotIndexed)) {
      index_->put(lba.plus(i), appended.lsn, DirtyIndex::kZeros, 0);
    }
  }
  if (kind == RecordKind::kZero || kind == RecordKind::kTrim) mark(Mark::kZeroRecord);
  return appended.lsn;
}

Wal::Admission Store::append_buffer(io::Buffer buffer, Lba lba, uint32_t blocks, Lsn* lsn) {
  if (!takes_records() || !take_index_room(blocks) || checkpointer_->holds_back(blocks + 1)) return Wal::Admission::kNoSpace;
  Wal::Appended appended{};
  const Wal::Admission admission = wal_->append_buffer(buffer, lba, blocks, &appended);
  if (admission == Wal::Admission::kNoSpace) checkpointer_->poke();
  if (admission != Wal::Admission::kOk) return admission;
  for (uint32_t i = 0; i < blocks; ++i) index_->put(lba.plus(i), appended.lsn, appended.wal_block + i, appended.crcs[i]);
  *lsn = appended.lsn;
  return admission;
}

uint32_t Store::index_blocks(const FrameHeader& header) const {
  uint32_t blocks = 0;
  for (uint32_t i = 0; i < header.record_count(); ++i) blocks += header.record(i).blocks;
  return blocks;
}

Wal::Admission Store::append_frame(io::Buffer buffer) {
  if (!takes_records()) return Wal::Admission::kNoSpace;
  const FrameHeader header(buffer.data);
  if (!take_index_room(index_blocks(header))) return Wal::Admission::kNoSpace;
  if (header.record(0).kind != RecordKind::kTerm && checkpointer_->holds_back(header.total_blocks())) return Wal::Admission::kNoSpace;
  const Wal::Admission admission = wal_->append_frame(buffer);
  if (admission == Wal::Admission::kNoSpace) checkpointer_->poke();
  if (admission != Wal::Admission::kOk) return admission;
  const auto place = wal_->find_place(header.first_lsn());
  RINGBOLT_ASSERT(place.has_value());
  auto wal_block = static_cast<uint32_t>(wal_->device_block(place->position) + 1);
  uint32_t crc = 0;
  for (uint32_t i = 0; i < header.record_count(); ++i) {
    const WalRecord record = header.record(i);
    on_record(header.first_lsn().plus(i), record, wal_block, header, crc);
    if (!has_payload(record.kind)) continue;
    wal_block += record.blocks;
    crc += record.blocks;
  }
  return admission;
}

bool Store::on_record(Lsn lsn, const WalRecord& record, uint32_t wal_block, const FrameHeader& header, uint32_t first_crc) {
  if (lsn <= checkpointer_->checkpoint()) return true;
  for (uint32_t i = 0; i < record.blocks; ++i) {
    const Lba lba(record.lba + i);
    if (!index_->has_room(1) && index_->find(lba) == nullptr) return false;
    if (has_payload(record.kind)) {
      index_->put(lba, lsn, wal_block + i, header.block_crc(first_crc + i));
    } else {
      index_->put(lba, lsn, DirtyIndex::kZeros, 0);
    }
  }
  return true;
}

// --- events ---------------------------------------------------------------------------------------------

void Store::on_wal_sealed() {
  if (!tick_.armed()) io_.arm(tick_, io::kSecond);
  listener_.on_store_sealed();
}

void Store::on_wal_written() {
  // A failed store makes no progress, also where the WAL's own device still works.
  if (failed()) return continue_stopping();
  // Unflushed records hold up checkpoints (here and, through the stable Lsn, on the other copies):
  // an eighth of the WAL is flushed at a time even if no client asks.
  if (wal_->append_position() - flush_requested_position_ > wal_->capacity_blocks() / 8) {
    flush_requested_position_ = wal_->append_position();
    wal_->request_flush(wal_->written());
  }
  checkpointer_->poke();
  listener_.on_store_written();
  listener_.on_store_space();
  continue_stopping();
}

void Store::on_wal_durable() {
  if (!failed()) listener_.on_store_durable();
  continue_stopping();
}

void Store::on_checkpoint_round_ended() {
  listener_.on_store_space();
  continue_stopping();
}

void Store::on_wal_failed(int error, const char* operation) {
  fail(fmt::format("WAL {}: {}", operation, std::strerror(error)));
}

void Store::on_checkpoint_failed(int error, const char* what) { fail(fmt::format("{}: {}", what, std::strerror(error))); }

void Store::on_base_full(bool full) {
  base_full_ = full;
  if (full) {
    log::error({.volume = config_.name}, "no space left for the base image; new writes fail once the WAL is full");
  } else {
    log::info({.volume = config_.name}, "the base image has space again");
  }
  listener_.on_store_space();
}

void Store::fail(std::string reason) {
  if (!failed()) {
    failure_ = std::move(reason);
    log::error({.volume = config_.name}, "this copy has failed: {}", failure_);
    if (!open_) return open_failed(make_error(Errc::kIo, failure_));
    listener_.on_store_failed(failure_);
  } else if (open_ && superblock_.failed()) {
    listener_.on_store_failed(failure_);  // whoever still had something to record waits in vain
  }
  // A second failure may be what closing waits for.
  if (stopping_ == Stopping::kMarking) stopping_ = Stopping::kForClose;
  continue_stopping();
}

void Store::set_wal_retain(uint32_t percent) {
  config_.wal_retain_percent = percent;
  if (checkpointer_ != nullptr) checkpointer_->set_retain_percent(percent);
}

void Store::set_stable(Lsn stable) {
  if (!damage_.empty()) return;
  checkpointer_->set_stable(stable);
  // What a recovery found may become stable without a further record.
  if (checkpointer_->checkpoint() < checkpointer_->stable() && !failed() && !tick_.armed()) io_.arm(tick_, io::kSecond);
}

/// Once a second while anything is unsettled: flushes what no client flushed, and checkpoints an idle
/// volume, so that it restarts quickly and its base image is current.
void Store::on_tick() {
  if (failed() || stopping_ != Stopping::kNo) return;
  const bool quiet = wal_->head() == head_at_tick_;
  head_at_tick_ = wal_->head();
  if (wal_->durable() < wal_->written()) wal_->request_flush(wal_->written());
  // No further frame will say that the last ones are flushed: without this, damage to them would pass
  // for a torn tail.
  if (quiet && wal_->durable() == wal_->head() && superblock_.current().durable < wal_->durable()) {
    superblock_.change().durable = wal_->durable();
  }
  checkpointer_->set_eager(quiet);
  const bool settled = quiet && wal_->durable() == wal_->head() && checkpointer_->checkpoint() >= checkpointer_->stable();
  if (!settled) io_.arm(tick_, io::kSecond);
}

// --- stopping: to cut, to be rebuilt or to close -------------------------------------------------------

void Store::cut(Lsn fork, Done done) {
  RINGBOLT_ASSERT(stopping_ == Stopping::kNo && !finish_done_ && fork <= wal_->head() && fork >= checkpoint());
  if (!damage_.empty()) return done(make_error(Errc::kInvalid, fmt::format("cannot cut the log at Lsn {}: it is damaged", fork.value())));
  done_ = std::move(done);
  cut_to_ = fork;
  stopping_ = Stopping::kForCut;
  wal_->seal();
  checkpointer_->set_paused(true);
  continue_stopping();
}

void Store::close(Done done) {
  RINGBOLT_ASSERT(stopping_ == Stopping::kNo && (gate_.idle() || !base_writer_->quiet()));
  done_ = std::move(done);
  stopping_ = Stopping::kForClose;
  base_writer_->stop();
  if (!failed()) {
    wal_->seal();
    wal_->request_flush(wal_->head());
    checkpointer_->set_eager(true);
    checkpointer_->retry();
  }
  continue_stopping();
}

void Store::continue_stopping() {
  if (failed()) stop_growth();
  if (stopping_ == Stopping::kForCut) continue_cut();
  if (stopping_ == Stopping::kRecordingCut && failed()) end_pause(make_error(Errc::kIo, failure_));
  if (stopping_ == Stopping::kForRebuild) continue_rebuild();
  if (stopping_ == Stopping::kRecordingRebuild && failed() && !renewal_write_.pending() && !renewal_flush_.pending()) end_pause(make_error(Errc::kIo, failure_));
  if (superblock_.failed() && !rebuild_flush_.pending()) end_finish();
  if (stopping_ == Stopping::kForClose) continue_close();
}

void Store::continue_cut() {
  if (failed()) return end_pause(make_error(Errc::kIo, failure_));
  if (checkpointer_->running() || !wal_->idle()) return;
  if (cut_to_ < base_limit()) {
    mark(Mark::kCutRefused);
    return end_pause(make_error(Errc::kInvalid, fmt::format("cannot cut the log at Lsn {}: the base image may hold records up to {}",
                                                             cut_to_.value(), base_limit().value())));
  }
  mark(Mark::kTailCut);
  stopping_ = Stopping::kCutting;
  index_->clear();
  recover(cut_to_);
}

/// The end of cut() or begin_rebuild(): work goes on.
void Store::end_pause(Status status) {
  stopping_ = Stopping::kNo;
  recovery_limit_.reset();
  checkpointer_->set_paused(failed());
  if (!failed() && !tick_.armed()) io_.arm(tick_, io::kSecond);
  Done done = std::move(done_);
  done(std::move(status));
}

void Store::continue_close() {
  if (!base_writer_->quiet() || finish_done_ || growth_) return;
  if (failed()) {
    // Whatever is in flight must end before the files are closed.
    checkpointer_->set_paused(true);
    if (!wal_->quiet() || !checkpointer_->quiet()) return;
    stopping_ = Stopping::kMarking;
    if (superblock_.failed()) return on_marked_clean();
    superblock_.wait(marked_clean_);
    return;
  }
  if (!damage_.empty()) {
    // What the superblock says of the log stays as it is.
    stopping_ = Stopping::kMarking;
    if (superblock_.settled()) return on_marked_clean();
    superblock_.wait(marked_clean_);
    return;
  }
  if (!wal_->idle() || wal_->durable() < wal_->head()) return;
  if (checkpointer_->running()) return;
  const bool copied = checkpointer_->checkpoint() >= std::min(checkpointer_->stable(), wal_->head());
  if (!copied && !base_full_) return checkpointer_->poke();
  stopping_ = Stopping::kMarking;
  checkpointer_->set_paused(true);
  Superblock& superblock = superblock_.change();
  superblock.clean_shutdown = true;
  superblock.durable = wal_->durable();
  superblock_.wait(marked_clean_);
}

void Store::on_marked_clean() {
  stopping_ = Stopping::kClosed;
  close_files();
}

}  // namespace ringbolt
