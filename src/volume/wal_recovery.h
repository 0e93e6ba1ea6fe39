// Reads a WAL area from its tail to its end after a start, or again up to a fork to cut what lies
// beyond. Restores a Wal's positions and reports each live record, oldest first.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "core/term_history.h"
#include "ringbolt/result.h"
#include "volume/wal.h"

namespace ringbolt {

class WalRecovery {
 public:
  struct Start {
    Lsn tail_first;
    uint64_t tail_block = 0;
    uint32_t tail_previous_checksum = 0;
    /// Which term's records are history: records of any other term at an Lsn are dead.
    const core::TermHistory* history = nullptr;
    /// Known to have been flushed on this copy: if the log ends before, it is damaged.
    Lsn durable;
    /// Appended frames carry it. A frame found with another key is none of this log's: one of a log that
    /// was given up when this one began, or something that a client wrote. `cuts` counts this time, too, if
    /// the log is being cut: of the frames found, only one that carries it proves what was flushed.
    LogMark mark;
    /// Cutting: records after this one are dead too. The check for damage is left out.
    std::optional<Lsn> limit;
  };

  class Listener {
   public:
    virtual ~Listener() = default;
    /// A live record. `wal_block`: device block of its first payload block. `crcs`: one per payload
    /// block. Return false if it cannot be taken (the log is then treated as corrupt).
    virtual bool on_record(Lsn lsn, const WalRecord& record, uint32_t wal_block, const FrameHeader& header,
                           uint32_t first_crc) = 0;
    /// The end: the Wal is restored. Errors: kCorrupt, kIo; the message says what and where.
    virtual void on_recovered(Status status) = 0;
  };

  WalRecovery(io::Io& io, Wal& wal, const Start& start, Listener& listener);
  ~WalRecovery();
  WalRecovery(const WalRecovery&) = delete;
  WalRecovery& operator=(const WalRecovery&) = delete;

  /// Begins; ends with one on_recovered(), never from inside this call.
  void run();

 private:
  enum class Phase : uint8_t { kFrames, kProof, kDone };
  static constexpr uint64_t kWindowBlocks = 256;  // 1 MiB: holds any frame
  static constexpr uint32_t kReads = 2;

  void step();
  bool step_frame();
  bool step_proof();
  /// True if device blocks [block, block + count) are in the window; else starts reading them.
  bool have(uint64_t block, uint64_t count);
  void on_read(int32_t result);
  bool is_of_another_volume(const FrameHeader& header);
  void end_of_log(std::string why);
  void finish(Status status);
  [[nodiscard]] Lsn live_end(const FrameHeader& header) const;
  [[nodiscard]] std::byte* at(uint64_t block) { return window_ + (block - window_first_) * kBlockBytes; }

  io::Io& io_;
  Wal& wal_;
  Start start_;
  Listener& listener_;
  Phase phase_ = Phase::kFrames;
  std::byte* window_ = nullptr;
  uint64_t window_first_ = 0;
  uint64_t window_blocks_ = 0;
  uint32_t reads_pending_ = 0;
  int32_t read_error_ = 0;
  uint64_t scanned_ = 0;        // blocks of the area gone over
  uint32_t previous_checksum_;  // what the next frame must be chained to
  Lsn end_;                     // last live record found
  std::string end_reason_;
  io::Op<&WalRecovery::on_read> read0_{*this};
  io::Op<&WalRecovery::on_read> read1_{*this};
};

}  // namespace ringbolt
