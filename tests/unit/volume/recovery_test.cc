// What recovery takes for a torn tail, what for damage, and what it refuses to guess.
#include <catch2/catch.hpp>
#include <cstring>
#include <string>
#include <vector>

#include "store_bed.h"

using namespace ringbolt;
using namespace ringbolt::test;

namespace {

/// A store with records 1 (the term) to 9: 1 .. 5 flushed and checkpoint at 3, 6 .. 9 written only,
/// each write a frame of its own.
void fill(StoreBed& bed) {
  bed.stable_follows = false;
  bed.serve();
  bed.write(10);
  bed.write(11, 3);
  bed.store->seal();
  bed.flush();
  bed.checkpoint_all();
  for (uint64_t i = 4; i <= 9; ++i) {
    bed.write(20 + i, 2);
    bed.store->seal();
    if (i == 5) bed.flush();
  }
  bed.settle_written();
  REQUIRE(bed.model.head() == Lsn(9));
  REQUIRE(bed.store->wal().durable() == Lsn(5));
  REQUIRE(bed.store->checkpoint() == Lsn(3));
}

}  // namespace

TEST_CASE("recovery: a damaged frame that was not flushed ends the log there",
          "[volume][recovery]") {
  for (const uint64_t damage :
       {uint64_t{40}, uint64_t{kBlockBytes + 5}}) {  // in the header, in the payload
    StoreBed bed;
    fill(bed);
    const uint64_t offset = bed.frame_offset(Lsn(7));
    bed.kill();
    bed.node.disk().flip_bit(bed.path("wal"), offset + damage, 3);
    REQUIRE(bed.open().has_value());
    CHECK(bed.store->wal().head() == Lsn(6));
    bed.model.truncate(Lsn(6));
    CHECK(bed.difference() == "");
    // The records after it are gone for good, also when the log grows over their place.
    bed.begin_term();
    for (uint64_t i = 0; i < 6; ++i) {
      bed.write(40 + i);
      bed.store->seal();
      bed.flush();
      bed.kill();
      REQUIRE(bed.open().has_value());
      REQUIRE(bed.store->wal().head() == bed.model.head());
      CHECK(bed.difference() == "");
      bed.begin_term();
    }
  }
}

TEST_CASE("recovery: a damaged frame before the known durable Lsn is damage, with the place named",
          "[volume][recovery]") {
  for (const uint64_t damage : {uint64_t{40}, uint64_t{kBlockBytes + 5}}) {
    StoreBed bed;
    fill(bed);
    bed.flush();
    REQUIRE(bed.close().has_value());  // the superblock knows of 9
    REQUIRE(bed.open().has_value());
    const uint64_t offset = bed.frame_offset(Lsn(7));
    bed.kill();
    bed.node.disk().flip_bit(bed.path("wal"), offset + damage, 0);
    const Status opened = bed.open();
    REQUIRE_FALSE(opened.has_value());
    CHECK(opened.error().code == Errc::kCorrupt);
    INFO(opened.error().message);
    CHECK(contains(opened.error().message, std::to_string(offset)));
    CHECK(contains(opened.error().message, "vol0"));
    // Nothing was changed: with the byte repaired it is all there.
    bed.kill();
    bed.node.disk().flip_bit(bed.path("wal"), offset + damage, 0);
    REQUIRE(bed.open().has_value());
    CHECK(bed.store->wal().head() == Lsn(9));
    CHECK(bed.difference() == "");
  }
}

TEST_CASE("recovery: a damaged frame before one that proves it was flushed is damage",
          "[volume][recovery]") {
  // The superblock still says that 3 was the last durable record; a frame sealed after the flush of
  // 5 says 5. One sealed before it proves nothing.
  StoreBed bed;
  fill(bed);
  const uint64_t fourth = bed.frame_offset(Lsn(4)), fifth = bed.frame_offset(Lsn(5));
  bed.kill();
  for (const uint64_t offset : {fourth, fifth}) {
    bed.node.disk().flip_bit(bed.path("wal"), offset + kBlockBytes + 77, 1);
    const Status opened = bed.open();
    REQUIRE_FALSE(opened.has_value());
    CHECK(opened.error().code == Errc::kCorrupt);
    INFO(opened.error().message);
    CHECK(contains(opened.error().message, "damaged at byte " + std::to_string(offset)));
    bed.kill();
    bed.node.disk().flip_bit(bed.path("wal"), offset + kBlockBytes + 77, 1);
  }
  REQUIRE(bed.open().has_value());
  CHECK(bed.store->wal().head() == Lsn(9));
}

TEST_CASE("recovery: a block that cannot be read is an error, not the end of the log",
          "[volume][recovery]") {
  StoreBed bed;
  fill(bed);
  const uint64_t offset = bed.frame_offset(Lsn(8));
  bed.kill();
  bed.node.disk().add_fault(
      {.match = {.kind = io::SimOpKind::kRead, .path = "wal", .from = offset, .to = offset + 1}});
  const Status opened = bed.open();
  REQUIRE_FALSE(opened.has_value());
  CHECK(opened.error().code == Errc::kIo);
  CHECK(contains(opened.error().message, "cannot read the WAL"));
  bed.kill();
  REQUIRE(bed.open().has_value());  // the fault was for once
  CHECK(bed.store->wal().head() == Lsn(9));
  CHECK(bed.difference() == "");
}

TEST_CASE("recovery: what was found is flushed before it is reported", "[volume][recovery]") {
  StoreBed bed;
  fill(bed);
  bed.kill();  // 6 .. 9 are on the device, perhaps in its cache only
  const uint64_t hold = bed.node.disk().hold({.kind = io::SimOpKind::kFlush, .path = "wal"});
  bed.begin_open();
  REQUIRE(bed.run([&] { return bed.node.disk().held(hold) == 1; }));
  CHECK_FALSE(bed.open_result.has_value());
  bed.node.disk().release(hold);
  REQUIRE(bed.run([&] { return bed.open_result.has_value(); }));
  CHECK(bed.store->wal().durable() == Lsn(9));
  bed.power_loss(io::SimPowerLoss::kDropAll);
  REQUIRE(bed.open().has_value());
  CHECK(bed.store->wal().head() == Lsn(9));
  CHECK(bed.difference() == "");

  bed.kill();
  bed.node.disk().add_fault({.match = {.kind = io::SimOpKind::kFlush, .path = "wal"}});
  const Status opened = bed.open();
  REQUIRE_FALSE(opened.has_value());
  CHECK(opened.error().code == Errc::kIo);
}

TEST_CASE("recovery: records of a term that is not in the history are not replayed",
          "[volume][recovery]") {
  // A superblock whose history says that a new term begins at 7: what the WAL holds from there on
  // is of the old term, whole and chained, and no part of history.
  StoreBed bed;
  fill(bed);
  bed.flush();
  Superblock& superblock = bed.store->superblock().change();
  superblock.incarnation = Incarnation(2);
  superblock.history.open({Epoch(1), Incarnation(2)}, Lsn(7));
  superblock.durable = Lsn(6);
  bed.world.run_for(io::kSecond);
  bed.kill();
  REQUIRE(bed.open().has_value());
  CHECK(bed.store->wal().head() == Lsn(6));
  bed.model.truncate(Lsn(6));
  CHECK(bed.difference() == "");
  // The new term writes over them, with frames of the same lengths.
  bed.begin_term();
  bed.write(90, 2);
  bed.store->seal();
  bed.flush();
  bed.kill();
  REQUIRE(bed.open().has_value());
  CHECK(bed.store->wal().head() == Lsn(8));
  CHECK(bed.difference() == "");
}

TEST_CASE("recovery: a store of other sizes, names or an unknown format is refused",
          "[volume][recovery]") {
  StoreBed bed;
  bed.serve();
  bed.kill();
  const auto refused = [&](const std::function<void(StoreConfig&)>& change,
                           const std::string& what) {
    const StoreConfig good = bed.config;
    change(bed.config);
    const Status opened = bed.open();
    bed.kill();
    bed.config = good;
    REQUIRE_FALSE(opened.has_value());
    INFO(opened.error().message);
    CHECK(opened.error().code == Errc::kInvalid);
    CHECK(contains(opened.error().message, what));
  };
  refused([](StoreConfig& c) { c.volume_bytes *= 2; }, "size");
  refused([](StoreConfig& c) { c.wal_bytes *= 2; }, "WAL size");
  refused([](StoreConfig& c) { c.node_id = "n9"; }, "n9");
  refused([](StoreConfig& c) { c.name = "other"; }, "other");
  // The remedy is part of it.
  refused([](StoreConfig& c) { c.name = "other"; }, "correct the configuration");
  REQUIRE(bed.open().has_value());
}

TEST_CASE("recovery: a WAL or base image that is not there, or of another size, is refused",
          "[volume][recovery]") {
  StoreBed bed;
  bed.serve();
  bed.write(5);
  bed.flush();
  bed.kill();
  bed.world.run_for(io::kSecond);
  const auto refused = [&](Errc code, const std::string& what) {
    const Status opened = bed.open();
    bed.kill();
    REQUIRE_FALSE(opened.has_value());
    INFO(opened.error().message);
    CHECK(opened.error().code == code);
    CHECK(contains(opened.error().message, what));
  };
  const auto wal = bed.node.read_file(bed.path("wal"), 0, kWalBytesMin);
  const auto base = bed.node.read_file(bed.path("base"), 0, bed.config.volume_bytes);
  bed.node.disk().remove_file(bed.path("wal"));
  refused(Errc::kNotFound, bed.path("wal"));
  bed.node.write_file(bed.path("wal"), 0, std::span(wal).first(kWalBytesMin / 2));
  refused(Errc::kInvalid, "configure the right wal_path");
  bed.node.write_file(bed.path("wal"), 0, wal);
  bed.node.write_file(bed.path("wal"), kWalBytesMin, std::vector<std::byte>(kBlockBytes));
  refused(Errc::kInvalid, "configure the right wal_path");
  bed.node.disk().remove_file(bed.path("wal"));
  bed.node.write_file(bed.path("wal"), 0, wal);
  bed.node.disk().remove_file(bed.path("base"));
  refused(Errc::kNotFound, bed.path("base"));
  bed.node.write_file(bed.path("base"), 0, std::span(base).first(kBlockBytes));
  refused(Errc::kInvalid, "configure the right path");
  bed.node.write_file(bed.path("base"), 0, base);
  REQUIRE(bed.open().has_value());
  CHECK(bed.difference() == "");
}

TEST_CASE("recovery: the WAL of another volume is refused, not written over",
          "[volume][recovery]") {
  // Both are new, so that no durable position says that anything is missing.
  StoreBed bed;
  bed.serve();
  bed.kill();
  bed.world.run_for(io::kSecond);
  std::vector<std::byte> block(kBlockBytes);
  FrameHeader header(block.data());
  header.begin(Uuid{{7, 7}}, {Epoch(1), Incarnation(1)}, Lsn(1));
  header.add_record(RecordKind::kTerm, Lba{}, 0);
  header.seal(0, Lsn{});
  bed.node.write_file(bed.path("wal"), 0, block);
  const Status opened = bed.open();
  REQUIRE_FALSE(opened.has_value());
  CHECK(opened.error().code == Errc::kInvalid);
  CHECK(contains(opened.error().message, "of another volume, 07070000-"));
  bed.kill();
  CHECK(bed.node.read_file(bed.path("wal"), 0, kBlockBytes) == block);
  // What is not whole is no frame of anybody's.
  block[200] ^= std::byte{1};
  block[60] ^= std::byte{1};
  bed.node.write_file(bed.path("wal"), 0, block);
  REQUIRE(bed.open().has_value());
}

TEST_CASE("recovery: damage to the last frames of an idle log is noticed, too",
          "[volume][recovery]") {
  // No frame follows that would say that they were flushed.
  StoreBed bed;
  fill(bed);
  bed.flush();
  bed.world.run_for(5 * io::kSecond);
  const uint64_t offset = bed.frame_offset(Lsn(9));
  CHECK(bed.store->checkpoint() == Lsn(3));
  bed.kill();
  bed.node.disk().flip_bit(bed.path("wal"), offset + kBlockBytes + 5, 0);
  const Status opened = bed.open();
  REQUIRE_FALSE(opened.has_value());
  CHECK(opened.error().code == Errc::kCorrupt);
  CHECK(contains(opened.error().message, "records up to 9 had been flushed"));
}

TEST_CASE("recovery: damage is noticed although the term of the frame that proves it is forgotten",
          "[volume][recovery]") {
  // More starts than a history has room for, in one lap of the WAL.
  StoreBed bed;
  bed.stable_follows = false;
  bed.serve();
  for (uint64_t i = 0; i < 5; ++i) {
    bed.write(i);
    bed.flush();
  }
  const uint64_t offset = bed.frame_offset(Lsn(3));
  for (uint64_t i = 0; i < core::TermHistory::kTermsMax; ++i) {
    bed.begin_term();
    bed.settle_written();
  }
  REQUIRE(bed.store->facts().history.at(0).first > Lsn(6));
  REQUIRE(bed.store->facts().durable < Lsn(3));
  bed.kill();
  bed.node.disk().flip_bit(bed.path("wal"), offset + kBlockBytes + 5, 0);
  const Status opened = bed.open();
  REQUIRE_FALSE(opened.has_value());
  CHECK(opened.error().code == Errc::kCorrupt);
}

TEST_CASE("recovery: what is flushed after a cut is protected from then on", "[volume][recovery]") {
  StoreBed bed;
  fill(bed);
  bed.flush();
  REQUIRE(bed.cut(Lsn(6)).has_value());
  bed.begin_term();  // 7
  const uint64_t seventh = bed.frame_offset(Lsn(7));
  bed.flush();
  bed.write(28, 2);
  bed.settle_written();
  bed.kill();
  bed.node.disk().flip_bit(bed.path("wal"), seventh + 40, 2);
  const Status damaged = bed.open();
  REQUIRE_FALSE(damaged.has_value());
  CHECK(damaged.error().code == Errc::kCorrupt);
  CHECK(contains(damaged.error().message, "proves that records up to 7"));
}

TEST_CASE("recovery: what lies behind a cut proves nothing about what was written since",
          "[volume][recovery]") {
  // A replica has records 4 .. 9 of a term and has flushed them. It is told to cut at 6, inside
  // that term (a primary that had no more of it came), and then gets 7 of the very same term from
  // another primary that had. The power fails while 7 is written: it is torn, and behind it are the
  // frames of 8 and 9 as they were, which know that 7 was flushed. It was, once.
  const bool restart_between = GENERATE(false, true);
  const bool in_header = GENERATE(false, true);
  StoreBed bed;
  fill(bed);
  bed.flush();
  bed.write(80, 2);  // 10, sealed when 9 was flushed
  bed.flush();
  const uint64_t seventh = bed.frame_offset(Lsn(7));
  REQUIRE(bed.cut(Lsn(6)).has_value());
  const uint64_t cuts = bed.store->facts().cuts;
  const auto extend = [&] {
    bed.store->set_term({Epoch(1), Incarnation(1)});
    bed.write(27, 2);
    bed.store->seal();
    bed.settle_written();
    CHECK(bed.frame_offset(Lsn(7)) == seventh);
  };
  if (restart_between) {
    // A start finds the cut records again: they are of the term. Then the primary cuts again.
    bed.kill();
    REQUIRE(bed.open().has_value());
    CHECK(bed.store->wal().head() == Lsn(10));
    REQUIRE(bed.store->wal().durable() == Lsn(10));
    REQUIRE(bed.cut(Lsn(6)).has_value());
    CHECK(bed.store->facts().cuts == cuts + 1);
  }
  bed.model.truncate(Lsn(6));
  extend();
  bed.kill();
  const uint64_t torn = seventh + (in_header ? 40 : kBlockBytes + 100);
  bed.node.disk().flip_bit(bed.path("wal"), torn, 2);
  const Status opened = bed.open();
  if (!opened.has_value()) FAIL(opened.error().message);
  CHECK(bed.store->wal().head() == Lsn(6));
  bed.model.truncate(Lsn(6));
  CHECK(bed.difference() == "");
  // But what is flushed after the cut is as well protected as before one.
  extend();
  bed.flush();
  bed.write(28, 2);
  bed.settle_written();
  bed.kill();
  bed.node.disk().flip_bit(bed.path("wal"), torn, 2);
  const Status damaged = bed.open();
  REQUIRE_FALSE(damaged.has_value());
  CHECK(damaged.error().code == Errc::kCorrupt);
  CHECK(contains(damaged.error().message, "proves that records up to 7"));
}

TEST_CASE("recovery: a client's block that looks like a frame header proves nothing",
          "[volume][recovery]") {
  // The client knows all that it can know: the volume, its term, the Lsns, how often the log was
  // cut. What it writes lies in the log, behind a frame that the kill tore.
  const bool cut_before = GENERATE(false, true);
  StoreBed bed;
  fill(bed);
  if (cut_before) {
    REQUIRE(bed.cut(Lsn(7)).has_value());
    bed.begin_term();
  }
  const Superblock& facts = bed.store->facts();
  bed.write(60, 2);
  bed.settle_written();
  const Lsn torn = bed.model.head();
  const io::Buffer buffer = bed.pool->allocate(2 * kBlockBytes);
  FrameHeader header(buffer.data + kBlockBytes);
  header.begin(facts.volume, facts.history.last()->term, Lsn(1000));
  header.add_record(RecordKind::kTrim, Lba(0), 1);
  header.seal(0, Lsn(999), LogMark{0, facts.cuts});
  Lsn forged;
  REQUIRE(bed.store->append_buffer(buffer, Lba(5), 1, &forged) == Wal::Admission::kOk);
  REQUIRE(bed.run([&] { return bed.store->wal().written() == forged; }));
  const uint64_t torn_at = bed.frame_offset(torn);
  bed.kill();
  bed.node.disk().flip_bit(bed.path("wal"), torn_at + kBlockBytes + 5, 3);
  const Status opened = bed.open();
  if (!opened.has_value()) FAIL(opened.error().message);
  CHECK(bed.store->wal().head().next() == torn);
  bed.model.truncate(bed.store->wal().head());
  CHECK(bed.difference() == "");
}

TEST_CASE("recovery: a client's block that looks like the next frame is no part of the log",
          "[volume][recovery]") {
  // It was written a lap ago, by somebody who foresaw what would come before it; now the log ends
  // exactly there.
  StoreBed bed;
  fill(bed);
  const LogMark mark = bed.store->facts().log_mark();
  const uint64_t last = bed.frame_offset(Lsn(9));
  std::vector<std::byte> before = bed.node.read_file(bed.path("wal"), last, kBlockBytes);
  const FrameHeader ninth(before.data());
  for (const uint64_t key : {uint64_t{0}, mark.key}) {
    std::vector<std::byte> block(kBlockBytes);
    FrameHeader header(block.data());
    header.begin(bed.store->facts().volume, ninth.term(), Lsn(10));
    header.add_record(RecordKind::kTrim, Lba(20), 1);
    header.seal(ninth.checksum(), Lsn(5), LogMark{key, mark.cuts});
    bed.kill();
    bed.world.run_for(5 * io::kSecond);  // what was in flight has landed
    bed.node.write_file(bed.path("wal"), last + ninth.total_blocks() * kBlockBytes, block);
    REQUIRE(bed.open().has_value());
    // With the key it would be: nothing else is wrong with it.
    CHECK(bed.store->wal().head() == Lsn(key == mark.key ? 10 : 9));
  }
}

TEST_CASE("recovery: every volume's log has a key of its own", "[volume][recovery]") {
  StoreBed one({.seed = 1}), other({.seed = 2});
  one.serve();
  other.serve();
  const uint64_t key = one.store->facts().log_key;
  CHECK(key != 0);
  CHECK(key != other.store->facts().log_key);
  one.write(1);
  one.flush();
  REQUIRE(one.cut(Lsn(1)).has_value());
  one.kill();
  REQUIRE(one.open().has_value());
  CHECK(one.store->facts().log_key == key);
}

TEST_CASE("recovery: a start waits for the late writes of a killed predecessor",
          "[volume][recovery]") {
  // kill -9 while writes are in flight: they land whenever they like. The next process must not
  // append before they have, or they would land on top of what it wrote.
  uint64_t waited = 0;
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    StoreBed bed({.seed = seed});
    bed.serve();
    bed.write(1);
    bed.flush();
    const Lsn durable = bed.store->wal().durable();
    for (uint64_t i = 0; i < 6; ++i) {
      bed.write(50 + i, 3);
      bed.store->seal();
    }
    bed.kill();
    const io::Nanos killed_at = bed.world.now();
    const size_t late = bed.node.disk().in_flight();
    const Status opened = bed.open();
    if (!opened.has_value()) FAIL(opened.error().message);
    CHECK(bed.node.disk().in_flight() == 0);
    if (late > 0 && bed.world.now() - killed_at > 100 * io::kMillisecond) ++waited;
    REQUIRE(bed.store->wal().head() >= durable);
    bed.model.truncate(bed.store->wal().head());
    bed.begin_term();
    for (uint64_t i = 0; i < 10; ++i) bed.write(100 + i, 2);
    bed.flush();
    bed.world.run_for(10 * io::kSecond);
    bed.kill();
    REQUIRE(bed.open().has_value());
    CHECK(bed.store->wal().head() == bed.model.head());
    CHECK(bed.difference() == "");
  }
  CHECK(waited > 10);
}

TEST_CASE("recovery: two processes never have a store open at once", "[volume][recovery]") {
  StoreBed bed;
  bed.serve();
  const auto second = bed.node.create_io();
  for (const char* leaf : {"superblock", "wal", "base"}) {
    const auto opened = second->open_file(bed.path(leaf), {});
    REQUIRE_FALSE(opened.has_value());
    CHECK(opened.error().code == Errc::kBusy);
  }
}
