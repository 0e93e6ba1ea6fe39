// Writes what a rebuild's base lane brings into the base image, where no newer record has been applied.
//
// The race that this prevents, inside one copy. The base lane brings block b as it was at some moment; the
// WAL lane brings record n, which is newer. A checkpoint copies n into the base image, and both writes may
// be in flight at once: a device may finish them in either order, and the older one would stay for good.
// Two rules together rule it out:
//
//   - each base write holds a ticket of the ReaderGate while it is in flight. A checkpoint chooses its blocks,
//     then drains the gate: so it waits for the base writes that began before;
//   - the bitmap is looked at when a base write goes to the device, in one step with taking the ticket, not
//     when its job was given. What a checkpoint chooses has been stable, so written before, and a record's
//     bits are set when it is written: so a base write that begins after the drain finds them set, and leaves
//     these blocks out.
//
// Hence bits must be set no later than in the turn in which wal().written() passes the record
// (on_store_written), and before it is called stable. A base write that lands while the record is only in the
// WAL does no harm: reads find the record through the dirty index, and its checkpoint is still to come.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "io/io.h"
#include "volume/reader_gate.h"
#include "volume/rebuild_bitmap.h"

namespace ringbolt {

/// A range of base blocks to be written. Intrusive: the caller owns it, and keeps it, its data and its
/// bitmap until `done`. Ranges of jobs that are under way at the same time must not overlap.
struct BaseWrite {
  static constexpr uint32_t kBlocksMax = 1u << 24;

  Lba first;
  uint32_t blocks = 0;                    ///< 1 .. kBlocksMax
  const std::byte* data = nullptr;        ///< blocks * kBlockBytes, aligned to kBlockBytes; null: zeros
  const RebuildBitmap* bitmap = nullptr;  ///< of the session
  /// Called once, possibly from inside Store::write_base(), when nothing of it is in flight any more.
  /// `error`: 0; an errno of the device (ENOSPC, ...), and then some clear blocks were not written: nothing is
  /// tried again; ECANCELED: the store stopped, or begins another rebuild.
  void (*done)(BaseWrite& job, int error) = nullptr;
  void* owner = nullptr;

  // The outcome. Without an error they add up to `blocks`.
  uint64_t blocks_written = 0;
  uint64_t blocks_skipped = 0;  ///< a newer record had been applied

  // Private to BaseWriter.
  uint32_t next_block = 0;
  uint32_t pending = 0;
  int error = 0;
  bool issued = false;
  BaseWrite* next = nullptr;
};

/// One thread: the volume's shard.
class BaseWriter {
 public:
  /// Device writes in flight, of all jobs together; further ones wait.
  static constexpr uint32_t kOpsMax = 32;
  static constexpr uint32_t kWriteBlocksMax = kFrameBytesMax / kBlockBytes;
  /// So that a checkpoint never waits long: 64 MiB.
  static constexpr uint32_t kZeroBlocksMax = 1u << 14;

  /// `on_quiet`: after stop(), the last job has ended.
  BaseWriter(io::Io& io, ReaderGate& gate, io::File base, void (*on_quiet)(void* owner), void* owner);
  ~BaseWriter();
  BaseWriter(const BaseWriter&) = delete;
  BaseWriter& operator=(const BaseWriter&) = delete;

  void write(BaseWrite& job);
  /// Nothing more goes to the device: jobs end with ECANCELED once what they have in flight is done, new ones
  /// at once.
  void stop() { stopped_ = true; }
  /// Requires: quiet().
  void resume();
  /// No job is under way.
  [[nodiscard]] bool quiet() const { return jobs_ == 0; }

 private:
  struct WriteOp {
    void on_done(int32_t result) { writer->op_done(*this, result); }
    BaseWriter* writer = nullptr;
    BaseWrite* job = nullptr;
    uint32_t blocks = 0;
    uint32_t ticket = 0;
    io::Op<&WriteOp::on_done> completion{*this};
  };

  void issue_more();
  bool issue(BaseWrite& job);
  void op_done(WriteOp& op, int32_t result);
  void finish(BaseWrite& job);

  io::Io& io_;
  ReaderGate& gate_;
  io::File base_;
  void (*on_quiet_)(void* owner);
  void* owner_;
  std::array<WriteOp, kOpsMax> ops_;
  std::array<WriteOp*, kOpsMax> free_ops_{};
  uint32_t free_size_ = 0;
  uint64_t jobs_ = 0;
  /// Jobs of which something is still to be issued, oldest first. While there is one, outside of
  /// issue_more(), no op is free.
  BaseWrite* first_ = nullptr;
  BaseWrite* last_ = nullptr;
  bool issuing_ = false;
  bool stopped_ = false;
};

}  // namespace ringbolt
