#include "volume/checkpointer.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

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
  for (uint32_t i = 0; i < copies_.size(); ++i) {
    copies_[i].owner = this;
    copies_[i].index = i;
  }
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

void Checkpointer::set_stable(Lsn stable) {
  if (stable <= stable_) return;
  stable_ = stable;
  start_round_if_needed();
}

void Checkpointer::set_eager(bool eager) {
  eager_ = eager;
  start_round_if_needed();
}

void Checkpointer::set_paused(bool paused) {
  paused_ = paused;
  if (paused_ && memory_waiter_.queued) {
    // Memory granted later would make a stopped volume write.
    p_.memory.cancel(memory_waiter_);
    step_ = Step::kIdle;
  }
  start_round_if_needed();
}

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

bool Checkpointer::is_needed() const {
  if (p_.wal.head() < p_.wal.tail()) return false;  // no records at all
  const uint64_t capacity = p_.wal.capacity_blocks();
  const bool used_up = p_.wal.used_blocks() > retained_blocks() + (capacity - retained_blocks()) / 4;
  if (stable_ <= checkpoint_) {
    // Nothing to copy, but perhaps space to give back.
    return used_up && next_tail(checkpoint_).first > p_.wal.tail();
  }
  if (eager_ || used_up || p_.index.size() + unrecorded_ > p_.index.capacity() / 2) return true;
  const auto dirty_from = p_.wal.find_place(checkpoint_.next());
  return dirty_from && p_.wal.append_position() - dirty_from->position > capacity / 4;
}

void Checkpointer::start_round_if_needed() {
  if (step_ != Step::kIdle || failed_ || paused_ || retry_.armed() || !is_needed()) return;
  // A round takes at most a quarter of the WAL, so that space comes back in time.
  target_ = stable_;
  if (const auto from = p_.wal.find_place(checkpoint_.next())) {
    target_ = std::min(target_, p_.wal.last_before(from->position + p_.wal.capacity_blocks() / 4));
    target_ = std::max(target_, std::min(stable_, from->live_last));
  }
  loaded_ = checkpoint_;
  if (target_ <= p_.superblock.current().base_limit || defect(Defect::kBaseLimitNotAnnounced)) return begin_batch();
  step_ = Step::kAnnouncing;
  Superblock& superblock = p_.superblock.change();
  superblock.base_limit = target_;
  // With it goes that the log reaches so far: one that ends before what the base image holds is damaged.
  superblock.durable = std::max(superblock.durable, p_.wal.durable());
  p_.superblock.wait(announced_);
}

void Checkpointer::on_announced() {
  if (paused_) return stop_round();
  begin_batch();
}

void Checkpointer::begin_batch() {
  step_ = Step::kMemory;
  p_.memory.acquire(memory_waiter_);
}

void Checkpointer::start_batch(CheckpointSet* set) {
  set_ = set;
  step_ = Step::kLoading;
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
  if (batch_error_ != 0) return fail(batch_error_, batch_error_what_);
  auto& items = set_->items;
  // Several versions of one block, all older than its newest: the last of them counts.
  const uint32_t oldest = short_lsn(checkpoint_);
  std::sort(items.begin(), items.end(), [oldest](const CheckpointItem& a, const CheckpointItem& b) {
    return a.lba != b.lba ? a.lba < b.lba : a.lsn - oldest > b.lsn - oldest;
  });
  const auto same_block = [](const CheckpointItem& a, const CheckpointItem& b) { return a.lba == b.lba; };
  items.erase(std::unique(items.begin(), items.end(), same_block), items.end());
  next_item_ = 0;
  step_ = Step::kDraining;
  if (!p_.gate.idle()) mark(Mark::kCheckpointWaited);
  p_.gate.drain(
      [](void* self) {
        auto* checkpointer = static_cast<Checkpointer*>(self);
        checkpointer->step_ = Step::kCopying;
        checkpointer->copy_more();
      },
      this);
}

void Checkpointer::copy_more() {
  for (CopyWrite& copy : copies_) {
    if (batch_error_ != 0 || next_item_ == set_->items.size()) break;
    if (!copy.write.pending()) copy_run(copy);
  }
  if (copies_pending_ == 0) batch_copied();
}

/// Starts one base write: the next items that are neighbours, all data or all zeros.
void Checkpointer::copy_run(CopyWrite& copy) {
  const auto& items = set_->items;
  const size_t first = next_item_;
  const bool zeros = items[first].data == nullptr;
  const size_t limit = zeros ? items.size() : std::min(items.size(), first + CheckpointSet::kCopyBytes / kBlockBytes);
  bool together = true;  // the run is contiguous in memory already
  size_t end = first + 1;
  while (end < limit && items[end].lba == items[end - 1].lba + 1 && (items[end].data == nullptr) == zeros) {
    together = together && items[end].data == items[end - 1].data + (zeros ? 0 : kBlockBytes);
    ++end;
  }
  next_item_ = end;
  ++copies_pending_;
  const uint64_t offset = uint64_t{items[first].lba} * kBlockBytes;
  const size_t bytes = (end - first) * kBlockBytes;
  if (zeros) {
    p_.io.zero(p_.base, offset, bytes, copy.write);
    return;
  }
  const std::byte* source = items[first].data;
  if (!together) {
    std::byte* merged = set_->copies[copy.index].data;
    for (size_t i = first; i < end; ++i) std::memcpy(merged + (i - first) * kBlockBytes, items[i].data, kBlockBytes);
    source = merged;
  }
  p_.io.write(p_.base, source, static_cast<uint32_t>(bytes), offset, copy.write);
}

void Checkpointer::copy_written(CopyWrite&, int32_t result) {
  --copies_pending_;
  // A full device is waited for, any other error is final: it must not hide behind the former.
  if (result < 0 && (batch_error_ == 0 || is_full(batch_error_))) {
    batch_error_ = -result;
    batch_error_what_ = "writing the base image";
  }
  copy_more();
}

void Checkpointer::batch_copied() {
  if (is_full(batch_error_)) {
    // Nothing is lost, the WAL still has it all. Try again later.
    release_batch();
    step_ = Step::kIdle;
    if (!base_full_) {
      mark(Mark::kBaseFull);
      base_full_ = true;
      listener_.on_base_full(true);
    }
    p_.io.arm(retry_, io::kSecond);
    listener_.on_checkpoint_round_ended();
    return;
  }
  if (batch_error_ != 0) return fail(batch_error_, batch_error_what_);
  for (const CheckpointItem& item : set_->items) {
    if (p_.index.remove_if(Lba(item.lba), item.lsn)) ++unrecorded_;
  }
  release_batch();
  if (paused_) {
    mark(Mark::kCheckpointPaused);
    return stop_round();
  }
  if (loaded_ < target_) return begin_batch();
  step_ = Step::kFlushing;
  if (defect(Defect::kBaseNotFlushed)) return on_base_flushed(0);
  p_.io.flush(p_.base, flush_);
}

void Checkpointer::release_batch() {
  for (size_t i = 0; i < pinned_size_; ++i) p_.wal.unpin(*pinned_[i]);
  pinned_size_ = 0;
  if (set_ == nullptr) return;
  CheckpointSet* set = set_;
  set_ = nullptr;
  p_.memory.release(set);
}

void Checkpointer::stop_round() {
  step_ = Step::kIdle;
  listener_.on_checkpoint_round_ended();
  start_round_if_needed();
}

void Checkpointer::on_base_flushed(int32_t result) {
  if (result < 0) return fail(-result, "flushing the base image");
  if (base_full_) {
    base_full_ = false;
    listener_.on_base_full(false);
  }
  if (paused_) return stop_round();
  new_tail_ = next_tail(target_);
  step_ = Step::kRecording;
  Superblock& superblock = p_.superblock.change();
  superblock.checkpoint = target_;
  superblock.tail_first = new_tail_.first;
  superblock.tail_block = p_.wal.device_block(new_tail_.position);
  superblock.tail_previous_checksum = new_tail_.previous_checksum;
  superblock.durable = std::max(superblock.durable, p_.wal.durable());
  if (defect(Defect::kReusedUnrecorded)) p_.wal.advance_tail(new_tail_);
  p_.superblock.wait(recorded_);
}

void Checkpointer::on_recorded() {
  checkpoint_ = target_;
  unrecorded_ = 0;
  step_ = Step::kReleasing;
  if (!p_.gate.idle()) mark(Mark::kReuseWaited);
  if (defect(Defect::kReusedUnderRead)) return on_readers_gone();
  // Reads that found their blocks in the part given up are done before it is written again.
  p_.gate.drain([](void* self) { static_cast<Checkpointer*>(self)->on_readers_gone(); }, this);
}

void Checkpointer::on_readers_gone() {
  p_.wal.advance_tail(new_tail_);
  stop_round();
}

void Checkpointer::on_retry() { start_round_if_needed(); }

void Checkpointer::fail(int error, const char* what) {
  failed_ = true;
  release_batch();
  step_ = Step::kIdle;
  listener_.on_checkpoint_failed(error, what);
}

}  // namespace ringbolt
