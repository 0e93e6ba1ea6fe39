// Cutting the log at a fork: the older versions come back, it survives crashes, and what follows is
// another history.
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "store_bed.h"

using namespace ringbolt;
using namespace ringbolt::test;

namespace {

/// Records 1 (the term) .. 10, checkpoint at 3; blocks 20 .. 23 written thrice, in frames of
/// several records. Everything is flushed.
void fill(StoreBed& bed) {
  bed.serve();
  bed.stable_follows = false;
  bed.write(20, 4);
  bed.write(30);
  bed.checkpoint_all();
  bed.write(20, 4);                      // 4
  bed.append(RecordKind::kZero, 30, 2);  // 5
  bed.store->seal();
  bed.write(21, 2);                      // 6
  bed.append(RecordKind::kTrim, 22, 2);  // 7
  bed.write(40);                         // 8
  bed.store->seal();
  bed.write(20);  // 9
  bed.write(41);  // 10
  bed.flush();
  REQUIRE(bed.model.head() == Lsn(10));
  REQUIRE(bed.store->checkpoint() == Lsn(3));
}

}  // namespace

TEST_CASE("cut: each block gets back its version at the fork, whatever the fork", "[volume][cut]") {
  for (uint64_t fork = 3; fork <= 10; ++fork) {
    for (const bool cached : {true, false}) {
      INFO("fork " << fork);
      StoreBed bed;
      fill(bed);
      if (!cached) bed.drop_cache();
      REQUIRE(bed.cut(Lsn(fork)).has_value());
      CHECK(bed.store->wal().head() == Lsn(fork));
      CHECK(bed.store->wal().durable() == Lsn(fork));
      CHECK(bed.difference() == "");
      CHECK_FALSE(bed.store->wal().find_place(Lsn(fork + 1)).has_value());
      // The log goes on after it, in a new term, and that survives.
      bed.begin_term();
      bed.write(22);
      bed.write(50, 3);
      bed.flush();
      CHECK(bed.difference() == "");
      bed.power_loss(io::SimPowerLoss::kDropAll);
      REQUIRE(bed.open().has_value());
      CHECK(bed.store->wal().head() == Lsn(fork + 3));
      CHECK(bed.difference() == "");
      bed.begin_term();
      bed.checkpoint_all();
      CHECK(bed.base_difference(bed.model.head()) == "");
    }
  }
}

TEST_CASE("cut: a crash at each step leaves the whole log or the cut one, never a mixture",
          "[volume][cut]") {
  constexpr Lsn kFork(6);
  uint64_t whole = 0, cut = 0;
  for (uint64_t at = 0;; ++at) {
    StoreBed bed({.seed = at + 1});
    INFO("end after " << at << " events");
    fill(bed);
    std::optional<Status> result;
    bed.store->cut(kFork, [&](Status status) { result = std::move(status); });
    uint64_t events = 0;
    for (; events < at && !result; ++events) bed.world.step();
    const bool cut_done = result.has_value();
    if (cut_done) {
      bed.model.truncate(kFork);
      // Now the new history, whose first frames take the places of the old ones.
      bed.begin_term();
      bed.write(22, 2);
      bed.flush();
    }
    if (at % 4 == 0) bed.kill();
    if (at % 4 != 0) bed.power_loss(static_cast<io::SimPowerLoss>(at % 4 - 1));
    REQUIRE(bed.open().has_value());
    // A cut that nobody was told of may be undone: the next primary finds the tail again, and cuts
    // it again.
    REQUIRE(bed.store->wal().head() == bed.model.head());
    ++(cut_done ? cut : whole);
    CHECK(bed.difference() == "");
    if (!cut_done) {
      REQUIRE(bed.cut(kFork).has_value());
      CHECK(bed.difference() == "");
    }
    if (cut > 3) break;
  }
  CHECK(whole > 5);
}

TEST_CASE("cut: records in the open frame and writes under way are waited for", "[volume][cut]") {
  StoreBed bed;
  fill(bed);
  bed.write(60);
  bed.store->seal();
  bed.write(61);
  CHECK(bed.store->wal().has_open_records());
  REQUIRE(bed.cut(Lsn(5)).has_value());
  CHECK(bed.difference() == "");
  bed.begin_term();
  bed.flush();
  bed.kill();
  REQUIRE(bed.open().has_value());
  CHECK(bed.store->wal().head() == Lsn(6));
}

TEST_CASE("cut: a running checkpoint ends first, and goes on after it", "[volume][cut]") {
  StoreBed bed;
  fill(bed);
  const uint64_t hold = bed.node.disk().hold({.kind = io::SimOpKind::kWrite, .path = "base"});
  bed.store->set_stable(Lsn(5));
  REQUIRE(bed.run([&] { return bed.node.disk().held(hold) > 0; }));
  std::optional<Status> result;
  bed.store->cut(Lsn(7), [&](Status status) { result = std::move(status); });
  bed.world.run_for(10 * io::kSecond);
  CHECK_FALSE(result.has_value());
  bed.node.disk().release(hold);
  REQUIRE(bed.run([&] { return result.has_value(); }));
  REQUIRE(result->has_value());
  bed.model.truncate(Lsn(7));
  CHECK(bed.difference() == "");
  bed.begin_term();
  bed.write(70);
  bed.checkpoint_all();
  CHECK(bed.base_difference(bed.model.head()) == "");
}

TEST_CASE("cut: what was stable beyond the fork is not stable afterwards", "[volume][cut]") {
  // Its Lsns name other records from then on, which nobody has called stable.
  StoreBed bed;
  fill(bed);
  const uint64_t hold = bed.node.disk().hold({.kind = io::SimOpKind::kWrite, .path = "wal"});
  bed.write(79);
  bed.store->seal();
  std::optional<Status> result;
  bed.store->cut(Lsn(6), [&](Status status) { result = std::move(status); });
  bed.store->set_stable(Lsn(9));  // the last word of the old history
  bed.node.disk().release(hold);
  REQUIRE(bed.run([&] { return result.has_value(); }));
  REQUIRE(result->has_value());
  bed.model.truncate(Lsn(6));
  bed.begin_term();
  bed.write(80);
  bed.write(81);
  bed.flush();
  bed.world.run_for(30 * io::kSecond);
  CHECK(bed.store->checkpoint() <= Lsn(6));
  bed.store->set_stable(bed.model.head());
  REQUIRE(bed.run([&] { return bed.store->checkpoint() == bed.model.head(); }));
  CHECK(bed.base_difference(bed.model.head()) == "");
}

TEST_CASE("cut: a device that fails meanwhile ends it with an error, once", "[volume][cut]") {
  struct Case {
    io::SimOpKind kind;
    const char* file;
  };
  for (const Case& c :
       {Case{io::SimOpKind::kRead, "wal"}, Case{io::SimOpKind::kFlush, "wal"},
        Case{io::SimOpKind::kWrite, "superblock"}, Case{io::SimOpKind::kFlush, "superblock"}}) {
    INFO(c.file << " " << static_cast<int>(c.kind));
    StoreBed bed;
    fill(bed);
    bed.node.disk().add_fault({.match = {.kind = c.kind, .path = c.file}});
    const Status cut = bed.cut(Lsn(6));
    REQUIRE_FALSE(cut.has_value());
    CHECK(cut.error().code == Errc::kIo);
    CHECK(bed.store->failed());
    CHECK(bed.failures.size() == 1);
    CHECK_FALSE(bed.close().has_value());
    REQUIRE(bed.open().has_value());
    CHECK(bed.store->wal().head() == Lsn(10));
    CHECK(bed.difference() == "");
  }
}

TEST_CASE("cut: a superblock that fails while the log is read again ends it with an error, once",
          "[volume][cut]") {
  StoreBed bed;
  fill(bed);
  const uint64_t hold = bed.node.disk().hold({.kind = io::SimOpKind::kRead, .path = "wal"});
  int calls = 0;
  std::optional<Status> result;
  bed.store->cut(Lsn(6), [&](Status status) {
    ++calls;
    result = std::move(status);
  });
  REQUIRE(bed.run([&] { return bed.node.disk().held(hold) > 0; }));
  bed.node.disk().add_fault({.match = {.kind = io::SimOpKind::kWrite, .path = "superblock"}});
  bed.store->superblock().change().epoch = Epoch(5);
  REQUIRE(bed.run([&] { return bed.store->failed(); }));
  bed.node.disk().release(hold);
  REQUIRE(bed.run([&] { return result.has_value(); }));
  bed.world.run_for(io::kSecond);
  CHECK(calls == 1);
  CHECK_FALSE(result->has_value());
  CHECK_FALSE(bed.close().has_value());
}
