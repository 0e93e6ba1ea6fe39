// A replica's side of a rebuild, on a real store: who may say what and when, that the log always wins over the base lane,
// what a crash leaves, and what the end needs.
#include <sys/resource.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <deque>
#include <memory>
#include <new>
#include <vector>

#include "session_bed.h"

using namespace ringbolt;
using namespace ringbolt::test;
using namespace ringbolt::repl;
using io::kMillisecond;
using io::kSecond;
using io::SimOpKind;

namespace {

template <class T>
void expect_refused(const OrRefused<T>& result, Reason reason, const std::string& words) {
  REQUIRE_FALSE(result.has_value());
  INFO(result.error().text);
  CHECK(std::string(to_string(result.error().reason)) == to_string(reason));
  CHECK(result.error().text.find(words) != std::string::npos);
}

/// The source's content, also after the log is no longer needed for it and after a restart.
void expect_equal_to_source(SessionBed& bed) {
  REQUIRE(bed.store->wal().head() == bed.source.head());
  CHECK(bed.difference() == "");
  bed.checkpoint_all();
  CHECK(bed.base_difference(bed.source.head()) == "");
  bed.reopen(1);
  CHECK(bed.store->base_usable());
  REQUIRE(bed.store->wal().head() == bed.source.head());
  CHECK(bed.difference() == "");
}

void complete(SessionBed& bed) {
  REQUIRE(bed.base_complete(std::max(bed.newest_read, bed.session->config().target)).has_value());
  REQUIRE(bed.run([&] { return bed.session->phase() == SessionPhase::kCompleted; }));
  CHECK(bed.store->base_usable());
  CHECK(bed.wait_quiet());
}

}  // namespace

// --- the control surface --------------------------------------------------------------------------------------

TEST_CASE("rebuild_session: a session from its beginning to its end", "[repl][rebuild]") {
  const bool blank = GENERATE(false, true);
  SessionBed bed;
  bed.prepare(Lsn(7), blank);
  CHECK(bed.session->phase() == SessionPhase::kIdle);
  CHECK_FALSE(bed.session->active());
  CHECK(bed.session->quiet());
  CHECK(bed.session->bitmap() == nullptr);
  CHECK(bed.session->blocks_total() == 64);
  expect_refused(bed.give(bed.read_chunk(16)), Reason::kEpochMismatch, "epoch 1 where 0 is rebuilt");  // nothing runs
  bed.rewind();
  REQUIRE(bed.session->start(bed.wanted(5)).has_value());
  CHECK(bed.session->phase() == SessionPhase::kAccepted);
  CHECK(bed.session->active());
  CHECK_FALSE(bed.session->quiet());
  CHECK(bed.session->id() == SessionId(5));
  CHECK(bed.running == 0);
  REQUIRE(bed.wait_running());
  CHECK(bed.running == 1);
  CHECK(bed.marked_on_disk());
  CHECK_FALSE(bed.store->base_usable());
  REQUIRE(bed.session->bitmap() != nullptr);
  CHECK(bed.session->bitmap()->total() == 64);
  CHECK(bed.session->bitmap()->applied_count() == 0);
  bed.put(RecordKind::kTerm, 0, 0);
  bed.put(RecordKind::kWrite, 20, 4);
  bed.settle_written();
  CHECK(bed.session->bitmap()->applied_count() == 4);
  bed.give_all();
  CHECK(bed.session->blocks_skipped() == 4);
  CHECK(bed.session->blocks_done() == 60);
  CHECK(bed.marked_on_disk());
  CHECK_FALSE(bed.session->try_complete().has_value());  // not while the base is not called complete
  REQUIRE(bed.base_complete(bed.newest_read).has_value());
  CHECK(bed.session->phase() == SessionPhase::kBaseComplete);
  REQUIRE(bed.run([&] { return bed.session->phase() == SessionPhase::kCompleted; }));
  CHECK(bed.completed == std::vector{bed.source.head()});
  CHECK(bed.session->try_complete() == bed.source.head());
  CHECK_FALSE(bed.session->active());
  REQUIRE(bed.wait_quiet());
  CHECK(bed.quiet == 1);
  CHECK(bed.session->bitmap() == nullptr);
  CHECK_FALSE(bed.marked_on_disk());
  CHECK(bed.store->base_limit() >= bed.completed[0]);
  CHECK(bed.failed.empty());
  // Whatever comes now is told so.
  expect_refused(bed.base_complete(bed.newest_read), Reason::kProtocolViolation, "session 5 is completed, not running");
  expect_equal_to_source(bed);
}

TEST_CASE("rebuild_session: one session at a time, and another only by superseding it", "[repl][rebuild]") {
  SessionBed bed;
  bed.run_session(Lsn(7), 1);
  const auto first = bed.session->config();
  bed.put(RecordKind::kWrite, 3, 2);
  bed.settle_written();
  REQUIRE(bed.give(bed.read_chunk(16)).has_value());
  SECTION("the same again changes nothing") {
    REQUIRE(bed.session->start(first).has_value());
    REQUIRE(bed.session->supersede(first).has_value());
    CHECK(bed.session->phase() == SessionPhase::kRunning);
    CHECK(bed.session->bitmap()->applied_count() == 2);
    bed.give_all();
    CHECK(bed.running == 1);
    complete(bed);
    expect_equal_to_source(bed);
  }
  SECTION("a second one is refused") {
    auto second = first;
    second.id = SessionId(2);
    expect_refused(bed.session->start(second), Reason::kNotReady, "session 1 is not over");
    CHECK(bed.session->id() == SessionId(1));
    bed.give_all();
    complete(bed);
  }
  SECTION("the same id of another epoch is a second one") {
    auto second = first;
    second.epoch = Epoch(2);
    expect_refused(bed.session->start(second), Reason::kNotReady, "session 1 is not over");
  }
  SECTION("superseded, also with base writes in flight") {
    const uint64_t hold = bed.node.disk().hold({.kind = SimOpKind::kWrite, .path = "/base"});
    REQUIRE(bed.give(bed.read_chunk(16)).has_value());
    REQUIRE(bed.run([&] { return bed.node.disk().held(hold) > 0; }));
    bed.source.append(RecordKind::kWrite, 60, 4);
    bed.take_source(Lsn(31));
    bed.source = bed.model;
    REQUIRE(bed.session->supersede(bed.wanted(2)).has_value());
    CHECK(bed.failed.empty());  // who supersedes it knows
    CHECK_FALSE(bed.session->active());
    CHECK_FALSE(bed.session->quiet());
    expect_refused(bed.session->start(bed.wanted(3)), Reason::kNotReady, "is not over");
    bed.world.run_for(kSecond);
    CHECK(bed.running == 1);  // not before the old one's writes have ended
    CHECK(bed.session->bitmap() != nullptr);  // which still look at it
    bed.node.disk().release(hold);
    REQUIRE(bed.run([&] { return bed.running == 2; }));
    bed.set_term();
    CHECK(bed.session->id() == SessionId(2));
    CHECK(bed.session->phase() == SessionPhase::kRunning);
    CHECK(bed.session->bitmap()->applied_count() == 0);
    CHECK(bed.session->blocks_done() == 0);
    CHECK(bed.store->wal().head() == Lsn(31));
    CHECK(bed.quiet == 0);
    expect_refused(bed.give(bed.read_chunk(16), SessionId(1), Epoch(1)), Reason::kSuperseded, "session 1 where 2 is current");
  }
  SECTION("superseded by one that cannot be: nothing has changed") {
    auto second = first;
    second.id = SessionId(2);
    second.snapshot = 4;
    expect_refused(bed.session->supersede(second), Reason::kSnapshotUnavailable, "snapshot 4");
    CHECK(bed.session->id() == SessionId(1));
    CHECK(bed.session->phase() == SessionPhase::kRunning);
    bed.give_all();
    complete(bed);
  }
  SECTION("superseded twice before the first could begin: the last one counts") {
    const uint64_t hold = bed.node.disk().hold({.kind = SimOpKind::kWrite, .path = "/base"});
    REQUIRE(bed.give(bed.read_chunk(16)).has_value());
    REQUIRE(bed.run([&] { return bed.node.disk().held(hold) > 0; }));
    REQUIRE(bed.session->supersede(bed.wanted(2)).has_value());
    REQUIRE(bed.session->supersede(bed.wanted(3)).has_value());
    bed.node.disk().release(hold);
    REQUIRE(bed.run([&] { return bed.running == 2; }));
    CHECK(bed.session->id() == SessionId(3));
    bed.world.run_for(kSecond);
    CHECK(bed.running == 2);
  }
}

TEST_CASE("rebuild_session: cancelled in any phase, the mark stays and another one may follow", "[repl][rebuild]") {
  const int when = GENERATE(0, 1, 2, 3);
  INFO("when " << when);
  SessionBed bed;
  bed.prepare(Lsn(7));
  bed.session->cancel(Reason::kCancelled);  // none is active
  CHECK(bed.session->phase() == SessionPhase::kIdle);
  REQUIRE(bed.session->start(bed.wanted(1)).has_value());
  if (when >= 1) REQUIRE(bed.wait_running());
  if (when == 2) REQUIRE(bed.give(bed.read_chunk(16)).has_value());  // a write in flight
  if (when == 3) {
    bed.give_all();
    bed.source_record(RecordKind::kWrite, 1, 1);  // what it waits for never comes
    REQUIRE(bed.base_complete(bed.source.head()).has_value());
    CHECK(bed.session->phase() == SessionPhase::kBaseComplete);
  }
  bed.session->cancel(Reason::kCancelled);
  CHECK(bed.session->phase() == SessionPhase::kFailed);
  CHECK_FALSE(bed.session->active());
  REQUIRE(bed.wait_quiet());
  bed.world.run_for(kSecond);
  CHECK(bed.quiet == 1);
  CHECK(bed.completed.empty());
  CHECK(bed.failed.empty());
  CHECK(bed.running == (when == 0 ? 0 : 1));
  CHECK(bed.marked_on_disk());
  CHECK_FALSE(bed.store->base_usable());
  expect_refused(bed.give(bed.read_chunk(16)), Reason::kProtocolViolation, "session 1 is failed, not running");
  bed.reopen(1);
  CHECK_FALSE(bed.store->base_usable());
  bed.take_source(Lsn(9));
  bed.source = bed.model;
  REQUIRE(bed.session->start(bed.wanted(2)).has_value());
  REQUIRE(bed.wait_running());
  bed.give_all();
  complete(bed);
  expect_equal_to_source(bed);
}

// --- refusals -----------------------------------------------------------------------------------------------

TEST_CASE("rebuild_session: what cannot be started is refused, and the copy stays what it was", "[repl][rebuild]") {
  SessionBed bed;
  bed.prepare(Lsn(7));
  bed.store->superblock().change().epoch = Epoch(3);
  auto config = bed.wanted();
  config.epoch = Epoch(3);
  Reason reason = Reason::kProtocolViolation;
  std::string words = "without a session id, a history, or a target";
  SECTION("no session id") { config.id = SessionId{}; }
  SECTION("a target before its base") { config.target = Lsn(6); }
  SECTION("no target") { config.base = config.target = Lsn{}; }
  SECTION("no history") { config.history = {}; }
  SECTION("a snapshot") {
    config.snapshot = 1;
    reason = Reason::kSnapshotUnavailable;
    words = "snapshot 1 is not known here";
  }
  SECTION("an epoch that is over") {
    config.epoch = Epoch(2);
    reason = Reason::kEpochMismatch;
    words = "epoch 2 is over, the current one is 3";
  }
  expect_refused(bed.session->start(config), reason, words);
  expect_refused(bed.session->supersede(config), reason, words);
  CHECK(bed.session->phase() == SessionPhase::kIdle);
  bed.world.run_for(kSecond);
  CHECK(bed.store->base_usable());
  CHECK(bed.store->wal().head() == Lsn(12));
  CHECK(bed.failed.empty());
  CHECK(bed.running == 0);
}

TEST_CASE("rebuild_session: a base Lsn that no log can go on from ends the session, and the copy stays what it was", "[repl][rebuild]") {
  SessionBed bed;
  bed.prepare(Lsn(7));
  auto config = bed.wanted();
  config.base = config.target = Lsn(UINT64_MAX / 2);
  const auto started = bed.session->start(config);
  bed.world.run_for(kSecond);
  // Refused, now or as soon as it is tried: never running.
  if (started.has_value()) {
    REQUIRE(bed.failed.size() == 1);
    CHECK(bed.failed[0].second.find("cannot be rebuilt from Lsn") != std::string::npos);
    CHECK(bed.session->phase() == SessionPhase::kFailed);
  }
  CHECK(bed.running == 0);
  CHECK_FALSE(bed.session->active());
  CHECK(bed.session->quiet());
  CHECK(bed.store->base_usable());
  CHECK_FALSE(bed.store->failed());
  CHECK(bed.store->wal().head() == Lsn(12));
}

TEST_CASE("rebuild_session: a failed store takes no session, and ends the one that runs", "[repl][rebuild]") {
  SessionBed bed;
  bed.prepare(Lsn(7));
  bed.node.disk().add_fault({.match = {.kind = SimOpKind::kWrite, .path = "/superblock"}, .forever = true});
  REQUIRE(bed.session->start(bed.wanted(1)).has_value());
  REQUIRE(bed.run([&] { return !bed.failed.empty(); }));
  CHECK(bed.failed[0].first == Reason::kLocalWalCorrupt);
  CHECK(bed.running == 0);
  REQUIRE(bed.wait_quiet());
  expect_refused(bed.session->start(bed.wanted(2)), Reason::kLocalWalCorrupt, "");
}

TEST_CASE("rebuild_session: as many copies are made anew on a node as may, and a place is held for as long as the base image may come", "[repl][rebuild]") {
  SessionBed bed;
  bed.prepare(Lsn(7));
  bed.limits.parallel = 1;
  REQUIRE(bed.limits.receiving.try_begin(1));
  expect_refused(bed.session->start(bed.wanted(1)), Reason::kNotReady, "1 copies are made anew on this node, as many as may");
  expect_refused(bed.session->supersede(bed.wanted(1)), Reason::kNotReady, "1 copies are made anew on this node");
  CHECK(bed.session->phase() == SessionPhase::kIdle);
  bed.world.run_for(kSecond);
  CHECK(bed.store->base_usable());
  CHECK_FALSE(bed.marked_on_disk());
  bed.limits.receiving.end();
  REQUIRE(bed.session->start(bed.wanted(1)).has_value());
  CHECK(bed.limits.receiving.running() == 1);
  // One that supersedes it has its place.
  REQUIRE(bed.session->supersede(bed.wanted(2)).has_value());
  CHECK(bed.limits.receiving.running() == 1);
  SECTION("until the base image is here") {
    REQUIRE(bed.run([&] { return bed.session->phase() == SessionPhase::kRunning; }));
    bed.give_all();
    CHECK(bed.limits.receiving.running() == 1);
    const auto hold = bed.node.disk().hold({.kind = SimOpKind::kFlush, .path = ""});
    REQUIRE(bed.base_complete(std::max(bed.newest_read, bed.wanted().target)).has_value());
    // Its own disk is what it waits for now: that is nothing to others.
    CHECK(bed.session->active());
    CHECK(bed.limits.receiving.running() == 0);
    bed.node.disk().release(hold);
    REQUIRE(bed.run([&] { return !bed.completed.empty(); }));
  }
  SECTION("until it ends otherwise") {
    bed.session->cancel(Reason::kCancelled);
    CHECK(bed.limits.receiving.running() == 0);
    REQUIRE(bed.wait_quiet());
  }
  SECTION("until it is given up before it began") {
    bed.session->cancel(Reason::kTransportLost);
    REQUIRE(bed.session->supersede(bed.wanted(3)).has_value());
    CHECK(bed.limits.receiving.running() == 1);
    bed.session->cancel(Reason::kTransportLost);
    CHECK(bed.limits.receiving.running() == 0);
    REQUIRE(bed.wait_quiet());
  }
  CHECK(bed.limits.receiving.running() == 0);
}

#if !defined(__SANITIZE_ADDRESS__)  // its own memory is beyond any limit
TEST_CASE("rebuild_session: without memory for the bitmap nothing begins, and the copy stays what it was", "[repl][rebuild]") {
  SessionBed bed({.volume_blocks = 1u << 20});
  bed.prepare(Lsn(7));
  struct rlimit before {};
  REQUIRE(getrlimit(RLIMIT_AS, &before) == 0);
  struct rlimit none = before;
  none.rlim_cur = 1;
  // What the process has already and has not used: all pieces of it that are large enough are taken first.
  std::vector<std::unique_ptr<char[]>> taken;
  const size_t bytes = RebuildBitmap::bytes_for(bed.session->blocks_total());
  taken.reserve(1u << 16);
  REQUIRE(setrlimit(RLIMIT_AS, &none) == 0);
  while (taken.size() < taken.capacity()) {
    char* const memory = new (std::nothrow) char[bytes];
    if (memory == nullptr) break;
    taken.emplace_back(memory);
  }
  const bool all_taken = taken.size() < taken.capacity();
  const auto started = bed.session->start(bed.wanted(1));
  REQUIRE(setrlimit(RLIMIT_AS, &before) == 0);
  taken.clear();
  REQUIRE(all_taken);
  REQUIRE(started.has_value());
  REQUIRE(bed.failed.size() == 1);
  CHECK(bed.failed[0].first == Reason::kNotReady);
  CHECK(bed.failed[0].second.find("no memory for a bitmap") != std::string::npos);
  CHECK(bed.limits.receiving.running() == 0);
  REQUIRE(bed.wait_quiet());
  CHECK(bed.running == 0);
  CHECK(bed.store->base_usable());
  CHECK_FALSE(bed.marked_on_disk());
  // And when there is some, it begins.
  REQUIRE(bed.session->start(bed.wanted(2)).has_value());
  REQUIRE(bed.wait_running());
}
#endif

TEST_CASE("rebuild_session: what does not belong to the session is refused by name, and changes nothing", "[repl][rebuild]") {
  SessionBed bed;
  bed.run_session(Lsn(7), 4);
  REQUIRE(bed.give(bed.read_chunk(16)).has_value());
  REQUIRE(bed.run([&] { return bed.applied_chunk == 1; }));
  SessionBed::Chunk next = bed.read_chunk(16);
  SECTION("a chunk of another session") { expect_refused(bed.give(next, SessionId(3), Epoch(1)), Reason::kSuperseded, "session 3 where 4 is current"); }
  SECTION("a chunk of a later session") { expect_refused(bed.give(next, SessionId(5), Epoch(1)), Reason::kSuperseded, "session 5 where 4 is current"); }
  SECTION("a chunk of no session") { expect_refused(bed.give(next, SessionId{}, Epoch(1)), Reason::kSuperseded, "session 0 where 4 is current"); }
  SECTION("a chunk of an older epoch") { expect_refused(bed.give(next, SessionId(4), Epoch{}), Reason::kEpochMismatch, "epoch 0 where 1 is rebuilt"); }
  SECTION("a chunk of a later epoch") { expect_refused(bed.give(next, SessionId(4), Epoch(2)), Reason::kEpochMismatch, "epoch 2 where 1 is rebuilt"); }
  SECTION("a chunk left out") {
    const SessionBed::Chunk after = bed.read_chunk(16);
    expect_refused(bed.give(after), Reason::kProtocolViolation, "chunk 3 at block 32: not the next one");
    REQUIRE(bed.give(next).has_value());
    next = after;
  }
  SECTION("a chunk again") {
    auto again = next;
    again.fields.chunk = 1;
    expect_refused(bed.give(again), Reason::kProtocolViolation, "not the next one");
  }
  SECTION("a gap between blocks") {
    auto wrong = next;
    wrong.fields.first = Lba(17);
    expect_refused(bed.give(wrong), Reason::kProtocolViolation, "chunk 2 at block 17: not the next blocks");
  }
  SECTION("an overlap") {
    auto wrong = next;
    wrong.fields.first = Lba(15);
    expect_refused(bed.give(wrong), Reason::kProtocolViolation, "not the next blocks");
  }
  SECTION("beyond the end") {
    auto wrong = next;
    wrong.fields.blocks = 49;
    wrong.fields.zeros = true;
    wrong.fields.last = true;
    expect_refused(bed.give(wrong), Reason::kProtocolViolation, "not the next blocks of the volume");
  }
  SECTION("far beyond the end") {
    auto wrong = next;
    wrong.fields.blocks = UINT32_MAX;
    wrong.fields.zeros = true;
    expect_refused(bed.give(wrong), Reason::kProtocolViolation, "not the next blocks of the volume");
  }
  SECTION("called the last one too early") {
    auto wrong = next;
    wrong.fields.last = true;
    expect_refused(bed.give(wrong), Reason::kProtocolViolation, "called the last one wrongly");
  }
  SECTION("not called the last one") {
    REQUIRE(bed.give(next).has_value());
    next = bed.read_chunk(32);
    REQUIRE(next.fields.last);
    auto wrong = next;
    wrong.fields.last = false;
    expect_refused(bed.give(wrong), Reason::kProtocolViolation, "called the last one wrongly");
  }
  SECTION("damaged on the way") {
    auto wrong = next;
    if (wrong.fields.zeros) {
      wrong.fields.zeros = false;
      wrong.fields.data_crc = 1;
    } else {
      wrong.data[100] ^= std::byte{4};
    }
    expect_refused(bed.give(wrong), Reason::kProtocolViolation, "checksum mismatch");
  }
  SECTION("complete before all was sent") { expect_refused(bed.base_complete(Lsn(7)), Reason::kProtocolViolation, "called complete with 16 of 64 blocks"); }
  SECTION("complete of another session") {
    expect_refused(bed.session->mark_base_complete(SessionId(9), Epoch(1), Lsn(7)), Reason::kSuperseded, "session 9 where 4 is current");
  }
  SECTION("complete of another epoch") {
    expect_refused(bed.session->mark_base_complete(SessionId(4), Epoch(2), Lsn(7)), Reason::kEpochMismatch, "epoch 2 where 1 is rebuilt");
  }
  CHECK(bed.session->phase() == SessionPhase::kRunning);
  CHECK(bed.session->blocks_done() + bed.session->blocks_skipped() <= 32);
  REQUIRE(bed.give(next).has_value());
  bed.give_all();
  complete(bed);
  expect_equal_to_source(bed);
}

TEST_CASE("rebuild_session: not complete at a barrier before what was read last", "[repl][rebuild]") {
  SessionBed bed;
  bed.run_session(Lsn(7));
  bed.put(RecordKind::kWrite, 3, 2);  // 8
  REQUIRE(bed.give(bed.read_chunk(64)).has_value());
  REQUIRE(bed.newest_read == Lsn(8));
  REQUIRE(bed.run([&] { return bed.applied_chunk == 1; }));
  expect_refused(bed.base_complete(Lsn(7)), Reason::kProtocolViolation, "complete at Lsn 7, before a block read at 8");
  CHECK(bed.session->phase() == SessionPhase::kRunning);
  REQUIRE(bed.base_complete(Lsn(8)).has_value());
}

TEST_CASE("rebuild_session: not complete while base writes are in flight, and not at a barrier before its target", "[repl][rebuild]") {
  SessionBed bed;
  bed.run_session(Lsn(7));
  const uint64_t hold = bed.node.disk().hold({.kind = SimOpKind::kWrite, .path = "/base"});
  REQUIRE(bed.give(bed.read_chunk(64)).has_value());
  REQUIRE(bed.run([&] { return bed.node.disk().held(hold) > 0; }));
  expect_refused(bed.base_complete(Lsn(7)), Reason::kProtocolViolation, "called complete with 64 of 64 blocks");
  CHECK(bed.session->phase() == SessionPhase::kRunning);
  bed.node.disk().release(hold);
  REQUIRE(bed.run([&] { return bed.applied_chunk == 1; }));
  expect_refused(bed.base_complete(Lsn(6)), Reason::kProtocolViolation, "complete at Lsn 6, before its target 7");
  CHECK(bed.session->phase() == SessionPhase::kRunning);
  REQUIRE(bed.base_complete(Lsn(7)).has_value());
  expect_refused(bed.base_complete(Lsn(7)), Reason::kProtocolViolation, "session 1 is base_complete, not running");
  REQUIRE(bed.run([&] { return !bed.completed.empty(); }));
}

TEST_CASE("rebuild_session: a higher epoch that was promised meanwhile ends what is taken of this one", "[repl][rebuild]") {
  SessionBed bed;
  bed.run_session(Lsn(7));
  bed.give_all();
  bed.store->superblock().change().epoch = Epoch(2);
  expect_refused(bed.base_complete(Lsn(7)), Reason::kEpochMismatch, "epoch 1");
  CHECK(bed.session->phase() == SessionPhase::kRunning);
}

// --- the log wins ---------------------------------------------------------------------------------------------

TEST_CASE("rebuild_session: a bit is set when a record is written, not when it was received", "[repl][rebuild]") {
  const RecordKind kind = GENERATE(RecordKind::kWrite, RecordKind::kZero, RecordKind::kTrim);
  const bool checkpoint_between = GENERATE(false, true);
  INFO("kind " << static_cast<int>(kind) << ", checkpoint " << checkpoint_between);
  SessionBed bed;
  bed.run_session(Lsn(9));
  // The chunks are read before the record is made, and come while it is received and not written.
  const auto before = bed.read_chunk(16);
  const auto rest = bed.read_chunk(48);
  const uint64_t old_stamp = bed.source.stamp(5);
  const uint64_t hold = bed.node.disk().hold({.kind = SimOpKind::kWrite, .path = "/wal"});
  const Lsn lsn = bed.put(kind, 4, 3);
  REQUIRE(bed.run([&] { return bed.node.disk().held(hold) > 0; }));
  CHECK(bed.store->wal().head() == lsn);
  CHECK(bed.store->wal().written() < lsn);
  CHECK(bed.session->bitmap()->applied_count() == 0);
  REQUIRE(bed.give(before).has_value());
  REQUIRE(bed.run([&] { return bed.applied_chunk == 1; }));
  // A crash now would leave no record: the base image must have the old version.
  CHECK(bed.session->blocks_skipped() == 0);
  CHECK(bed.base_block_is(5, old_stamp));
  bed.node.disk().release(hold);
  bed.settle_written();
  CHECK(bed.session->bitmap()->applied_count() == 3);
  for (uint64_t lba = 0; lba < 64; ++lba) CHECK(bed.session->bitmap()->is_applied(Lba(lba)) == (lba >= 4 && lba < 7));
  CHECK(bed.read_is_right(bed.begin_read(0, 16)));
  if (checkpoint_between) bed.checkpoint_all();
  REQUIRE(bed.give(rest).has_value());
  REQUIRE(bed.run([&] { return bed.applied_chunk == 2; }));
  complete(bed);
  expect_equal_to_source(bed);
}

TEST_CASE("rebuild_session: what the base lane brings after a record was applied is skipped", "[repl][rebuild]") {
  const RecordKind kind = GENERATE(RecordKind::kWrite, RecordKind::kZero, RecordKind::kTrim);
  const bool checkpointed = GENERATE(false, true);
  INFO("kind " << static_cast<int>(kind) << ", checkpointed " << checkpointed);
  SessionBed bed;
  bed.run_session(Lsn(20));
  const auto chunk = bed.read_chunk(16);
  bed.put(kind, 4, 3);
  bed.settle_written();
  if (checkpointed) bed.checkpoint_all();  // now only the bits keep the older blocks away
  REQUIRE(bed.give(chunk).has_value());
  REQUIRE(bed.run([&] { return bed.applied_chunk == 1; }));
  CHECK(bed.session->blocks_skipped() == 3);
  CHECK(bed.session->blocks_done() == 13);
  if (checkpointed) CHECK(bed.base_block_is(5, bed.source.stamp(5)));
  bed.give_all();
  complete(bed);
  expect_equal_to_source(bed);
}

TEST_CASE("rebuild_session: a base write in flight when its block's record comes never ends on top of it", "[repl][rebuild]") {
  SessionBed bed;
  bed.run_session(Lsn(20));
  const uint64_t hold = bed.node.disk().hold({.kind = SimOpKind::kWrite, .path = "/base"});
  auto chunk = bed.read_chunk(16);
  if (chunk.fields.zeros) FAIL("the source has data there");
  REQUIRE(bed.give(chunk).has_value());
  REQUIRE(bed.run([&] { return bed.node.disk().held(hold) > 0; }));
  bed.put(RecordKind::kWrite, 4, 3);
  bed.flush();  // stable, so a checkpoint wants to copy it
  bed.world.run_for(kSecond);
  CHECK(bed.store->checkpoint() < bed.source.head());  // it waits for the base write
  bed.node.disk().release(hold);
  REQUIRE(bed.run([&] { return bed.applied_chunk == 1; }));
  bed.give_all();
  complete(bed);
  expect_equal_to_source(bed);
}

TEST_CASE("rebuild_session: chunks that overlap applied blocks in part are written around them", "[repl][rebuild]") {
  SessionBed bed;
  bed.run_session(Lsn(20));
  std::vector<SessionBed::Chunk> chunks;
  for (int i = 0; i < 4; ++i) chunks.push_back(bed.read_chunk(16));
  bed.put(RecordKind::kWrite, 0, 1);    // the first block
  bed.put(RecordKind::kTrim, 15, 2);    // across two chunks
  bed.put(RecordKind::kZero, 20, 1);
  bed.put(RecordKind::kWrite, 22, 1);
  bed.put(RecordKind::kWrite, 32, 16);  // a whole chunk
  bed.put(RecordKind::kWrite, 63, 1);   // the last block
  bed.settle_written();
  CHECK(bed.session->bitmap()->applied_count() == 22);
  for (const auto& chunk : chunks) REQUIRE(bed.give(chunk).has_value());
  REQUIRE(bed.run([&] { return bed.applied_chunk == 4; }));
  CHECK(bed.session->blocks_skipped() == 22);
  CHECK(bed.session->blocks_done() == 42);
  complete(bed);
  expect_equal_to_source(bed);
}

TEST_CASE("rebuild_session: takes so many chunks at a time and no more, and says when it takes them again", "[repl][rebuild]") {
  SessionBed bed({.volume_blocks = 200});
  bed.run_session(Lsn(20));
  const uint64_t hold = bed.node.disk().hold({.kind = SimOpKind::kWrite, .path = "/base"});
  const uint64_t hold_zeros = bed.node.disk().hold({.kind = SimOpKind::kZero, .path = "/base"});
  for (size_t i = 0; i < RebuildSession::kChunksMax; ++i) {
    const auto taken = bed.give(bed.read_chunk(2));
    REQUIRE(taken.has_value());
    REQUIRE(taken.value());
  }
  const auto next = bed.read_chunk(2);
  const auto taken = bed.give(next);
  REQUIRE(taken.has_value());
  CHECK_FALSE(taken.value());
  CHECK(bed.applied_chunk == 0);
  bed.node.disk().release(hold);
  bed.node.disk().release(hold_zeros);
  REQUIRE(bed.run([&] { return bed.applied_chunk > 0; }));
  const auto again = bed.give(next);
  REQUIRE(again.has_value());
  CHECK(again.value());
  bed.give_all();
  complete(bed);
  expect_equal_to_source(bed);
}

TEST_CASE("rebuild_session: chunks are acknowledged in order, whichever write ends first", "[repl][rebuild]") {
  SessionBed bed;
  bed.run_session(Lsn(20));
  bed.source.append(RecordKind::kWrite, 0, 64);  // all of it data
  const uint64_t hold = bed.node.disk().hold({.kind = SimOpKind::kWrite, .path = "/base", .from = 0, .to = 16 * kBlockBytes});
  for (int i = 0; i < 3; ++i) REQUIRE(bed.give(bed.read_chunk(16)).has_value());
  REQUIRE(bed.run([&] { return bed.session->blocks_done() == 32; }));
  bed.world.run_for(kSecond);
  CHECK(bed.applied_chunk == 0);
  bed.node.disk().release(hold);
  REQUIRE(bed.run([&] { return bed.applied_chunk == 3; }));
}

TEST_CASE("rebuild_session: both lanes at once, in any order", "[repl][rebuild]") {
  const uint64_t seed = GENERATE(range(uint64_t{1}, uint64_t{25}));
  INFO("seed " << seed);
  SessionBed bed({.seed = seed, .volume_blocks = 1100 + 13 * seed});
  bed.run_session(Lsn(200));
  io::SimRandom& random = bed.world.random();
  const uint64_t blocks = bed.source.volume_blocks();
  bed.source_record(RecordKind::kTerm, 0, 0);
  std::deque<SessionBed::Chunk> chunks;
  bool all_read = false;
  uint64_t records = 0;
  const uint64_t hot = seed % 3 == 0 ? 64 : blocks;  // of some volumes only a few blocks are written
  while (!all_read || !chunks.empty() || records < 600) {
    switch (random.below(8)) {
      case 0:
      case 1:
        if (records >= 600 && random.chance(9, 10)) break;
        ++records;
        {
          const auto length = static_cast<uint32_t>(1 + random.below(12));
          const RecordKind kind = random.chance(1, 5) ? RecordKind::kTrim : random.chance(1, 8) ? RecordKind::kZero : RecordKind::kWrite;
          bed.source_record(kind, random.below(std::min(hot, blocks - length)), length);
        }
        break;
      case 2:
        bed.deliver_record(random.chance(1, 4));
        break;
      case 3:
        bed.store->seal();
        if (random.chance(1, 3)) bed.store->request_flush(bed.store->wal().sealed());
        break;
      case 4:
        if (all_read || chunks.size() >= 8) break;
        chunks.push_back(bed.read_chunk(static_cast<uint32_t>(1 + random.below(32))));
        all_read = chunks.back().fields.last;
        break;
      case 5:
        if (!chunks.empty()) {
          const auto taken = bed.give(chunks.front());
          REQUIRE(taken.has_value());
          if (taken.value()) chunks.pop_front();
        }
        break;
      default: bed.world.run_for(static_cast<io::Nanos>(random.below(400)) * io::kMicrosecond);
    }
  }
  const Lsn barrier = std::max(bed.newest_read, bed.session->config().target);
  REQUIRE(bed.run([&] { return bed.session->blocks_done() + bed.session->blocks_skipped() == blocks; }));
  if (hot == blocks) CHECK(bed.session->blocks_skipped() > 0);
  CHECK(bed.session->blocks_done() > 0);
  REQUIRE(bed.base_complete(barrier).has_value());
  // What is still on its way comes while it completes, or is what that waits for.
  REQUIRE(bed.run([&] {
    if (bed.world.random().chance(1, 3)) bed.deliver_record();
    bed.store->seal();
    return bed.session->phase() == SessionPhase::kCompleted;
  }));
  CHECK(bed.completed.size() == 1);
  CHECK(bed.completed[0] >= barrier);
  REQUIRE(bed.run([&] {
    bed.deliver_record();
    bed.store->seal();
    return bed.store->wal().written() == bed.source.head();
  }));
  REQUIRE(bed.wait_quiet());
  expect_equal_to_source(bed);
}

// --- crashes ----------------------------------------------------------------------------------------------------

TEST_CASE("rebuild_session: a crash at any moment leaves the mark until the end, and then a whole copy", "[repl][rebuild]") {
  const uint64_t seed = GENERATE(range(uint64_t{1}, uint64_t{61}));
  INFO("seed " << seed);
  SessionBed bed({.seed = seed, .volume_blocks = 96});
  bed.prepare(Lsn(20));
  REQUIRE(bed.session->start(bed.wanted()).has_value());
  const auto moment = static_cast<io::Nanos>(bed.world.random().below(40'000)) * io::kMicrosecond;
  bool crash = false;
  bed.world.after(moment, [&] { crash = true; });
  uint64_t left = 30;
  bool told = false, termed = false;
  std::deque<SessionBed::Chunk> chunks;
  while (!crash && bed.completed.empty()) {
    if (bed.session->phase() == SessionPhase::kRunning) {
      if (!std::exchange(termed, true)) bed.set_term();
      if (left > 0 && bed.world.random().chance(1, 2)) {
        --left;
        bed.put(RecordKind::kWrite, bed.world.random().below(90), 3);
        bed.store->request_flush(bed.store->wal().head());
      }
      if (chunks.empty() && (bed.newest_read == Lsn{} || !told)) {
        if (bed.session->blocks_done() + bed.session->blocks_skipped() + 0 < 96 && bed.applied_chunk * 16 < 96) {
          chunks.push_back(bed.read_chunk(16));
        }
      }
      while (!chunks.empty()) {
        REQUIRE(bed.give(chunks.front()).has_value());
        chunks.pop_front();
        const uint64_t applied = bed.applied_chunk;
        static_cast<void>(bed.world.run_until([&] { return crash || bed.applied_chunk > applied; }, kSecond));
      }
      if (!told && bed.applied_chunk * 16 == 96) {
        told = true;
        REQUIRE(bed.base_complete(std::max(bed.newest_read, bed.session->config().target)).has_value());
      }
    }
    bed.world.run_for(50 * io::kMicrosecond);
  }
  const bool completed = !bed.completed.empty();
  const bool ran = bed.running > 0;
  if (completed) bed.flush();
  const Lsn head = bed.source.head();
  bed.reopen(seed);
  if (completed) {
    CHECK(bed.store->base_usable());
    CHECK(bed.store->wal().head() == head);
    CHECK(bed.difference() == "");
    return;
  }
  // Whether the mark's end became durable before the crash only the superblock knows: then everything is there.
  if (bed.store->base_usable()) {
    if (ran) {
      REQUIRE(told);
      CHECK(bed.store->wal().head() >= bed.newest_read);
      bed.model = bed.source;
      bed.model.truncate(bed.store->wal().head());
      CHECK(bed.difference() == "");
    } else {
      CHECK(bed.store->wal().head() == Lsn(12));
    }
    return;
  }
  bed.take_source(Lsn(33));
  bed.source = bed.model;
  REQUIRE(bed.session->start(bed.wanted(2)).has_value());
  REQUIRE(bed.wait_running());
  bed.give_all();
  complete(bed);
  expect_equal_to_source(bed);
}

TEST_CASE("rebuild_session: a crash between receiving and applying a record, and after", "[repl][rebuild]") {
  const bool applied = GENERATE(false, true);
  const uint64_t how = GENERATE(0, 1, 2);
  INFO("applied " << applied << ", how " << how);
  SessionBed bed;
  bed.run_session(Lsn(20));
  const auto chunk = bed.read_chunk(16);
  const uint64_t old_stamp = bed.source.stamp(5);
  std::optional<uint64_t> hold;
  if (!applied) hold = bed.node.disk().hold({.kind = SimOpKind::kWrite, .path = "/wal"});
  bed.put(RecordKind::kWrite, 4, 3);
  if (applied) bed.flush();
  REQUIRE(bed.give(chunk).has_value());
  REQUIRE(bed.run([&] { return bed.applied_chunk == 1; }));
  // Either the record can be replayed, or the base image has what was before it: never neither.
  CHECK(bed.session->blocks_skipped() == (applied ? 3 : 0));
  if (!applied) CHECK(bed.base_block_is(5, old_stamp));
  bed.reopen(how);
  CHECK_FALSE(bed.store->base_usable());
  CHECK(bed.marked_on_disk());
  CHECK(bed.session->phase() == SessionPhase::kIdle);
  // A rebuild, never less: it begins anew with nothing known of the one before.
  if (applied || how == 1) CHECK(bed.store->wal().head() == (applied ? Lsn(21) : Lsn(20)));
  bed.model = bed.source;
  REQUIRE(bed.session->start(bed.wanted(2)).has_value());
  REQUIRE(bed.wait_running());
  CHECK(bed.session->bitmap()->applied_count() == 0);
  bed.give_all();
  CHECK(bed.session->blocks_skipped() == 0);
  complete(bed);
  expect_equal_to_source(bed);
}

// --- failures ---------------------------------------------------------------------------------------------------

TEST_CASE("rebuild_session: a deadline ends it, in every phase", "[repl][rebuild]") {
  const int phase = GENERATE(0, 1, 2);
  INFO("phase " << phase);
  SessionBed bed;
  bed.prepare(Lsn(7));
  auto config = bed.wanted();
  config.deadline = 500 * kMillisecond;
  std::optional<uint64_t> hold;
  if (phase == 0) hold = bed.node.disk().hold({.kind = SimOpKind::kFlush, .path = "/superblock"});
  REQUIRE(bed.session->start(config).has_value());
  if (phase > 0) REQUIRE(bed.wait_running());
  if (phase == 2) {
    bed.give_all();
    bed.source_record(RecordKind::kWrite, 1, 1);
    REQUIRE(bed.base_complete(bed.source.head()).has_value());
  }
  bed.world.run_for(400 * kMillisecond);
  CHECK(bed.failed.empty());
  bed.world.run_for(200 * kMillisecond);
  REQUIRE(bed.failed.size() == 1);
  CHECK(bed.failed[0].first == Reason::kDeadlineExceeded);
  CHECK(bed.session->phase() == SessionPhase::kFailed);
  if (hold) bed.node.disk().release(*hold);
  REQUIRE(bed.wait_quiet());
  bed.world.run_for(kSecond);
  CHECK(bed.quiet == 1);
  CHECK(bed.failed.size() == 1);
  CHECK(bed.running == (phase == 0 ? 0 : 1));
  CHECK(bed.completed.empty());
  CHECK_FALSE(bed.store->base_usable());
  CHECK(bed.marked_on_disk());
}

TEST_CASE("rebuild_session: one that is complete in time has no deadline any more", "[repl][rebuild]") {
  SessionBed bed;
  bed.prepare(Lsn(7));
  auto config = bed.wanted();
  config.deadline = 2 * kSecond;
  REQUIRE(bed.session->start(config).has_value());
  REQUIRE(bed.wait_running());
  bed.give_all();
  complete(bed);
  bed.world.run_for(5 * kSecond);
  CHECK(bed.failed.empty());
  CHECK(bed.session->phase() == SessionPhase::kCompleted);
}

TEST_CASE("rebuild_session: a base device that is full ends the session, not the store", "[repl][rebuild]") {
  SessionBed bed({.volume_blocks = 256});
  bed.prepare(Lsn(7), true);
  bed.source.append(RecordKind::kWrite, 0, 100);
  bed.source.append(RecordKind::kWrite, 100, 100);
  bed.model = bed.source;
  REQUIRE(bed.session->start(bed.wanted()).has_value());
  REQUIRE(bed.wait_running());
  bed.node.disk().set_capacity(bed.node.disk().used_bytes() + 40 * kBlockBytes);
  std::vector<SessionBed::Chunk> chunks;
  for (int i = 0; i < 8; ++i) chunks.push_back(bed.read_chunk(16));
  for (const auto& chunk : chunks) REQUIRE(bed.give(chunk).has_value());
  REQUIRE(bed.run([&] { return !bed.failed.empty(); }));
  CHECK(bed.failed[0].first == Reason::kNotReady);
  INFO(bed.failed[0].second);
  CHECK(bed.failed[0].second.find("writing the base image at block ") == 0);
  CHECK(bed.failed[0].second.find("No space left on device") != std::string::npos);
  REQUIRE(bed.wait_quiet());
  CHECK(bed.failed.size() == 1);
  CHECK_FALSE(bed.store->failed());
  CHECK(bed.marked_on_disk());
  CHECK_FALSE(bed.store->base_usable());
  // With room, another one goes through.
  bed.node.disk().set_capacity(UINT64_MAX);
  bed.reopen(1);
  bed.model = bed.source;
  REQUIRE(bed.session->start(bed.wanted(2)).has_value());
  REQUIRE(bed.wait_running());
  bed.give_all();
  complete(bed);
  expect_equal_to_source(bed);
}

TEST_CASE("rebuild_session: a base write or flush that fails ends it, and the mark stays", "[repl][rebuild]") {
  const SimOpKind kind = GENERATE(SimOpKind::kWrite, SimOpKind::kFlush);
  SessionBed bed;
  bed.run_session(Lsn(20));
  bed.node.disk().add_fault({.match = {.kind = kind, .path = "/base"}, .forever = true});
  if (kind == SimOpKind::kWrite) {
    REQUIRE(bed.give(bed.read_chunk(64)).has_value());
  } else {
    bed.give_all();
    REQUIRE(bed.base_complete(Lsn(20)).has_value());
  }
  REQUIRE(bed.run([&] { return !bed.failed.empty(); }));
  CHECK(bed.failed[0].first == Reason::kLocalExtentCorrupt);
  REQUIRE(bed.wait_quiet());
  CHECK(bed.completed.empty());
  CHECK(bed.marked_on_disk());
  CHECK_FALSE(bed.store->base_usable());
}

// --- the end ------------------------------------------------------------------------------------------------------

TEST_CASE("rebuild_session: complete only with the whole base and the log flushed up to the barrier, and once", "[repl][rebuild]") {
  SessionBed bed;
  bed.run_session(Lsn(7));
  bed.source_record(RecordKind::kTerm, 0, 0);
  bed.source_record(RecordKind::kWrite, 10, 2);
  bed.give_all();  // read when the log ended at 9
  REQUIRE(bed.newest_read == Lsn(9));
  REQUIRE(bed.base_complete(Lsn(9)).has_value());
  const auto still_waits = [&](const char* for_what) {
    INFO(for_what);
    bed.world.run_for(kSecond);
    CHECK(bed.session->phase() == SessionPhase::kBaseComplete);
    CHECK_FALSE(bed.session->try_complete().has_value());
    CHECK(bed.completed.empty());
    CHECK(bed.marked_on_disk());
    CHECK_FALSE(bed.store->base_usable());
  };
  still_waits("nothing of the log is there");
  REQUIRE(bed.deliver_record());
  bed.store->seal();
  still_waits("one record is missing");
  const uint64_t flush = bed.node.disk().hold({.kind = SimOpKind::kFlush, .path = "/wal"});
  REQUIRE(bed.deliver_record());
  bed.store->seal();
  REQUIRE(bed.run([&] { return bed.node.disk().held(flush) > 0; }));  // it asks for the flush itself
  still_waits("written, not flushed");
  CHECK(bed.store->wal().written() == Lsn(9));
  const uint64_t base_flush = bed.node.disk().hold({.kind = SimOpKind::kFlush, .path = "/base"});
  bed.node.disk().release(flush);
  REQUIRE(bed.run([&] { return bed.node.disk().held(base_flush) > 0; }));
  still_waits("the base image is not flushed");
  const uint64_t superblock = bed.node.disk().hold({.kind = SimOpKind::kFlush, .path = "/superblock"});
  bed.node.disk().release(base_flush);
  bed.world.run_for(kSecond);
  CHECK(bed.completed.empty());
  CHECK_FALSE(bed.store->base_usable());  // the mark's end is not durable
  bed.node.disk().release(superblock);
  REQUIRE(bed.run([&] { return !bed.completed.empty(); }));
  CHECK(bed.completed == std::vector{Lsn(9)});
  // Later records do not complete it again.
  bed.put(RecordKind::kWrite, 30, 4);
  bed.flush();
  CHECK(bed.session->try_complete() == Lsn(9));
  bed.world.run_for(kSecond);
  CHECK(bed.completed.size() == 1);
  CHECK(bed.quiet == 1);
  expect_equal_to_source(bed);
}

TEST_CASE("rebuild_session: it achieves its barrier, also where the log is further on already", "[repl][rebuild]") {
  SessionBed bed;
  bed.stable_follows = false;
  bed.run_session(Lsn(7));
  bed.give_all();
  for (uint64_t i = 0; i < 5; ++i) bed.put(RecordKind::kWrite, 3 * i, 2);
  bed.flush();
  REQUIRE(bed.store->wal().durable() == Lsn(12));
  REQUIRE(bed.base_complete(Lsn(7)).has_value());
  REQUIRE(bed.run([&] { return !bed.completed.empty(); }));
  CHECK(bed.completed == std::vector{Lsn(7)});
  CHECK(bed.session->try_complete() == Lsn(7));
  // The later records are in the log only: they can be cut off without a further rebuild.
  CHECK(bed.store->base_limit() == Lsn(7));
  REQUIRE(bed.cut(Lsn(7)).has_value());
  CHECK(bed.store->wal().head() == Lsn(7));
  CHECK(bed.store->base_usable());
}

TEST_CASE("rebuild_session: records that come while it ends are taken, and not lost", "[repl][rebuild]") {
  SessionBed bed;
  bed.run_session(Lsn(7));
  bed.give_all();
  const uint64_t base_flush = bed.node.disk().hold({.kind = SimOpKind::kFlush, .path = "/base"});
  REQUIRE(bed.base_complete(Lsn(7)).has_value());
  REQUIRE(bed.run([&] { return bed.node.disk().held(base_flush) > 0; }));
  for (uint64_t i = 0; i < 20; ++i) bed.put(RecordKind::kWrite, 3 * i, 2);
  bed.flush();
  bed.node.disk().release(base_flush);
  REQUIRE(bed.run([&] { return !bed.completed.empty(); }));
  CHECK(bed.completed.size() == 1);
  expect_equal_to_source(bed);
}

TEST_CASE("rebuild_session: a volume of one block", "[repl][rebuild]") {
  SessionBed bed({.volume_blocks = 1});
  REQUIRE(bed.open().has_value());
  bed.store->adopt_volume(Uuid{{1, 2, 3}});
  bed.store->superblock().change().epoch = Epoch(1);
  bed.session = std::make_unique<RebuildSession>(*bed.io, *bed.pool, *bed.store, bed.limits, bed);
  bed.source.append(RecordKind::kWrite, 0, 1);
  bed.model = bed.source;
  REQUIRE(bed.session->start(bed.wanted()).has_value());
  REQUIRE(bed.wait_running());
  bed.give_all();
  complete(bed);
  CHECK(bed.completed == std::vector{Lsn(1)});
  expect_equal_to_source(bed);
}
