// The store: what a read returns, what a full or failing device does, and closing.
#include <catch2/catch.hpp>
#include <cerrno>
#include <string>
#include <vector>

#include "store_bed.h"

using namespace ringbolt;
using namespace ringbolt::test;

namespace {

io::SimOpMatch on(io::SimOpKind kind, const char* file) { return {.kind = kind, .path = file}; }

/// Reads must not touch the base image or the WAL's device.
void expect_error_from_disk(StoreBed& bed, uint64_t lba, const char* file) {
  const uint64_t fault =
      bed.node.disk().add_fault({.match = on(io::SimOpKind::kRead, file), .forever = true});
  CHECK(bed.read_error(lba) == EIO);
  bed.node.disk().remove_fault(fault);
  CHECK(bed.read_error(lba) == 0);
}

}  // namespace

TEST_CASE("store: a read returns the newest of memory, WAL and base image", "[volume][store]") {
  StoreBed bed;
  bed.serve();
  bed.stable_follows = false;
  bed.write(10, 4);
  bed.write(30);
  bed.checkpoint_all();  // 10 .. 13 and 30 in the base image
  bed.write(11);         // newer in the WAL's device
  bed.append(RecordKind::kZero, 12, 1);
  bed.drop_cache();
  bed.write(13);  // newer in memory
  bed.store->seal();
  bed.write(14);  // in the open frame
  CHECK(bed.read_is_right(bed.begin_read(8, 10)));
  CHECK(bed.difference() == "");
  // And they came from where they lie.
  expect_error_from_disk(bed, 10, "base");
  expect_error_from_disk(bed, 11, "wal");
  const uint64_t no_reads = bed.node.disk().add_fault(
      {.match = {.kind = io::SimOpKind::kRead, .path = ""}, .forever = true});
  for (const uint64_t lba : {12, 13, 14}) CHECK(bed.read_error(lba) == 0);
  bed.node.disk().remove_fault(no_reads);
  bed.settle_written();
}

TEST_CASE("store: a read says how new what it saw is", "[volume][store]") {
  StoreBed bed;
  bed.serve();
  bed.stable_follows = false;
  const Lsn first = bed.write(1);
  bed.checkpoint_all();
  const Lsn second = bed.write(2);
  bed.drop_cache();
  const Lsn third = bed.append(RecordKind::kTrim, 3, 1);
  const Lsn fourth = bed.write(4);
  const auto newest = [&](uint64_t lba, uint32_t blocks) {
    StoreBed::Read& read = bed.begin_read(lba, blocks);
    REQUIRE(bed.run([&] { return read.done; }));
    return read.job.newest;
  };
  CHECK(newest(1, 1) == Lsn{});
  CHECK(newest(1, 2) == second);
  CHECK(newest(1, 3) == third);
  CHECK(newest(0, 8) == fourth);
  CHECK(first < second);
  bed.settle_written();
}

TEST_CASE("store: a damaged block in the WAL is an error for its reader, not data",
          "[volume][store]") {
  StoreBed bed;
  bed.serve();
  bed.stable_follows = false;
  const Lsn lsn = bed.write(5, 3);
  bed.drop_cache();
  bed.node.disk().flip_bit(bed.path("wal"), bed.frame_offset(lsn) + 2 * kBlockBytes + 9, 2);
  CHECK(bed.read_error(5) == 0);
  CHECK(bed.read_error(6) == EIO);
  CHECK(bed.read_error(7) == 0);
  CHECK_FALSE(bed.store->failed());
}

TEST_CASE("store: many reads at once all end, also those that wait for others", "[volume][store]") {
  // Every other block in the base image, so that each job needs many device reads: more than there
  // may be at a time.
  StoreBed bed({.volume_blocks = 256});
  bed.serve();
  for (uint64_t lba = 0; lba < 256; lba += 2) bed.write(lba);
  bed.checkpoint_all();
  bed.stable_follows = false;
  for (uint64_t lba = 1; lba < 256; lba += 2) bed.write(lba);
  bed.drop_cache();
  std::vector<StoreBed::Read*> reads;
  for (uint64_t i = 0; i < 12; ++i) reads.push_back(&bed.begin_read(i * 16, 64));
  for (StoreBed::Read* read : reads) CHECK(bed.read_is_right(*read));
}

TEST_CASE("store: a read that waits for a free slot is served before reads that come later",
          "[volume][store]") {
  StoreBed bed({.volume_blocks = 256});
  bed.serve();
  for (uint64_t lba = 0; lba < 256; lba += 2) bed.write(lba);
  bed.checkpoint_all();
  bed.stable_follows = false;
  for (uint64_t lba = 1; lba < 256; lba += 2) bed.write(lba);
  bed.drop_cache();
  // As many readers of one block each as there are slots, and each begins its next read as soon as
  // one ends, as busy clients do: every slot that comes free could be taken at once.
  struct Busy {
    StoreBed* bed;
    ReadJob job;
    uint64_t ended = 0;
    bool go_on = true;
    void begin() { bed->store->read(job); }
  };
  std::vector<Busy> busy(128);
  const io::Buffer buffer = bed.pool->allocate(128 * kBlockBytes);
  REQUIRE(buffer);
  for (size_t i = 0; i < busy.size(); ++i) {
    Busy& one = busy[i];
    one.bed = &bed;
    one.job.first = Lba(2 * i);
    one.job.blocks = 1;
    one.job.data = buffer.data + i * kBlockBytes;
    one.job.owner = &one;
    one.job.done = [](ReadJob& job, int) {
      auto& self = *static_cast<Busy*>(job.owner);
      ++self.ended;
      if (self.go_on) self.begin();
    };
    one.begin();
  }
  StoreBed::Read& patient = bed.begin_read(100, 64);
  REQUIRE(bed.run([&] { return patient.done || busy[0].ended > 1000; }));
  CHECK(patient.done);
  for (Busy& one : busy) one.go_on = false;
  CHECK(bed.read_is_right(patient));
  bed.world.run_for(io::kSecond);
  bed.pool->release(buffer);
}

TEST_CASE("store: a failed WAL write or flush fails the store, once and for all",
          "[volume][store]") {
  for (const io::SimOpKind kind : {io::SimOpKind::kWrite, io::SimOpKind::kFlush}) {
    StoreBed bed;
    bed.serve();
    bed.write(1);
    bed.flush();
    const Lsn durable = bed.store->wal().durable();
    bed.node.disk().add_fault({.match = on(kind, "wal")});
    bed.write(2);
    bed.write(3);
    bed.store->seal();
    bed.store->request_flush(bed.store->wal().head());
    REQUIRE(bed.run([&] { return bed.store->failed(); }));
    const uint64_t calls = bed.durable_calls;
    REQUIRE(bed.failures.size() == 1);
    CHECK(bed.failures[0].find("Input/output error") != std::string::npos);
    CHECK(bed.store->failure() == bed.failures[0]);
    // The fault is over, but nobody is told of success again.
    CHECK_FALSE(bed.try_append(RecordKind::kWrite, 9, 1).has_value());
    CHECK_FALSE(bed.try_append(RecordKind::kWrite, 9, 1, true).has_value());
    bed.store->request_flush(bed.store->wal().head());
    bed.world.run_for(20 * io::kSecond);
    CHECK(bed.durable_calls == calls);
    CHECK(bed.store->wal().durable() == durable);
    CHECK(bed.failures.size() == 1);
    const Status closed = bed.close();
    REQUIRE_FALSE(closed.has_value());
    CHECK(closed.error().code == Errc::kIo);
    // A restart finds at least what was durable.
    REQUIRE(bed.open().has_value());
    CHECK_FALSE(bed.store->facts().clean_shutdown);
    CHECK(bed.store->wal().head() >= durable);
    bed.model.truncate(bed.store->wal().head());
    CHECK(bed.difference() == "");
  }
}

TEST_CASE(
    "store: a failed base image or superblock fails the store, and nothing is acknowledged after",
    "[volume][store]") {
  struct Case {
    io::SimOpKind kind;
    const char* file;
  };
  for (const Case& c :
       {Case{io::SimOpKind::kWrite, "base"}, Case{io::SimOpKind::kFlush, "base"},
        Case{io::SimOpKind::kWrite, "superblock"}, Case{io::SimOpKind::kFlush, "superblock"}}) {
    INFO(c.file << " " << static_cast<int>(c.kind));
    StoreBed bed;
    bed.serve();
    bed.write(1, 4);
    bed.flush();
    bed.node.disk().add_fault({.match = on(c.kind, c.file)});
    // The checkpoint fails while the WAL has writes and a flush under way.
    const uint64_t hold = bed.node.disk().hold(on(io::SimOpKind::kFlush, "wal"));
    bed.write(2);
    bed.store->seal();
    bed.store->request_flush(bed.store->wal().head());
    REQUIRE(bed.run([&] { return bed.store->failed(); }));
    const uint64_t calls = bed.durable_calls;
    bed.node.disk().release(hold);
    bed.world.run_for(10 * io::kSecond);
    CHECK(bed.durable_calls == calls);
    CHECK(bed.failures.size() == 1);
    CHECK_FALSE(bed.try_append(RecordKind::kTrim, 9, 1).has_value());
    CHECK_FALSE(bed.close().has_value());
    REQUIRE(bed.open().has_value());
    bed.model.truncate(bed.store->wal().head());
    CHECK(bed.difference() == "");
    CHECK(bed.store->wal().head() >= Lsn(2));
  }
}

TEST_CASE("store: a failed store closes although more fails meanwhile", "[volume][store]") {
  // One device that dies takes all files with it, one after the other.
  for (const char* second : {"base", "superblock"}) {
    INFO(second);
    StoreBed bed;
    bed.serve();
    bed.write(1, 4);
    bed.flush();
    const uint64_t hold = bed.node.disk().hold(on(io::SimOpKind::kFlush, second));
    REQUIRE(bed.run([&] { return bed.node.disk().held(hold) == 1; }));  // of the checkpoint
    bed.node.disk().add_fault({.match = on(io::SimOpKind::kWrite, "wal")});
    bed.write(2);
    bed.store->seal();
    REQUIRE(bed.run([&] { return bed.store->failed(); }));
    std::optional<Status> closed;
    bed.store->close([&](Status status) { closed = std::move(status); });
    bed.node.disk().add_fault({.match = {.kind = std::nullopt, .path = second}, .forever = true});
    bed.node.disk().release(hold);
    REQUIRE(bed.run([&] { return closed.has_value(); }));
    CHECK_FALSE(closed->has_value());
    // Whoever waits for the superblock hears of it, too.
    CHECK(bed.failures.size() == (second == std::string("superblock") ? 2 : 1));
    bed.node.disk().clear_faults();
    bed.kill();
    REQUIRE(bed.open().has_value());
  }
}

TEST_CASE("store: a failed superblock write while a failed store closes does not keep it open",
          "[volume][store]") {
  StoreBed bed;
  bed.serve();
  bed.node.disk().add_fault({.match = on(io::SimOpKind::kWrite, "wal")});
  bed.write(2);
  bed.store->seal();
  REQUIRE(bed.run([&] { return bed.store->failed(); }));
  bed.node.disk().add_fault({.match = on(io::SimOpKind::kWrite, "superblock"), .forever = true});
  CHECK_FALSE(bed.close().has_value());
}

TEST_CASE("store: a clean close leaves everything in the base image and says so",
          "[volume][store]") {
  StoreBed bed({.volume_blocks = 2048});
  bed.serve();
  io::SimRandom& random = bed.world.random();
  for (int i = 0; i < 300; ++i) {
    const uint64_t lba = random.below(2000);
    if (random.chance(1, 5)) {
      bed.append(RecordKind::kTrim, lba, 1 + static_cast<uint32_t>(random.below(48)));
    } else {
      bed.write(lba, 1 + static_cast<uint32_t>(random.below(16)));
    }
  }
  // Records in the open frame belong to it, too.
  CHECK(bed.store->wal().has_open_records());
  REQUIRE(bed.close().has_value());
  CHECK(bed.base_difference(bed.model.head()) == "");
  Superblock newest;
  for (const uint64_t offset : Superblock::kSlotOffset) {
    const auto slot = Superblock::decode(
        bed.node.read_file(bed.path("superblock"), offset, Superblock::kSlotBytes).data());
    if (slot.has_value() && slot.value().generation > newest.generation) newest = slot.value();
  }
  CHECK(newest.clean_shutdown);
  CHECK(newest.checkpoint == bed.model.head());
  CHECK(newest.durable == bed.model.head());
  // It survives a power loss right after, and the next start takes the mark away before it serves.
  bed.power_loss(io::SimPowerLoss::kDropAll);
  REQUIRE(bed.open().has_value());
  CHECK(bed.store->wal().head() == bed.model.head());
  CHECK(bed.store->index().size() == 0);
  CHECK(bed.difference() == "");
  CHECK_FALSE(bed.store->facts().clean_shutdown);
  bed.power_loss(io::SimPowerLoss::kDropAll);
  REQUIRE(bed.open().has_value());
  CHECK_FALSE(bed.store->facts().clean_shutdown);
}

TEST_CASE("store: closing a copy copies only what is stable", "[volume][store]") {
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
  REQUIRE(bed.close().has_value());
  CHECK(bed.base_difference(stable) == "");
  REQUIRE(bed.open().has_value());
  CHECK(bed.store->wal().head() == bed.model.head());
  CHECK(bed.difference() == "");
}

TEST_CASE("store: an idle volume flushes and checkpoints by itself", "[volume][store]") {
  StoreBed bed;
  bed.serve();
  bed.write(7, 3);
  bed.store->seal();
  REQUIRE(bed.run([&] { return bed.store->checkpoint() == bed.model.head(); }));
  CHECK(bed.base_difference(bed.model.head()) == "");
  CHECK(bed.store->index().size() == 0);
  // And then rests.
  bed.world.run_for(5 * io::kSecond);
  const uint64_t events = bed.world.events_run();
  bed.world.run_for(3600 * io::kSecond);
  CHECK(bed.world.events_run() == events);
}

TEST_CASE("store: what a start finds is checkpointed as soon as it is stable", "[volume][store]") {
  // Nothing is appended any more, as on a copy that is all that is left.
  StoreBed bed;
  bed.serve();
  bed.stable_follows = false;
  bed.write(7, 3);
  bed.flush();
  bed.kill();
  REQUIRE(bed.open().has_value());
  bed.world.run_for(10 * io::kSecond);
  CHECK(bed.store->checkpoint() == Lsn{});
  // While nothing is stable it rests.
  const uint64_t events = bed.world.events_run();
  bed.world.run_for(3600 * io::kSecond);
  CHECK(bed.world.events_run() == events);
  bed.store->set_stable(bed.model.head());
  REQUIRE(bed.run([&] { return bed.store->checkpoint() == bed.model.head(); }));
  CHECK(bed.base_difference(bed.model.head()) == "");
}

TEST_CASE("store: writing goes on for many laps, the WAL never fills for good", "[volume][store]") {
  StoreBed bed({.volume_blocks = 1024});
  bed.serve();
  io::SimRandom& random = bed.world.random();
  uint64_t blocks_written = 0;
  uint64_t used_max = 0;
  while (blocks_written < 6 * 2048) {
    const uint32_t blocks = 1 + static_cast<uint32_t>(random.below(127));
    bed.append(RecordKind::kWrite, random.below(1024 - blocks), blocks);
    blocks_written += blocks;
    if (random.chance(1, 3)) bed.store->seal();
    used_max = std::max(used_max, bed.pool->used_bytes());
  }
  bed.flush();
  CHECK(bed.difference() == "");
  CHECK(used_max <= 16u << 20);
  REQUIRE(bed.close().has_value());
  CHECK(bed.base_difference(bed.model.head()) == "");
}

TEST_CASE("store: frames of many overlapping trims are taken by a copy of any size",
          "[volume][store]") {
  // What one copy builds, another one with a small index must be able to append.
  StoreBed primary({.volume_blocks = 1u << 17}), replica({.volume_blocks = 1u << 17});
  primary.serve();
  REQUIRE(replica.open().has_value());
  replica.store->adopt_volume(primary.store->facts().volume);
  replica.store->superblock().change().history = primary.store->facts().history;
  replica.world.run_for(io::kSecond);
  for (int i = 0; i < 40; ++i) primary.append(RecordKind::kTrim, 8, 4096);
  primary.settle_written();
  while (replica.store->wal().head() < primary.store->wal().head()) {
    const Frame& frame = *primary.store->wal().find_frame(replica.store->wal().head().next());
    const uint32_t bytes = (1 + frame.payload_blocks) * kBlockBytes;
    const io::Buffer buffer = replica.pool->allocate(bytes);
    std::memcpy(buffer.data, frame.buffer.data, bytes);
    Wal::Admission admission{};
    REQUIRE(replica.world.run_until(
        [&] { return (admission = replica.store->append_frame(buffer)) == Wal::Admission::kOk; },
        100 * io::kSecond));
    replica.store->request_flush(replica.store->wal().head());
  }
  CHECK(replica.store->wal().head() == primary.store->wal().head());
}
