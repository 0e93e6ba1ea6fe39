#include "volume/wal.h"

#include <algorithm>
#include <utility>

#include "ringbolt/assert.h"
#include "ringbolt/crc32c.h"
#include "ringbolt/probe.h"

namespace ringbolt {

Wal::Wal(io::Io& io, io::BufferPool& pool, const Geometry& geometry, WalListener& listener, std::shared_ptr<io::BufferReserve> reserve)
    : io_(io), pool_(pool), reserve_memory_(reserve != nullptr ? std::move(reserve) : std::make_shared<io::BufferReserve>(pool)),
      geometry_(geometry), listener_(listener), window_(kFramesMax), places_(geometry.capacity_blocks) {
  frames_.reserve(kFramesMax);
  free_frames_.reserve(kFramesMax);
  reclaimer_ = pool_.add_reclaimer([this] { return reclaim_oldest(); });
}

Wal::~Wal() {
  pool_.remove_reclaimer(reclaimer_);
  for (size_t i = 0; i < window_size_; ++i) {
    RINGBOLT_ASSERT(!frame_at(i)->write.pending());
    pool_.release(frame_at(i)->buffer);
  }
  for (const auto& frame : frames_) {
    if (frame->state == Frame::State::kDetached) pool_.release(frame->buffer);
  }
}

// --- restoring ------------------------------------------------------------------------------------

void Wal::restore_begin(Lsn first, uint64_t device_block, uint32_t previous_checksum, LogMark mark) {
  RINGBOLT_ASSERT(writes_in_flight_ == 0 && !flush_.pending() && detached_ == 0);
  while (window_size_ > 0) {
    Frame* frame = frame_at(0);
    RINGBOLT_ASSERT(frame->pins == 0);
    free_frame(*frame);
    window_first_ = (window_first_ + 1) & (kFramesMax - 1);
    --window_size_;
  }
  window_written_ = 0;
  open_ = nullptr;
  places_.clear();
  next_lsn_ = first;
  append_position_ = tail_position_ = device_block;
  chain_ = previous_checksum;
  mark_ = mark;
  flush_wanted_ = flush_goal_ = flush_covers_ = Lsn{};
}

void Wal::restore_frame(const FramePlace& place, uint32_t checksum) {
  RINGBOLT_ASSERT(place.position == append_position_ && place.first == next_lsn_);
  places_.push(place);
  append_position_ += place.blocks;
  next_lsn_ = place.live_last.next();
  chain_ = checksum;
}

void Wal::restore_pad(uint32_t blocks, uint32_t checksum) {
  append_position_ += blocks;
  chain_ = checksum;
  RINGBOLT_ASSERT(device_block(append_position_) == 0);
}

void Wal::restore_end(Lsn durable) {
  written_ = head();
  durable_ = std::min(durable, written_);
}

// --- appending ------------------------------------------------------------------------------------

void Wal::set_volume(const Uuid& volume) {
  RINGBOLT_ASSERT(next_lsn_ == Lsn(1) && open_ == nullptr);
  geometry_.volume = volume;
}

void Wal::set_term(Term term) {
  RINGBOLT_ASSERT(!has_open_records());
  if (open_ != nullptr) open_->header().begin(geometry_.volume, term, next_lsn_);
  term_ = term;
}

Frame* Wal::take_frame() {
  if (free_frames_.empty() && frames_.size() < kFramesMax - 1) {
    frames_.push_back(std::make_unique<Frame>(*this));
    free_frames_.push_back(frames_.back().get());
  }
  if (free_frames_.empty() && !reclaim_oldest()) return nullptr;
  Frame* frame = free_frames_.back();
  free_frames_.pop_back();
  return frame;
}

/// Makes room for a frame of `total_blocks` at the append position, padding to the start of the area
/// if it does not fit before the end. Requires: no open frame.
Wal::Admission Wal::reserve(uint32_t total_blocks, bool is_term) {
  RINGBOLT_ASSERT(open_ == nullptr && !failed_);
  const uint64_t remaining = geometry_.capacity_blocks - device_block(append_position_);
  const uint64_t pad = remaining < total_blocks ? remaining : 0;
  const uint64_t limit = geometry_.capacity_blocks - (is_term ? 0 : kTermReserveBlocks);
  if (used_blocks() + pad + total_blocks > limit) {
    mark(Mark::kWalFull);
    return Admission::kNoSpace;
  }
  if (pad > 0) {
    mark(Mark::kWalWrapped);
    Frame* frame = take_frame();
    if (frame == nullptr) return Admission::kNoMemory;
    frame->buffer = reserve_memory_->allocate(io::BufferReserve::Use::kPad, kBlockBytes);
    if (!frame->buffer) {
      free_frames_.push_back(frame);
      return Admission::kNoMemory;
    }
    frame->first = next_lsn_;
    frame->records = 0;
    frame->payload_blocks = 0;
    frame->header().begin(geometry_.volume, term_, next_lsn_);
    if (term_.incarnation == Incarnation{}) {
      // A replica has no term of its own; a pad frame carries no records, so any valid term will do.
      frame->header().begin(geometry_.volume, Term{Epoch{}, Incarnation(1)}, next_lsn_);
    }
    frame->header().make_pad(static_cast<uint32_t>(pad - 1));
    enter_frame(*frame, static_cast<uint32_t>(pad));
    seal_frame(*frame);
    submit(*frame);
  }
  return Admission::kOk;
}

/// Puts a frame at the append position and at the end of the window.
void Wal::enter_frame(Frame& frame, uint32_t total_blocks) {
  RINGBOLT_ASSERT(window_size_ < kFramesMax);
  frame.position = append_position_;
  frame.state = Frame::State::kOpen;
  frame.covered_blocks = 0;
  frame.pins = 0;
  append_position_ += total_blocks;
  window_[(window_first_ + window_size_++) & (kFramesMax - 1)] = &frame;
}

Wal::Admission Wal::prepare(RecordKind kind, uint32_t blocks) {
  const uint32_t payload_blocks = has_payload(kind) ? blocks : 0;
  if (failed_) return Admission::kNoSpace;
  if (open_ != nullptr) {
    const bool fits = open_->records < kFrameRecordsMax && open_->payload_blocks + payload_blocks <= open_payload_max_ &&
                      open_->covered_blocks + blocks <= kFrameCoveredBlocksMax;
    if (fits) return Admission::kOk;
    seal();
  }
  RINGBOLT_ASSERT(payload_blocks <= kFramePayloadBlocksMax && blocks <= kZeroRecordBlocksMax);
  if (const Admission room = reserve(1 + payload_blocks, kind == RecordKind::kTerm); room != Admission::kOk) return room;
  Frame* frame = take_frame();
  if (frame == nullptr) return Admission::kNoMemory;
  // As large as can be had: what stays unused is given back when the frame is sealed.
  io::Buffer buffer;
  for (uint32_t bytes = kFrameBytesMax; !buffer && bytes >= (1 + payload_blocks) * kBlockBytes; bytes /= 2) {
    buffer = pool_.allocate(bytes);
  }
  if (!buffer) buffer = reserve_memory_->take(io::BufferReserve::Use::kFrame);
  if (!buffer) {
    free_frames_.push_back(frame);
    return Admission::kNoMemory;
  }
  frame->buffer = buffer;
  frame->first = next_lsn_;
  frame->records = 0;
  frame->payload_blocks = 0;
  frame->header().begin(geometry_.volume, term_, next_lsn_);
  const uint64_t to_end = geometry_.capacity_blocks - device_block(append_position_);
  const uint64_t reserved = std::min(kTermReserveBlocks, geometry_.capacity_blocks - used_blocks() - 1 - payload_blocks);
  const uint64_t unused = geometry_.capacity_blocks - used_blocks() - reserved;
  open_payload_max_ = static_cast<uint32_t>(std::min({to_end - 1, unused - 1, uint64_t{buffer.bytes / kBlockBytes - 1}}));
  open_ = frame;
  enter_frame(*frame, 0);  // its length is not known yet: the position moves on when it is sealed
  return Admission::kOk;
}

std::byte* Wal::payload_space() {
  RINGBOLT_ASSERT(open_ != nullptr);
  return open_->payload() + size_t{open_->payload_blocks} * kBlockBytes;
}

Wal::Appended Wal::append(RecordKind kind, Lba lba, uint32_t blocks) {
  Frame& frame = *open_;
  const uint32_t payload = has_payload(kind) ? blocks : 0;
  RINGBOLT_ASSERT(frame.payload_blocks + payload <= open_payload_max_);
  const Appended appended{next_lsn_, static_cast<uint32_t>(device_block(frame.position) + 1 + frame.payload_blocks),
                          crcs_ + frame.payload_blocks};
  for (uint32_t i = 0; i < payload; ++i) {
    crcs_[frame.payload_blocks + i] = crc32c(payload_space() + size_t{i} * kBlockBytes, kBlockBytes);
  }
  frame.header().add_record(kind, lba, blocks);
  frame.records += 1;
  frame.payload_blocks += payload;
  frame.covered_blocks += blocks;
  next_lsn_ = next_lsn_.next();
  return appended;
}

Wal::Admission Wal::append_buffer(io::Buffer buffer, Lba lba, uint32_t blocks, Appended* appended) {
  RINGBOLT_ASSERT(buffer.bytes >= (1 + blocks) * kBlockBytes);
  if (failed_) return Admission::kNoSpace;
  seal();
  if (const Admission room = reserve(1 + blocks, false); room != Admission::kOk) return room;
  Frame* frame = take_frame();
  if (frame == nullptr) return Admission::kNoMemory;
  frame->buffer = buffer;
  frame->first = next_lsn_;
  frame->records = 0;
  frame->payload_blocks = 0;
  frame->header().begin(geometry_.volume, term_, next_lsn_);
  open_payload_max_ = blocks;
  open_ = frame;
  enter_frame(*frame, 0);
  *appended = append(RecordKind::kWrite, lba, blocks);
  seal();
  return Admission::kOk;
}

Wal::Admission Wal::append_frame(io::Buffer buffer) {
  if (failed_) return Admission::kNoSpace;
  FrameHeader header(buffer.data);
  RINGBOLT_ASSERT(open_ == nullptr && header.first_lsn() == next_lsn_ && !header.is_pad());
  if (const Admission room = reserve(header.total_blocks(), header.record(0).kind == RecordKind::kTerm); room != Admission::kOk) return room;
  Frame* frame = take_frame();
  if (frame == nullptr) return Admission::kNoMemory;
  frame->buffer = buffer;
  frame->first = next_lsn_;
  frame->records = header.record_count();
  frame->payload_blocks = header.payload_blocks();
  next_lsn_ = next_lsn_.plus(frame->records);
  enter_frame(*frame, header.total_blocks());
  seal_frame(*frame);
  submit(*frame);
  listener_.on_wal_sealed();
  return Admission::kOk;
}

void Wal::seal() {
  if (open_ == nullptr || failed_) return;
  Frame& frame = *open_;
  if (frame.records == 0) {
    // Prepared, then nothing came: the frame goes back, as no position was given out for it.
    RINGBOLT_ASSERT(frame_at(window_size_ - 1) == &frame);
    --window_size_;
    pool_.release(frame.buffer);
    frame.buffer = {};
    free_frames_.push_back(&frame);
    open_ = nullptr;
    return;
  }
  frame.buffer = pool_.shrink(frame.buffer, (1 + frame.payload_blocks) * kBlockBytes);
  frame.header().place_block_crcs({crcs_, frame.payload_blocks});
  append_position_ += 1 + frame.payload_blocks;
  open_ = nullptr;
  seal_frame(frame);
  submit(frame);
  listener_.on_wal_sealed();
}

void Wal::seal_frame(Frame& frame) {
  if (frame.records > 0) places_.push(FramePlace{frame.first, frame.last(), frame.position, 1 + frame.payload_blocks, chain_});
  frame.header().seal(chain_, durable_, mark_);
  chain_ = frame.header().checksum();
}

void Wal::submit(Frame& frame) {
  frame.state = Frame::State::kWriting;
  ++writes_in_flight_;
  frame.submitted_at = io_.now();
  io_.write(geometry_.file, frame.buffer.data, (1 + frame.payload_blocks) * kBlockBytes,
            device_block(frame.position) * kBlockBytes, frame.write);
}

void Frame::on_write_done(int32_t result) { wal->frame_done(*this, result); }

void Wal::frame_done(Frame& frame, int32_t result) {
  --writes_in_flight_;
  frame.state = Frame::State::kWritten;
  if (failed_) return listener_.on_wal_quieter();
  if (result < 0) {
    mark(Mark::kWriteFailed);
    return fail(-result, "write");
  }
  write_times_.add(io_.now() - frame.submitted_at);
  written_bytes_ += (1 + uint64_t{frame.payload_blocks}) * kBlockBytes;
  // The written prefix ends before the first frame that is not done, whatever lies beyond it.
  bool moved = false;
  while (window_written_ < window_size_ && frame_at(window_written_)->state == Frame::State::kWritten) {
    const Frame& done = *frame_at(window_written_++);
    if (done.records > 0) written_ = done.last();
    moved = true;
  }
  if (!moved) return;
  pool_.hint_reclaimable();
  maybe_flush();
  listener_.on_wal_written();
}

void Wal::fail(int error, const char* operation) {
  failed_ = true;
  listener_.on_wal_failed(error, operation);
}

// --- flushing --------------------------------------------------------------------------------------

void Wal::request_flush(Lsn target) {
  RINGBOLT_ASSERT(target <= head());
  if (target <= flush_wanted_ && flush_goal_ > durable_) return;  // on its way already
  if (flush_goal_ <= durable_) flush_goal_ = target;
  flush_wanted_ = std::max(flush_wanted_, target);
  maybe_flush();
}

void Wal::maybe_flush() {
  if (failed_ || flush_.pending() || flush_goal_ <= durable_ || written_ < flush_goal_) return;
  // Exactly what is written now is covered: a flush says nothing of writes that complete during it.
  flush_covers_ = written_;
  flush_since_ = io_.now();
  io_.flush(geometry_.file, flush_);
}

void Wal::on_flush_done(int32_t result) {
  if (failed_) return listener_.on_wal_quieter();
  // Never retried: after a failed flush the device may have dropped what it had not written.
  if (result < 0 && !defect(Defect::kFlushErrorIgnored)) {
    mark(Mark::kFlushFailed);
    return fail(-result, "flush");
  }
  flush_times_.add(io_.now() - flush_since_);
  durable_ = std::max(durable_, defect(Defect::kFlushCoversMore) ? written_ : flush_covers_);
  // The next goal is what was asked for by now, not a moving target: under constant writing
  // `written >= wanted` might never hold.
  if (flush_wanted_ > durable_) flush_goal_ = flush_wanted_;
  maybe_flush();
  listener_.on_wal_durable();
}

// --- finding ---------------------------------------------------------------------------------------

Lsn Wal::tail() const {
  if (!places_.empty()) return places_.front().first;
  return has_open_records() ? open_->first : next_lsn_;
}

/// The frame in the window that holds `lsn`, open or not. Pad frames have no records: their `first`
/// is that of the frame after them, so the search looks for the last frame with first <= lsn.
Frame* Wal::search_window(Lsn lsn) const {
  size_t low = 0, high = window_size_;
  while (low < high) {
    const size_t middle = (low + high) / 2;
    if (frame_at(middle)->first <= lsn) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  if (low == 0) return nullptr;
  Frame* frame = frame_at(low - 1);
  if (frame->records == 0 || lsn > frame->last()) return nullptr;
  return frame;
}

Frame* Wal::find_frame(Lsn lsn) const {
  Frame* frame = search_window(lsn);
  return frame == nullptr || frame == open_ ? nullptr : frame;
}

const std::byte* Wal::find_payload(uint32_t lsn_short, uint32_t wal_block) const {
  // The full Lsn is the newest one with these low bits.
  const Lsn lsn(head().value() - static_cast<uint32_t>(static_cast<uint32_t>(head().value()) - lsn_short));
  const Frame* frame = search_window(lsn);
  if (frame == nullptr) return nullptr;
  const uint64_t index = wal_block - (device_block(frame->position) + 1);
  RINGBOLT_ASSERT(index < frame->payload_blocks);
  return frame->payload() + index * kBlockBytes;
}

void Wal::unpin(Frame& frame) {
  RINGBOLT_ASSERT(frame.pins > 0);
  if (--frame.pins > 0) return;
  if (frame.state != Frame::State::kDetached) return pool_.hint_reclaimable();
  --detached_;
  frame.state = Frame::State::kOpen;  // as any free frame's: nobody looks at it
  free_frame(frame);
}

void Wal::free_frame(Frame& frame) {
  pool_.release(frame.buffer);
  frame.buffer = {};
  free_frames_.push_back(&frame);
}

/// Gives back the memory of the oldest written frame that nobody pins. Pinned ones before it leave the
/// window and are kept aside for their holders: one send to a peer that does not read (a few frames)
/// must not keep everything logged after them in memory.
bool Wal::reclaim_oldest() {
  while (window_written_ > 0) {
    Frame* frame = frame_at(0);
    window_first_ = (window_first_ + 1) & (kFramesMax - 1);
    --window_size_;
    --window_written_;
    if (frame->pins == 0) {
      free_frame(*frame);
      return true;
    }
    mark(Mark::kFrameDetached);
    frame->state = Frame::State::kDetached;
    ++detached_;
  }
  return false;
}

// --- the tail ---------------------------------------------------------------------------------------

uint64_t Wal::bytes_after(Lsn lsn) const {
  const auto place = find_place(lsn.next());
  if (place) return (append_position_ - place->position) * kBlockBytes;
  return lsn >= sealed() ? 0 : used_blocks() * kBlockBytes;
}

Lsn Wal::last_before(uint64_t position) const {
  const auto place = places_.last_before(position);
  return place ? place->live_last : Lsn{};
}

void Wal::advance_tail(const FramePlace& place) {
  places_.drop_before(place.position);
  tail_position_ = place.position;
}

}  // namespace ringbolt
