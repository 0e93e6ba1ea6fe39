// Checkpoints: what they copy and when, what waits for what, and what a crash in the middle leaves.
#include <catch2/catch.hpp>
#include <cerrno>
#include <string>
#include <vector>

#include "../seed_stride.h"
#include "store_bed.h"

using namespace ringbolt;
using namespace ringbolt::test;

namespace {

io::SimOpMatch on(io::SimOpKind kind, const char* file) { return {.kind = kind, .path = file}; }

bool base_block_is(StoreBed& bed, uint64_t lba, uint64_t stamp) {
  return block_is(bed.node.read_file(bed.path("base"), lba * kBlockBytes, kBlockBytes).data(),
                  stamp);
}

/// Writes, each flushed, until the WAL takes no more.
void fill_wal(StoreBed& bed, uint64_t lba) {
  for (; bed.try_append(RecordKind::kWrite, lba, 63); lba += 63) bed.flush();
}

}  // namespace

TEST_CASE("checkpoint: it never passes what is stable", "[volume][checkpoint]") {
  StoreBed bed;
  bed.serve();
  bed.stable_follows = false;
  bed.write(1);
  bed.flush();
  const Lsn stable = bed.store->wal().durable();
  bed.write(1);
  bed.write(2);
  bed.flush();
  bed.store->set_stable(stable);
  bed.world.run_for(30 * io::kSecond);
  CHECK(bed.store->checkpoint() == stable);
  CHECK(bed.base_difference(stable) == "");
  bed.store->set_stable(bed.store->wal().durable());
  REQUIRE(bed.run([&] { return bed.store->checkpoint() == bed.model.head(); }));
  CHECK(bed.base_difference(bed.model.head()) == "");
}

TEST_CASE("checkpoint: a stable version is copied although a newer one exists that is not stable",
          "[volume][checkpoint]") {
  // The newer one may be lost with a torn tail, or be cut. Then the stable one must be somewhere,
  // and recovery reads nothing at or before the checkpoint.
  const bool cached = GENERATE(true, false);
  const bool cut = GENERATE(true, false);
  StoreBed bed;
  bed.serve();
  bed.stable_follows = false;
  bed.write(1, 4);
  bed.write(2);
  bed.append(RecordKind::kTrim, 3, 1);
  bed.flush();
  const Lsn stable = bed.store->wal().durable();
  bed.write(0, 8);
  if (cut) bed.flush();
  bed.settle_written();
  if (!cached) bed.drop_cache();
  const uint64_t hold =
      bed.node.disk().hold(on(io::SimOpKind::kFlush, "wal"));  // the newer ones stay unflushed
  bed.store->set_stable(stable);
  REQUIRE(bed.run([&] { return bed.store->checkpoint() == stable; }));
  CHECK(bed.base_difference(stable) == "");
  CHECK(bed.difference() == "");
  bed.power_loss(io::SimPowerLoss::kDropAll);
  bed.node.disk().release(hold);
  REQUIRE(bed.open().has_value());
  if (cut) REQUIRE(bed.cut(stable).has_value());
  REQUIRE(bed.store->wal().head() == stable);
  bed.model.truncate(stable);
  CHECK(bed.difference() == "");
}

TEST_CASE("checkpoint: it waits for a read of the base image of the same block",
          "[volume][checkpoint]") {
  // Else the device might return a mixture of the old block and the new one.
  StoreBed bed;
  bed.serve();
  bed.write(5);
  bed.checkpoint_all();
  const uint64_t hold = bed.node.disk().hold({.kind = io::SimOpKind::kRead, .path = "base"});
  StoreBed::Read& read = bed.begin_read(5, 1);
  const uint64_t old_stamp = bed.model.stamp(5);
  bed.write(5);
  bed.flush();
  bed.world.run_for(30 * io::kSecond);
  CHECK(bed.store->checkpoint() < bed.model.head());
  CHECK(base_block_is(bed, 5, old_stamp));
  // Reads that come now see the new block, and do not wait.
  CHECK(bed.read_is_right(bed.begin_read(5, 1)));
  CHECK_FALSE(read.done);
  bed.node.disk().release(hold);
  CHECK(bed.read_is_right(read));
  REQUIRE(bed.run([&] { return bed.store->checkpoint() == bed.model.head(); }));
  CHECK(base_block_is(bed, 5, bed.model.stamp(5)));
}

TEST_CASE("checkpoint: a block written again while it is copied stays in the index",
          "[volume][checkpoint]") {
  StoreBed bed;
  bed.serve();
  bed.write(5);
  bed.write(6);
  const uint64_t hold = bed.node.disk().hold(on(io::SimOpKind::kWrite, "base"));
  bed.flush();
  REQUIRE(bed.run([&] { return bed.node.disk().held(hold) > 0; }));
  const Lsn newer = bed.write(5);
  bed.node.disk().release(hold);
  REQUIRE(bed.run([&] { return bed.store->checkpoint() == Lsn(newer.value() - 1); }));
  const DirtyIndex::Entry* entry = bed.store->index().find(Lba(5));
  REQUIRE(entry != nullptr);
  CHECK(entry->lsn == newer.value());
  CHECK(bed.store->index().find(Lba(6)) == nullptr);
  CHECK(bed.difference() == "");
  bed.checkpoint_all();
  CHECK(bed.base_difference(bed.model.head()) == "");
}

TEST_CASE("checkpoint: WAL space is not used again before the superblock says so",
          "[volume][checkpoint]") {
  StoreBed bed({.volume_blocks = 4096});
  bed.serve();
  bed.stable_follows = false;
  fill_wal(bed, 0);
  // The base image is written and flushed, but the superblock that says so is not durable.
  const uint64_t base = bed.node.disk().hold(on(io::SimOpKind::kFlush, "base"));
  bed.store->set_stable(bed.store->wal().durable());
  REQUIRE(bed.run([&] { return bed.node.disk().held(base) == 1; }));
  const uint64_t hold = bed.node.disk().hold(on(io::SimOpKind::kFlush, "superblock"));
  bed.node.disk().release(base);
  REQUIRE(bed.run([&] { return bed.node.disk().held(hold) == 1; }));
  bed.world.run_for(60 * io::kSecond);
  CHECK(bed.store->wal().tail() == Lsn(1));
  CHECK(bed.store->checkpoint() == Lsn{});
  fill_wal(bed, 2000);
  bed.power_loss(io::SimPowerLoss::kDropAll);
  bed.node.disk().release(hold);
  // Even so nothing is lost: the old tail is still all there.
  REQUIRE(bed.open().has_value());
  CHECK(bed.store->wal().head() == bed.model.head());
  CHECK(bed.difference() == "");
}

TEST_CASE("checkpoint: the superblock follows the base image's flush, not the other way round",
          "[volume][checkpoint]") {
  StoreBed bed;
  bed.serve();
  bed.write(5, 8);
  const uint64_t hold = bed.node.disk().hold(on(io::SimOpKind::kFlush, "base"));
  bed.flush();
  REQUIRE(bed.run([&] { return bed.node.disk().held(hold) == 1; }));
  bed.world.run_for(10 * io::kSecond);
  CHECK(bed.store->checkpoint() < bed.model.head());
  bed.power_loss(io::SimPowerLoss::kDropAll);
  bed.node.disk().release(hold);
  REQUIRE(bed.open().has_value());
  CHECK(bed.store->checkpoint() < bed.model.head());
  CHECK(bed.difference() == "");
}

TEST_CASE("checkpoint: a read from the WAL keeps its place from being written again",
          "[volume][checkpoint]") {
  // It begins while its block is being copied, so the block is still found in the WAL; then the
  // copy ends, is recorded, and the place could be given up.
  StoreBed bed({.volume_blocks = 4096});
  bed.serve();
  bed.stable_follows = false;
  const Lsn lsn = bed.write(4090, 2);
  bed.store->seal();
  fill_wal(bed, 0);
  bed.drop_cache();
  const uint64_t offset = bed.frame_offset(lsn);
  const uint64_t copying = bed.node.disk().hold(on(io::SimOpKind::kWrite, "base"));
  bed.store->set_stable(lsn);  // just one batch, so that no further one waits for the read
  REQUIRE(bed.run([&] { return bed.node.disk().held(copying) > 0; }));
  const uint64_t hold = bed.node.disk().hold({.kind = io::SimOpKind::kRead,
                                              .path = "wal",
                                              .from = offset,
                                              .to = offset + 3 * kBlockBytes});
  StoreBed::Read& read = bed.begin_read(4090, 2);
  REQUIRE(bed.node.disk().held(hold) == 1);
  bed.node.disk().release(copying);
  REQUIRE(bed.run([&] { return bed.store->checkpoint() == lsn; }));
  bed.world.run_for(60 * io::kSecond);
  CHECK(bed.store->wal().tail() <= lsn);
  CHECK_FALSE(read.done);
  bed.node.disk().release(hold);
  CHECK(bed.read_is_right(read));
  REQUIRE(bed.run([&] { return bed.store->wal().tail() > lsn; }));
  bed.write(5);
  bed.flush();
  CHECK(bed.difference() == "");
}

TEST_CASE("checkpoint: damage in the WAL stops the store, it is not copied",
          "[volume][checkpoint]") {
  // In a payload block, in a header, and as another frame that is whole but not the one written
  // there.
  const int damage = GENERATE(0, 1, 2);
  StoreBed bed;
  bed.serve();
  bed.stable_follows = false;
  bed.write(1);
  bed.flush();
  const Lsn lsn = bed.write(5, 3);
  bed.flush();
  const uint64_t offset = bed.frame_offset(lsn);
  bed.drop_cache();
  if (damage == 2) {
    std::vector<std::byte> block(kBlockBytes);
    FrameHeader header(block.data());
    header.begin(bed.store->facts().volume, {Epoch(1), Incarnation(1)}, lsn);
    header.add_record(RecordKind::kWrite, Lba(5), 127);
    header.place_block_crcs(std::vector<uint32_t>(127));
    header.seal(0, Lsn{});
    bed.node.write_file(bed.path("wal"), offset, block);
  } else {
    bed.node.disk().flip_bit(bed.path("wal"), offset + (damage == 0 ? 2 * kBlockBytes + 100 : 50),
                             4);
  }
  bed.store->set_stable(bed.store->wal().durable());
  REQUIRE(bed.run([&] { return bed.store->failed(); }));
  CHECK(base_block_is(bed, 5, 0));
  CHECK(base_block_is(bed, 6, 0));
  CHECK(bed.store->checkpoint() < lsn);
  REQUIRE(bed.failures.size() == 1);
  CHECK_FALSE(bed.close().has_value());
}

TEST_CASE("checkpoint: a full device loses nothing, and work goes on when it has space again",
          "[volume][checkpoint]") {
  StoreBed bed;
  bed.serve();
  bed.node.disk().set_capacity(bed.node.disk().used_bytes() + 16 * kBlockBytes);
  for (uint64_t i = 0; i < 40; ++i) bed.write(i * 4, 2);
  bed.flush();
  REQUIRE(bed.run([&] { return bed.store->base_full(); }));
  CHECK_FALSE(bed.store->failed());
  CHECK(bed.difference() == "");
  // The WAL takes more (its space is its own) ...
  bed.write(300, 8);
  bed.flush();
  const Lsn checkpoint = bed.store->checkpoint();
  bed.world.run_for(10 * io::kSecond);
  CHECK(bed.store->checkpoint() == checkpoint);
  // ... survives, and is closed cleanly as it is ...
  SECTION("space comes back") {
    bed.node.disk().set_capacity(UINT64_MAX);
    REQUIRE(bed.run([&] { return bed.store->checkpoint() == bed.model.head(); }));
    CHECK_FALSE(bed.store->base_full());
    CHECK(bed.base_difference(bed.model.head()) == "");
  }
  SECTION("closed while full") {
    REQUIRE(bed.close().has_value());
    bed.node.disk().set_capacity(UINT64_MAX);
    REQUIRE(bed.open().has_value());
    CHECK(bed.store->wal().head() == bed.model.head());
    CHECK(bed.difference() == "");
  }
  SECTION("closed as soon as it has space") {
    // Long before it would have been tried again.
    bed.node.disk().set_capacity(UINT64_MAX);
    REQUIRE(bed.close().has_value());
    CHECK(bed.base_difference(bed.model.head()) == "");
  }
  SECTION("power fails while full") {
    bed.power_loss(io::SimPowerLoss::kDropAll);
    bed.node.disk().set_capacity(UINT64_MAX);
    REQUIRE(bed.open().has_value());
    CHECK(bed.store->wal().head() == bed.model.head());
    CHECK(bed.difference() == "");
  }
}

TEST_CASE("checkpoint: a device error is final also when another write found the device full",
          "[volume][checkpoint]") {
  StoreBed bed;
  bed.serve();
  // Two runs that are copied at the same time: one finds the device full, the other one an error.
  bed.node.disk().add_fault(
      {.match = {.kind = io::SimOpKind::kWrite, .path = "base", .from = 0, .to = 100 * kBlockBytes},
       .error = ENOSPC});
  bed.node.disk().add_fault(
      {.match = {.kind = io::SimOpKind::kWrite, .path = "base", .from = 200 * kBlockBytes},
       .error = EIO});
  const uint64_t hold = bed.node.disk().hold(
      {.kind = io::SimOpKind::kWrite, .path = "base", .from = 200 * kBlockBytes});
  bed.write(5);
  bed.write(300);
  bed.flush();
  REQUIRE(bed.run([&] { return bed.node.disk().held(hold) == 1; }));
  bed.world.run_for(io::kSecond);  // the full one has ended
  bed.node.disk().release(hold);
  REQUIRE(bed.run([&] { return bed.store->failed() || bed.store->base_full(); }));
  CHECK(bed.store->failed());
}

TEST_CASE(
    "checkpoint: it reads frames around the end of the WAL area where no pad frame lies between",
    "[volume][checkpoint]") {
  // Frames of 16 blocks end exactly with the area. A span of them read back must not go past it.
  StoreBed bed({.volume_blocks = 4096});
  bed.serve();
  bed.stable_follows = false;
  // The term record takes one block; 15 single-block frames make it even.
  for (int i = 0; i < 15; ++i) {
    bed.append(RecordKind::kTrim, 4000, 1);
    bed.store->seal();
  }
  uint64_t lba = 0;
  const auto frame = [&] {
    bed.write(lba % 3000, 15);
    lba += 15;
    bed.store->seal();
  };
  while (bed.store->wal().append_position() < 1536) frame();
  bed.checkpoint_all();
  // Half of the area is kept, so there is room now for a lap's end and the next one's beginning.
  REQUIRE(bed.run([&] { return bed.store->wal().tail() > Lsn(20); }));
  while (bed.store->wal().append_position() < 2048 + 512) frame();
  bed.flush();
  REQUIRE(bed.store->wal().used_blocks() > 1024);
  bed.drop_cache();
  bed.store->set_stable(bed.store->wal().durable());
  REQUIRE(
      bed.run([&] { return bed.store->failed() || bed.store->checkpoint() == bed.model.head(); }));
  CHECK_FALSE(bed.store->failed());
  CHECK(bed.base_difference(bed.model.head()) == "");
}

TEST_CASE("checkpoint: the index keeps room for what a recovery would enter again",
          "[volume][checkpoint]") {
  // A round takes entries out of the index long before it is recorded. A crash then brings them all
  // back, together with whatever was let in meanwhile.
  StoreBed bed({.volume_blocks = 1u << 17});
  bed.serve();
  bed.stable_follows = false;
  uint64_t lba = 0;
  const auto trim_all = [&] {
    int taken = 0;
    for (; bed.try_append(RecordKind::kTrim, lba % (1u << 17), 4096); ++taken) lba += 4096;
    bed.flush();
    return taken;
  };
  CHECK(trim_all() == 16);
  const uint64_t hold = bed.node.disk().hold(on(io::SimOpKind::kFlush, "base"));
  bed.store->set_stable(bed.store->wal().durable());
  REQUIRE(bed.run([&] { return bed.node.disk().held(hold) == 1; }));
  CHECK(bed.store->index().size() == 0);
  const int taken = trim_all();
  SECTION("a crash") {
    bed.kill();
    const Status opened = bed.open();
    INFO((opened.has_value() ? "" : opened.error().message));
    REQUIRE(opened.has_value());
    CHECK(bed.store->wal().head() == bed.model.head());
  }
  SECTION("when it is recorded there is room again") {
    CHECK(taken == 0);
    const uint64_t calls = bed.space_calls;
    bed.node.disk().release(hold);
    REQUIRE(bed.run([&] { return bed.store->checkpoint() == bed.model.head(); }));
    CHECK(bed.space_calls > calls);
    CHECK(trim_all() == 16);
  }
}

TEST_CASE("checkpoint: the superblock says how far the base image may reach before it does",
          "[volume][checkpoint]") {
  StoreBed bed;
  bed.serve();
  bed.write(5);
  const uint64_t announced = bed.node.disk().hold(on(io::SimOpKind::kFlush, "superblock"));
  bed.flush();
  REQUIRE(bed.run([&] { return bed.node.disk().held(announced) == 1; }));
  bed.world.run_for(5 * io::kSecond);
  CHECK(base_block_is(bed, 5, 0));
  const uint64_t copied = bed.node.disk().hold(on(io::SimOpKind::kFlush, "base"));
  bed.node.disk().release(announced);
  REQUIRE(bed.run([&] { return bed.node.disk().held(copied) == 1; }));
  CHECK(base_block_is(bed, 5, bed.model.stamp(5)));
  bed.power_loss(io::SimPowerLoss::kKeepAll);
  bed.node.disk().release(copied);
  REQUIRE(bed.open().has_value());
  CHECK(bed.store->checkpoint() < Lsn(2));
  CHECK(bed.store->base_limit() == Lsn(2));
  // Cutting below that would leave a discarded record in the base image.
  const Status cut = bed.cut(Lsn(1));
  REQUIRE_FALSE(cut.has_value());
  CHECK(cut.error().code == Errc::kInvalid);
  CHECK_FALSE(bed.store->failed());
  CHECK(bed.difference() == "");
  bed.begin_term();
  bed.checkpoint_all();
  CHECK(bed.base_difference(bed.model.head()) == "");
}

TEST_CASE("checkpoint: volumes that share memory for checkpoints take turns",
          "[volume][checkpoint]") {
  StoreBed bed;
  bed.serve();
  std::vector<CheckpointSet*> taken;
  struct Taker : CheckpointMemory::Waiter {
    CheckpointSet* set = nullptr;
  };
  std::vector<std::unique_ptr<Taker>> takers;
  while (takers.empty() || takers.back()->set != nullptr) {
    takers.push_back(std::make_unique<Taker>());
    takers.back()->granted = [](CheckpointMemory::Waiter& waiter, CheckpointSet* set) {
      static_cast<Taker&>(waiter).set = set;
    };
    bed.memory->acquire(*takers.back());
  }
  bed.memory->cancel(*takers.back());
  takers.pop_back();
  REQUIRE_FALSE(takers.empty());
  bed.write(1);
  bed.flush();
  bed.world.run_for(20 * io::kSecond);
  CHECK(bed.store->checkpoint() == Lsn{});
  SECTION("it goes on when there is memory") {
    for (const auto& taker : takers) bed.memory->release(taker->set);
    takers.clear();
    REQUIRE(bed.run([&] { return bed.store->checkpoint() == bed.model.head(); }));
  }
  SECTION("a failed store that waits for memory closes, and takes none after that") {
    bed.node.disk().add_fault({.match = on(io::SimOpKind::kWrite, "wal")});
    bed.write(2);
    bed.store->seal();
    REQUIRE(bed.run([&] { return bed.store->failed(); }));
    std::optional<Status> closed;
    bed.store->close([&](Status status) { closed = std::move(status); });
    REQUIRE(bed.run([&] { return closed.has_value(); }));
    for (const auto& taker : takers) bed.memory->release(taker->set);
    takers.clear();
    bed.world.run_for(io::kSecond);
    CHECK(bed.io->pending_operations() == 0);
  }
}

// --- keeping up with writers ---------------------------------------------------------------------

namespace {

/// A WAL of 64 MiB, none of which is kept for replicas: a round is 1024 blocks.
constexpr uint64_t kRoundBlocks = 1024;

void use_large_wal(StoreBed& bed) {
  bed.config.wal_bytes = 64u << 20;
  bed.config.wal_retain_percent = 0;
  bed.serve();
  bed.stable_follows = false;
}

/// Frames of one record until `blocks` of the WAL are used, on the device and flushed.
void use_wal(StoreBed& bed, uint64_t blocks, uint64_t lba = 0) {
  for (; bed.store->wal().used_blocks() < blocks; lba += 127) {
    REQUIRE(bed.try_append(RecordKind::kWrite, lba % (bed.model.volume_blocks() - 127), 127));
    bed.store->seal();
    bed.settle_written();
  }
  bed.flush();
}

}  // namespace

TEST_CASE("checkpoint: the fuller the log, the more base writes are in flight", "[volume][checkpoint]") {
  const bool full = GENERATE(false, true);
  StoreBed bed({.volume_blocks = 8192});
  bed.serve();
  bed.stable_follows = false;
  // Single blocks that are no neighbours.
  const uint64_t blocks = full ? 1500 : 260;
  for (uint64_t i = 0; bed.store->wal().used_blocks() < blocks; ++i) {
    bed.write(3 * i % 8192);
    if (i % 16 == 15) bed.settle_written();
  }
  bed.flush();
  const uint64_t hold = bed.node.disk().hold(on(io::SimOpKind::kWrite, "base"));
  bed.store->set_stable(bed.store->wal().durable());
  const size_t in_flight = full ? 32 : 4;
  REQUIRE(bed.run([&] { return bed.node.disk().held(hold) >= in_flight; }));
  bed.world.run_for(io::kSecond / 2);
  CHECK(bed.node.disk().held(hold) == in_flight);
  bed.node.disk().release(hold);
  bed.checkpoint_all();
  CHECK(bed.base_difference(bed.model.head()) == "");
}

TEST_CASE("checkpoint: neighbours in several frames are written together, large pieces as they are", "[volume][checkpoint]") {
  StoreBed bed({.volume_blocks = 4096});
  bed.serve();
  bed.stable_follows = false;
  for (uint64_t i = 0; i < 24; ++i) bed.write(100 + 23 - i);  // backwards: no two lie together in memory
  bed.write(1000, 100);
  bed.write(1100, 100);
  bed.append(RecordKind::kTrim, 2000, 50);
  bed.append(RecordKind::kTrim, 2050, 50);
  bed.flush();
  const uint64_t writes = bed.node.disk().hold(on(io::SimOpKind::kWrite, "base"));
  const uint64_t zeros = bed.node.disk().hold(on(io::SimOpKind::kZero, "base"));
  bed.store->set_stable(bed.store->wal().durable());
  REQUIRE(bed.run([&] { return bed.node.disk().held(zeros) > 0; }));
  bed.world.run_for(io::kSecond / 2);
  CHECK(bed.node.disk().held(writes) == 3);
  CHECK(bed.node.disk().held(zeros) == 1);
  bed.node.disk().release(writes);
  bed.node.disk().release(zeros);
  bed.checkpoint_all();
  CHECK(bed.base_difference(bed.model.head()) == "");
}

TEST_CASE("checkpoint: more short runs than there is memory to merge them take turns", "[volume][checkpoint]") {
  StoreBed bed({.volume_blocks = 4096});
  bed.serve();
  bed.stable_follows = false;
  for (uint64_t i = 0; i < 60; ++i) {
    bed.write(10 * i + 1);
    bed.write(10 * i);
  }
  bed.flush();
  const uint64_t hold = bed.node.disk().hold(on(io::SimOpKind::kWrite, "base"));
  bed.store->set_stable(bed.store->wal().durable());
  REQUIRE(bed.run([&] { return bed.node.disk().held(hold) > 0; }));
  bed.world.run_for(io::kSecond / 2);
  CHECK(bed.node.disk().held(hold) == CheckpointSet::kCopies);
  bed.node.disk().release(hold);
  bed.checkpoint_all();
  CHECK(bed.base_difference(bed.model.head()) == "");
}

TEST_CASE("checkpoint: WAL space comes back in small steps", "[volume][checkpoint]") {
  StoreBed bed({.volume_blocks = 4096});
  use_large_wal(bed);
  use_wal(bed, 16000);
  bed.store->set_stable(bed.store->wal().durable());
  uint64_t used = bed.store->wal().used_blocks(), steps = 0, largest = 0;
  const uint64_t all = used;
  REQUIRE(bed.run([&] {
    const uint64_t now = bed.store->wal().used_blocks();
    if (now < used) ++steps;
    largest = std::max(largest, used - now);
    used = now;
    return bed.store->checkpoint() == bed.model.head();
  }));
  // A round that ends while another one is being recorded is recorded with the next.
  CHECK(largest <= 3 * (kRoundBlocks + 128));
  CHECK(steps >= all / (3 * (kRoundBlocks + 128)));
  CHECK(bed.base_difference(bed.model.head()) == "");
}

TEST_CASE("checkpoint: while a round is recorded the next one is copied, if it was announced", "[volume][checkpoint]") {
  const bool announced = GENERATE(true, false);
  StoreBed bed({.volume_blocks = 16384});
  use_large_wal(bed);
  use_wal(bed, 8000);
  const uint64_t flush = bed.node.disk().hold(on(io::SimOpKind::kFlush, "base"));
  bed.store->set_stable(bed.store->wal().durable());
  REQUIRE(bed.run([&] { return bed.node.disk().held(flush) == 1; }));
  const Lsn limit = bed.store->base_limit();
  REQUIRE(limit > Lsn(1 + 2 * kRoundBlocks / 128));
  const uint64_t superblock = bed.node.disk().hold(on(io::SimOpKind::kWrite, "superblock"));
  // Blocks of the second round, and of the first one that is not announced.
  const uint64_t second = 127 * (kRoundBlocks / 128 + 2), not_announced = 127 * (limit.value() - 1);
  if (announced) {
    REQUIRE(bed.run([&] { return base_block_is(bed, second, bed.model.stamp(second)); }));
  } else {
    bed.world.run_for(60 * io::kSecond);
    CHECK(base_block_is(bed, not_announced, 0));
  }
  CHECK(bed.store->checkpoint() == Lsn{});
  CHECK(bed.store->wal().tail() == Lsn(1));
  // The base image holds records of rounds that are not recorded. Nothing relies on it.
  bed.power_loss(announced ? io::SimPowerLoss::kKeepAll : io::SimPowerLoss::kRandom);
  bed.node.disk().release(flush);
  bed.node.disk().release(superblock);
  REQUIRE(bed.open().has_value());
  CHECK(bed.store->checkpoint() == Lsn{});
  CHECK(bed.store->base_limit() >= limit);
  CHECK(bed.store->wal().head() == bed.model.head());
  CHECK(bed.difference() == "");
  bed.begin_term();
  bed.checkpoint_all();
  CHECK(bed.base_difference(bed.model.head()) == "");
}

TEST_CASE("checkpoint: copying and recording wait for readers in turn",
          "[volume][checkpoint]") {
  StoreBed bed({.volume_blocks = 16384});
  use_large_wal(bed);
  use_wal(bed, 8000);
  bed.drop_cache();
  const uint64_t hold = bed.node.disk().hold({.kind = io::SimOpKind::kRead, .path = "base"});
  StoreBed::Read& read = bed.begin_read(16383, 1);  // never written: from the base image
  bed.store->set_stable(bed.store->wal().durable());
  bed.world.run_for(10 * io::kSecond);
  CHECK(bed.store->checkpoint() == Lsn{});
  CHECK(base_block_is(bed, 0, 0));
  bed.node.disk().release(hold);
  CHECK(bed.read_is_right(read));
  for (int i = 0; bed.store->checkpoint() < bed.model.head(); ++i) {
    CHECK(bed.read_is_right(bed.begin_read(static_cast<uint64_t>(i) * 37 % 16384, 1)));
    REQUIRE(i < 100000);
  }
  CHECK(bed.base_difference(bed.model.head()) == "");
}

TEST_CASE("checkpoint: in a log that is nearly full writers go on as blocks are copied", "[volume][checkpoint]") {
  StoreBed bed({.volume_blocks = 16384});
  use_large_wal(bed);
  // More than three quarters wait to be copied. As long as nothing can be, there is no use in waiting.
  use_wal(bed, 13000);
  const uint64_t hold = bed.node.disk().hold(on(io::SimOpKind::kWrite, "base"));
  REQUIRE(bed.try_append(RecordKind::kWrite, 16000, 127));
  bed.flush();
  bed.store->set_stable(bed.store->wal().durable());
  REQUIRE(bed.run([&] { return bed.node.disk().held(hold) > 0; }));
  bed.world.run_for(io::kSecond);
  REQUIRE(bed.store->wal().used_blocks() + 1000 < bed.store->wal().capacity_blocks());
  CHECK_FALSE(bed.try_append(RecordKind::kWrite, 16000, 127));
  CHECK_FALSE(bed.try_append(RecordKind::kWrite, 16000, 127, true));
  CHECK_FALSE(bed.try_append(RecordKind::kTrim, 16000, 1));
  const uint64_t calls = bed.space_calls;
  SECTION("they are told long before space comes back, and take as much as was copied") {
    bed.node.disk().release(hold);
    const Lsn checkpoint = bed.store->checkpoint();
    uint64_t taken = 0;
    REQUIRE(bed.run([&] {
      while (bed.try_append(RecordKind::kWrite, 16000, 15)) taken += 16;
      bed.store->seal();
      return taken >= kRoundBlocks / 2;
    }));
    CHECK(bed.store->checkpoint() == checkpoint);
    CHECK(bed.store->wal().tail() == Lsn(1));
    CHECK(bed.space_calls > calls + 5);
    bed.checkpoint_all();
    CHECK(bed.base_difference(bed.model.head()) == "");
  }
  SECTION("a term record is not held back: others may wait for it") {
    CHECK(bed.try_append(RecordKind::kTerm, 0, 0));
    bed.node.disk().release(hold);
    bed.checkpoint_all();
  }
  SECTION("a base device that is full holds nobody back") {
    bed.node.disk().add_fault({.match = on(io::SimOpKind::kWrite, "base"), .error = ENOSPC, .forever = true});
    bed.node.disk().release(hold);
    // What was submitted before the fault succeeds, so it may take until the next batch.
    REQUIRE(bed.run([&] { return bed.store->base_full(); }));
    CHECK(bed.try_append(RecordKind::kWrite, 16000, 127));
    bed.node.disk().clear_faults();
    bed.checkpoint_all();
    CHECK(bed.base_difference(bed.model.head()) == "");
  }
}

TEST_CASE("checkpoint: a failure of copying or recording waits for what the other one has in flight", "[volume][checkpoint]") {
  const bool recording_fails = GENERATE(true, false);
  StoreBed bed({.volume_blocks = 16384});
  use_large_wal(bed);
  use_wal(bed, 8000);
  const uint64_t flush = bed.node.disk().hold(on(io::SimOpKind::kFlush, "base"));
  // Of the second round on.
  const io::SimOpMatch later{.kind = io::SimOpKind::kWrite, .path = "base", .from = 127 * (kRoundBlocks / 128 + 2) * kBlockBytes};
  const uint64_t writes = bed.node.disk().hold(later);
  bed.node.disk().add_fault({.match = recording_fails ? on(io::SimOpKind::kFlush, "base") : later});
  bed.store->set_stable(bed.store->wal().durable());
  REQUIRE(bed.run([&] { return bed.node.disk().held(flush) == 1 && bed.node.disk().held(writes) > 0; }));
  CHECK_FALSE(bed.store->failed());
  bed.node.disk().release(recording_fails ? flush : writes);
  REQUIRE(bed.run([&] { return bed.store->failed(); }));
  bed.world.run_for(io::kSecond);
  std::optional<Status> closed;
  bed.store->close([&](Status status) { closed = std::move(status); });
  bed.world.run_for(io::kSecond);
  CHECK_FALSE(closed.has_value());
  CHECK(bed.failures.size() == 1);
  bed.node.disk().release(recording_fails ? writes : flush);
  REQUIRE(bed.run([&] { return closed.has_value(); }));
  CHECK_FALSE(closed->has_value());
  CHECK(bed.io->pending_operations() == 0);
  bed.kill();
  REQUIRE(bed.open().has_value());
  CHECK(bed.difference() == "");
}

TEST_CASE("checkpoint: a cut that comes while one round is copied and another one recorded", "[volume][checkpoint]") {
  // It waits for both, and is refused if the base image may hold what it would discard. What was copied and not
  // recorded is recorded afterwards.
  StoreBed bed({.volume_blocks = 16384});
  use_large_wal(bed);
  use_wal(bed, 8000);
  const uint64_t flush = bed.node.disk().hold(on(io::SimOpKind::kFlush, "base"));
  bed.store->set_stable(bed.store->wal().durable());
  REQUIRE(bed.run([&] { return bed.node.disk().held(flush) == 1; }));
  const bool refused = GENERATE(true, false);
  std::optional<Status> cut;
  const Lsn fork = refused ? Lsn(3) : Lsn(bed.model.head().value() - 5);
  bed.store->cut(fork, [&](Status status) { cut = std::move(status); });
  bed.world.run_for(io::kSecond);
  CHECK_FALSE(cut.has_value());
  bed.node.disk().release(flush);
  REQUIRE(bed.run([&] { return cut.has_value(); }));
  REQUIRE(cut->has_value() == !refused);
  if (!refused) bed.model.truncate(fork);
  CHECK(bed.difference() == "");
  bed.checkpoint_all();
  CHECK(bed.base_difference(bed.model.head()) == "");
}

TEST_CASE("checkpoint: power fails at any moment of several rounds at once", "[volume][checkpoint]") {
  for (uint64_t seed = 1; seed <= 24; seed += kSeedStride) {
    INFO("seed " << seed);
    StoreBed bed({.seed = seed, .volume_blocks = 4096});
    use_large_wal(bed);
    use_wal(bed, 4000 + 300 * seed);
    bed.store->set_stable(bed.store->wal().durable());
    for (uint64_t i = 0; i < 60 * seed * seed && bed.store->checkpoint() < bed.model.head(); ++i) bed.world.step();
    bed.power_loss(seed % 3 == 0 ? io::SimPowerLoss::kKeepAll : io::SimPowerLoss::kRandom);
    REQUIRE(bed.open().has_value());
    CHECK(bed.store->wal().head() == bed.model.head());
    CHECK(bed.difference() == "");
    bed.begin_term();
    bed.checkpoint_all();
    CHECK(bed.base_difference(bed.model.head()) == "");
  }
}
