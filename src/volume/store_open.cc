// Opening a store: reading its superblock, and recovering its WAL. What is done if there is no superblock
// yet is in store_make.cc.

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "log/log.h"
#include "ringbolt/assert.h"
#include "ringbolt/probe.h"
#include "volume/store.h"

namespace ringbolt {

namespace {

constexpr size_t kScratchBytes = kFrameBytesMax;
constexpr uint64_t kZeroBlocksReserve = 65536;  // room in the index for zero and trim records

// In a small volume every block can be dirty and a record of any length must still find room.
constexpr uint64_t kRecordBlocksMax = std::max(kZeroRecordBlocksMax, kFramePayloadBlocksMax);

constexpr io::Nanos kBusyRetry = 20 * io::kMillisecond;
constexpr io::Nanos kBusyTimeout = 20 * io::kSecond;

}  // namespace

std::string Store::path_of(const char* leaf, const std::string& configured) const {
  return configured.empty() ? config_.directory + "/" + leaf : configured;
}

void Store::open(Done done) {
  done_ = std::move(done);
  scratch_ = static_cast<std::byte*>(std::aligned_alloc(kBlockBytes, kScratchBytes));
  RINGBOLT_ASSERT(scratch_ != nullptr);
  if (const Status made = io_.make_directory(config_.directory); !made.has_value()) return open_failed(made.error());
  open_superblock();
}

/// A file can be locked although no process has it open any more: the writes of a killed predecessor
/// may still be in flight in the kernel, and overwrite what this one writes. Waits until the lock is
/// free, then goes on with `retry`; fails if `error` is something else or it took too long.
void Store::wait_or_fail(const Error& error, void (Store::*retry)()) {
  if (error.code != Errc::kBusy) return open_failed(error);
  if (!busy_) {
    busy_ = true;
    mark(Mark::kLateWritesWaited);
    busy_since_ = io_.now();
    log::warn({.volume = config_.name}, "waiting: {}", error.message);
  }
  if (io_.now() - busy_since_ > kBusyTimeout) return open_failed(error);
  retry_ = retry;
  io_.arm(open_retry_, kBusyRetry);
}

void Store::on_open_retry() { (this->*retry_)(); }

void Store::open_superblock() {
  // Not made here: nothing may look like a volume before it is certain that a new one is wanted.
  const auto opened = io_.open_file(path_of("superblock", ""), {.resize_bytes = Superblock::kFileBytes});
  if (!opened.has_value()) {
    if (opened.error().code == Errc::kNotFound) return survey();
    return wait_or_fail(opened.error(), &Store::open_superblock);
  }
  superblock_file_ = opened.value().file;
  read_slots();
}

/// One by one: where the device cannot read one of them, the other one is there.
void Store::read_slots() {
  static_assert(kScratchBytes >= 2 * Superblock::kSlotBytes);
  io_.read(superblock_file_, scratch_, Superblock::kSlotBytes, Superblock::kSlotOffset[0], slot0_read_);
  io_.read(superblock_file_, scratch_ + Superblock::kSlotBytes, Superblock::kSlotBytes, Superblock::kSlotOffset[1], slot1_read_);
}

void Store::on_slot_read(uint32_t slot, int32_t result) {
  slot_readable_[slot] = result >= 0;
  if (slot0_read_.pending() || slot1_read_.pending()) return;
  const std::byte* const slots[2] = {slot_readable_[0] ? scratch_ : nullptr, slot_readable_[1] ? scratch_ + Superblock::kSlotBytes : nullptr};
  auto read = read_superblock_slots(slots);
  if (!read.has_value()) {
    const bool damaged = read.error().code == Errc::kCorrupt;
    return open_failed(make_error(
        read.error().code,
        fmt::format("{}: {}{}", path_of("superblock", ""), read.error().message,
                    damaged ? "; refusing to make a new volume over what it belonged to: restore this file, or take all files of "
                              "this copy away to have a replica made anew"
                            : "")));
  }
  SuperblockSlots found = std::move(read).value();
  if (!found.damage.empty()) {
    mark(Mark::kSlotSpoiled);
    log::warn({.volume = config_.name}, "{}: {} (damaged, or its last write was cut off); {}", path_of("superblock", ""), found.damage,
              found.newest ? "nothing is lost, the other slot is good" : "it was never finished");
  }
  write_first_ = found.write_first;
  if (found.newest && !found.newest->being_made) return open_existing(*found.newest);
  if (found.newest) making_ = std::move(*found.newest);
  survey();
}

// --- opening an existing store -----------------------------------------------------------------------------

void Store::open_existing(const Superblock& found) {
  const auto differs = [&](const char* what, const auto& on_disk, const auto& configured) {
    return make_error(Errc::kInvalid, fmt::format("{}: the {} on disk is {}, the configuration says {}: correct the configuration, or the "
                                                  "place of the volume's files",
                                                  path_of("superblock", ""), what, on_disk, configured));
  };
  if (found.name != config_.name) return open_failed(differs("volume", found.name, config_.name));
  if (found.node_id != config_.node_id) return open_failed(differs("node id", found.node_id, config_.node_id));
  // One that was grown at run time may still be what it was, or was in between, in the configuration.
  const bool grown = found.made_bytes != 0 && config_.volume_bytes >= found.made_bytes && config_.volume_bytes < found.volume_bytes;
  if (grown) {
    log::info({.volume = config_.name}, "was grown to {} bytes; the configuration says {}", found.volume_bytes, config_.volume_bytes);
    config_.volume_bytes = found.volume_bytes;
  }
  if (found.volume_bytes < config_.volume_bytes) {
    return open_failed(make_error(Errc::kInvalid, fmt::format("{}: the size on disk is {}, the configuration says {}: the configuration makes no volume "
                                                              "larger, ringboltctl volume resize does; until then configure {}",
                                                              path_of("superblock", ""), found.volume_bytes, config_.volume_bytes, found.volume_bytes)));
  }
  if (found.volume_bytes != config_.volume_bytes) return open_failed(differs("size", found.volume_bytes, config_.volume_bytes));
  if (found.wal_bytes != config_.wal_bytes) return open_failed(differs("WAL size", found.wal_bytes, config_.wal_bytes));
  superblock_.open(superblock_file_, found, write_first_);
  open_existing_files();
}

void Store::open_existing_files() {
  if (const Status opened = open_data_files(false); !opened.has_value()) return wait_or_fail(opened.error(), &Store::open_existing_files);
  if (const Status built = build_parts(); !built.has_value()) return open_failed(built.error());
  recover(std::nullopt);
}

Status Store::open_data_files(bool create) {
  const std::string wal_path = path_of("wal", config_.wal_path);
  const std::string base_path = path_of("base", config_.base_path);
  if (wal_path == base_path) return make_error(Errc::kInvalid, fmt::format("{} is both WAL and base image", wal_path));
  for (io::File* file : {&wal_file_, &base_file_}) {
    if (file->is_open()) io_.close_file(*file);  // from a try that found the other one locked
    *file = {};
  }
  BOOST_OUTCOME_TRY(const io::FileInfo wal, io_.open_file(wal_path, {.create = create, .resize_bytes = create ? config_.wal_bytes : 0}));
  wal_file_ = wal.file;
  BOOST_OUTCOME_TRY(const io::FileInfo base,
                    io_.open_file(base_path, {.create = create, .resize_bytes = create ? config_.volume_bytes : 0}));
  base_file_ = base.file;
  // A WAL file has the very size that it was made with: another one is another volume's, or a part of one.
  if (wal.is_block_device ? wal.bytes < config_.wal_bytes : wal.bytes != config_.wal_bytes) {
    return make_error(Errc::kInvalid, fmt::format("the WAL {} has {} bytes, this volume's has {}: configure the right wal_path and wal_size",
                                                  wal_path, wal.bytes, config_.wal_bytes));
  }
  if (base.bytes < config_.volume_bytes) {
    return make_error(Errc::kInvalid, fmt::format("the base image {} has {} bytes, the volume {}: configure the right path and size", base_path,
                                                  base.bytes, config_.volume_bytes));
  }
  return boost::outcome_v2::success();
}

/// Blocks that the index has room for: no more than the log, or the volume, has.
uint32_t Store::index_entries(uint64_t volume_bytes) const {
  return static_cast<uint32_t>(std::min(config_.wal_bytes / kBlockBytes + kZeroBlocksReserve, volume_bytes / kBlockBytes + kRecordBlocksMax));
}

Status Store::build_parts() {
  const uint64_t wal_blocks = config_.wal_bytes / kBlockBytes;
  const uint64_t volume_blocks = config_.volume_bytes / kBlockBytes;
  const uint32_t entries = index_entries(config_.volume_bytes);
  index_ = std::make_unique<DirtyIndex>(entries);
  if (!index_->has_memory()) {
    return make_error(Errc::kNoSpace, fmt::format("no memory for an index of {} bytes: a smaller wal_size needs less", DirtyIndex::bytes_max(entries)));
  }
  WalListener& wal_listener = *this;
  CheckpointListener& checkpoint_listener = *this;
  const Wal::Geometry geometry{wal_file_, wal_blocks, volume_blocks, superblock_.current().volume};
  wal_ = std::make_unique<Wal>(io_, pool_, geometry, wal_listener, config_.reserve);
  const Checkpointer::Parts parts{io_, memory_, *wal_, *index_, gate_, superblock_, base_file_, config_.wal_retain_percent};
  checkpointer_ = std::make_unique<Checkpointer>(parts, checkpoint_listener);
  reader_ = std::make_unique<BlockReader>(io_, *wal_, *index_, gate_, base_file_, config_.name);
  base_writer_ = std::make_unique<BaseWriter>(io_, gate_, base_file_, [](void* self) { static_cast<Store*>(self)->continue_stopping(); }, this);
  return boost::outcome_v2::success();
}

void Store::recover(std::optional<Lsn> limit) {
  const Superblock& s = superblock_.current();
  recovery_limit_ = limit;
  WalRecovery::Start start;
  start.tail_first = s.tail_first;
  start.tail_block = s.tail_block;
  start.tail_previous_checksum = s.tail_previous_checksum;
  start.history = &s.history;
  start.mark = s.log_mark();
  start.mark.cuts += limit ? 1 : 0;
  start.durable = limit ? std::min(*limit, wal_->durable()) : s.durable;
  start.limit = limit;
  if (limit) {
    checkpointer_->forget_stable_after(*limit);
  } else {
    checkpointer_->restore(s.checkpoint);
  }
  WalRecovery::Listener& recovery_listener = *this;
  recovery_ = std::make_unique<WalRecovery>(io_, *wal_, start, recovery_listener);
  recovery_->run();
}

void Store::on_recovered(Status status) {
  if (!status.has_value()) {
    const Errc code = status.error().code;
    // Of a copy that is to be rebuilt anyway nothing in the log matters. What belongs to another volume does.
    const bool given_up = (config_.rebuildable || facts().rebuild_mark) && (code == Errc::kCorrupt || code == Errc::kIo);
    if (!recovery_limit_ && given_up) {
      damage_ = status.error().message;
      wal_unreadable_ = code == Errc::kIo;
      return io_.defer(opened_damaged_);  // the recovery that calls this cannot be taken down from here
    }
    if (!recovery_limit_) return open_failed(make_error(code, status.error().message));
    fail(fmt::format("cutting the log at Lsn {}: {}", recovery_limit_->value(), status.error().message));
    return end_pause(std::move(status));
  }
  // What was read may be in the device's cache only: nothing is reported before it is flushed.
  io_.flush(wal_file_, wal_cleaned_);
}

void Store::on_wal_clean(int32_t result) {
  recovery_.reset();
  if (result < 0) {
    const Error error = make_error(Errc::kIo, fmt::format("cannot flush the WAL: {}", std::strerror(-result)));
    if (!recovery_limit_) return open_failed(error);
    fail(error.message);
    return end_pause(error);
  }
  wal_->restore_end(wal_->head());
  flush_requested_position_ = wal_->append_position();
  if (recovery_limit_) {
    if (failed()) return end_pause(make_error(Errc::kIo, failure_));
    log::info({.volume = config_.name, .lsn = *recovery_limit_}, "cut its log after Lsn {}", recovery_limit_->value());
    stopping_ = Stopping::kRecordingCut;
    // In one write, and before anything is appended after the cut: what is logged from now on carries
    // the new count, and all that is durable without it is up to here.
    Superblock& s = superblock_.change();
    s.durable = wal_->durable();
    s.cuts += 1;
    superblock_.wait(opened_);
    return;
  }
  if (wal_->head() == Lsn{}) {
    log::info({.volume = config_.name}, "open, nothing logged yet");
  } else {
    log::info({.volume = config_.name, .lsn = wal_->head()}, "{}, log from Lsn {} to {}, checkpoint at {}, {} blocks to copy", superblock_.current().clean_shutdown ? "was stopped cleanly" : "recovered", wal_->tail().value(),
              wal_->head().value(), checkpoint().value(), index_->size());
  }
  Superblock& s = superblock_.change();
  s.clean_shutdown = false;
  s.durable = wal_->durable();
  superblock_.wait(opened_);
}

void Store::on_opened() {
  if (stopping_ == Stopping::kRecordingCut) return end_pause(boost::outcome_v2::success());
  std::free(scratch_);
  scratch_ = nullptr;
  open_ = true;
  Done done = std::move(done_);
  done(boost::outcome_v2::success());
}

/// Writes nothing, not even the superblock.
void Store::on_opened_damaged() {
  recovery_.reset();
  const Superblock& s = superblock_.current();
  log::error({.volume = config_.name}, "the log is damaged, this copy must be rebuilt: {}", damage_);
  index_->clear();
  wal_->restore_begin(s.checkpoint.next(), s.tail_block, s.tail_previous_checksum, s.log_mark());
  wal_->restore_end(s.checkpoint);
  on_opened();
}

void Store::open_failed(Error error) {
  error.message = fmt::format("volume {}: {}", config_.name, error.message);
  std::free(scratch_);
  scratch_ = nullptr;
  if (failure_.empty()) failure_ = error.message;
  for (io::File* file : {&superblock_file_, &wal_file_, &base_file_}) {
    if (file->is_open()) io_.close_file(*file);
    *file = {};
  }
  Done done = std::move(done_);
  done(std::move(error));
}

void Store::close_files() {
  io_.disarm(tick_);
  for (io::File* file : {&superblock_file_, &wal_file_, &base_file_}) {
    io_.close_file(*file);
    *file = {};
  }
  open_ = false;
  Done done = std::move(done_);
  if (failed()) {
    done(make_error(Errc::kIo, failure_));
  } else {
    done(boost::outcome_v2::success());
  }
}

void Store::adopt_volume(const Uuid& volume) {
  RINGBOLT_ASSERT(facts().volume.is_nil());
  superblock_.change().volume = volume;
  wal_->set_volume(volume);
}

}  // namespace ringbolt
