// The primary's side of a comparison of copies: reads ranges through its own read path, asks the replica for the checksums
// of the same ranges, compares. Under load, and without false alarms:
//
// A range is read here when the log ends in Lsn x, or a little later. The replica reads it when it has everything up to x. If no
// record after x, up to the moment of the comparison, is of a block, then both have read the same version of it. Whether there is
// one the dirty index knows, as long as no checkpoint has gone beyond x. Blocks that were written meanwhile are compared again;
// one that is written all the time has its newest version in both logs, with a checksum that both have checked. A difference
// counts when it was seen twice.
#pragma once

#include <array>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "io/buffer_pool.h"
#include "io/io.h"
#include "repl/wire.h"
#include "volume/store.h"

namespace ringbolt::repl {

struct BlockRange {
  Lba first;
  uint64_t blocks = 0;
};

struct VerifyResult {
  uint64_t blocks_total = 0;
  uint64_t blocks_compared = 0;  ///< equal or not
  uint64_t blocks_in_log = 0;    ///< written too often to be compared: their newest versions are in both logs
  uint64_t blocks_differing = 0;
  std::vector<BlockRange> differing;  ///< in order, neighbours merged; the first kRangesMax
  std::string problem;                ///< why it ended early; empty: it did not
  static constexpr size_t kRangesMax = 1024;
};

class Verifier {
 public:
  using Ask = std::function<void(const Verify&)>;
  using Done = std::function<void()>;
  /// Gives ranges of 1 .. kVerifyBlocksMax blocks, then nothing.
  using Ranges = std::function<std::optional<BlockRange>()>;

  /// `ask` sends a question to the replica; `done` is called once, possibly from inside start(), when nothing is in flight.
  Verifier(io::BufferPool& pool, Store& store, uint64_t first_id, uint64_t blocks_total, Ranges ranges, Ask ask, Done done);
  ~Verifier();
  Verifier(const Verifier&) = delete;
  Verifier& operator=(const Verifier&) = delete;

  void start() { pump(); }
  /// False: the answer to none of its questions. Errors: an answer that cannot be.
  Result<bool> on_answer(const VerifyAck& ack);
  /// No further answer comes. `done` follows, possibly from inside.
  void stop(const std::string& problem);
  [[nodiscard]] const VerifyResult& result() const { return result_; }

  /// The whole volume, in order.
  static Ranges whole(uint64_t volume_blocks);
  /// `count` ranges somewhere in the volume, the same for the same seed; all of it if there are no more.
  static Ranges samples(uint64_t volume_blocks, uint64_t count, uint64_t seed);
  /// How many blocks these are.
  static uint64_t sampled_blocks(uint64_t volume_blocks, uint64_t count);

 private:
  struct Task {
    Lba first;
    uint32_t blocks = 0;
    uint32_t attempts = 0;
    bool confirming = false;  // a difference that was seen once
  };
  struct Slot {
    Verifier* owner = nullptr;
    bool busy = false;
    bool reading = false;
    Task task;
    uint64_t id = 0;
    Lsn after;
    ReadJob job;
    io::Buffer buffer;
    std::vector<uint64_t> sums;
  };

  void pump();
  bool begin(Slot& slot);
  void read_done(Slot& slot, int error);
  void compare(const Slot& slot, const VerifyAck& ack);
  [[nodiscard]] bool is_written_after(Lba lba, Lsn lsn) const;
  void again(Lba lba, bool confirming, uint32_t attempts);
  void differs(Lba lba);
  void finish_if_done();

  static constexpr size_t kSlots = 4;
  static constexpr uint32_t kAttemptsMax = 16;

  io::BufferPool& pool_;
  Store& store_;
  uint64_t next_id_;
  Ranges ranges_;
  Ask ask_;
  Done done_;
  VerifyResult result_;
  bool exhausted_ = false;
  bool stopped_ = false;
  bool pumping_ = false;
  std::deque<Task> again_;
  std::array<Slot, kSlots> slots_;
  struct MemoryWaiter : io::PoolWaiter {
    explicit MemoryWaiter(Verifier& owner)
        : PoolWaiter([](PoolWaiter& waiter) { static_cast<MemoryWaiter&>(waiter).verifier->pump(); }), verifier(&owner) {}
    Verifier* verifier;
  } memory_{*this};
};

}  // namespace ringbolt::repl
