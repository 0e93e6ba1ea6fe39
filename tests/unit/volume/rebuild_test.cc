// Rebuilding a copy: what begins it, what ends it, and that no crash in between leaves a half copy
// that does not know it.
#include <catch2/catch.hpp>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "rebuild_bed.h"
#include "ringbolt/crc32c.h"

using namespace ringbolt;
using namespace ringbolt::test;

namespace {

/// What this copy was before: records 1 .. 12, some of them checkpointed, all flushed.
void fill_old(RebuildBed& bed) {
  bed.serve();
  bed.stable_follows = false;
  bed.write(0, 32);
  bed.append(RecordKind::kTrim, 8, 4);
  bed.checkpoint_all();
  for (uint64_t i = 4; i <= 12; ++i) {
    bed.write(4 * i, 3);
    if (i % 2 == 0) bed.store->seal();
  }
  bed.flush();
  REQUIRE(bed.model.head() == Lsn(12));
  bed.stable_follows = true;
}

void expect_begun(RebuildBed& bed, Lsn base) {
  const Superblock& facts = bed.store->facts();
  CHECK(facts.rebuild_mark);
  CHECK_FALSE(bed.store->base_usable());
  CHECK(facts.checkpoint == base);
  CHECK(facts.base_limit == base);
  CHECK(facts.durable == base);
  CHECK(facts.in_sync.empty());
  CHECK(facts.handed_over == Lsn{});
  CHECK_FALSE(facts.base_seeded);
  CHECK(bed.store->wal().head() == base);
  CHECK(bed.store->wal().written() == base);
  CHECK(bed.store->wal().durable() == base);
  CHECK(bed.store->wal().tail() == base.next());
  CHECK(bed.store->checkpoint() == base);
  CHECK(bed.store->index().size() == 0);
}

/// A frame of one record, which writes blocks of `stamp`, at `offset` of the WAL.
void put_frame(RebuildBed& bed, uint64_t offset, Term term, Lsn lsn, uint32_t previous,
               LogMark mark, uint32_t* checksum = nullptr) {
  std::vector<std::byte> bytes(2 * kBlockBytes);
  fill_block(bytes.data() + kBlockBytes, 0xbad);
  FrameHeader header(bytes.data());
  header.begin(bed.store->facts().volume, term, lsn);
  header.add_record(RecordKind::kWrite, Lba(3), 1);
  const uint32_t crc = crc32c(bytes.data() + kBlockBytes, kBlockBytes);
  header.place_block_crcs(std::span(&crc, 1));
  header.seal(previous, Lsn(lsn.value() - 1), mark);
  if (checksum != nullptr) *checksum = header.checksum();
  bed.node.write_file(bed.path("wal"), offset, bytes);
}

}  // namespace

TEST_CASE("rebuild: any copy can be made anew, from any Lsn on", "[volume][rebuild]") {
  const uint64_t base = GENERATE(0, 1, 5, 12, 100);
  const int prior = GENERATE(0, 1, 2, 3, 4, 5);
  INFO("base " << base << ", prior " << prior);
  RebuildBed bed;
  std::optional<uint64_t> hold;
  if (prior == 0) REQUIRE(bed.open().has_value());  // blank
  if (prior > 0) {
    fill_old(bed);
    Superblock& superblock = bed.store->superblock().change();
    superblock.in_sync = {"n2"};
    superblock.handed_over = Lsn(12);
    superblock.base_seeded = true;
  }
  if (prior == 2) {  // records in the open frame and on their way
    bed.write(1, 4);
    bed.store->seal();
    bed.write(2, 4);
  }
  if (prior == 3) {  // a checkpoint is running
    hold = bed.node.disk().hold({.kind = io::SimOpKind::kWrite, .path = "base"});
    bed.store->set_stable(bed.store->wal().durable());
    REQUIRE(bed.run([&] { return bed.node.disk().held(*hold) > 0; }));
  }
  if (prior == 4) {  // a rebuild was under way, with records and base blocks of its own
    bed.begin(Lsn(7));
    bed.put(RecordKind::kWrite, 9, 4);
    bed.begin_base(20, 8);
    bed.checkpoint_all();
  }
  if (prior == 5) {  // ... in another life
    bed.begin(Lsn(7));
    bed.put(RecordKind::kWrite, 9, 4);
    bed.flush();
    bed.crash(1);
    REQUIRE(bed.open().has_value());
    CHECK_FALSE(bed.store->base_usable());
  }
  bed.take_source(Lsn(base));
  const uint64_t cuts = bed.store->facts().cuts;
  bed.start();
  if (bed.begun.has_value()) CHECK_FALSE(bed.store->base_usable());
  if (hold) {
    bed.world.run_for(io::kSecond);
    CHECK_FALSE(bed.begun.has_value());
    CHECK_FALSE(bed.store->facts().rebuild_mark);
    bed.node.disk().release(*hold);
  }
  REQUIRE(bed.run([&] { return bed.begun.has_value(); }));
  REQUIRE(bed.begun->has_value());
  expect_begun(bed, Lsn(base));
  CHECK(bed.store->facts().cuts == cuts + 1);
  // And it works: records, checkpoints, the end of it, a restart.
  bed.set_term();
  bed.put(RecordKind::kTerm, 0, 0);
  bed.put(RecordKind::kWrite, 11, 5);
  REQUIRE(bed.complete().has_value());
  CHECK(bed.store->base_usable());
  CHECK(bed.difference() == "");
  CHECK(bed.store->base_limit() == bed.model.head());
  bed.put(RecordKind::kWrite, 12, 2);
  bed.flush();
  bed.crash(1);
  REQUIRE(bed.open().has_value());
  CHECK(bed.store->base_usable());
  CHECK(bed.store->wal().head() == bed.model.head());
  CHECK(bed.difference() == "");
}

TEST_CASE("rebuild: what cannot be recorded is refused, and nothing has changed",
          "[volume][rebuild]") {
  RebuildBed bed;
  fill_old(bed);
  const auto refused = [&](Lsn base, const core::TermHistory& history) {
    std::optional<Status> result;
    bed.store->begin_rebuild(base, history, [&](Status status) { result = std::move(status); });
    REQUIRE(bed.run([&] { return result.has_value(); }));
    REQUIRE_FALSE(result->has_value());
    CHECK(result->error().code == Errc::kInvalid);
    CHECK(bed.store->base_usable());
    CHECK(bed.store->wal().head() == Lsn(12));
  };
  refused(Lsn(3), {});
  core::TermHistory later;
  later.open({Epoch(2), Incarnation(1)}, Lsn(1));  // promised is 1
  refused(Lsn(3), later);
  refused(Lsn(UINT64_MAX / 2), bed.history_after(Lsn(12)));
  bed.write(5);
  bed.flush();
  bed.crash(1);
  REQUIRE(bed.open().has_value());
  CHECK(bed.difference() == "");
}

TEST_CASE("rebuild: nothing of the old log is ever read again", "[volume][rebuild]") {
  // The hardest case: the new log has the very Lsns, the term and the places of the old one, and
  // both begin a chain. That is what a copy of a young volume meets that is rebuilt from the
  // beginning.
  const bool restart = GENERATE(false, true);
  RebuildBed bed;
  bed.serve();
  bed.stable_follows = false;
  for (uint64_t i = 0; i < 8; ++i) {
    bed.write(10 + i);
    bed.flush();
  }
  REQUIRE(bed.frame_offset(Lsn(1)) == 0);
  const core::TermHistory history = bed.store->facts().history;
  bed.take_source(Lsn(0));
  std::optional<Status> begun;
  bed.store->begin_rebuild(Lsn(0), history, [&](Status status) { begun = std::move(status); });
  REQUIRE(bed.run([&] { return begun.has_value(); }));
  REQUIRE(begun->has_value());
  const auto check_restart = [&] {
    bed.crash(1);
    REQUIRE(bed.open().has_value());
    REQUIRE(bed.store->damage().empty());
    REQUIRE(bed.store->wal().head() == bed.model.head());
    CHECK(bed.store->index().size() ==
          bed.model.head().value() - (bed.model.head() > Lsn{} ? 1 : 0));
  };
  if (restart) check_restart();
  // The new frames are as long as the old ones, so that each begins where the old one of its Lsn
  // did.
  for (uint64_t i = 0; i < 8; ++i) {
    bed.set_term();
    bed.append(i == 0 ? RecordKind::kTerm : RecordKind::kWrite, i == 0 ? 0 : 30 + i,
               i == 0 ? 0 : 1);
    bed.flush();
    if (restart) check_restart();
  }
  check_restart();
}

TEST_CASE("rebuild: frames of the old log that fit into the new chain are no part of it",
          "[volume][rebuild]") {
  // Made to measure: the right place, Lsn, term, chain; only the key is the old log's.
  const uint64_t base = GENERATE(0, 9);
  RebuildBed bed;
  fill_old(bed);
  const uint64_t old_key = bed.store->facts().log_key;
  bed.begin(Lsn(base));
  const Term term = bed.store->facts().history.last()->term;
  const LogMark mark = bed.store->facts().log_mark();
  REQUIRE(mark.key != old_key);
  bed.crash(1);
  REQUIRE(bed.open().has_value());
  CHECK(bed.store->wal().head() == Lsn(base));
  bed.crash(1);
  bed.world.run_for(io::kSecond);
  // The head of the new log.
  for (const uint64_t key : {old_key, mark.key}) {
    REQUIRE(bed.open().has_value());
    put_frame(bed, 0, term, Lsn(base + 1), 0, LogMark{key, mark.cuts});
    bed.crash(0);
    REQUIRE(bed.open().has_value());
    CHECK(bed.store->wal().head() == Lsn(key == mark.key ? base + 1 : base));
    bed.crash(0);
  }
  // Behind frames of the new log: none may follow that is of the old one.
  REQUIRE(bed.open().has_value());
  uint32_t first = 0;
  put_frame(bed, 0, term, Lsn(base + 1), 0, mark, &first);
  for (const uint64_t key : {old_key, mark.key}) {
    put_frame(bed, 2 * kBlockBytes, term, Lsn(base + 2), first, LogMark{key, mark.cuts});
    bed.crash(0);
    REQUIRE(bed.open().has_value());
    CHECK(bed.store->wal().head() == Lsn(key == mark.key ? base + 2 : base + 1));
  }
}

TEST_CASE("rebuild: a copy with the mark opens, whatever its log looks like", "[volume][rebuild]") {
  const int damage = GENERATE(0, 1, 2, 3);
  RebuildBed bed;
  fill_old(bed);
  bed.begin(Lsn(9));
  for (uint64_t i = 0; i < 6; ++i) {
    bed.put(RecordKind::kWrite, 4 * i, 2);
    bed.flush();  // each frame proves that the ones before were flushed
  }
  const uint64_t offset = bed.frame_offset(Lsn(12));
  bed.crash(1);
  if (damage == 0) bed.node.disk().flip_bit(bed.path("wal"), offset + 40, 1);
  if (damage == 1) bed.node.disk().flip_bit(bed.path("wal"), offset + kBlockBytes + 40, 1);
  if (damage == 2) {
    bed.node.disk().add_fault(
        {.match = {.kind = io::SimOpKind::kRead, .path = "wal", .from = offset, .to = offset + 1},
         .forever = true});
  }
  if (damage == 3) {  // the whole area is gone
    bed.world.run_for(io::kSecond);
    bed.node.write_file(bed.path("wal"), 0, std::vector<std::byte>(kWalBytesMin));
  }
  REQUIRE(bed.open().has_value());
  CHECK_FALSE(bed.store->base_usable());
  CHECK(bed.store->wal().head() == Lsn(9));
  CHECK(bed.store->index().size() == 0);
  // It is rebuilt as any other.
  bed.begin(Lsn(20));
  expect_begun(bed, Lsn(20));
  bed.node.disk().clear_faults();
  bed.put(RecordKind::kWrite, 4, 2);
  REQUIRE(bed.complete().has_value());
  bed.crash(1);
  REQUIRE(bed.open().has_value());
  CHECK(bed.store->base_usable());
  CHECK(bed.difference() == "");
}

TEST_CASE("rebuild: the mark goes when the base image is flushed, and not before",
          "[volume][rebuild]") {
  RebuildBed bed;
  fill_old(bed);
  bed.begin(Lsn(9));
  bed.stable_follows = false;
  bed.put(RecordKind::kWrite, 4, 2);
  for (uint64_t lba = 0; lba < 64; lba += 16) bed.begin_chunk(lba, 16);
  bed.settle_base();
  bed.flush();
  const uint64_t flushing = bed.node.disk().hold({.kind = io::SimOpKind::kFlush, .path = "base"});
  bed.start_finish(Lsn(10));
  REQUIRE(bed.run([&] { return bed.node.disk().held(flushing) == 1; }));
  bed.world.run_for(10 * io::kSecond);
  CHECK_FALSE(bed.finished.has_value());
  CHECK(bed.store->facts().rebuild_mark);
  // While the superblock that says so is being written the copy is not usable yet: who was told
  // that it is would find it with the mark after a crash.
  const uint64_t recording =
      bed.node.disk().hold({.kind = io::SimOpKind::kFlush, .path = "superblock"});
  bed.node.disk().release(flushing);
  REQUIRE(bed.run([&] { return bed.node.disk().held(recording) == 1; }));
  CHECK_FALSE(bed.store->facts().rebuild_mark);
  CHECK_FALSE(bed.store->base_usable());
  // Records are appended all the while.
  bed.put(RecordKind::kWrite, 7, 2);
  bed.flush();
  SECTION("it ends") {
    bed.node.disk().release(recording);
    REQUIRE(bed.run([&] { return bed.finished.has_value(); }));
    CHECK(bed.finished->has_value());
    CHECK(bed.store->base_usable());
    CHECK(bed.difference() == "");
  }
  SECTION("the power fails: nobody was told, and it is to be rebuilt again") {
    bed.crash(1);
    bed.node.disk().release(recording);
    REQUIRE(bed.open().has_value());
    CHECK_FALSE(bed.store->base_usable());
  }
}

TEST_CASE("rebuild: a log is never cut below what the base lane brought", "[volume][rebuild]") {
  RebuildBed bed;
  fill_old(bed);
  bed.begin(Lsn(9));
  bed.stable_follows = false;
  for (uint64_t i = 0; i < 3; ++i) bed.put(RecordKind::kWrite, 4 * i, 2);  // 10 .. 12
  for (uint64_t lba = 0; lba < 64; lba += 16) bed.begin_chunk(lba, 16);
  bed.settle_base();
  for (uint64_t i = 3; i < 5; ++i) bed.put(RecordKind::kWrite, 4 * i, 2);
  bed.flush();
  REQUIRE(bed.finish(Lsn(12)).has_value());
  CHECK(bed.store->checkpoint() == Lsn(9));
  CHECK(bed.store->base_limit() == Lsn(12));
  // After a restart, too.
  bed.crash(1);
  REQUIRE(bed.open().has_value());
  const Status below = bed.cut(Lsn(11));
  REQUIRE_FALSE(below.has_value());
  CHECK(below.error().code == Errc::kInvalid);
  REQUIRE(bed.cut(Lsn(12)).has_value());
  CHECK(bed.difference() == "");
}

TEST_CASE("rebuild: a device that fails fails the store, once, and the mark stays",
          "[volume][rebuild]") {
  struct Case {
    io::SimOpKind kind;
    const char* file;
    bool at_begin;
  };
  for (const Case& c :
       {Case{io::SimOpKind::kWrite, "superblock", true},
        Case{io::SimOpKind::kFlush, "superblock", true}, Case{io::SimOpKind::kFlush, "base", false},
        Case{io::SimOpKind::kWrite, "superblock", false},
        Case{io::SimOpKind::kFlush, "superblock", false}}) {
    INFO(c.file << " " << static_cast<int>(c.kind) << " " << c.at_begin);
    RebuildBed bed;
    fill_old(bed);
    const BlockModel old = bed.model;
    bed.take_source(Lsn(9));
    if (!c.at_begin) {
      bed.begin(Lsn(9));
      for (uint64_t lba = 0; lba < 64; lba += 16) bed.begin_chunk(lba, 16);
      bed.settle_base();
    }
    bed.world.run_for(10 * io::kSecond);
    bed.node.disk().add_fault({.match = {.kind = c.kind, .path = c.file}});
    if (c.at_begin) {
      bed.start();
      REQUIRE(bed.run([&] { return bed.begun.has_value(); }));
      REQUIRE_FALSE(bed.begun->has_value());
      CHECK(bed.begun->error().code == Errc::kIo);
    } else {
      const Status finished = bed.finish(Lsn(9));
      REQUIRE_FALSE(finished.has_value());
      CHECK(finished.error().code == Errc::kIo);
    }
    CHECK(bed.store->failed());
    CHECK_FALSE(bed.store->base_usable());
    bed.world.run_for(10 * io::kSecond);
    CHECK(bed.failures.size() == 1);
    CHECK_FALSE(bed.close().has_value());
    bed.crash(1);
    REQUIRE(bed.open().has_value());
    if (!bed.store->base_usable()) continue;
    REQUIRE(c.at_begin);
    bed.model = old;
    CHECK(bed.difference() == "");
  }
}

TEST_CASE("rebuild: a store that fails while it is finished or closed ends both",
          "[volume][rebuild]") {
  const bool superblock_too = GENERATE(false, true);
  RebuildBed bed;
  fill_old(bed);
  bed.begin(Lsn(9));
  const uint64_t hold = bed.node.disk().hold({.kind = io::SimOpKind::kFlush, .path = "base"});
  bed.start_finish(Lsn(9));
  std::optional<Status> closed;
  bed.node.disk().add_fault({.match = {.kind = io::SimOpKind::kWrite, .path = "wal"}});
  bed.put(RecordKind::kWrite, 4, 2);
  bed.store->seal();
  REQUIRE(bed.run([&] { return bed.store->failed(); }));
  if (superblock_too) {
    bed.node.disk().add_fault({.match = {.kind = io::SimOpKind::kWrite, .path = "superblock"}});
    bed.store->superblock().change();
  }
  bed.store->close([&](Status status) { closed = std::move(status); });
  bed.world.run_for(io::kSecond);
  CHECK_FALSE(closed.has_value());  // the flush still goes to a file of it
  bed.node.disk().release(hold);
  REQUIRE(bed.run([&] { return closed.has_value(); }));
  REQUIRE(bed.finished.has_value());
  CHECK_FALSE(bed.finished->has_value());
  CHECK_FALSE(closed->has_value());
  CHECK(bed.io->pending_operations() == 0);
}

namespace {

/// A rebuild from its beginning to some records after its end, as steps that say when they are
/// done.
class Script {
 public:
  Script(RebuildBed& bed, uint64_t seed) : bed_(bed), random_(seed) {
    step([this] { bed_.start(); }, [this] { return bed_.begun.has_value(); });
    step([this] {
      REQUIRE(bed_.begun->has_value());
      begun = true;
      bed_.set_term();
      bed_.put(RecordKind::kTerm, 0, 0);
    });
    // Both lanes at once. What the base lane brings may be of records that are not written here
    // yet, or will be lost again.
    for (uint64_t lba = 0; lba < 64; lba += 8) {
      step([this, lba] {
        records(2);
        bed_.begin_chunk(lba, 8);
        records(2);
        bed_.store->seal();
      });
      step([] {}, [this, lba] { return lba % 16 == 0 || bed_.base_settled(); });
    }
    step([this] { bed_.store->seal(); }, [this] { return bed_.base_settled(); });
    step([this] { bed_.store->request_flush(bed_.store->wal().head()); },
         [this] { return bed_.store->wal().durable() == bed_.store->wal().head(); });
    step(
        [this] {
          achieved = bed_.store->wal().head();
          finishing = true;
          bed_.start_finish(achieved);
          records(2);
          bed_.store->seal();
        },
        [this] { return bed_.finished.has_value(); });
    step(
        [this] {
          REQUIRE(bed_.finished->has_value());
          done = true;
          records(3);
          bed_.store->seal();
          bed_.store->request_flush(bed_.store->wal().head());
        },
        [this] { return bed_.store->wal().durable() == bed_.store->wal().head(); });
  }

  /// Runs as long as it can without an event. False when all is over.
  bool go() {
    while (at_ < steps_.size()) {
      if (!started_) steps_[at_].start();
      started_ = true;
      if (!steps_[at_].ended()) return true;
      started_ = false;
      ++at_;
    }
    return false;
  }

  bool begun = false, finishing = false, done = false;
  Lsn achieved;

 private:
  struct Step {
    std::function<void()> start;
    std::function<bool()> ended;
  };
  void step(
      std::function<void()> start, std::function<bool()> ended = [] { return true; }) {
    steps_.push_back({std::move(start), std::move(ended)});
  }
  void records(uint64_t count) {
    for (; count > 0; --count) {
      const auto blocks = static_cast<uint32_t>(1 + random_.below(5));
      bed_.put(static_cast<RecordKind>(1 + random_.below(3)), random_.below(64 - blocks), blocks);
    }
  }

  RebuildBed& bed_;
  io::SimRandom random_;
  std::vector<Step> steps_;
  size_t at_ = 0;
  bool started_ = false;
};

}  // namespace

TEST_CASE("rebuild: a crash at any moment leaves the old copy, a marked one, or the new one",
          "[volume][rebuild]") {
  uint64_t old_copies = 0, marked = 0, complete = 0;
  bool over = false;
  for (uint64_t at = 0; !over; ++at) {
    RebuildBed bed({.seed = at + 1, .volume_blocks = 64});
    INFO("end after " << at << " events");
    fill_old(bed);
    const BlockModel old = bed.model;
    const uint64_t cuts = bed.store->facts().cuts;
    bed.take_source(Lsn(9));
    Script script(bed, at + 1);
    over = true;
    for (uint64_t events = 0; script.go(); ++events) {
      if (events == at) {
        over = false;
        break;
      }
      REQUIRE(bed.world.step());
    }
    const Lsn durable = bed.store->wal().durable();
    const BlockModel source = bed.model;
    bed.crash(at);
    const Status opened = bed.open();
    if (!opened.has_value()) FAIL(opened.error().message);
    CHECK(bed.store->damage().empty());
    if (bed.store->facts().cuts == cuts) {
      ++old_copies;
      REQUIRE_FALSE(script.begun);
      CHECK(bed.store->base_usable());
      bed.model = old;
      CHECK(bed.store->wal().head() == Lsn(12));
      CHECK(bed.difference() == "");
    } else if (bed.store->base_usable()) {
      ++complete;
      REQUIRE(script.finishing);
      REQUIRE(bed.store->wal().head() >= script.achieved);
      REQUIRE(bed.store->wal().head() >= durable);
      CHECK(bed.store->base_limit() >= script.achieved);
      bed.model.truncate(bed.store->wal().head());
      CHECK(bed.difference() == "");
    } else {
      ++marked;
      REQUIRE_FALSE(script.done);
      // The next one begins somewhere else, and whatever is there does no harm.
      bed.begin(Lsn(9 + at % 30));
      bed.put(RecordKind::kWrite, 9, 4);
      REQUIRE(bed.complete().has_value());
      CHECK(bed.difference() == "");
      bed.crash(at + 1);
      REQUIRE(bed.open().has_value());
      CHECK(bed.store->base_usable());
      CHECK(bed.difference() == "");
    }
  }
  INFO(old_copies << " old, " << marked << " marked, " << complete << " complete");
  CHECK(old_copies > 2);
  CHECK(marked > 50);
  CHECK(complete > 5);
}
