// Copies logged blocks into the base image, oldest records first, and gives WAL space back.
//
// A round has a target Lsn. Within it, batches: choose the blocks whose newest version is at most the
// target, wait for base reads in flight, write them in order of address, many at a time, remove their
// dirty-index entries if they are still the versions copied. When a round is copied the base image is
// flushed, then the superblock says so (checkpoint and WAL tail), and only when that is durable is the
// WAL space used again. Meanwhile the next round is being copied already: the flush speaks for ended
// rounds only, and what it finds of the next one in the base image does no harm, because
//
// before a round's first write to the base image the superblock says how far the base image may now
// reach (base_limit): a crash in the middle of a round leaves blocks of records after the checkpoint
// there, and a log must not be cut below what its base image may hold. The change that records one round
// announces the next ones, too.
//
// Rounds are small, so that space comes back in small steps, and the more the log fills the more base
// writes are in flight. Where that is not enough, writers go on as fast as blocks are copied
// (holds_back()) instead of running into a full WAL and stopping there until a round ends.
//
// The target never passes the stable Lsn: what every counting copy has flushed. A base image so never
// holds a record that a crash or failover must undo, whatever the devices' caches lost.
#pragma once

#include <algorithm>
#include <array>

#include "io/io.h"
#include "ringbolt/duration_histogram.h"
#include "volume/checkpoint_memory.h"
#include "volume/dirty_index.h"
#include "volume/reader_gate.h"
#include "volume/superblock_writer.h"
#include "volume/wal.h"

namespace ringbolt {

class CheckpointListener {
 public:
  virtual ~CheckpointListener() = default;
  /// A round ended (WAL space and index room may have come free), or a paused one stopped.
  virtual void on_checkpoint_round_ended() = 0;
  /// An append that holds_back() refused may succeed now.
  virtual void on_checkpoint_progress() = 0;
  /// The base image or the WAL cannot be used any more.
  virtual void on_checkpoint_failed(int error, const char* what) = 0;
  /// The base image's device is full (true) or takes data again (false). Nothing is lost: the
  /// records stay in the WAL.
  virtual void on_base_full(bool full) = 0;
};

class Checkpointer {
 public:
  struct Parts {
    io::Io& io;
    CheckpointMemory& memory;
    Wal& wal;
    DirtyIndex& index;
    ReaderGate& gate;
    SuperblockWriter& superblock;
    io::File base;
    uint32_t retain_percent = 50;  ///< of the WAL, for replicas that lag
  };
  Checkpointer(const Parts& parts, CheckpointListener& listener);
  ~Checkpointer();
  Checkpointer(const Checkpointer&) = delete;
  Checkpointer& operator=(const Checkpointer&) = delete;

  /// How much of the WAL is kept for replicas; with less, space comes back with the next round.
  void set_retain_percent(uint32_t percent) { p_.retain_percent = percent; }
  /// All up to it is in the base image and flushed there.
  [[nodiscard]] Lsn checkpoint() const { return checkpoint_; }
  /// After recovery, or when the log begins anew. Requires: !running().
  void restore(Lsn checkpoint) {
    stable_ = checkpoint_ = checkpoint;
    announced_ = p_.superblock.current().base_limit;
    begin_again();
  }
  /// After a cut: what comes after `fork` from now on is another history, of which nothing is stable.
  /// The index is filled again from the checkpoint on.
  void forget_stable_after(Lsn fork) {
    stable_ = std::min(stable_, fork);
    begin_again();
  }

  /// The index may lack blocks of records up to this one. Unlike what is announced (base_limit) it is no further than
  /// where copying is.
  [[nodiscard]] Lsn index_limit() const { return index_limit_; }

  /// Raises the limit for copying and starts a round if there is a need.
  void set_stable(Lsn stable);
  [[nodiscard]] Lsn stable() const { return stable_; }
  /// WAL or index filled up somewhat: starts a round if there is a need.
  void poke() { start_if_needed(); }
  /// Likewise, at once also where a device was full and is to be tried again later.
  void retry() {
    p_.io.disarm(retry_);
    start_if_needed();
  }
  /// While eager, everything up to the stable Lsn is copied without waiting for a need.
  void set_eager(bool eager);
  [[nodiscard]] bool running() const { return copying_ != Copying::kIdle || recording_ != Recording::kIdle; }
  /// No device is working on a checkpoint.
  [[nodiscard]] bool quiet() const { return reads_pending_ == 0 && writes_pending_ == 0 && !flush_.pending(); }
  /// While paused no round starts, and a running one stops at the next batch.
  void set_paused(bool paused);
  /// Entries taken out of the index since the recorded checkpoint. A recovery would enter these
  /// blocks again, so the index must keep room for them.
  [[nodiscard]] uint64_t unrecorded() const { return unrecorded_; }
  // For whoever watches: how long the device took to write to the base image, zeros included, and to flush it; what was copied
  // there so far, and how many rounds were recorded.
  [[nodiscard]] const DurationHistogram& write_times() const { return write_times_; }
  [[nodiscard]] const DurationHistogram& flush_times() const { return flush_times_; }
  [[nodiscard]] uint64_t blocks_copied() const { return blocks_copied_; }
  [[nodiscard]] uint64_t rounds() const { return rounds_; }
  /// Much of the WAL waits to be copied, and this is under way: `blocks` more (of the WAL) are to be appended
  /// only when as many have been copied. If true, the listener is told when to ask again.
  [[nodiscard]] bool holds_back(uint32_t blocks);

 private:
  enum class Copying : uint8_t { kIdle, kAnnouncing, kMemory, kLoading, kDraining, kWriting };
  enum class Recording : uint8_t { kIdle, kFlushing, kWriting, kReleasing };
  static constexpr uint32_t kWritesMin = 4;  ///< to the base image at a time: with little to copy
  static constexpr uint32_t kWritesMax = 32;
  static constexpr uint64_t kRoundBlocksMin = (4u << 20) / kBlockBytes;
  static constexpr uint64_t kRoundBlocksMax = (64u << 20) / kBlockBytes;
  static constexpr uint32_t kRoundsAnnounced = 3;
  /// A part of a run that is that long goes to the device as it is, without being merged with its neighbours.
  static constexpr size_t kDirectBlocks = 16;
  static constexpr uint32_t kNoCopy = UINT32_MAX;

  struct SpanRead {
    void on_read(int32_t result) { owner->span_read(*this, result); }
    Checkpointer* owner = nullptr;
    uint32_t index = 0;
    Lsn first;  // records wanted
    Lsn last;
    uint64_t position = 0;
    uint32_t blocks = 0;
    io::Op<&SpanRead::on_read> read{*this};
  };
  struct CopyWrite {
    void on_written(int32_t result) { owner->copy_written(*this, result); }
    Checkpointer* owner = nullptr;
    uint32_t copy = kNoCopy;  ///< of the set's copies, if it has one
    uint32_t items = 0;
    io::Nanos begun_at = 0;
    io::Op<&CopyWrite::on_written> write{*this};
  };
  struct MemoryWaiter : CheckpointMemory::Waiter {
    Checkpointer* owner = nullptr;
  };

  [[nodiscard]] bool is_used_up() const;
  [[nodiscard]] bool is_copying_needed() const;
  [[nodiscard]] bool is_recording_needed() const;
  [[nodiscard]] uint64_t retained_blocks() const;
  [[nodiscard]] uint64_t round_blocks() const;
  [[nodiscard]] uint64_t position_after(Lsn lsn) const;
  [[nodiscard]] uint64_t lag_blocks() const { return p_.wal.append_position() - progress_position_; }
  [[nodiscard]] Lsn limit_of(uint64_t blocks) const;
  [[nodiscard]] FramePlace next_tail(Lsn checkpoint) const;
  void begin_again();
  void start_if_needed();
  void start_round();
  void on_announced();
  void begin_batch();
  void start_batch(CheckpointSet* set);
  void load();
  void load_span(SpanRead& span);
  [[nodiscard]] bool is_in_round(uint32_t lsn) const;
  bool take_records(const FrameHeader& header, const std::byte* payload, Lsn from, Lsn to, bool verify);
  void span_read(SpanRead& span, int32_t result);
  void spans_loaded();
  void drain(bool& wanted);
  void on_drained();
  [[nodiscard]] uint32_t writes_wanted() const;
  void copy_more();
  bool copy_run(CopyWrite& copy);
  void copy_written(CopyWrite& copy, int32_t result);
  void batch_copied();
  void give_up_batch();
  void release_batch();
  void stop_copying();
  [[nodiscard]] bool is_beyond_pace(uint32_t blocks) const;
  void tell_progress();
  void start_recording();
  void stop_recording();
  void on_base_flushed(int32_t result);
  void on_recorded();
  void on_readers_gone();
  void on_retry();
  void fail(int error, const char* what);

  Parts p_;
  CheckpointListener& listener_;
  Copying copying_ = Copying::kIdle;
  Recording recording_ = Recording::kIdle;
  bool failed_ = false;
  bool eager_ = false;
  bool paused_ = false;
  bool base_full_ = false;
  uint32_t held_back_ = 0;  // blocks that somebody waits to append
  int batch_error_ = 0;
  const char* batch_error_what_ = "";
  Lsn stable_;
  Lsn checkpoint_;
  Lsn announced_;      // how far the base image may reach, durably
  Lsn announcing_;     // as far as the superblock's change under way says, if a round waits for it
  Lsn copied_;         // of ended rounds
  Lsn target_;         // of the round
  Lsn loaded_;         // records up to here are in this or an earlier batch of the round
  Lsn index_limit_;    // of the batches whose blocks were taken out of the index
  Lsn record_target_;  // the checkpoint that is being recorded
  Lsn record_announcing_;
  uint64_t unrecorded_ = 0;
  uint64_t unrecorded_copied_ = 0;     // of ended rounds
  uint64_t unrecorded_recording_ = 0;  // of those that are being recorded
  CheckpointSet* set_ = nullptr;
  size_t next_item_ = 0;
  size_t items_written_ = 0;
  uint64_t progress_position_ = 0;  // the WAL is copied about up to there
  uint64_t batch_position_ = 0;     // from here ...
  uint64_t batch_end_ = 0;          // ... to there
  uint32_t copies_used_ = 0;        // bits: which of the set's
  uint32_t reads_pending_ = 0;
  uint32_t writes_pending_ = 0;
  std::array<Frame*, 256> pinned_{};
  size_t pinned_size_ = 0;
  FramePlace new_tail_{};
  io::Nanos flush_since_ = 0;
  DurationHistogram write_times_, flush_times_;
  uint64_t blocks_copied_ = 0, rounds_ = 0;
  // The gate serves one wait at a time.
  bool copy_drain_wanted_ = false, release_drain_wanted_ = false;
  bool copy_draining_ = false, release_draining_ = false;
  MemoryWaiter memory_waiter_;
  std::array<SpanRead, CheckpointSet::kSpans> spans_;
  std::array<CopyWrite, kWritesMax> writes_;
  io::Op<&Checkpointer::on_base_flushed> flush_{*this};
  SuperblockWaiterOf<&Checkpointer::on_announced> announced_waiter_{*this};
  SuperblockWaiterOf<&Checkpointer::on_recorded> recorded_waiter_{*this};
  io::TimerOf<&Checkpointer::on_retry> retry_{*this};
};

}  // namespace ringbolt
