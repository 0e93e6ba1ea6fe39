// Copies logged blocks into the base image, oldest records first, and gives WAL space back.
//
// A round has a target Lsn. Within it, batches: choose the blocks whose newest version is at most the
// target, wait for base reads in flight, write them in order of address with neighbours merged,
// remove their dirty-index entries if they are still the versions copied. At the end of a round the
// base image is flushed, then the superblock says so (checkpoint and WAL tail), and only when that
// is durable is the WAL space used again.
//
// Before a round's first write to the base image the superblock says how far the base image may now
// reach (base_limit): a crash in the middle of a round leaves blocks of records after the checkpoint
// there, and a log must not be cut below what its base image may hold.
//
// The target never passes the stable Lsn: what every counting copy has flushed. A base image so never
// holds a record that a crash or failover must undo, whatever the devices' caches lost.
#pragma once

#include <algorithm>
#include <array>

#include "io/io.h"
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

  /// All up to it is in the base image and flushed there.
  [[nodiscard]] Lsn checkpoint() const { return checkpoint_; }
  /// After recovery, or when the log begins anew. Requires: !running().
  void restore(Lsn checkpoint) {
    checkpoint_ = stable_ = checkpoint;
    unrecorded_ = 0;
  }
  /// After a cut: what comes after `fork` from now on is another history, of which nothing is stable.
  /// The index is filled again from the checkpoint on.
  void forget_stable_after(Lsn fork) {
    stable_ = std::min(stable_, fork);
    unrecorded_ = 0;
  }

  /// Raises the limit for copying and starts a round if there is a need.
  void set_stable(Lsn stable);
  [[nodiscard]] Lsn stable() const { return stable_; }
  /// WAL or index filled up somewhat: starts a round if there is a need.
  void poke() { start_round_if_needed(); }
  /// Likewise, at once also where a device was full and is to be tried again later.
  void retry() {
    p_.io.disarm(retry_);
    start_round_if_needed();
  }
  /// While eager, everything up to the stable Lsn is copied without waiting for a need.
  void set_eager(bool eager);
  [[nodiscard]] bool running() const { return step_ != Step::kIdle; }
  /// No device is working on a checkpoint.
  [[nodiscard]] bool quiet() const { return reads_pending_ == 0 && copies_pending_ == 0 && !flush_.pending(); }
  /// While paused no round starts, and a running one stops at the next batch.
  void set_paused(bool paused);
  /// Entries taken out of the index since the recorded checkpoint. A recovery would enter these
  /// blocks again, so the index must keep room for them.
  [[nodiscard]] uint64_t unrecorded() const { return unrecorded_; }

 private:
  enum class Step : uint8_t { kIdle, kAnnouncing, kMemory, kLoading, kDraining, kCopying, kFlushing, kRecording, kReleasing };

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
    uint32_t index = 0;
    io::Op<&CopyWrite::on_written> write{*this};
  };
  struct MemoryWaiter : CheckpointMemory::Waiter {
    Checkpointer* owner = nullptr;
  };

  [[nodiscard]] bool is_needed() const;
  [[nodiscard]] uint64_t retained_blocks() const;
  [[nodiscard]] FramePlace next_tail(Lsn checkpoint) const;
  void start_round_if_needed();
  void on_announced();
  void begin_batch();
  void start_batch(CheckpointSet* set);
  void load();
  void load_span(SpanRead& span);
  [[nodiscard]] bool is_in_round(uint32_t lsn) const;
  bool take_records(const FrameHeader& header, const std::byte* payload, Lsn from, Lsn to, bool verify);
  void span_read(SpanRead& span, int32_t result);
  void spans_loaded();
  void copy_more();
  void copy_run(CopyWrite& copy);
  void copy_written(CopyWrite& copy, int32_t result);
  void batch_copied();
  void release_batch();
  void stop_round();
  void on_base_flushed(int32_t result);
  void on_recorded();
  void on_readers_gone();
  void on_retry();
  void fail(int error, const char* what);

  Parts p_;
  CheckpointListener& listener_;
  Step step_ = Step::kIdle;
  bool failed_ = false;
  bool eager_ = false;
  bool paused_ = false;
  bool base_full_ = false;
  int batch_error_ = 0;
  const char* batch_error_what_ = "";
  Lsn stable_;
  Lsn checkpoint_;
  Lsn target_;  // of the round
  Lsn loaded_;  // records up to here are in this or an earlier batch of the round
  uint64_t unrecorded_ = 0;
  CheckpointSet* set_ = nullptr;
  size_t next_item_ = 0;
  uint32_t reads_pending_ = 0;
  uint32_t copies_pending_ = 0;
  std::array<Frame*, 256> pinned_{};
  size_t pinned_size_ = 0;
  FramePlace new_tail_{};
  MemoryWaiter memory_waiter_;
  std::array<SpanRead, CheckpointSet::kSpans> spans_;
  std::array<CopyWrite, CheckpointSet::kCopies> copies_;
  io::Op<&Checkpointer::on_base_flushed> flush_{*this};
  SuperblockWaiterOf<&Checkpointer::on_announced> announced_{*this};
  SuperblockWaiterOf<&Checkpointer::on_recorded> recorded_{*this};
  io::TimerOf<&Checkpointer::on_retry> retry_{*this};
};

}  // namespace ringbolt
