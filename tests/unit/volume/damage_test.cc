// A copy whose log is damaged and that may be rebuilt: it opens, shows what is wrong, changes
// nothing, and is made anew when told to.
#include <catch2/catch.hpp>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "rebuild_bed.h"

using namespace ringbolt;
using namespace ringbolt::test;

namespace {

/// A replica's copy with records 1 .. 9, checkpoint at 3, all flushed, of which the superblock
/// knows.
void fill(RebuildBed& bed) {
  bed.config.rebuildable = true;
  bed.stable_follows = false;
  bed.serve();
  bed.write(10);
  bed.write(11, 3);
  bed.checkpoint_all();
  for (uint64_t i = 4; i <= 9; ++i) {
    bed.write(20 + i, 2);
    bed.store->seal();
  }
  bed.flush();
  bed.world.run_for(5 * io::kSecond);
  REQUIRE(bed.store->facts().durable == Lsn(9));
  REQUIRE(bed.store->checkpoint() == Lsn(3));
}

/// All that is on the disk.
std::vector<std::vector<std::byte>> disk(const RebuildBed& bed) {
  std::vector<std::vector<std::byte>> all;
  for (const char* leaf : {"superblock", "wal", "base"}) {
    all.push_back(
        bed.node.read_file(bed.path(leaf), 0, bed.node.disk().file_bytes(bed.path(leaf))));
  }
  return all;
}

/// The frame of record 7 is damaged; opening finds it.
uint64_t open_damaged(RebuildBed& bed) {
  fill(bed);
  const uint64_t offset = bed.frame_offset(Lsn(7));
  bed.crash(1);
  bed.node.disk().flip_bit(bed.path("wal"), offset + 40, 0);
  REQUIRE(bed.open().has_value());
  REQUIRE_FALSE(bed.store->damage().empty());
  return offset;
}

void repair(RebuildBed& bed, uint64_t offset) {
  bed.node.disk().flip_bit(bed.path("wal"), offset + 40, 0);
}

}  // namespace

TEST_CASE("damage: a copy that may be rebuilt opens, says what is wrong, and writes nothing",
          "[volume][rebuild]") {
  const int damage = GENERATE(0, 1, 2);
  const bool close = GENERATE(false, true);
  RebuildBed bed;
  fill(bed);
  const uint64_t offset = bed.frame_offset(Lsn(7));
  bed.crash(1);
  bed.world.run_for(io::kSecond);
  std::optional<uint64_t> fault;
  if (damage < 2)
    bed.node.disk().flip_bit(bed.path("wal"), offset + (damage == 0 ? 40 : kBlockBytes + 5), 0);
  if (damage == 2) {
    fault = bed.node.disk().add_fault(
        {.match = {.kind = io::SimOpKind::kRead, .path = "wal", .from = offset, .to = offset + 1},
         .forever = true});
  }
  const auto before = disk(bed);
  for (int start = 0; start < 2; ++start) {
    const Status opened = bed.open();
    if (!opened.has_value()) FAIL(opened.error().message);
    CHECK(bed.store->is_open());
    CHECK_FALSE(bed.store->failed());
    CHECK_FALSE(bed.store->base_usable());
    CHECK_FALSE(bed.store->facts().rebuild_mark);
    INFO(bed.store->damage());
    CHECK(contains(bed.store->damage(),
                   damage == 2 ? "cannot read the WAL" : "byte " + std::to_string(offset)));
    CHECK(bed.store->wal().head() == Lsn(3));
    CHECK(bed.store->wal().durable() == Lsn(3));
    CHECK(bed.store->wal().tail() == Lsn(4));
    CHECK(bed.store->index().size() == 0);
    // It takes nothing, and gives nothing to the base image.
    CHECK_FALSE(bed.try_append(RecordKind::kWrite, 1, 1).has_value());
    CHECK_FALSE(bed.try_append(RecordKind::kWrite, 1, 1, true).has_value());
    const io::Buffer buffer = bed.pool->allocate(kBlockBytes);
    FrameHeader header(buffer.data);
    header.begin(bed.store->facts().volume, {Epoch(1), Incarnation(1)}, Lsn(4));
    header.add_record(RecordKind::kTerm, Lba{}, 0);
    header.seal(0, Lsn{});
    CHECK(bed.store->append_frame(buffer) == Wal::Admission::kNoSpace);
    bed.pool->release(buffer);
    bed.store->set_stable(Lsn(9));
    std::optional<Status> cut;
    bed.store->cut(Lsn(3), [&](Status status) { cut = std::move(status); });
    REQUIRE(bed.run([&] { return cut.has_value(); }));
    CHECK(cut->error().code == Errc::kInvalid);
    bed.world.run_for(60 * io::kSecond);
    const uint64_t events = bed.world.events_run();
    bed.world.run_for(3600 * io::kSecond);
    CHECK(bed.world.events_run() == events);
    if (close) {
      CHECK(bed.close().has_value());
    } else {
      bed.crash(0);
    }
    bed.world.run_for(io::kSecond);
    CHECK((disk(bed) == before));
  }
  // So nothing is lost: with the damage repaired it is all there.
  if (damage < 2)
    bed.node.disk().flip_bit(bed.path("wal"), offset + (damage == 0 ? 40 : kBlockBytes + 5), 0);
  if (fault) bed.node.disk().remove_fault(*fault);
  REQUIRE(bed.open().has_value());
  CHECK(bed.store->damage().empty());
  CHECK(bed.store->base_usable());
  CHECK(bed.store->wal().head() == Lsn(9));
  CHECK(bed.difference() == "");
}

TEST_CASE("damage: what a copy promises meanwhile is kept, and the log's damage with it",
          "[volume][rebuild]") {
  RebuildBed bed;
  const uint64_t offset = open_damaged(bed);
  bed.store->superblock().change().epoch = Epoch(5);
  REQUIRE(bed.close().has_value());  // at once, while that is on its way
  REQUIRE(bed.open().has_value());
  CHECK(bed.store->facts().epoch == Epoch(5));
  CHECK_FALSE(bed.store->facts().clean_shutdown);
  CHECK_FALSE(bed.store->damage().empty());
  REQUIRE(bed.close().has_value());
  repair(bed, offset);
  REQUIRE(bed.open().has_value());
  CHECK(bed.store->facts().epoch == Epoch(5));
  CHECK(bed.store->wal().head() == Lsn(9));
  CHECK(bed.difference() == "");
}

TEST_CASE("damage: a rebuild makes the copy good again", "[volume][rebuild]") {
  RebuildBed bed;
  open_damaged(bed);
  bed.begin(Lsn(6));
  CHECK(bed.store->damage().empty());
  CHECK_FALSE(bed.store->base_usable());
  bed.put(RecordKind::kWrite, 3, 4);
  REQUIRE(bed.complete().has_value());
  CHECK(bed.store->base_usable());
  CHECK(bed.difference() == "");
  bed.crash(1);
  REQUIRE(bed.open().has_value());
  CHECK(bed.store->damage().empty());
  CHECK(bed.store->base_usable());
  CHECK(bed.difference() == "");
}

TEST_CASE("damage: a rebuild writes a WAL anew that could not be read", "[volume][rebuild]") {
  // A read error at a place that the new log does not reach before the next restart.
  const uint64_t at = GENERATE(uint64_t{700}, kWalBytesMin / 2 + 5, kWalBytesMin - 1);
  RebuildBed bed;
  fill(bed);
  bed.crash(1);
  bed.node.disk().make_unreadable(bed.path("wal"), at, 1);
  REQUIRE(bed.open().has_value());
  REQUIRE_FALSE(bed.store->damage().empty());
  SECTION("the copy is good, and stays so over a restart") {
    bed.begin(Lsn(6));
    CHECK(bed.store->damage().empty());
    CHECK(bed.node.disk().unreadable_sectors(bed.path("wal")) == 0);
    bed.put(RecordKind::kWrite, 3, 4);
    REQUIRE(bed.complete().has_value());
    bed.crash(1);
    const Status opened = bed.open();
    REQUIRE(opened.has_value());
    CHECK(bed.store->damage() == "");
    CHECK(bed.store->base_usable());
    CHECK(bed.difference() == "");
  }
  SECTION("not before the mark is durable, and flushed before the log is used") {
    const uint64_t mark = bed.node.disk().hold({.kind = io::SimOpKind::kFlush, .path = "superblock"});
    bed.take_source(Lsn(6));
    bed.start();
    REQUIRE(bed.run([&] { return bed.node.disk().held(mark) == 1; }));
    bed.world.run_for(10 * io::kSecond);
    CHECK(bed.node.disk().unreadable_sectors(bed.path("wal")) == 1);
    const uint64_t flush = bed.node.disk().hold({.kind = io::SimOpKind::kFlush, .path = "wal"});
    bed.node.disk().release(mark);
    REQUIRE(bed.run([&] { return bed.node.disk().held(flush) == 1; }));
    bed.world.run_for(10 * io::kSecond);
    CHECK_FALSE(bed.begun.has_value());
    CHECK(bed.node.disk().unreadable_sectors(bed.path("wal")) == 0);
    bed.node.disk().release(flush);
    REQUIRE(bed.run([&] { return bed.begun.has_value(); }));
    CHECK(bed.begun->has_value());
  }
  SECTION("a crash in the middle: it is found again, and written again") {
    const uint64_t hold = bed.node.disk().hold({.kind = io::SimOpKind::kWrite, .path = "wal"});
    bed.take_source(Lsn(6));
    bed.start();
    REQUIRE(bed.run([&] { return bed.node.disk().held(hold) == 1; }));
    bed.crash(1);
    bed.node.disk().release(hold);
    REQUIRE(bed.open().has_value());
    CHECK(bed.store->facts().rebuild_mark);
    CHECK(bed.store->damage().empty() == (bed.node.disk().unreadable_sectors(bed.path("wal")) == 0));
    bed.begin(Lsn(6));
    CHECK(bed.node.disk().unreadable_sectors(bed.path("wal")) == 0);
    REQUIRE(bed.complete().has_value());
  }
  SECTION("an error fails the store, which says what it did") {
    const auto kind = GENERATE(io::SimOpKind::kWrite, io::SimOpKind::kFlush);
    bed.node.disk().add_fault({.match = {.kind = kind, .path = "wal"}, .skip = kind == io::SimOpKind::kWrite ? 3u : 0u});
    bed.take_source(Lsn(6));
    bed.start();
    REQUIRE(bed.run([&] { return bed.begun.has_value(); }));
    REQUIRE_FALSE(bed.begun->has_value());
    CHECK(bed.begun->error().code == Errc::kIo);
    CHECK(contains(bed.store->failure(), kind == io::SimOpKind::kWrite ? "writing the WAL anew between byte 1572864 and 2097152"
                                                                       : "flushing the WAL that was written anew"));
    CHECK(bed.failures.size() == 1);
    CHECK_FALSE(bed.close().has_value());
  }
  SECTION("a superblock that fails meanwhile: what is under way ends first") {
    const uint64_t hold = bed.node.disk().hold({.kind = io::SimOpKind::kWrite, .path = "wal"});
    bed.take_source(Lsn(6));
    bed.start();
    REQUIRE(bed.run([&] { return bed.node.disk().held(hold) == 1; }));
    bed.node.disk().add_fault({.match = {.kind = io::SimOpKind::kWrite, .path = "superblock"}});
    bed.store->superblock().change();
    REQUIRE(bed.run([&] { return bed.store->failed(); }));
    bed.world.run_for(io::kSecond);
    CHECK_FALSE(bed.begun.has_value());
    bed.node.disk().release(hold);
    REQUIRE(bed.run([&] { return bed.begun.has_value(); }));
    CHECK_FALSE(bed.begun->has_value());
    CHECK_FALSE(bed.close().has_value());
  }
}

TEST_CASE("damage: damaged bytes alone are not written over", "[volume][rebuild]") {
  // They do no harm behind the new log: its key is another one.
  RebuildBed bed;
  open_damaged(bed);
  const uint64_t hold = bed.node.disk().hold({.kind = io::SimOpKind::kWrite, .path = "wal"});
  bed.begin(Lsn(6));
  CHECK(bed.node.disk().held(hold) == 0);
  bed.node.disk().release(hold);
}

TEST_CASE("damage: a crash while the rebuild begins leaves the copy as it was, or with the mark",
          "[volume][rebuild]") {
  uint64_t as_it_was = 0, marked = 0;
  bool over = false;
  for (uint64_t at = 0; !over; ++at) {
    INFO("end after " << at << " events");
    RebuildBed bed({.seed = at + 1, .volume_blocks = 64});
    const uint64_t offset = open_damaged(bed);
    const BlockModel old = bed.model;
    bed.take_source(Lsn(6));
    bed.start();
    for (uint64_t i = 0; i < at && !bed.begun.has_value(); ++i) bed.world.step();
    over = bed.begun.has_value();
    if (over) {
      bed.set_term();
      bed.put(RecordKind::kWrite, 5, 1);
      bed.flush();
    }
    bed.crash(at);
    REQUIRE(bed.open().has_value());
    CHECK_FALSE(bed.store->base_usable());
    if (bed.store->facts().rebuild_mark) {
      ++marked;
      CHECK(bed.store->damage().empty());
      CHECK(bed.store->wal().head() == bed.model.head());
      continue;
    }
    ++as_it_was;
    REQUIRE_FALSE(over);
    CHECK_FALSE(bed.store->damage().empty());
    bed.crash(0);
    repair(bed, offset);
    REQUIRE(bed.open().has_value());
    bed.model = old;
    CHECK(bed.store->wal().head() == Lsn(9));
    CHECK(bed.difference() == "");
  }
  CHECK(as_it_was > 2);
  CHECK(marked > 2);
}

TEST_CASE("damage: what is no damage to the log is refused as ever", "[volume][rebuild]") {
  RebuildBed bed;
  fill(bed);
  bed.crash(1);
  bed.world.run_for(io::kSecond);
  const auto refused = [&](Errc code) {
    const Status opened = bed.open();
    bed.crash(0);
    REQUIRE_FALSE(opened.has_value());
    CHECK(opened.error().code == code);
  };
  const auto good = disk(bed);
  // The WAL of another volume: it must not be written over.
  std::vector<std::byte> block(kBlockBytes);
  FrameHeader header(block.data());
  header.begin(Uuid{{7, 7}}, {Epoch(1), Incarnation(1)}, Lsn(1));
  header.add_record(RecordKind::kTerm, Lba{}, 0);
  header.seal(0, Lsn{});
  bed.node.write_file(bed.path("wal"), 0, block);
  refused(Errc::kInvalid);
  // The same for one that has the mark.
  bed.node.write_file(bed.path("wal"), 0, good[1]);
  REQUIRE(bed.open().has_value());
  bed.begin(Lsn(3));
  bed.crash(1);
  bed.world.run_for(io::kSecond);
  bed.node.write_file(bed.path("wal"), 0, block);
  refused(Errc::kInvalid);
  bed.node.disk().remove_file(bed.path("wal"));
  refused(Errc::kNotFound);
  bed.node.write_file(bed.path("wal"), 0, good[1]);
  // A superblock of which neither slot is good.
  for (const uint64_t offset : Superblock::kSlotOffset)
    bed.node.disk().flip_bit(bed.path("superblock"), offset + 300, 1);
  refused(Errc::kCorrupt);
}

TEST_CASE("damage: a torn tail is none", "[volume][rebuild]") {
  RebuildBed bed;
  fill(bed);
  bed.write(40, 2);
  bed.settle_written();
  const uint64_t offset = bed.frame_offset(Lsn(10));
  bed.crash(0);
  bed.node.disk().flip_bit(bed.path("wal"), offset + 40, 0);
  REQUIRE(bed.open().has_value());
  CHECK(bed.store->damage().empty());
  CHECK(bed.store->base_usable());
  CHECK(bed.store->wal().head() == Lsn(9));
}

TEST_CASE("damage: a store that is not to be rebuilt does not open", "[volume][rebuild]") {
  RebuildBed bed;
  fill(bed);
  const uint64_t offset = bed.frame_offset(Lsn(7));
  bed.crash(1);
  bed.node.disk().flip_bit(bed.path("wal"), offset + 40, 0);
  bed.config.rebuildable = false;
  const Status opened = bed.open();
  REQUIRE_FALSE(opened.has_value());
  CHECK(opened.error().code == Errc::kCorrupt);
  CHECK_FALSE(bed.store->is_open());
}

TEST_CASE("damage: a superblock that fails meanwhile fails the store, which still closes",
          "[volume][rebuild]") {
  RebuildBed bed;
  open_damaged(bed);
  bed.node.disk().add_fault({.match = {.kind = io::SimOpKind::kWrite, .path = "superblock"}});
  bed.store->superblock().change().epoch = Epoch(5);
  const bool closing = GENERATE(false, true);
  if (!closing) {
    REQUIRE(bed.run([&] { return bed.store->failed(); }));
    bed.take_source(Lsn(6));
    bed.start();
    REQUIRE(bed.begun.has_value());
    CHECK_FALSE(bed.begun->has_value());
  }
  const Status closed = bed.close();
  CHECK_FALSE(closed.has_value());
}
