// The smallest and the largest volume, and devices that give out.
#include <catch2/catch.hpp>
#include <cerrno>
#include <string>
#include <vector>

#include "store_bed.h"

using namespace ringbolt;
using namespace ringbolt::test;

namespace {

/// A write of one block, outside the bed's model.
Lsn write_block(StoreBed& bed, uint64_t lba, uint64_t stamp) {
  REQUIRE(bed.store->prepare(RecordKind::kWrite, 1) == Wal::Admission::kOk);
  fill_block(bed.store->payload_space(), stamp);
  return bed.store->append(RecordKind::kWrite, Lba(lba), 1);
}

/// The block as it is read; the stamp it must have.
bool block_has(StoreBed& bed, uint64_t lba, uint64_t stamp) {
  const io::Buffer buffer = bed.pool->allocate(kBlockBytes);
  REQUIRE(buffer);
  struct Done {
    bool done = false;
    int error = 0;
  } done;
  ReadJob job;
  job.first = Lba(lba);
  job.blocks = 1;
  job.data = buffer.data;
  job.owner = &done;
  job.done = [](ReadJob& finished, int error) {
    *static_cast<Done*>(finished.owner) = {.done = true, .error = error};
  };
  bed.store->read(job);
  REQUIRE(bed.run([&] { return done.done; }));
  const bool right = done.error == 0 && block_is(buffer.data, stamp);
  bed.pool->release(buffer);
  return right;
}

}  // namespace

TEST_CASE("limits: a volume of one block is a volume", "[volume][limits]") {
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    StoreBed bed({.seed = seed, .volume_blocks = 1});
    bed.serve();
    io::SimRandom& random = bed.world.random();
    for (int life = 0; life < 6; ++life) {
      for (uint64_t i = random.below(200); i > 0; --i) {
        const uint64_t kind = random.below(8);
        if (kind < 5) bed.write(0);
        if (kind == 5) bed.append(RecordKind::kTrim, 0, 1);
        if (kind == 6) bed.append(RecordKind::kZero, 0, 1);
        if (kind == 7) bed.flush();
        if (random.chance(1, 4)) bed.store->seal();
      }
      CHECK(bed.difference() == "");
      if (life % 3 == 0) {
        REQUIRE(bed.close().has_value());
        CHECK(bed.base_difference(bed.model.head()) == "");
        REQUIRE(bed.open().has_value());
        CHECK(bed.store->wal().head() == bed.model.head());
      } else {
        const Lsn durable = bed.store->wal().durable();
        bed.power_loss(io::SimPowerLoss::kRandom);
        REQUIRE(bed.open().has_value());
        REQUIRE(bed.store->wal().head() >= durable);
        bed.model.truncate(bed.store->wal().head());
      }
      CHECK(bed.difference() == "");
      bed.begin_term();
    }
    // Many laps over the one block.
    for (int i = 0; i < 60; ++i) {
      for (int j = 0; j < 100; ++j) bed.write(0);
      bed.store->seal();
    }
    bed.checkpoint_all();
    CHECK(bed.store->wal().append_position() > 2 * bed.store->wal().capacity_blocks());
    CHECK(bed.base_difference(bed.model.head()) == "");
  }
}

TEST_CASE("limits: the largest volume, up to its last block", "[volume][limits]") {
  constexpr uint64_t kBlocks = kVolumeBytesMax / kBlockBytes;
  StoreBed bed;
  bed.config.volume_bytes = kVolumeBytesMax;
  bed.serve();
  bed.stable_follows = false;
  const uint64_t lbas[] = {0, 1, kBlocks / 2, kBlocks - 2, kBlocks - 1};
  uint64_t stamp = 100;
  for (const uint64_t lba : lbas) write_block(bed, lba, stamp++);
  // Zeros up to the very end, then something on the last but one.
  REQUIRE(bed.store->prepare(RecordKind::kTrim, kZeroRecordBlocksMax) == Wal::Admission::kOk);
  bed.store->append(RecordKind::kTrim, Lba(kBlocks - kZeroRecordBlocksMax), kZeroRecordBlocksMax);
  write_block(bed, kBlocks - 2, 200);
  bed.flush();
  const auto check = [&] {
    CHECK(block_has(bed, 0, 100));
    CHECK(block_has(bed, 1, 101));
    CHECK(block_has(bed, 2, 0));
    CHECK(block_has(bed, kBlocks / 2, 102));
    CHECK(block_has(bed, kBlocks - 3, 0));
    CHECK(block_has(bed, kBlocks - 2, 200));
    CHECK(block_has(bed, kBlocks - 1, 0));
  };
  check();
  bed.kill();
  REQUIRE(bed.open().has_value());
  check();
  bed.store->set_stable(bed.store->wal().durable());
  REQUIRE(bed.run(
      [&] { return bed.store->checkpoint() == bed.store->wal().head() || bed.store->failed(); }));
  CHECK(bed.store->index().size() == 0);
  check();
  REQUIRE(bed.close().has_value());
  CHECK(bed.node.disk().file_bytes(bed.path("base")) == kVolumeBytesMax);
  REQUIRE(bed.open().has_value());
  check();
}

TEST_CASE("limits: a WAL that a checkpoint cannot read stops the store, and nothing is lost",
          "[volume][limits]") {
  StoreBed bed;
  bed.serve();
  bed.stable_follows = false;
  for (uint64_t i = 0; i < 20; ++i) {
    bed.write(i * 3, 2);
    bed.store->seal();
  }
  bed.flush();
  const Lsn checkpoint = bed.store->checkpoint();
  bed.drop_cache();
  bed.node.disk().add_fault({.match = {.kind = io::SimOpKind::kRead, .path = "wal"}});
  bed.store->set_stable(bed.store->wal().durable());
  REQUIRE(bed.run([&] { return bed.store->failed(); }));
  REQUIRE(bed.failures.size() == 1);
  CHECK(bed.failures[0].find("reading the WAL for a checkpoint") != std::string::npos);
  CHECK(bed.store->checkpoint() == checkpoint);
  CHECK_FALSE(bed.close().has_value());
  REQUIRE(bed.open().has_value());
  CHECK(bed.store->checkpoint() == checkpoint);
  CHECK(bed.difference() == "");
  bed.begin_term();
  bed.checkpoint_all();
  CHECK(bed.base_difference(bed.model.head()) == "");
}

TEST_CASE("limits: a WAL whose device is full after all fails the store as any other error",
          "[volume][limits]") {
  // It was written once from end to end; a file system that copies on write may need space again.
  StoreBed bed;
  bed.serve();
  bed.write(1);
  bed.flush();
  bed.node.disk().add_fault(
      {.match = {.kind = io::SimOpKind::kWrite, .path = "wal"}, .error = ENOSPC});
  bed.write(2);
  bed.store->seal();
  REQUIRE(bed.run([&] { return bed.store->failed(); }));
  CHECK(bed.failures.at(0).find("No space left") != std::string::npos);
  CHECK_FALSE(bed.close().has_value());
  REQUIRE(bed.open().has_value());
  bed.model.truncate(bed.store->wal().head());
  CHECK(bed.store->wal().head() >= Lsn(2));
  CHECK(bed.difference() == "");
}
