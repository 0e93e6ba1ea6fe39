// One copy's write-ahead log: places records in frames, writes and flushes them, knows what is
// written and what is durable, keeps recent frames in memory, and finds older ones on the device.
// Used by both roles: the primary appends records, a replica appends the frames it receives.
//
// Positions in the WAL area are counted in blocks and never wrap (`position`); the place on the
// device is `position % capacity`. One thread: the volume's shard.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "io/buffer_pool.h"
#include "io/io.h"
#include "io/memory_share.h"
#include "ringbolt/duration_histogram.h"
#include "volume/frame_places.h"
#include "volume/wal_format.h"

namespace ringbolt {

class Wal;

/// A frame in memory. Stays while it is being written or somebody pins it, afterwards as a cache
/// until memory is needed.
struct Frame {
  enum class State : uint8_t {
    kOpen,
    kWriting,
    kWritten,
    kDetached,  ///< out of the window, kept for whoever pins it
  };

  explicit Frame(Wal& owner) : wal(&owner), write(*this) {}
  [[nodiscard]] FrameHeader header() const { return FrameHeader(buffer.data); }
  [[nodiscard]] std::byte* payload() const { return buffer.data + kBlockBytes; }
  [[nodiscard]] Lsn last() const { return Lsn(first.value() + records - 1); }
  void on_write_done(int32_t result);

  Wal* wal;
  io::Buffer buffer;
  Lsn first;
  uint32_t records = 0;  ///< 0: a pad frame
  uint32_t payload_blocks = 0;
  uint32_t covered_blocks = 0;  ///< by its records, while it is open
  uint64_t position = 0;
  State state = State::kOpen;
  uint32_t pins = 0;
  io::Nanos submitted_at = 0;
  io::Op<&Frame::on_write_done> write;
};

static_assert(kWalBytesMax / kBlockBytes * kFrameRecordsMax <= UINT32_MAX);  // see short_lsn()

class WalListener {
 public:
  virtual ~WalListener() = default;
  /// A frame is complete in memory and on its way to the device: it may be shipped.
  virtual void on_wal_sealed() = 0;
  /// written_lsn() moved (and memory and write slots became free).
  virtual void on_wal_written() = 0;
  /// durable_lsn() moved.
  virtual void on_wal_durable() = 0;
  /// The device failed a write or a flush. From now on nothing is appended or becomes durable.
  virtual void on_wal_failed(int error, const char* operation) = 0;
  /// After a failure: an operation that was still in flight has ended.
  virtual void on_wal_quieter() = 0;
};

class Wal {
 public:
  struct Geometry {
    io::File file;
    uint64_t capacity_blocks = 0;
    uint64_t volume_blocks = 0;
    Uuid volume;
  };
  /// `reserve`: of this pool; null: it is taken from there now.
  Wal(io::Io& io, io::BufferPool& pool, const Geometry& geometry, WalListener& listener, std::shared_ptr<io::BufferReserve> reserve = nullptr);
  ~Wal();
  Wal(const Wal&) = delete;
  Wal& operator=(const Wal&) = delete;

  // --- restoring from the device (recovery) ---------------------------------------------------
  /// Forgets everything and begins at a frame boundary. Frames sealed from now on carry `mark`.
  /// Requires: idle().
  void restore_begin(Lsn first, uint64_t device_block, uint32_t previous_checksum, LogMark mark);
  void restore_frame(const FramePlace& place, uint32_t checksum);
  /// A pad frame was read: the next frame begins at the start of the area.
  void restore_pad(uint32_t blocks, uint32_t checksum);
  /// The log ends here; all of it is on the device (written), flushed up to `durable`.
  void restore_end(Lsn durable);

  // --- appending --------------------------------------------------------------------------------
  enum class Admission : uint8_t { kOk, kNoSpace, kNoMemory };

  /// Whose log it is. Requires: nothing logged yet.
  void set_volume(const Uuid& volume);
  /// The term of records appended from now on. Requires: no open frame.
  void set_term(Term term);
  /// Makes sure that the open frame takes a record of `blocks` blocks.
  Admission prepare(RecordKind kind, uint32_t blocks);
  /// Where the next record's payload goes, after prepare() of a write: blocks * kBlockBytes bytes.
  std::byte* payload_space();

  struct Appended {
    Lsn lsn;
    uint32_t wal_block;    ///< of the first payload block
    const uint32_t* crcs;  ///< one per payload block; valid until the next append
  };
  /// Appends the prepared record; its payload must be in place.
  Appended append(RecordKind kind, Lba lba, uint32_t blocks);
  /// Appends `blocks` blocks in `buffer` (payload from buffer.data + kBlockBytes on) as a frame of
  /// its own, without copying. Takes the buffer if kOk.
  Admission append_buffer(io::Buffer buffer, Lba lba, uint32_t blocks, Appended* appended);
  /// Appends a received frame (header and payload in `buffer`, checked) at the next Lsn. Takes the
  /// buffer if kOk. Requires: header.first_lsn() == head().next().
  Admission append_frame(io::Buffer buffer);
  /// Seals the open frame, if it has records, and starts writing it.
  void seal();
  [[nodiscard]] bool has_open_records() const { return open_ != nullptr && open_->records > 0; }
  /// Frames being written now.
  [[nodiscard]] uint32_t writes_in_flight() const { return writes_in_flight_; }
  /// The device is not working on anything of this WAL.
  [[nodiscard]] bool quiet() const { return writes_in_flight_ == 0 && !flush_.pending(); }
  [[nodiscard]] bool idle() const { return writes_in_flight_ == 0 && !flush_.pending() && !has_open_records(); }

  /// Sees to it that durable_lsn() reaches `target` (<= head()) without further calls.
  void request_flush(Lsn target);

  // --- positions --------------------------------------------------------------------------------
  [[nodiscard]] Lsn head() const { return Lsn(next_lsn_.value() - 1); }
  /// Newest record of the sealed frames: what can be shipped.
  [[nodiscard]] Lsn sealed() const { return has_open_records() ? Lsn(open_->first.value() - 1) : head(); }
  [[nodiscard]] Lsn written() const { return written_; }
  [[nodiscard]] Lsn durable() const { return durable_; }
  /// Oldest record still readable; head().next() if there is none.
  [[nodiscard]] Lsn tail() const;
  [[nodiscard]] uint64_t capacity_blocks() const { return geometry_.capacity_blocks; }
  [[nodiscard]] uint64_t used_blocks() const { return append_position_ - tail_position_; }
  [[nodiscard]] uint64_t append_position() const { return append_position_; }
  [[nodiscard]] bool failed() const { return failed_; }
  [[nodiscard]] const Geometry& geometry() const { return geometry_; }
  /// The volume has so many blocks from now on.
  void set_volume_blocks(uint64_t blocks) { geometry_.volume_blocks = blocks; }
  // For whoever watches: how long the device took, and how much it was given.
  [[nodiscard]] const DurationHistogram& write_times() const { return write_times_; }
  [[nodiscard]] const DurationHistogram& flush_times() const { return flush_times_; }
  [[nodiscard]] uint64_t written_bytes() const { return written_bytes_; }
  /// The volume's, see io/memory_share.h.
  [[nodiscard]] io::BufferReserve& reserve_memory() { return *reserve_memory_; }

  // --- finding frames ----------------------------------------------------------------------------
  /// The place of the frame that holds `lsn`; empty if `lsn` is not in the WAL (or still in the open
  /// frame).
  [[nodiscard]] std::optional<FramePlace> find_place(Lsn lsn) const { return places_.find(lsn); }
  /// The frame in memory that holds `lsn`, complete (not open); null if only the device has it.
  [[nodiscard]] Frame* find_frame(Lsn lsn) const;
  /// A logged block's bytes if they are in memory. `lsn` may be in the open frame.
  [[nodiscard]] const std::byte* find_payload(uint32_t lsn_short, uint32_t wal_block) const;
  void pin(Frame& frame) { ++frame.pins; }
  void unpin(Frame& frame);
  /// Device block of a position.
  [[nodiscard]] uint64_t device_block(uint64_t position) const { return position % geometry_.capacity_blocks; }

  /// What finds frames; memory beside the pool's.
  [[nodiscard]] const FramePlaces& places() const { return places_; }
  /// Bytes of WAL after the frame that holds `lsn`; all of it if `lsn` is before the tail.
  [[nodiscard]] uint64_t bytes_after(Lsn lsn) const;
  /// Last record of the frames that begin before `position`; Lsn 0 if there is none.
  [[nodiscard]] Lsn last_before(uint64_t position) const;
  /// The place that the tail would have if all frames that end before `keep_from` (a position) and
  /// hold only records up to `limit` were given up.
  [[nodiscard]] FramePlace tail_candidate(uint64_t keep_from, Lsn limit) const { return places_.candidate(keep_from, limit.next()); }
  /// Gives up everything before `place` (from tail_candidate): its space will be written again.
  void advance_tail(const FramePlace& place);

 private:
  friend struct Frame;
  static constexpr uint32_t kFramesMax = 1024;  // a power of two
  /// Blocks that only term records may use: a full WAL can be emptied only after a new term has been
  /// committed, so its record must always find room.
  static constexpr uint64_t kTermReserveBlocks = 64;

  Admission reserve(uint32_t total_blocks, bool is_term);
  Frame* take_frame();
  void enter_frame(Frame& frame, uint32_t total_blocks);
  void seal_frame(Frame& frame);
  void submit(Frame& frame);
  void frame_done(Frame& frame, int32_t result);
  void on_flush_done(int32_t result);
  void maybe_flush();
  void fail(int error, const char* operation);
  bool reclaim_oldest();
  void free_frame(Frame& frame);
  [[nodiscard]] Frame* frame_at(size_t index) const { return window_[(window_first_ + index) & (kFramesMax - 1)]; }
  [[nodiscard]] Frame* search_window(Lsn lsn) const;

  io::Io& io_;
  io::BufferPool& pool_;
  const std::shared_ptr<io::BufferReserve> reserve_memory_;
  Geometry geometry_;
  WalListener& listener_;
  uint32_t reclaimer_ = 0;

  Term term_;
  Lsn next_lsn_{1};
  Lsn written_;
  Lsn durable_;
  uint64_t append_position_ = 0;
  uint64_t tail_position_ = 0;
  uint32_t chain_ = 0;
  LogMark mark_;
  bool failed_ = false;

  Frame* open_ = nullptr;
  uint32_t open_payload_max_ = 0;
  uint32_t crcs_[kFramePayloadBlocksMax] = {};

  /// Frames in memory, in order of position, without gaps up to the newest.
  std::vector<std::unique_ptr<Frame>> frames_;
  std::vector<Frame*> free_frames_;
  std::vector<Frame*> window_;
  size_t detached_ = 0;
  size_t window_first_ = 0;
  size_t window_size_ = 0;
  size_t window_written_ = 0;  // frames at the front whose writes are all done
  uint32_t writes_in_flight_ = 0;

  /// Every frame between tail and head that holds records, but for the open one.
  FramePlaces places_;

  io::Op<&Wal::on_flush_done> flush_{*this};
  Lsn flush_wanted_;    // highest requested
  Lsn flush_goal_;      // the next flush starts when this much is written
  Lsn flush_covers_;    // what the flush in flight will make durable
  io::Nanos flush_since_ = 0;
  DurationHistogram write_times_, flush_times_;
  uint64_t written_bytes_ = 0;
};

}  // namespace ringbolt
