// Opening a store: reading its superblock, making it if it is not there, recovering its WAL.
//
// Order when making: the superblock with the mark "being made" becomes durable before the WAL and the
// base image exist, and loses the mark after both are. So a crash in between leads to making it
// again, and a store without a readable superblock beside an existing WAL is damage, never "new".

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "log/log.h"
#include "ringbolt/assert.h"
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
/// free; false if `error` is something else or it took too long.
bool Store::wait_if_busy(const Error& error) {
  if (error.code != Errc::kBusy) return false;
  if (!busy_) {
    busy_ = true;
    busy_since_ = io_.now();
    log::warn("volume {}: waiting: {}", config_.name, error.message);
  }
  if (io_.now() - busy_since_ > kBusyTimeout) return false;
  io_.arm(open_retry_, kBusyRetry);
  return true;
}

void Store::on_open_retry() {
  if (!superblock_file_.is_open()) return open_superblock();
  if (superblock_.current().being_made) return on_made();
  open_existing(superblock_.current());
}

void Store::open_superblock() {
  const auto opened = io_.open_file(path_of("superblock", ""), {.create = true, .resize_bytes = Superblock::kFileBytes});
  if (!opened.has_value()) {
    if (!wait_if_busy(opened.error())) open_failed(opened.error());
    return;
  }
  superblock_file_ = opened.value().file;
  static_assert(kScratchBytes >= Superblock::kFileBytes);
  io_.read(superblock_file_, scratch_, Superblock::kFileBytes, 0, slots_read_);
}

void Store::on_slots_read(int32_t result) {
  if (result < 0) {
    return open_failed(make_error(Errc::kIo, fmt::format("cannot read {}: {}", path_of("superblock", ""), std::strerror(-result))));
  }
  std::optional<Superblock> found;
  std::optional<Error> damage;
  for (const uint64_t offset : Superblock::kSlotOffset) {
    const auto slot = Superblock::decode(scratch_ + offset);
    if (slot.has_value()) {
      if (!found || slot.value().generation > found->generation) found = slot.value();
    } else if (slot.error().code == Errc::kUnsupported) {
      return open_failed(make_error(Errc::kUnsupported, fmt::format("{}: {}", path_of("superblock", ""), slot.error().message)));
    } else if (slot.error().code == Errc::kCorrupt) {
      damage = slot.error();
    }
  }
  if (found && !found->being_made) return open_existing(*found);
  if (!found) return look_for_wal(damage ? damage->message : "empty");
  making_ = *found;
  make_new();
}

/// Without a superblock nothing may be there that one belongs to: its WAL may hold records that exist
/// nowhere else. (A data directory that is not mounted looks like a new one.)
void Store::look_for_wal(std::string damage) {
  superblock_damage_ = std::move(damage);
  const auto wal = io_.open_file(path_of("wal", config_.wal_path), {});
  if (!wal.has_value() && wal.error().code != Errc::kNotFound) return open_failed(wal.error());
  if (wal.has_value()) wal_file_ = wal.value().file;
  if (wal.has_value() && wal.value().is_block_device) {
    // A device has a size whatever it holds. A frame begins at its start once anything is logged.
    io_.read(wal_file_, scratch_, kBlockBytes, 0, wal_probed_);
    return;
  }
  if (wal.has_value() && wal.value().bytes > 0) return refuse_to_make();
  make_first();
}

void Store::on_wal_probed(int32_t result) {
  if (result < 0) {
    return open_failed(make_error(Errc::kIo, fmt::format("cannot read {}: {}", path_of("wal", config_.wal_path), std::strerror(-result))));
  }
  if (FrameHeader(scratch_).fields().magic == FrameFields::kMagic) return refuse_to_make();
  make_first();
}

void Store::refuse_to_make() {
  open_failed(make_error(
      Errc::kCorrupt, fmt::format("{} holds no readable superblock ({}), but the WAL {} exists; refusing to make a new volume over it",
                                  path_of("superblock", ""), superblock_damage_, path_of("wal", config_.wal_path))));
}

void Store::make_first() {
  if (wal_file_.is_open()) io_.close_file(wal_file_);
  wal_file_ = {};
  making_ = Superblock{};
  make_new();
}

// --- making a new store ---------------------------------------------------------------------------------

void Store::make_new() {
  if (!making_.being_made) {
    // Only now, before anything is made, can be seen whether the base image held data before.
    const auto base = io_.open_file(path_of("base", config_.base_path), {});
    if (!base.has_value() && base.error().code != Errc::kNotFound) return open_failed(base.error());
    if (base.has_value()) {
      const bool had_data = base.value().bytes > 0;
      making_.base_seeded = had_data && config_.adopt_base;
      making_.rebuild_mark = had_data && !config_.adopt_base;
      io_.close_file(base.value().file);
    }
  }
  making_.being_made = true;
  making_.node_id = config_.node_id;
  making_.name = config_.name;
  making_.volume_bytes = config_.volume_bytes;
  making_.wal_bytes = config_.wal_bytes;
  superblock_.open(superblock_file_, making_);
  superblock_.change();
  superblock_.wait(made_);
}

/// The superblock is durable: first with the mark, then without it.
void Store::on_made() {
  if (!superblock_.current().being_made) return recover(std::nullopt);
  if (const Status opened = open_data_files(true); !opened.has_value()) {
    if (!wait_if_busy(opened.error())) open_failed(opened.error());
    return;
  }
  zeroed_bytes_ = 0;
  std::memset(scratch_, 0, kScratchBytes);
  write_wal_zeros();
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
  if (wal.bytes < config_.wal_bytes) {
    return make_error(Errc::kInvalid, fmt::format("{} has {} bytes, the WAL needs {}", wal_path, wal.bytes, config_.wal_bytes));
  }
  if (base.bytes < config_.volume_bytes) {
    return make_error(Errc::kInvalid, fmt::format("{} has {} bytes, the volume {}", base_path, base.bytes, config_.volume_bytes));
  }
  return boost::outcome_v2::success();
}

/// The WAL is written once from end to end, so that later writes change no file metadata.
void Store::write_wal_zeros() {
  const uint64_t left = config_.wal_bytes - zeroed_bytes_;
  if (left == 0) {
    io_.flush(wal_file_, zeros_flushed_);
    return;
  }
  const auto part = static_cast<uint32_t>(std::min<uint64_t>(left, kScratchBytes));
  io_.write(wal_file_, scratch_, part, zeroed_bytes_, zeros_written_);
  zeroed_bytes_ += part;
}

void Store::on_zeros_written(int32_t result) {
  if (result < 0) {
    return open_failed(make_error(result == -ENOSPC ? Errc::kNoSpace : Errc::kIo,
                                  fmt::format("cannot allocate the WAL {}: {}", path_of("wal", config_.wal_path), std::strerror(-result))));
  }
  write_wal_zeros();
}

void Store::on_zeros_flushed(int32_t result) {
  if (result < 0) {
    return open_failed(make_error(Errc::kIo, fmt::format("cannot flush the WAL {}: {}", path_of("wal", config_.wal_path), std::strerror(-result))));
  }
  // Its size is part of what must be there.
  io_.flush(base_file_, base_flushed_);
}

void Store::on_base_flushed(int32_t result) {
  if (result < 0) {
    return open_failed(make_error(Errc::kIo, fmt::format("cannot flush {}: {}", path_of("base", config_.base_path), std::strerror(-result))));
  }
  build_parts();
  superblock_.change().being_made = false;
  superblock_.wait(made_);
}

// --- opening an existing store -----------------------------------------------------------------------------

void Store::open_existing(const Superblock& found) {
  const auto differs = [&](const char* what, const auto& on_disk, const auto& configured) {
    return make_error(Errc::kInvalid, fmt::format("{}: the {} on disk is {}, the configuration says {}", path_of("superblock", ""), what,
                                                  on_disk, configured));
  };
  if (found.name != config_.name) return open_failed(differs("volume", found.name, config_.name));
  if (found.node_id != config_.node_id) return open_failed(differs("node id", found.node_id, config_.node_id));
  if (found.volume_bytes != config_.volume_bytes) return open_failed(differs("size", found.volume_bytes, config_.volume_bytes));
  if (found.wal_bytes != config_.wal_bytes) return open_failed(differs("WAL size", found.wal_bytes, config_.wal_bytes));
  superblock_.open(superblock_file_, found);
  if (const Status opened = open_data_files(false); !opened.has_value()) {
    if (!wait_if_busy(opened.error())) open_failed(opened.error());
    return;
  }
  build_parts();
  recover(std::nullopt);
}

void Store::build_parts() {
  const uint64_t wal_blocks = config_.wal_bytes / kBlockBytes;
  const uint64_t volume_blocks = config_.volume_bytes / kBlockBytes;
  index_ = std::make_unique<DirtyIndex>(static_cast<uint32_t>(std::min(wal_blocks + kZeroBlocksReserve, volume_blocks + kRecordBlocksMax)));
  WalListener& wal_listener = *this;
  CheckpointListener& checkpoint_listener = *this;
  const Wal::Geometry geometry{wal_file_, wal_blocks, volume_blocks, superblock_.current().volume};
  wal_ = std::make_unique<Wal>(io_, pool_, geometry, wal_listener);
  const Checkpointer::Parts parts{io_, memory_, *wal_, *index_, gate_, superblock_, base_file_};
  checkpointer_ = std::make_unique<Checkpointer>(parts, checkpoint_listener);
  reader_ = std::make_unique<BlockReader>(io_, *wal_, *index_, gate_, base_file_, config_.name);
}

void Store::recover(std::optional<Lsn> limit) {
  const Superblock& s = superblock_.current();
  recovery_limit_ = limit;
  WalRecovery::Start start;
  start.tail_first = s.tail_first;
  start.tail_block = s.tail_block;
  start.tail_previous_checksum = s.tail_previous_checksum;
  start.history = &s.history;
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
    if (!recovery_limit_) return open_failed(make_error(status.error().code, status.error().message));
    fail(fmt::format("cutting the log at Lsn {}: {}", recovery_limit_->value(), status.error().message));
    return finish_cut(std::move(status));
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
    return finish_cut(error);
  }
  wal_->restore_end(wal_->head());
  flush_requested_position_ = wal_->append_position();
  if (recovery_limit_) {
    if (failed()) return finish_cut(make_error(Errc::kIo, failure_));
    log::info("volume {}: cut its log after Lsn {}", config_.name, recovery_limit_->value());
    stopping_ = Stopping::kRecordingCut;
    superblock_.change().durable = wal_->durable();
    superblock_.wait(opened_);
    return;
  }
  if (wal_->head() == Lsn{}) {
    log::info("volume {}: open, nothing logged yet", config_.name);
  } else {
    log::info("volume {}: {}, log from Lsn {} to {}, checkpoint at {}, {} blocks to copy", config_.name,
              superblock_.current().clean_shutdown ? "was stopped cleanly" : "recovered", wal_->tail().value(),
              wal_->head().value(), checkpoint().value(), index_->size());
  }
  Superblock& s = superblock_.change();
  s.clean_shutdown = false;
  s.durable = wal_->durable();
  superblock_.wait(opened_);
}

void Store::on_opened() {
  if (stopping_ == Stopping::kRecordingCut) return finish_cut(boost::outcome_v2::success());
  std::free(scratch_);
  scratch_ = nullptr;
  open_ = true;
  Done done = std::move(done_);
  done(boost::outcome_v2::success());
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
