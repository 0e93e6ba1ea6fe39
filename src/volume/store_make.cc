// Making a new store where there is none.
//
// Order: the superblock with the mark "being made" becomes durable before the WAL and the base image
// exist, and loses the mark after both are. So a crash in between leads to making it again.
//
// Nothing is made over what may be somebody's only copy. A data directory that is not mounted looks like
// one of a new node: the superblock and the WAL are missing, and a base image that lies elsewhere would
// be taken for that of a new volume, without all that only the WAL has. So the files of a new store must
// not exist, or hold nothing but zeros. Who wants an existing base image to be used says so with a marker
// file beside the superblock, where it cannot be when the data directory is not mounted; it works once.

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "log/log.h"
#include "ringbolt/assert.h"
#include "volume/store.h"

namespace ringbolt {

namespace {
constexpr uint32_t kZerosBytes = kFrameBytesMax;
}

std::string Store::marker_path() const { return config_.directory + "/use-existing-base"; }

// --- is there anything to lose? -----------------------------------------------------------------------------

void Store::survey() { survey_wal(); }

Result<io::FileInfo> Store::open_surveyed(const std::string& path) {
  const auto file = io_.open_file(path, {});
  const bool whole_blocks = !file.has_value() || file.value().bytes % kBlockBytes == 0;
  if (whole_blocks || !making_.being_made) return file;
  // An earlier try was extending it when the power failed. The rest of its last block is made readable.
  io_.close_file(file.value().file);
  return io_.open_file(path, {.resize_bytes = (file.value().bytes / kBlockBytes + 1) * kBlockBytes});
}

void Store::survey_wal() {
  const auto wal = open_surveyed(path_of("wal", config_.wal_path));
  if (!wal.has_value()) {
    if (wal.error().code == Errc::kNotFound) return survey_base();
    return wait_or_fail(wal.error(), &Store::survey_wal);
  }
  wal_file_ = wal.value().file;
  // Of a device just the part that the WAL would take.
  const uint64_t bytes = wal.value().is_block_device ? std::min(wal.value().bytes, config_.wal_bytes) : wal.value().bytes;
  scan(wal_file_, bytes, path_of("wal", config_.wal_path), [this](uint64_t data_at) {
    refuse_to_make("WAL", path_of("wal", config_.wal_path), data_at,
                   "if it is not needed any more, remove it (a device: blkdiscard -z)");
  }, &Store::survey_base);
}

void Store::survey_base() {
  // What it means may have been decided by a try that did not come to its end.
  if (making_.base_seeded || making_.rebuild_mark) return make_superblock();
  const auto marked = is_marked();
  if (!marked.has_value()) return wait_or_fail(marked.error(), &Store::survey_base);
  const auto base = open_surveyed(path_of("base", config_.base_path));
  if (!base.has_value()) {
    if (base.error().code == Errc::kNotFound) return make_superblock();
    return wait_or_fail(base.error(), &Store::survey_base);
  }
  base_file_ = base.value().file;
  if (marked.value() && base.value().bytes > 0) {
    (config_.adopt_base ? making_.base_seeded : making_.rebuild_mark) = true;
    close_surveyed();
    return make_superblock();
  }
  const uint64_t bytes = std::min(base.value().bytes, config_.volume_bytes);
  scan(base_file_, bytes, path_of("base", config_.base_path), [this](uint64_t data_at) {
    refuse_to_make("base image", path_of("base", config_.base_path), data_at,
                   fmt::format("{}, touch {}", config_.adopt_base ? "to use it, as it is, for the content of a new volume"
                                                                  : "to have it overwritten with the content of the volume",
                               marker_path()));
  }, &Store::make_superblock);
}

/// Reads the area; goes on with `next` if it is all zeros.
void Store::scan(io::File file, uint64_t bytes, const std::string& path, std::function<void(uint64_t data_at)> refuse, void (Store::*next)()) {
  log::info({.volume = config_.name}, "looking whether {} is unused ({} bytes)", path, bytes);
  scan_ = std::make_unique<ZeroScan>(io_, file, bytes, [this, path, refuse = std::move(refuse), next](const ZeroScan::Outcome& outcome) {
    scan_.reset();
    if (outcome.error != 0) {
      return open_failed(make_error(Errc::kIo, fmt::format("cannot read {} at byte {}: {}", path, outcome.at, std::strerror(outcome.error))));
    }
    if (outcome.data_at) return refuse(*outcome.data_at);
    close_surveyed();
    (this->*next)();
  });
  scan_->run();
}

void Store::close_surveyed() {
  for (io::File* file : {&wal_file_, &base_file_}) {
    if (file->is_open()) io_.close_file(*file);
    *file = {};
  }
}

void Store::refuse_to_make(const char* what, const std::string& path, uint64_t data_at, const std::string& remedy) {
  open_failed(make_error(Errc::kInvalid, fmt::format("there is no superblock in {}, but the {} {} holds data (at byte {}): refusing to make a "
                                                     "new volume over it; if data_dir is not mounted, mount it; {}",
                                                     config_.directory, what, path, data_at, remedy)));
}

/// Whether an existing base image is to be used. A marker that has done its work is not empty any more.
Result<bool> Store::is_marked() {
  const auto marker = io_.open_file(marker_path(), {});
  if (!marker.has_value()) {
    if (marker.error().code == Errc::kNotFound) return false;
    return marker.error();
  }
  io_.close_file(marker.value().file);
  return marker.value().bytes == 0;
}

void Store::use_up_marker() {
  const auto marker = io_.open_file(marker_path(), {.resize_bytes = kBlockBytes});
  if (marker.has_value()) {
    io_.close_file(marker.value().file);
  } else if (marker.error().code != Errc::kNotFound) {
    log::warn({.volume = config_.name}, "remove {}, which has done its work: {}", marker_path(), marker.error().message);
  }
}

// --- making it ----------------------------------------------------------------------------------------------

void Store::make_superblock() {
  if (!superblock_file_.is_open()) {
    const auto opened = io_.open_file(path_of("superblock", ""), {.create = true, .resize_bytes = Superblock::kFileBytes});
    // Another process is making this very store: then it is no new one any more.
    if (!opened.has_value()) return wait_or_fail(opened.error(), &Store::open_superblock);
    superblock_file_ = opened.value().file;
    if (!opened.value().created) return read_slots();
  }
  making_.being_made = true;
  making_.node_id = config_.node_id;
  making_.name = config_.name;
  making_.volume_bytes = config_.volume_bytes;
  making_.wal_bytes = config_.wal_bytes;
  making_.log_key = io_.random();
  superblock_.open(superblock_file_, making_, write_first_);
  superblock_.change();
  superblock_.wait(made_);
}

/// The superblock is durable: first with the mark, then without it.
void Store::on_made() {
  if (superblock_.current().being_made) return make_files();
  recover(std::nullopt);
}

void Store::make_files() {
  if (const Status opened = open_data_files(true); !opened.has_value()) return wait_or_fail(opened.error(), &Store::make_files);
  zeroed_bytes_ = 0;
  std::memset(scratch_, 0, kZerosBytes);
  write_wal_zeros();
}

/// The WAL is written once from end to end, so that later writes change no file metadata.
void Store::write_wal_zeros() {
  const uint64_t left = config_.wal_bytes - zeroed_bytes_;
  if (left == 0) {
    io_.flush(wal_file_, zeros_flushed_);
    return;
  }
  const auto part = static_cast<uint32_t>(std::min<uint64_t>(left, kZerosBytes));
  io_.write(wal_file_, scratch_, part, zeroed_bytes_, zeros_written_);
  zeroed_bytes_ += part;
}

void Store::on_zeros_written(int32_t result) {
  if (result < 0) {
    return open_failed(make_error(result == -ENOSPC ? Errc::kNoSpace : Errc::kIo,
                                  fmt::format("cannot allocate the WAL {} of {} bytes: {}", path_of("wal", config_.wal_path),
                                              config_.wal_bytes, std::strerror(-result))));
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
  if (const Status built = build_parts(); !built.has_value()) return open_failed(built.error());
  // While a further try would still know what the marker said.
  if (superblock_.current().base_seeded || superblock_.current().rebuild_mark) use_up_marker();
  superblock_.change().being_made = false;
  superblock_.wait(made_);
}

}  // namespace ringbolt
