#include "volume/checkpointer.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

#include "ringbolt/assert.h"
#include "ringbolt/crc32c.h"
#include "ringbolt/probe.h"

namespace ringbolt {

namespace {
bool is_full(int error) { return error == ENOSPC || error == EDQUOT; }
}  // namespace

Checkpointer::Checkpointer(const Parts& parts, CheckpointListener& listener) : p_(parts), listener_(listener) {
  for (uint32_t i = 0; i < spans_.size(); ++i) {
    spans_[i].owner = this;
    spans_[i].index = i;
  }
  for (CopyWrite& write : writes_) write.owner = this;
  memory_waiter_.owner = this;
  memory_waiter_.granted = [](CheckpointMemory::Waiter& waiter, CheckpointSet* set) {
    static_cast<MemoryWaiter&>(waiter).owner->start_batch(set);
  };
}

Checkpointer::~Checkpointer() {
  p_.io.disarm(retry_);
  p_.memory.cancel(memory_waiter_);
  release_batch();
}

void Checkpointer::begin_again() {
  copied_ = index_limit_ = checkpoint_;
  unrecorded_ = unrecorded_copied_ = 0;
}

void Checkpointer::set_stable(Lsn stable) {
  if (stable <= stable_) return;
  stable_ = stable;
  start_if_needed();
}

void Checkpointer::set_eager(bool eager) {
  eager_ = eager;
  start_if_needed();
}

void Checkpointer::set_paused(bool paused) {
  paused_ = paused;
  if (paused_ && memory_waiter_.queued) {
    // Memory granted later would make a stopped volume write.
    p_.memory.cancel(memory_waiter_);
    copying_ = Copying::kIdle;
  }
  start_if_needed();
}

// --- when --------------------------------------------------------------------------------------------------

FramePlace Checkpointer::next_tail(Lsn checkpoint) const {
  // A share of the WAL is kept for replicas that fall behind, the rest takes new records until the next round ends.
  const uint64_t end = p_.wal.append_position();
  return p_.wal.tail_candidate(end > retained_blocks() ? end - retained_blocks() : 0, checkpoint);
}

uint64_t Checkpointer::retained_blocks() const {
  const uint64_t capacity = p_.wal.capacity_blocks();
  // Always room for some of the largest frames, wherever the end of the area is.
  constexpr uint64_t kRoomBlocks = uint64_t{8} * kFrameBytesMax / kBlockBytes;
  return std::min(capacity / 100 * p_.retain_percent, capacity - kRoomBlocks);
}

/// A sixteenth of the WAL: that much space comes back at a time. A round costs a flush of the base image and two of
/// the superblock, so it is not smaller than what a device writes in their time anyway.
uint64_t Checkpointer::round_blocks() const {
  const uint64_t capacity = p_.wal.capacity_blocks();
  const uint64_t wanted = std::clamp(capacity / 16, kRoundBlocksMin, kRoundBlocksMax);
  return std::min(wanted, (capacity - retained_blocks()) / 4);
}

uint64_t Checkpointer::position_after(Lsn lsn) const {
  const auto place = p_.wal.find_place(lsn.next());
  return place ? place->position : p_.wal.append_position();
}

/// The last stable record within `blocks` of the WAL after what is copied; at least a frame's.
Lsn Checkpointer::limit_of(uint64_t blocks) const {
  const auto from = p_.wal.find_place(copied_.next());
  if (!from) return stable_;
  return std::min(stable_, std::max(p_.wal.last_before(from->position + blocks), from->live_last));
}

/// More of the WAL is used than what is kept for replicas, by a good part of the rest.
bool Checkpointer::is_used_up() const {
  return p_.wal.used_blocks() > retained_blocks() + (p_.wal.capacity_blocks() - retained_blocks()) / 4;
}

bool Checkpointer::is_copying_needed() const {
  if (p_.wal.head() < p_.wal.tail() || stable_ <= copied_) return false;
  // A round at a time, not one for each few records that become stable.
  const uint64_t copied = position_after(copied_), stable = position_after(stable_);
  if (p_.wal.append_position() - copied > p_.wal.capacity_blocks() / 8 && stable - copied >= round_blocks() / 2) return true;
  // What is being recorded may be all that is missing.
  if (recording_ != Recording::kIdle) return false;
  return eager_ || is_used_up() || p_.index.size() + unrecorded_ > p_.index.capacity() / 2;
}

bool Checkpointer::is_recording_needed() const {
  if (p_.wal.head() < p_.wal.tail()) return false;  // no records at all
  if (copied_ > checkpoint_) return true;
  // Nothing was copied, but perhaps there is space to give back.
  return is_used_up() && next_tail(checkpoint_).first > p_.wal.tail();
}

bool Checkpointer::is_beyond_pace(uint32_t blocks) const {
  // Only while copying goes on: a device that is full, or records that are not stable yet, end at the end of
  // the WAL. And only with more to copy than what may be unstable: a replica learns what is stable by reading on.
  return copying_ != Copying::kIdle && !base_full_ && lag_blocks() + blocks > p_.wal.capacity_blocks() / 4 * 3;
}

bool Checkpointer::holds_back(uint32_t blocks) {
  if (!is_beyond_pace(blocks)) return false;
  held_back_ = blocks;
  return true;
}

/// Not for each block that is copied: asking again costs a replica the checksums of a whole frame.
void Checkpointer::tell_progress() {
  if (held_back_ == 0 || is_beyond_pace(held_back_)) return;
  held_back_ = 0;
  listener_.on_checkpoint_progress();
}

void Checkpointer::start_if_needed() {
  if (failed_ || paused_) return;
  if (recording_ == Recording::kIdle && is_recording_needed()) start_recording();
  if (copying_ == Copying::kIdle && !retry_.armed() && is_copying_needed()) start_round();
}

// --- copying -------------------------------------------------------------------------------------------------

void Checkpointer::start_round() {
  target_ = limit_of(round_blocks());
  loaded_ = copied_;
  progress_position_ = position_after(copied_);
  if (target_ <= announced_ || defect(Defect::kBaseLimitNotAnnounced)) return begin_batch();
  copying_ = Copying::kAnnouncing;
  Superblock& superblock = p_.superblock.change();
  announcing_ = limit_of(kRoundsAnnounced * round_blocks());
  superblock.base_limit = std::max(superblock.base_limit, announcing_);
  // With it goes that the log reaches so far: one that ends before what the base image holds is damaged.
  superblock.durable = std::max(superblock.durable, p_.wal.durable());
  p_.superblock.wait(announced_waiter_);
}

void Checkpointer::on_announced() {
  announced_ = std::max(announced_, announcing_);
  if (paused_ || failed_) return stop_copying();
  begin_batch();
}

void Checkpointer::begin_batch() {
  copying_ = Copying::kMemory;
  p_.memory.acquire(memory_waiter_);
}

void Checkpointer::start_batch(CheckpointSet* set) {
  set_ = set;
  copying_ = Copying::kLoading;
  batch_error_ = 0;
  load();
}

/// Chooses the batch's blocks: from frames in memory directly, from older frames through spans.
void Checkpointer::load() {
  uint32_t spans_used = 0;
  while (loaded_ < target_ && pinned_size_ < pinned_.size()) {
    const Lsn from = loaded_.next();
    if (Frame* frame = p_.wal.find_frame(from)) {
      if (spans_used > 0) break;  // records of one batch are taken in order: the spans first
      p_.wal.pin(*frame);
      pinned_[pinned_size_++] = frame;
      const Lsn before = loaded_;
      const Lsn to = std::min(target_, frame->last());
      take_records(frame->header(), frame->payload(), from, to, false);
      if (loaded_ < to || loaded_ == before) break;  // no room for more items
      continue;
    }
    if (spans_used == spans_.size() || pinned_size_ > 0) break;
    load_span(spans_[spans_used++]);
  }
  if (reads_pending_ == 0) spans_loaded();
}

/// Reads frames that lie together on the device, from the one with loaded_.next() on.
void Checkpointer::load_span(SpanRead& span) {
  const auto first = p_.wal.find_place(loaded_.next());
  RINGBOLT_ASSERT(first.has_value());
  span.first = loaded_.next();
  span.last = first->live_last;
  span.position = first->position;
  span.blocks = first->blocks;
  while (span.last < target_ && p_.wal.find_frame(span.last.next()) == nullptr) {
    const auto next = p_.wal.find_place(span.last.next());
    if (!next || next->position != span.position + span.blocks) break;  // a pad lies between
    if (p_.wal.device_block(next->position) == 0) break;                // it starts the next lap
    if (span.blocks + next->blocks > kFrameBytesMax / kBlockBytes) break;
    span.blocks += next->blocks;
    span.last = next->live_last;
  }
  span.last = std::min(span.last, target_);
  loaded_ = span.last;
  ++reads_pending_;
  p_.io.read(p_.wal.geometry().file, set_->spans[span.index].data, span.blocks * kBlockBytes,
             p_.wal.device_block(span.position) * kBlockBytes, span.read);
}

void Checkpointer::span_read(SpanRead& span, int32_t result) {
  --reads_pending_;
  if (result < 0) {
    batch_error_ = -result;
    batch_error_what_ = "reading the WAL for a checkpoint";
  }
  if (reads_pending_ > 0) return;
  if (failed_) return give_up_batch();
  // Parse in order of Lsn: a batch that runs out of items ends at the last record taken.
  const Lsn loaded = loaded_;
  loaded_ = Lsn(spans_[0].first.value() - 1);
  for (SpanRead& read : spans_) {
    if (batch_error_ != 0 || read.blocks == 0) break;
    if (read.first != loaded_.next()) break;
    uint32_t block = 0;
    while (block < read.blocks && loaded_ < read.last) {
      std::byte* frame = set_->spans[read.index].data + size_t{block} * kBlockBytes;
      const FrameHeader header(frame);
      const char* wrong = header.check(p_.wal.geometry().volume, p_.wal.geometry().volume_blocks);
      const auto place = p_.wal.find_place(loaded_.next());
      // Also a well-formed frame must be the one that was written here, or its payload would be
      // looked for beyond what was read.
      if (wrong != nullptr || !place || header.is_pad() || header.first_lsn() != place->first ||
          header.total_blocks() != place->blocks || header.last_lsn() < place->live_last) {
        batch_error_ = EIO;
        batch_error_what_ = "a WAL frame is damaged";
        break;
      }
      // A frame may end in records that were cut off: what follows is in the next frame.
      const Lsn to = std::min(read.last, place->live_last);
      if (!take_records(header, frame + kBlockBytes, loaded_.next(), to, true)) break;
      if (loaded_ < to) break;
      block += header.total_blocks();
    }
    if (loaded_ < read.last) break;
  }
  RINGBOLT_ASSERT(loaded_ <= loaded);
  for (SpanRead& read : spans_) read.blocks = 0;
  spans_loaded();
  static_cast<void>(span);
}

bool Checkpointer::is_in_round(uint32_t lsn) const {
  const Lsn head = p_.wal.head();
  return Lsn(head.value() - static_cast<uint32_t>(short_lsn(head) - lsn)) <= target_;
}

/// Adds the blocks of records `from` .. `to` that have no newer version in this round; moves loaded_ along.
/// Stops early when there is no room. False if a block does not match its checksum.
bool Checkpointer::take_records(const FrameHeader& header, const std::byte* payload, Lsn from, Lsn to, bool verify) {
  uint32_t block = 0;
  for (uint32_t i = 0; i < header.record_count(); ++i) {
    const WalRecord record = header.record(i);
    const Lsn lsn = header.first_lsn().plus(i);
    if (lsn > to) break;
    if (lsn >= from) {
      if (set_->items.size() + record.blocks > CheckpointSet::kItemsMax) return true;
      for (uint32_t b = 0; b < record.blocks; ++b) {
        const DirtyIndex::Entry* entry = p_.index.find(Lba(record.lba + b));
        if (entry == nullptr) continue;
        const bool newest = entry->lsn == short_lsn(lsn);
        // A newer version within the round comes later. One beyond it does not make this one needless:
        // it may be lost with a torn tail, or be cut, and after the checkpoint nothing else has this.
        if (!newest && (is_in_round(entry->lsn) || defect(Defect::kOlderVersionDropped))) continue;
        const std::byte* data = has_payload(record.kind) ? payload + size_t{block + b} * kBlockBytes : nullptr;
        const uint32_t crc = newest || data == nullptr ? entry->crc : header.block_crc(block + b);
        if (verify && data != nullptr && crc32c(data, kBlockBytes) != crc) {
          batch_error_ = EIO;
          batch_error_what_ = "a block in the WAL does not match its checksum";
          return false;
        }
        set_->items.push_back({entry->lba, short_lsn(lsn), data});
      }
      loaded_ = lsn;
    }
    if (has_payload(record.kind)) block += record.blocks;
  }
  return true;
}

void Checkpointer::spans_loaded() {
  if (batch_error_ != 0) return give_up_batch();
  auto& items = set_->items;
  // Several versions of one block, all older than its newest: the last of them counts.
  const uint32_t oldest = short_lsn(checkpoint_);
  std::sort(items.begin(), items.end(), [oldest](const CheckpointItem& a, const CheckpointItem& b) {
    return a.lba != b.lba ? a.lba < b.lba : a.lsn - oldest > b.lsn - oldest;
  });
  const auto same_block = [](const CheckpointItem& a, const CheckpointItem& b) { return a.lba == b.lba; };
  items.erase(std::unique(items.begin(), items.end(), same_block), items.end());
  next_item_ = items_written_ = 0;
  batch_position_ = progress_position_;
  batch_end_ = position_after(loaded_);
  copying_ = Copying::kDraining;
  if (!p_.gate.idle()) mark(Mark::kCheckpointWaited);
  drain(copy_drain_wanted_);
}

/// Copying and recording may both wait for readers: whoever comes while the gate is busy is served afterwards,
/// both together if need be.
void Checkpointer::drain(bool& wanted) {
  wanted = true;
  if (copy_draining_ || release_draining_) return;
  copy_draining_ = std::exchange(copy_drain_wanted_, false);
  release_draining_ = std::exchange(release_drain_wanted_, false);
  p_.gate.drain([](void* self) { static_cast<Checkpointer*>(self)->on_drained(); }, this);
}

void Checkpointer::on_drained() {
  const bool copy = std::exchange(copy_draining_, false), release = std::exchange(release_draining_, false);
  // The one that came meanwhile goes first: what follows here may want the gate again.
  if (copy_drain_wanted_) drain(copy_drain_wanted_);
  if (release_drain_wanted_) drain(release_drain_wanted_);
  if (release) on_readers_gone();
  if (!copy) return;
  if (failed_) return give_up_batch();
  copying_ = Copying::kWriting;
  copy_more();
  tell_progress();
}

/// The fuller the log, the more: clients notice base writes, but they would notice a full log more.
uint32_t Checkpointer::writes_wanted() const {
  if (eager_) return kWritesMax;
  const uint64_t low = p_.wal.capacity_blocks() / 8, high = p_.wal.capacity_blocks() / 2;
  const uint64_t lag = std::clamp(lag_blocks(), low, high);
  return kWritesMin + static_cast<uint32_t>((kWritesMax - kWritesMin) * (lag - low) / (high - low));
}

void Checkpointer::copy_more() {
  const uint32_t wanted = writes_wanted();
  for (CopyWrite& write : writes_) {
    if (batch_error_ != 0 || failed_ || next_item_ == set_->items.size() || writes_pending_ >= wanted) break;
    if (!write.write.pending() && !copy_run(write)) break;
  }
  if (writes_pending_ == 0) batch_copied();
}

/// Starts one base write: the next items that are neighbours, all data or all zeros. False if their bytes have to
/// be brought together first and there is no memory for it: a write under way gives it back.
bool Checkpointer::copy_run(CopyWrite& write) {
  const auto& items = set_->items;
  const size_t first = next_item_;
  const bool zeros = items[first].data == nullptr;
  const auto extends = [&](size_t i) { return items[i].lba == items[i - 1].lba + 1 && (items[i].data == nullptr) == zeros; };
  size_t end = first + 1;
  const size_t whole_end = zeros ? items.size() : std::min(items.size(), first + kFrameBytesMax / kBlockBytes);
  while (end < whole_end && extends(end) && (zeros || items[end].data == items[end - 1].data + kBlockBytes)) ++end;
  const std::byte* source = items[first].data;
  const size_t merged_end = std::min(items.size(), first + CheckpointSet::kCopyBytes / kBlockBytes);
  if (!zeros && end - first < kDirectBlocks && end < merged_end && extends(end)) {
    // Short pieces of memory, one behind the other on the device.
    const auto copy = static_cast<uint32_t>(std::countr_one(copies_used_));
    if (copy == CheckpointSet::kCopies) return false;
    copies_used_ |= 1u << copy;
    write.copy = copy;
    while (end < merged_end && extends(end)) ++end;
    std::byte* merged = set_->copies[copy].data;
    for (size_t i = first; i < end; ++i) std::memcpy(merged + (i - first) * kBlockBytes, items[i].data, kBlockBytes);
    source = merged;
  }
  next_item_ = end;
  write.items = static_cast<uint32_t>(end - first);
  write.begun_at = p_.io.now();
  ++writes_pending_;
  const uint64_t offset = uint64_t{items[first].lba} * kBlockBytes;
  const size_t bytes = (end - first) * kBlockBytes;
  if (zeros) {
    p_.io.zero(p_.base, offset, bytes, write.write);
  } else {
    p_.io.write(p_.base, source, static_cast<uint32_t>(bytes), offset, write.write);
  }
  return true;
}

void Checkpointer::copy_written(CopyWrite& write, int32_t result) {
  --writes_pending_;
  write_times_.add(p_.io.now() - write.begun_at);
  if (result >= 0) blocks_copied_ += write.items;
  if (write.copy != kNoCopy) copies_used_ &= ~(1u << std::exchange(write.copy, kNoCopy));
  // A full device is waited for, any other error is final: it must not hide behind the former.
  if (result < 0 && (batch_error_ == 0 || is_full(batch_error_))) {
    batch_error_ = -result;
    batch_error_what_ = "writing the base image";
  }
  items_written_ += write.items;
  progress_position_ = batch_position_ + (batch_end_ - batch_position_) * items_written_ / set_->items.size();
  copy_more();
  tell_progress();
}

void Checkpointer::batch_copied() {
  if (failed_) return give_up_batch();
  if (is_full(batch_error_)) {
    // Nothing is lost, the WAL still has it all. Try again later.
    release_batch();
    copying_ = Copying::kIdle;
    p_.io.arm(retry_, io::kSecond);
    if (!base_full_) {
      mark(Mark::kBaseFull);
      base_full_ = true;
      listener_.on_base_full(true);
    }
    return stop_copying();
  }
  if (batch_error_ != 0) return give_up_batch();
  index_limit_ = std::max(index_limit_, loaded_);
  for (const CheckpointItem& item : set_->items) {
    if (p_.index.remove_if(Lba(item.lba), item.lsn)) ++unrecorded_;
  }
  release_batch();
  progress_position_ = batch_end_;
  if (paused_) {
    mark(Mark::kCheckpointPaused);
    return stop_copying();
  }
  if (loaded_ < target_) return begin_batch();
  copied_ = target_;
  unrecorded_copied_ = unrecorded_;
  copying_ = Copying::kIdle;
  if (base_full_) {
    base_full_ = false;
    listener_.on_base_full(false);
  }
  start_if_needed();
}

/// Copying has failed, or recording has, meanwhile. Nothing of the batch is in flight any more.
void Checkpointer::give_up_batch() {
  release_batch();
  copying_ = Copying::kIdle;
  if (batch_error_ != 0) fail(batch_error_, batch_error_what_);
  listener_.on_checkpoint_round_ended();
}

void Checkpointer::release_batch() {
  for (size_t i = 0; i < pinned_size_; ++i) p_.wal.unpin(*pinned_[i]);
  pinned_size_ = 0;
  if (set_ == nullptr) return;
  CheckpointSet* set = set_;
  set_ = nullptr;
  p_.memory.release(set);
}

/// In the middle of a round: the next one begins where this one did.
void Checkpointer::stop_copying() {
  copying_ = Copying::kIdle;
  listener_.on_checkpoint_round_ended();
  start_if_needed();
}

// --- recording -----------------------------------------------------------------------------------------------

void Checkpointer::start_recording() {
  recording_ = Recording::kFlushing;
  record_target_ = copied_;
  unrecorded_recording_ = unrecorded_copied_;
  flush_since_ = p_.io.now();
  if (defect(Defect::kBaseNotFlushed)) return on_base_flushed(0);
  p_.io.flush(p_.base, flush_);
}

void Checkpointer::stop_recording() {
  recording_ = Recording::kIdle;
  listener_.on_checkpoint_round_ended();
  start_if_needed();
}

void Checkpointer::on_base_flushed(int32_t result) {
  if (result < 0) {
    recording_ = Recording::kIdle;
    return fail(-result, "flushing the base image");
  }
  flush_times_.add(p_.io.now() - flush_since_);
  if (paused_ || failed_) return stop_recording();
  new_tail_ = next_tail(record_target_);
  recording_ = Recording::kWriting;
  record_announcing_ = limit_of(kRoundsAnnounced * round_blocks());
  Superblock& superblock = p_.superblock.change();
  superblock.checkpoint = record_target_;
  superblock.base_limit = std::max(superblock.base_limit, record_announcing_);
  superblock.tail_first = new_tail_.first;
  superblock.tail_block = p_.wal.device_block(new_tail_.position);
  superblock.tail_previous_checksum = new_tail_.previous_checksum;
  superblock.durable = std::max(superblock.durable, p_.wal.durable());
  if (defect(Defect::kReusedUnrecorded)) p_.wal.advance_tail(new_tail_);
  p_.superblock.wait(recorded_waiter_);
}

void Checkpointer::on_recorded() {
  checkpoint_ = record_target_;
  ++rounds_;
  announced_ = std::max(announced_, record_announcing_);
  unrecorded_ -= unrecorded_recording_;
  unrecorded_copied_ -= unrecorded_recording_;
  recording_ = Recording::kReleasing;
  if (!p_.gate.idle()) mark(Mark::kReuseWaited);
  // Reads that found their blocks in the part given up are done before it is written again.
  drain(release_drain_wanted_);
}

void Checkpointer::on_readers_gone() {
  p_.wal.advance_tail(new_tail_);
  stop_recording();
}

void Checkpointer::on_retry() { start_if_needed(); }

/// What the other half has in flight ends first, and finds then that there is nothing more to do.
void Checkpointer::fail(int error, const char* what) {
  const bool known = std::exchange(failed_, true);
  if (copying_ == Copying::kMemory) {
    p_.memory.cancel(memory_waiter_);
    copying_ = Copying::kIdle;
  }
  if (!known) listener_.on_checkpoint_failed(error, what);
}

}  // namespace ringbolt
