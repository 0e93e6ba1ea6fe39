// Checkpoints: what they copy and when, what waits for what, and what a crash in the middle leaves.
#include <catch2/catch.hpp>
#include <cerrno>
#include <string>
#include <vector>

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
