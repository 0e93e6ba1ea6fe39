// The volume gets larger while it is used. The base image first: it gets room, which reads as zeros whatever was there, flushed.
// Then the superblock says so, and from then on records may be about what is new.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "log/log.h"
#include "ringbolt/assert.h"
#include "volume/store.h"

namespace ringbolt {

namespace {

/// At a time: of a device that has to write them, a second's work at most.
constexpr uint64_t kZeroBytes = uint64_t{1} << 30;

alignas(kBlockBytes) constexpr std::byte kZeroBlock[kBlockBytes] = {};

}  // namespace

void Store::make_room(uint64_t bytes, Done done) { begin_growth(bytes, true, std::move(done)); }

void Store::grow(uint64_t bytes, Done done) { begin_growth(bytes, false, std::move(done)); }

void Store::begin_growth(uint64_t bytes, bool room_only, Done done) {
  RINGBOLT_ASSERT(open_ && !growth_ && bytes >= config_.volume_bytes && bytes <= kVolumeBytesMax && bytes % kBlockBytes == 0);
  if (failed()) return done(make_error(Errc::kIo, failure_));
  if (bytes == config_.volume_bytes) return done(boost::outcome_v2::success());
  const bool has_room = room_bytes_ >= bytes;
  growth_ = Growth{bytes, has_room ? bytes : config_.volume_bytes, room_only, std::move(done)};
  if (has_room) return on_room_made();
  // The last block first: it makes a file as long as it has to be, and finds out whether a device is.
  io_.write(base_file_, kZeroBlock, kBlockBytes, bytes - kBlockBytes, last_block_write_);
}

void Store::on_last_block_written(int32_t result) {
  if (failed()) return stop_growth();
  if (result < 0) {
    return end_growth(make_error(result == -EIO ? Errc::kIo : Errc::kNoSpace,
                                 fmt::format("volume {}: the base image {} cannot have {} bytes: {}", config_.name, path_of("base", config_.base_path),
                                             growth_->bytes, std::strerror(-result))));
  }
  zero_room();
}

/// A file that was longer than the volume, and every device, may hold anything there.
void Store::zero_room() {
  // A device may need long for it; a stop does not wait for that.
  if (stopping_ == Stopping::kForClose) return end_growth(make_error(Errc::kBusy, fmt::format("volume {} is being stopped", config_.name)));
  const uint64_t left = growth_->bytes - growth_->zeroed;
  if (left == 0) return io_.flush(base_file_, room_flush_);
  io_.zero(base_file_, growth_->zeroed, std::min(left, kZeroBytes), room_zero_);
}

void Store::on_room_zeroed(int32_t result) {
  if (failed()) return stop_growth();
  if (result < 0) {
    return end_growth(make_error(result == -ENOSPC ? Errc::kNoSpace : Errc::kIo,
                                 fmt::format("volume {}: zeroing the base image {} from byte {} on: {}", config_.name,
                                             path_of("base", config_.base_path), growth_->zeroed, std::strerror(-result))));
  }
  growth_->zeroed += std::min(growth_->bytes - growth_->zeroed, kZeroBytes);
  zero_room();
}

void Store::on_room_flushed(int32_t result) {
  // Blocks that a checkpoint has written may be what was lost, and no later flush would say so.
  if (result < 0 && !failed()) fail(fmt::format("flushing the base image: {}", std::strerror(-result)));
  if (failed()) return stop_growth();
  room_bytes_ = growth_->bytes;
  on_room_made();
}

void Store::on_room_made() {
  if (growth_->room_only) return end_growth(boost::outcome_v2::success());
  Superblock& s = superblock_.change();
  if (s.made_bytes == 0) s.made_bytes = s.volume_bytes;
  s.volume_bytes = growth_->bytes;
  superblock_.wait(grown_);
}

void Store::on_grown() {
  log::info({.volume = config_.name}, "grown from {} to {} bytes", config_.volume_bytes, growth_->bytes);
  set_size(growth_->bytes);
  room_bytes_ = 0;
  end_growth(boost::outcome_v2::success());
}

void Store::end_growth(Status status) {
  const Done done = std::move(growth_->done);
  growth_.reset();
  done(std::move(status));
  continue_stopping();
}

/// The store has failed. What is under way ends first; of the superblock nothing is heard any more.
void Store::stop_growth() {
  if (!growth_ || last_block_write_.pending() || room_zero_.pending() || room_flush_.pending()) return;
  if (grown_.waiting() && !superblock_.failed()) return;
  end_growth(make_error(Errc::kIo, failure_));
}

void Store::set_size(uint64_t bytes) {
  config_.volume_bytes = bytes;
  wal_->set_volume_blocks(bytes / kBlockBytes);
  index_->grow(index_entries(bytes));
}

void Store::take_growth_back(uint64_t bytes) {
  RINGBOLT_ASSERT(!growth_ && bytes >= least_bytes() && bytes <= config_.volume_bytes);
  if (bytes == config_.volume_bytes) return;
  log::info({.volume = config_.name}, "has {} bytes again, the primary's size: nothing was ever written behind them", bytes);
  superblock_.change().volume_bytes = bytes;
  room_bytes_ = 0;
  set_size(bytes);
}

}  // namespace ringbolt
