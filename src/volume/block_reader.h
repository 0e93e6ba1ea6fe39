// Reads blocks of a copy at their newest version: from frames in memory, the WAL on the device
// (through the dirty index, checked against the block's CRC) or the base image.
#pragma once

#include <memory>
#include <vector>

#include "io/io.h"
#include "ringbolt/duration_histogram.h"
#include "volume/dirty_index.h"
#include "volume/reader_gate.h"
#include "volume/wal.h"

namespace ringbolt {

/// One read of consecutive blocks. Intrusive: the caller owns it and keeps it until `done`.
struct ReadJob {
  Lba first;
  uint32_t blocks = 0;       ///< 1 .. kFramePayloadBlocksMax
  std::byte* data = nullptr;  ///< blocks * kBlockBytes, aligned to kBlockBytes, from the pool
  /// Called once, possibly from inside read(). `error`: 0, or an errno (EIO: the device failed, or a
  /// block does not match its checksum).
  void (*done)(ReadJob& job, int error) = nullptr;
  void* owner = nullptr;
  /// The newest logged record among what was read; Lsn 0 if all came from the base image. Whoever
  /// answers a client must wait until this is committed.
  Lsn newest;

  // Private to BlockReader.
  uint32_t next_block = 0;
  uint32_t pending = 0;
  int error = 0;
  uint32_t ticket = 0;
  bool issuing = false;
  ReadJob* next = nullptr;
};

class BlockReader {
 public:
  BlockReader(io::Io& io, Wal& wal, const DirtyIndex& index, ReaderGate& gate, io::File base, const std::string& name);
  ~BlockReader();
  BlockReader(const BlockReader&) = delete;
  BlockReader& operator=(const BlockReader&) = delete;

  void read(ReadJob& job);

  /// How long the device took, for whoever watches.
  [[nodiscard]] const DurationHistogram& wal_times() const { return wal_times_; }
  [[nodiscard]] const DurationHistogram& base_times() const { return base_times_; }

 private:
  static constexpr uint32_t kOpsMax = 128;
  static constexpr uint32_t kRunBlocksMax = 32;  // of a WAL read: bounds the CRCs an op remembers

  struct ReadOp {
    explicit ReadOp(BlockReader& owner) : reader(&owner), completion(*this) {}
    void on_done(int32_t result);
    BlockReader* reader;
    ReadJob* job = nullptr;
    uint32_t first_block = 0;
    uint32_t blocks = 0;
    bool from_wal = false;
    io::Nanos begun_at = 0;
    uint32_t crcs[kRunBlocksMax] = {};
    io::Op<&ReadOp::on_done> completion;
  };

  void advance(ReadJob& job);
  bool issue_next(ReadJob& job);
  void op_done(ReadOp& op, int32_t result);
  void finish_if_done(ReadJob& job);
  void note_version(ReadJob& job, uint32_t lsn_short) const;

  io::Io& io_;
  Wal& wal_;
  const DirtyIndex& index_;
  ReaderGate& gate_;
  io::File base_;
  const std::string& name_;
  std::vector<std::unique_ptr<ReadOp>> ops_;
  std::vector<ReadOp*> free_ops_;
  ReadJob* waiting_first_ = nullptr;
  ReadJob* waiting_last_ = nullptr;
  DurationHistogram wal_times_, base_times_;
};

}  // namespace ringbolt
