// The superblock's one writer: what is durable when, and what is left of it whatever happens to one
// slot.
#include "volume/superblock_writer.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "io/sim_io.h"
#include "store_bed.h"

using namespace ringbolt;
using namespace ringbolt::test;

namespace {

Superblock sample_to_write() {
  Superblock s;
  s.generation = 41;
  s.node_id = "n1";
  s.name = "vol0";
  s.volume_bytes = 1u << 30;
  s.wal_bytes = 64u << 20;
  s.epoch = Epoch(9);
  return s;
}

struct Waiter : SuperblockWaiter {
  Waiter()
      : SuperblockWaiter([](SuperblockWaiter& self) { static_cast<Waiter&>(self).done = true; }) {}
  bool done = false;
};

struct WriterBed {
  explicit WriterBed(uint64_t seed = 1) : world({.seed = seed}), node(world.add_node("n1")) {
    boot();
  }
  ~WriterBed() {
    kill([this] { node.crash(); });
  }
  void boot() {
    io = node.create_io();
    REQUIRE(io->make_directory("/d").has_value());
    const auto opened =
        io->open_file(kPath, {.create = true, .resize_bytes = Superblock::kFileBytes});
    REQUIRE(opened.has_value());
    file = opened.value().file;
    writer = std::make_unique<SuperblockWriter>(
        *io, [](void* self, int code) { static_cast<WriterBed*>(self)->error = code; }, this);
  }
  void kill(const std::function<void()>& end) {
    end();
    writer.reset();
    io.reset();
  }
  std::vector<std::byte> slot(uint32_t index) {
    return node.read_file(kPath, Superblock::kSlotOffset[index], Superblock::kSlotBytes);
  }
  /// What a start would find; empty if nothing.
  std::optional<Superblock> found() {
    const auto slots = read_superblock_slots({slot(0).data(), slot(1).data()});
    return slots.has_value() ? slots.value().newest : std::nullopt;
  }
  bool slot_is(uint32_t index, uint64_t generation, Epoch epoch) {
    const auto decoded = Superblock::decode(slot(index).data());
    return decoded.has_value() && decoded.value().generation == generation &&
           decoded.value().epoch == epoch;
  }
  io::SimOpMatch slot_write(uint32_t index) const {
    const uint64_t offset = Superblock::kSlotOffset[index];
    return {.kind = io::SimOpKind::kWrite, .path = kPath, .from = offset, .to = offset + 1};
  }
  bool run(const std::function<bool()>& done) { return world.run_until(done, 100 * io::kSecond); }

  static constexpr const char* kPath = "/d/superblock";
  io::SimWorld world;
  io::SimNode& node;
  std::unique_ptr<io::SimIo> io;
  io::File file;
  std::unique_ptr<SuperblockWriter> writer;
  int error = 0;
};

}  // namespace

TEST_CASE(
    "superblock_writer: a change is durable when both slots hold it, one written after the other",
    "[volume][superblock]") {
  const uint32_t first_slot = GENERATE(0, 1);
  WriterBed bed;
  bed.writer->open(bed.file, sample_to_write(), first_slot);
  for (uint64_t round = 0; round < 3; ++round) {
    const Epoch before(100 + round), after(101 + round);
    const uint64_t generation = 42 + round;
    const uint64_t second_write = bed.node.disk().hold(bed.slot_write(1 - first_slot));
    const uint64_t first_flush =
        bed.node.disk().hold({.kind = io::SimOpKind::kFlush, .path = "superblock"});
    Waiter waiter;
    bed.writer->change().epoch = after;
    bed.writer->change().durable = Lsn(800 + round);  // with the same write
    bed.writer->wait(waiter);
    REQUIRE(bed.run([&] { return bed.node.disk().held(first_flush) == 1; }));
    bed.world.run_for(io::kSecond);
    // Before the flush of the one the other is left alone ...
    CHECK(bed.node.disk().held(second_write) == 0);
    CHECK(bed.slot_is(first_slot, generation, after));
    if (round > 0) CHECK(bed.slot_is(1 - first_slot, generation - 1, before));
    bed.node.disk().release(first_flush);
    // ... and before it has it, too, nobody is told.
    REQUIRE(bed.run([&] { return bed.node.disk().held(second_write) == 1; }));
    const uint64_t second_flush =
        bed.node.disk().hold({.kind = io::SimOpKind::kFlush, .path = "superblock"});
    bed.node.disk().release(second_write);
    REQUIRE(bed.run([&] { return bed.node.disk().held(second_flush) == 1; }));
    bed.world.run_for(io::kSecond);
    CHECK_FALSE(waiter.done);
    bed.node.disk().release(second_flush);
    REQUIRE(bed.run([&] { return waiter.done; }));
    CHECK(bed.slot_is(0, generation, after));
    CHECK(bed.slot_is(1, generation, after));
    CHECK(bed.slot(0) == bed.slot(1));
    CHECK(bed.found()->durable == Lsn(800 + round));
  }
}

TEST_CASE(
    "superblock_writer: both slots of a generation hold the same, whatever is changed meanwhile",
    "[volume][superblock]") {
  WriterBed bed;
  bed.writer->open(bed.file, sample_to_write(), 0);
  // While the first slot is flushed, or while the second one is written.
  const bool early = GENERATE(true, false);
  const uint64_t first_flush =
      bed.node.disk().hold({.kind = io::SimOpKind::kFlush, .path = "superblock"});
  const uint64_t second_write = bed.node.disk().hold(bed.slot_write(1));
  Waiter first, second;
  bed.writer->change().epoch = Epoch(10);
  bed.writer->wait(first);
  REQUIRE(bed.run([&] { return bed.node.disk().held(first_flush) == 1; }));
  if (early) bed.writer->change().epoch = Epoch(11);
  bed.node.disk().release(first_flush);
  REQUIRE(bed.run([&] { return bed.node.disk().held(second_write) == 1; }));
  bed.writer->change().epoch = Epoch(11);
  bed.writer->wait(second);
  const uint64_t next_write = bed.node.disk().hold(bed.slot_write(0));
  bed.node.disk().release(second_write);
  REQUIRE(bed.run([&] { return bed.node.disk().held(next_write) == 1; }));
  CHECK(first.done);
  CHECK_FALSE(second.done);
  CHECK(bed.slot_is(0, 42, Epoch(10)));
  CHECK(bed.slot_is(1, 42, Epoch(10)));
  bed.node.disk().release(next_write);
  REQUIRE(bed.run([&] { return second.done; }));
  CHECK(bed.slot_is(0, 43, Epoch(11)));
  CHECK(bed.slot_is(1, 43, Epoch(11)));
}

TEST_CASE("superblock_writer: a change during a write is not called durable by that write",
          "[volume][superblock]") {
  WriterBed bed;
  bed.writer->open(bed.file, sample_to_write(), 0);
  const uint64_t hold = bed.node.disk().hold({.kind = io::SimOpKind::kFlush, .path = "superblock"});
  Waiter first, second;
  bed.writer->change().epoch = Epoch(10);
  bed.writer->wait(first);
  REQUIRE(bed.run([&] { return bed.node.disk().held(hold) == 1; }));
  bed.writer->change().epoch = Epoch(11);
  bed.writer->wait(second);
  const uint64_t writes = bed.node.disk().hold(bed.slot_write(0));  // of the next generation
  bed.node.disk().release(hold);
  REQUIRE(bed.run([&] { return first.done && bed.node.disk().held(writes) == 1; }));
  CHECK_FALSE(second.done);
  bed.node.disk().release(writes);
  REQUIRE(bed.run([&] { return second.done; }));
  CHECK(bed.writer->current().epoch == Epoch(11));
}

TEST_CASE("superblock_writer: a wait with nothing to write is still answered",
          "[volume][superblock]") {
  WriterBed bed;
  bed.writer->open(bed.file, sample_to_write(), 0);
  Waiter waiter;
  bed.writer->wait(waiter);
  CHECK_FALSE(waiter.done);
  REQUIRE(bed.run([&] { return waiter.done; }));
}

TEST_CASE("superblock_writer: after a failed write or flush nothing is durable any more",
          "[volume][superblock]") {
  for (const io::SimOpKind kind : {io::SimOpKind::kWrite, io::SimOpKind::kFlush}) {
    const uint32_t of_slot = GENERATE(0, 1);
    WriterBed bed;
    bed.writer->open(bed.file, sample_to_write(), 0);
    bed.node.disk().add_fault({.match = {.kind = kind, .path = "superblock"}, .skip = of_slot});
    Waiter first, later;
    bed.writer->change().epoch = Epoch(10);
    bed.writer->wait(first);
    REQUIRE(bed.run([&] { return bed.error != 0; }));
    CHECK(bed.error == EIO);
    CHECK(bed.writer->failed());
    // The fault is gone, but the device's word is not trusted any more.
    bed.writer->change().epoch = Epoch(11);
    bed.writer->wait(later);
    bed.world.run_for(10 * io::kSecond);
    CHECK_FALSE(first.done);
    CHECK_FALSE(later.done);
    CHECK_FALSE(first.waiting());
    CHECK(bed.io->pending_operations() == 0);
  }
}

TEST_CASE(
    "superblock_writer: a power loss at any moment leaves the last durable one or a newer one",
    "[volume][superblock]") {
  // And then one slot decays: also that takes back nothing that somebody was told of, unless the
  // power loss cut off the write of the other one, which is then noticed.
  uint64_t torn = 0, both = 0, different = 0;
  for (uint64_t seed = 1; seed <= 400; ++seed) {
    WriterBed bed(seed);
    bed.writer->open(bed.file, sample_to_write(), static_cast<uint32_t>(seed % 2));
    uint64_t durable_epoch = 0;
    for (uint64_t epoch = 100;; ++epoch) {
      Waiter waiter;
      // Changes in several sectors, so that a torn write leaves a mixture.
      Superblock& superblock = bed.writer->change();
      superblock.epoch = Epoch(epoch);
      superblock.in_sync = {std::to_string(epoch)};
      superblock.assignment = StoredAssignment{.epoch = Epoch(epoch), .replicas = {}};
      bed.writer->wait(waiter);
      if (epoch < 102 || bed.world.random().chance(1, 2)) {
        REQUIRE(bed.run([&] { return waiter.done; }));
        durable_epoch = epoch;
        continue;
      }
      for (uint64_t steps = bed.world.random().below(24); steps > 0; --steps) bed.world.step();
      if (waiter.done) durable_epoch = epoch;
      bed.kill([&] { bed.node.power_loss(static_cast<io::SimPowerLoss>(seed % 3)); });
      break;
    }
    const auto check = [&] {
      const auto found = bed.found();
      REQUIRE(found.has_value());
      CHECK(found->in_sync.at(0) == std::to_string(found->epoch.value()));
      CHECK(found->assignment->epoch == found->epoch);
      REQUIRE(found->epoch.value() >= durable_epoch);
    };
    check();
    const bool whole[2] = {Superblock::decode(bed.slot(0).data()).has_value(),
                           Superblock::decode(bed.slot(1).data()).has_value()};
    if (!whole[0] || !whole[1]) ++torn;
    if (whole[0] && whole[1]) ++both;
    if (whole[0] && whole[1] && bed.slot(0) != bed.slot(1)) ++different;
    for (const uint32_t decayed : {0u, 1u}) {
      const uint64_t at =
          Superblock::kSlotOffset[decayed] + bed.world.random().below(Superblock::kSlotBytes);
      bed.node.disk().flip_bit(WriterBed::kPath, at, 3);
      if (whole[1 - decayed]) check();
      if (!whole[1 - decayed])
        CHECK_FALSE(read_superblock_slots({bed.slot(0).data(), bed.slot(1).data()}).has_value());
      bed.node.disk().flip_bit(WriterBed::kPath, at, 3);
    }
  }
  CHECK(torn > 10);
  CHECK(both > 100);
  CHECK(different > 10);
}

// --- through the store
// ---------------------------------------------------------------------------------

TEST_CASE("superblock_writer: whichever slot decays, whatever was promised is there",
          "[volume][superblock]") {
  // Each of them looks like one whose write was cut off. What somebody relies on: a term, a
  // promise, the rebuild mark, the count of cuts.
  const uint32_t decayed = GENERATE(0, 1);
  StoreBed bed;
  bed.stable_follows = false;  // no checkpoint, which would write it again and again
  bed.serve();
  bed.write(3);
  bed.flush();
  bed.kill();
  REQUIRE(bed.open().has_value());
  bed.begin_term();
  bed.write(4);
  bed.flush();
  struct Recorded : SuperblockWaiter {
    Recorded()
        : SuperblockWaiter(
              [](SuperblockWaiter& self) { static_cast<Recorded&>(self).done = true; }) {}
    bool done = false;
  } recorded;
  Superblock& superblock = bed.store->superblock().change();
  superblock.epoch = Epoch(7);
  superblock.epoch_holder = "n9";
  superblock.rebuild_mark = true;
  bed.store->superblock().wait(recorded);
  REQUIRE(bed.run([&] { return recorded.done; }));
  bed.kill();
  bed.node.disk().flip_bit(bed.path("superblock"), Superblock::kSlotOffset[decayed] + 520, 0);
  REQUIRE(bed.open().has_value());
  CHECK(bed.store->wal().head() == bed.model.head());
  CHECK(bed.store->facts().epoch == Epoch(7));
  CHECK(bed.store->facts().epoch_holder == "n9");
  CHECK_FALSE(bed.store->base_usable());
  CHECK(bed.difference() == "");
  // Opening has made it whole again, beginning with the bad one: then the other one may decay.
  bed.kill();
  bed.node.disk().flip_bit(bed.path("superblock"), Superblock::kSlotOffset[1 - decayed] + 520, 0);
  REQUIRE(bed.open().has_value());
  CHECK(bed.store->wal().head() == bed.model.head());
  CHECK(bed.store->facts().epoch == Epoch(7));
  bed.kill();
  // Both at once are noticed, and nothing is made over them.
  for (const uint64_t offset : Superblock::kSlotOffset)
    bed.node.disk().flip_bit(bed.path("superblock"), offset + 520, 0);
  const Status opened = bed.open();
  REQUIRE_FALSE(opened.has_value());
  CHECK(opened.error().code == Errc::kCorrupt);
  CHECK(opened.error().message.find("refusing to make a new volume") != std::string::npos);
}

TEST_CASE("superblock_writer: a start that dies while it writes leaves the only good slot alone",
          "[volume][superblock]") {
  const uint32_t decayed = GENERATE(0, 1);
  for (uint64_t at = 0; at < 60; ++at) {
    StoreBed bed({.seed = at + 1});
    bed.serve();
    bed.write(3);
    bed.flush();
    bed.kill();
    bed.world.run_for(io::kSecond);
    bed.node.disk().flip_bit(bed.path("superblock"), Superblock::kSlotOffset[decayed] + 600, 0);
    bed.begin_open();
    for (uint64_t i = 0; i < at && !bed.open_result; ++i) bed.world.step();
    bed.power_loss(io::SimPowerLoss::kRandom);
    REQUIRE(bed.open().has_value());
    CHECK(bed.store->wal().head() == bed.model.head());
    CHECK(bed.difference() == "");
  }
}

TEST_CASE("superblock_writer: a slot that the device cannot read is as good as a damaged one",
          "[volume][superblock]") {
  const uint32_t bad = GENERATE(0, 1);
  StoreBed bed;
  bed.serve();
  bed.write(3);
  bed.flush();
  bed.kill();
  bed.world.run_for(io::kSecond);
  const uint64_t offset = Superblock::kSlotOffset[bad];
  bed.node.disk().add_fault(
      {.match = {
           .kind = io::SimOpKind::kRead, .path = "superblock", .from = offset, .to = offset + 1}});
  REQUIRE(bed.open().has_value());
  CHECK(bed.difference() == "");
  bed.kill();
  bed.node.disk().add_fault(
      {.match = {.kind = io::SimOpKind::kRead, .path = "superblock"}, .forever = true});
  const Status opened = bed.open();
  REQUIRE_FALSE(opened.has_value());
  CHECK(opened.error().code == Errc::kCorrupt);
}
