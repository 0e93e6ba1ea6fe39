// Crashes and power losses at any moment of random workloads, through laps of a small WAL. After
// each one the log is a prefix of what was appended, contains all that was durable (after a mere
// crash: all that was written), and the blocks are exactly what that prefix says: nothing older,
// nothing lost in the middle, nothing that was cut off, nothing never written.
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "../seed_stride.h"
#include "store_bed.h"

using namespace ringbolt;
using namespace ringbolt::test;

namespace {

/// Writes, zeros, trims, flushes and reads at random, as the bed's random source has it.
class Workload {
 public:
  explicit Workload(StoreBed& bed) : bed_(bed) {}

  /// One thing, or none if the store takes nothing now.
  void act() {
    io::SimRandom& random = bed_.world.random();
    const uint64_t choice = random.below(100);
    if (choice < 45) {
      static_cast<void>(
          append(RecordKind::kWrite, random.chance(1, 6) ? 127 : 8, random.chance(1, 3)));
    } else if (choice < 55) {
      static_cast<void>(
          append(random.chance(1, 2) ? RecordKind::kZero : RecordKind::kTrim, 100, false));
    } else if (choice < 75) {
      bed_.store->seal();
    } else if (choice < 82) {
      bed_.store->request_flush(bed_.store->wal().head());
    } else if (reads_.size() < 8) {
      const uint64_t lba = random.below(bed_.model.volume_blocks());
      const uint64_t blocks =
          1 + random.below(std::min<uint64_t>(16, bed_.model.volume_blocks() - lba));
      reads_.push_back(&bed_.begin_read(lba, static_cast<uint32_t>(blocks)));
    }
    check_reads();
  }

 private:
  bool append(RecordKind kind, uint64_t blocks_max, bool own_frame) {
    io::SimRandom& random = bed_.world.random();
    const uint64_t lba = random.below(bed_.model.volume_blocks());
    const uint64_t blocks =
        1 + random.below(std::min(blocks_max, bed_.model.volume_blocks() - lba));
    return bed_.try_append(kind, lba, static_cast<uint32_t>(blocks), own_frame).has_value();
  }
  void check_reads() {
    std::erase_if(reads_, [this](StoreBed::Read* read) {
      if (!read->done) return false;
      REQUIRE(bed_.read_is_right(*read));
      return true;
    });
  }

  StoreBed& bed_;
  std::vector<StoreBed::Read*> reads_;
};

/// What must still be there after the end of a process.
struct Promise {
  Lsn written, durable;
};

Promise promise_of(const StoreBed& bed) {
  if (bed.store == nullptr || !bed.store->is_open()) return {};
  return {bed.store->wal().written(), bed.store->wal().durable()};
}

/// Opens again and compares with the model, which then ends where the log does.
void recover_and_check(StoreBed& bed, Lsn at_least) {
  const Status opened = bed.open();
  if (!opened.has_value()) FAIL(opened.error().message);
  const Lsn head = bed.store->wal().head();
  REQUIRE(head >= at_least);
  REQUIRE(head <= bed.model.head());
  REQUIRE(bed.store->wal().durable() == head);
  REQUIRE(bed.store->checkpoint() <= head);
  bed.model.truncate(head);
  const std::string difference = bed.difference();
  REQUIRE(difference == "");
}

void end_process(StoreBed& bed, uint64_t how) {
  if (how == 0) return bed.kill();
  bed.power_loss(static_cast<io::SimPowerLoss>(how - 1));
}

}  // namespace

TEST_CASE("recovery: crashes and power losses at random moments, through laps of the WAL",
          "[volume][recovery]") {
  uint64_t laps = 0, lost = 0, checkpoints = 0;
  for (uint64_t seed = 1; seed <= 12; seed += kSeedStride) {
    StoreBed bed({.seed = seed});
    io::SimRandom& random = bed.world.random();
    bed.serve();
    for (int life = 0; life < 25; ++life) {
      INFO("seed " << seed << ", life " << life);
      Workload workload(bed);
      const Lsn checkpoint_before = bed.store->checkpoint();
      for (uint64_t acts = random.below(life % 5 == 0 ? 1500 : 120); acts > 0; --acts) {
        workload.act();
        for (uint64_t steps = random.below(5); steps > 0; --steps) bed.world.step();
      }
      if (bed.store->checkpoint() > checkpoint_before) ++checkpoints;
      laps =
          std::max(laps, bed.store->wal().append_position() / bed.store->wal().capacity_blocks());
      const Promise promise = promise_of(bed);
      const uint64_t how = random.below(4);
      const Lsn appended = bed.model.head();
      end_process(bed, how);
      recover_and_check(bed, how == 0 ? promise.written : promise.durable);
      if (bed.model.head() < appended) ++lost;
      // A second end right after the recovery, perhaps in the middle of it, changes nothing any
      // more: what it found, it has flushed.
      const Lsn head = bed.model.head();
      end_process(bed, random.below(4));
      if (random.chance(1, 2)) {
        bed.begin_open();
        for (uint64_t steps = random.below(40); steps > 0; --steps) bed.world.step();
        end_process(bed, random.below(4));
      }
      recover_and_check(bed, head);
      REQUIRE(bed.model.head() == head);
      bed.begin_term();
    }
    REQUIRE(bed.failures.empty());
  }
  // Or the test did not test what it says.
  CHECK(laps >= 2);
  CHECK(lost > 5);
  CHECK(checkpoints > 5);
}

TEST_CASE("recovery: an end of power at each moment of a run with a checkpoint in it",
          "[volume][recovery]") {
  // The same run again and again, each time with the end a little later.
  const auto run = [](StoreBed& bed, uint64_t events_max) {
    bed.serve();
    Workload workload(bed);
    const uint64_t end = bed.world.events_run() + events_max;
    for (int acts = 0; acts < 220 && bed.world.events_run() < end; ++acts) {
      workload.act();
      for (int steps = 0; steps < 3 && bed.world.events_run() < end; ++steps) bed.world.step();
    }
    // Idle time, in which the rest is flushed and checkpointed.
    bed.store->seal();
    while (bed.world.events_run() < end && bed.store->checkpoint() < bed.store->wal().head())
      bed.world.step();
    return bed.world.events_run() < end;
  };
  StoreBed whole({.seed = 77, .volume_blocks = 256});
  REQUIRE(run(whole, 1u << 30));
  const uint64_t events = whole.world.events_run();
  uint64_t ends = 0;
  for (uint64_t at = 0; at < events; at += 7) {
    const uint64_t how = at / 7 % 4;
    StoreBed bed({.seed = 77, .volume_blocks = 256});
    INFO("end " << how << " after " << at << " events");
    if (run(bed, at)) break;
    const Promise promise = promise_of(bed);
    end_process(bed, how);
    recover_and_check(bed, how == 0 ? promise.written : promise.durable);
    ++ends;
  }
  CHECK(ends > 100);
}

TEST_CASE(
    "recovery: an end at each moment of making a store leads to making it again, or to a good one",
    "[volume][recovery]") {
  uint64_t made_again = 0, was_made = 0;
  for (uint64_t at = 0;; at += 2) {
    StoreBed bed({.seed = 5 + at % 7});
    INFO("end after " << at << " events");
    bed.begin_open();
    for (uint64_t i = 0; i < at && !bed.open_result; ++i) bed.world.step();
    const bool was_open = bed.open_result.has_value();
    end_process(bed, at % 4);
    const bool existed = bed.node.disk().exists(bed.path("wal"));
    bed.serve();
    ++(existed ? was_made : made_again);
    CHECK(bed.store->base_usable());
    CHECK_FALSE(bed.store->facts().base_seeded);
    for (uint64_t lba = 0; lba < 20; ++lba) bed.write(lba * 5);
    bed.flush();
    end_process(bed, (at + 1) % 4);
    recover_and_check(bed, bed.model.head());
    if (was_open) break;
  }
  CHECK(made_again > 0);
  CHECK(was_made > 20);
}
