// Base writes of a rebuild: what they leave out, what waits for them, and what becomes of errors.
#include <catch2/catch.hpp>
#include <cerrno>
#include <string>
#include <vector>

#include "rebuild_bed.h"

using namespace ringbolt;
using namespace ringbolt::test;

namespace {

io::SimOpMatch on(io::SimOpKind kind, uint64_t lba, uint64_t blocks) {
  return {
      .kind = kind, .path = "base", .from = lba * kBlockBytes, .to = (lba + blocks) * kBlockBytes};
}

}  // namespace

TEST_CASE("base write: blocks to which a record has been applied are left out",
          "[volume][rebuild]") {
  // Random records of all kinds, random chunks, data and zeros: against the list of what was
  // marked.
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    INFO("seed " << seed);
    RebuildBed bed({.seed = seed, .volume_blocks = 256});
    REQUIRE(bed.open().has_value());
    bed.begin(Lsn(20));
    bed.stable_follows = false;  // what is in the base image is from the base lane alone
    io::SimRandom& random = bed.world.random();
    std::vector<bool> marked(256);
    const BlockModel before = bed.model;
    for (uint64_t i = 0; i < 12; ++i) {
      const auto kind = static_cast<RecordKind>(1 + random.below(3));
      const auto blocks = static_cast<uint32_t>(1 + random.below(9));
      const uint64_t lba = random.below(256 - blocks);
      bed.put(kind, lba, blocks);
      for (uint64_t b = lba; b < lba + blocks; ++b) marked[b] = true;
    }
    bed.settle_written();
    // The chunks were read before the records came.
    const BlockModel after = std::exchange(bed.model, before);
    std::vector<RebuildBed::Base*> chunks;
    for (uint64_t lba = 0; lba < 256;) {
      const auto blocks = static_cast<uint32_t>(std::min(256 - lba, 1 + random.below(100)));
      chunks.push_back(
          &(random.chance(1, 2) ? bed.begin_base(lba, blocks) : bed.begin_zeros(lba, blocks)));
      lba += blocks;
    }
    bed.settle_base();
    for (const RebuildBed::Base* chunk : chunks) {
      CHECK(*chunk->error == 0);
      const uint64_t first = chunk->job.first.value();
      uint64_t skipped = 0;
      for (uint64_t b = first; b < first + chunk->job.blocks; ++b) {
        skipped += marked[b] ? 1 : 0;
        const bool zeros = marked[b] || chunk->job.data == nullptr;
        REQUIRE(bed.base_block_is(b, zeros ? 0 : before.stamp(b)));
      }
      CHECK(chunk->job.blocks_skipped == skipped);
      CHECK(chunk->job.blocks_written == chunk->job.blocks - skipped);
    }
    bed.model = after;
  }
}

TEST_CASE("base write: a checkpoint of a block waits for an older base write to it in flight",
          "[volume][rebuild]") {
  // The base write is held up in the device, a newer record of the block is applied and becomes
  // stable. Were both in flight at once, the older one might land last.
  const RecordKind kind = GENERATE(RecordKind::kWrite, RecordKind::kZero, RecordKind::kTrim);
  const bool old_zeros = GENERATE(false, true);
  RebuildBed bed;
  REQUIRE(bed.open().has_value());
  bed.begin(Lsn(20));
  bed.put(RecordKind::kWrite, 5, 1);  // so that the old version is not zeros, and the zeros are old
  bed.flush();
  bed.start();
  REQUIRE(bed.run([&] { return bed.begun.has_value(); }));
  REQUIRE(bed.begun->has_value());
  bed.set_term();
  const io::SimOpKind old_kind = old_zeros ? io::SimOpKind::kZero : io::SimOpKind::kWrite;
  const uint64_t hold = bed.node.disk().hold(on(old_kind, 4, 3));
  RebuildBed::Base& base = old_zeros ? bed.begin_zeros(4, 3) : bed.begin_base(4, 3);
  REQUIRE(bed.node.disk().held(hold) == 1);
  const Lsn lsn = bed.put(kind, 5, 1);
  const uint64_t newer = bed.model.stamp(5);
  bed.put(RecordKind::kWrite, 40, 1);
  bed.flush();
  bed.world.run_for(30 * io::kSecond);
  CHECK(bed.store->checkpoint() < lsn);
  CHECK_FALSE(base.error.has_value());
  CHECK(bed.base_block_is(5, 0));
  CHECK(bed.base_block_is(40, 0));  // nothing of the checkpoint has begun
  bed.node.disk().release(hold);
  REQUIRE(bed.run([&] { return bed.store->checkpoint() == bed.model.head(); }));
  CHECK(*base.error == 0);
  CHECK(base.job.blocks_written == 3);
  CHECK(bed.base_block_is(5, newer));
  CHECK(bed.base_block_is(40, bed.model.stamp(40)));
}

TEST_CASE("base write: whatever the timing, the newer record wins in the base image",
          "[volume][rebuild]") {
  // All orders that the simulated device comes up with: base writes of the whole volume, records
  // before, between and after them, checkpoints as soon as anything is stable.
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    INFO("seed " << seed);
    RebuildBed bed({.seed = seed, .volume_blocks = 64});
    REQUIRE(bed.open().has_value());
    bed.begin(Lsn(30));
    io::SimRandom& random = bed.world.random();
    for (uint64_t lba = 0; lba < 64; lba += 4) {
      bed.begin_chunk(lba, 4);
      for (uint64_t i = random.below(4); i > 0; --i) {
        const auto blocks = static_cast<uint32_t>(1 + random.below(4));
        // Where base writes are under way.
        const uint64_t at = std::min<uint64_t>(60, lba - std::min<uint64_t>(lba, random.below(12)));
        bed.put(static_cast<RecordKind>(1 + random.below(3)), at, blocks);
        if (random.chance(1, 2)) bed.store->seal();
      }
      if (random.chance(1, 3)) bed.flush();
      bed.store->set_stable(bed.store->wal().durable());
      for (uint64_t i = random.below(30); i > 0; --i) bed.world.step();
    }
    bed.settle_base();
    bed.checkpoint_all();
    CHECK(bed.base_difference(bed.model.head()) == "");
    REQUIRE(bed.finish(bed.model.head()).has_value());
    CHECK(bed.difference() == "");
  }
}

TEST_CASE("base write: the bitmap is looked at when it goes to the device, not when it was given",
          "[volume][rebuild]") {
  const RecordKind kind = GENERATE(RecordKind::kWrite, RecordKind::kZero, RecordKind::kTrim);
  RebuildBed bed({.volume_blocks = 256});
  REQUIRE(bed.open().has_value());
  bed.begin(Lsn(40));
  const uint64_t hold = bed.node.disk().hold(
      {.kind = std::nullopt, .path = "base", .from = 0, .to = 128 * kBlockBytes});
  for (uint64_t i = 0; i < BaseWriter::kOpsMax; ++i) bed.begin_base(i * 2, 1);
  CHECK(bed.node.disk().held(hold) == BaseWriter::kOpsMax);
  // No op is free for this one. Meanwhile newer records of some of its blocks are applied.
  const BlockModel before = bed.model;
  RebuildBed::Base& late = bed.begin_base(200, 8);
  bed.put(kind, 202, 3);
  bed.settle_written();
  bed.node.disk().release(hold);
  REQUIRE(bed.run([&] { return late.error.has_value(); }));
  CHECK(*late.error == 0);
  CHECK(late.job.blocks_skipped == 3);
  CHECK(late.job.blocks_written == 5);
  bed.checkpoint_all();
  for (uint64_t b = 200; b < 208; ++b) CHECK(bed.base_block_is(b, bed.model.stamp(b)));
  CHECK(bed.model.stamp(205) == before.stamp(205));
}

TEST_CASE("base write: a chunk in pieces, each of which is a run of clear blocks",
          "[volume][rebuild]") {
  RebuildBed bed({.volume_blocks = 512});
  REQUIRE(bed.open().has_value());
  bed.begin(Lsn(40));
  for (uint64_t lba = 0; lba < 120; lba += 3) bed.put(RecordKind::kZero, lba, 1);
  bed.settle_written();
  const uint64_t hold = bed.node.disk().hold({.kind = std::nullopt, .path = "base"});
  RebuildBed::Base& chunk = bed.begin_base(0, 120);
  RebuildBed::Base& other = bed.begin_zeros(128, 384);
  bed.world.run_for(io::kSecond);
  // 40 runs of two blocks, of which some wait; and the job behind them with them.
  CHECK(bed.node.disk().held(hold) == BaseWriter::kOpsMax);
  bed.node.disk().release(hold);
  bed.settle_base();
  CHECK(*chunk.error == 0);
  CHECK(chunk.job.blocks_skipped == 40);
  CHECK(chunk.job.blocks_written == 80);
  CHECK(*other.error == 0);
  CHECK(other.job.blocks_written == 384);
}

TEST_CASE("base write: zeros of any length take no data and few device writes",
          "[volume][rebuild]") {
  constexpr uint64_t kBlocks = 5 * BaseWriter::kZeroBlocksMax + 7;
  RebuildBed bed({.volume_blocks = kBlocks});
  REQUIRE(bed.open().has_value());
  bed.begin(Lsn(3));
  bed.put(RecordKind::kWrite, 70, 1);
  bed.settle_written();
  const uint64_t hold = bed.node.disk().hold({.kind = io::SimOpKind::kZero, .path = "base"});
  RebuildBed::Base& chunk = bed.begin_zeros(0, kBlocks);
  CHECK(bed.node.disk().held(hold) == 6);  // of 64 MiB at most; the record's block splits one
  bed.node.disk().release(hold);
  bed.settle_base();
  CHECK(*chunk.error == 0);
  CHECK(chunk.job.blocks_skipped == 1);
  CHECK(chunk.job.blocks_written == kBlocks - 1);
}

TEST_CASE("base write: an error is told, nothing is tried again, and other jobs go on",
          "[volume][rebuild]") {
  const int error = GENERATE(ENOSPC, EIO);
  RebuildBed bed({.volume_blocks = 256});
  REQUIRE(bed.open().has_value());
  bed.begin(Lsn(40));
  // Every other block is set, so that the job has more runs than may be in flight.
  for (uint64_t lba = 1; lba < 100; lba += 2) bed.put(RecordKind::kZero, lba, 1);
  bed.settle_written();
  bed.node.disk().add_fault({.match = on(io::SimOpKind::kWrite, 10, 1), .error = error});
  RebuildBed::Base& bad = bed.begin_base(0, 100);
  RebuildBed::Base& good = bed.begin_base(100, 100);
  bed.settle_base();
  CHECK(*bad.error == error);
  CHECK(bad.job.blocks_written < 50);
  CHECK(bad.job.blocks_written + bad.job.blocks_skipped < 100);
  CHECK(*good.error == 0);
  CHECK(good.job.blocks_written == 100);
  // That is the session's business: the store goes on, and takes the chunk again.
  CHECK_FALSE(bed.store->failed());
  RebuildBed::Base& again = bed.begin_base(0, 100);
  bed.settle_base();
  CHECK(*again.error == 0);
  CHECK(again.job.blocks_written == 50);
}

TEST_CASE("base write: one that is given from inside the end of another one is taken",
          "[volume][rebuild]") {
  // As many as there may be of a volume that is all set: none needs the device, and none may nest.
  RebuildBed bed;
  REQUIRE(bed.open().has_value());
  bed.begin(Lsn(3));
  bed.bitmap->mark_applied(Lba(0), 64);
  struct Chain {
    Store* store;
    BaseWrite job;
    uint64_t ended = 0;
  } chain{bed.store.get(), {}};
  chain.job.first = Lba(0);
  chain.job.blocks = 64;
  chain.job.bitmap = bed.bitmap.get();
  chain.job.owner = &chain;
  chain.job.done = [](BaseWrite& job, int error) {
    auto& self = *static_cast<Chain*>(job.owner);
    REQUIRE(error == 0);
    REQUIRE(job.blocks_skipped == 64);
    if (++self.ended < 500'000) self.store->write_base(job);
  };
  bed.store->write_base(chain.job);
  CHECK(chain.ended == 500'000);
}

TEST_CASE("base write: a new rebuild and a close wait for those in flight and refuse the rest",
          "[volume][rebuild]") {
  const bool close = GENERATE(false, true);
  RebuildBed bed({.volume_blocks = 256});
  REQUIRE(bed.open().has_value());
  bed.begin(Lsn(40));
  const uint64_t hold = bed.node.disk().hold({.kind = std::nullopt, .path = "base"});
  std::vector<RebuildBed::Base*> flying;
  for (uint64_t i = 0; i < BaseWriter::kOpsMax; ++i) flying.push_back(&bed.begin_base(i * 2, 1));
  RebuildBed::Base& waiting = bed.begin_base(200, 8);
  const uint64_t cuts = bed.store->facts().cuts;
  std::optional<Status> closed;
  if (close) {
    bed.store->close([&](Status status) { closed = std::move(status); });
  } else {
    bed.start();
  }
  RebuildBed::Base& late = bed.begin_base(220, 1);
  CHECK(late.error == ECANCELED);
  bed.world.run_for(10 * io::kSecond);
  CHECK_FALSE(closed.has_value());
  if (!close) CHECK_FALSE(bed.begun.has_value());
  CHECK(bed.store->facts().cuts == cuts);  // nor has the new one begun
  bed.node.disk().release(hold);
  REQUIRE(bed.run([&] { return close ? closed.has_value() : bed.begun.has_value(); }));
  for (const RebuildBed::Base* one : flying) CHECK(*one->error == 0);
  CHECK(*waiting.error == ECANCELED);
  CHECK(waiting.job.blocks_written == 0);
  CHECK(bed.base_block_is(200, 0));
  if (close) {
    CHECK(closed->has_value());
    CHECK(bed.io->pending_operations() == 0);
  } else {
    REQUIRE(bed.begun->has_value());
    bed.set_term();
    REQUIRE(bed.complete().has_value());
    CHECK(bed.difference() == "");
  }
}

TEST_CASE("base write: a failed store refuses it", "[volume][rebuild]") {
  RebuildBed bed;
  REQUIRE(bed.open().has_value());
  bed.begin(Lsn(10));
  bed.node.disk().add_fault({.match = {.kind = io::SimOpKind::kWrite, .path = "wal"}});
  bed.put(RecordKind::kWrite, 5, 1);
  bed.store->seal();
  REQUIRE(bed.run([&] { return bed.store->failed(); }));
  CHECK(bed.begin_base(7, 1).error == EIO);
  CHECK_FALSE(bed.close().has_value());
}
