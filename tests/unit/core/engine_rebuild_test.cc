// The engine's rules for rebuilds: their life from order or need to proof, what ends them, and an operator's orders.
#include <algorithm>
#include <catch2/catch.hpp>

#include "engine_words.h"

using namespace ringbolt;
using namespace ringbolt::core;

namespace {

const char* const kAsked = "an operator asked for it";
const std::string kHeld = "needs_rebuild: needs_rebuild: replica n2 (a rebuild was cancelled; `ringboltctl rebuild vol0 n2` begins one)";

std::string task(const std::string& kind, uint64_t session, uint64_t position = 0) {
  return "start_recovery_task replica=n2 kind=" + kind + " session=" + std::to_string(session) + " position=" + std::to_string(position);
}

SyncAckObserved marked(uint64_t connection, uint64_t sync) {
  SyncAckObserved facts = ack("n2", term(1), connection, sync, 0);
  facts.facts.base_usable = false;
  return facts;
}

/// n2 keeps up, in session 1, proven.
Subject healthy_pair() {
  Subject s;
  s.be_primary({"n2"}, {"n2"});
  s.keep_up("n2", 1, 1, 1);
  return s;
}

/// n2 was too far behind and is being rebuilt in session 1.
Subject rebuilding_pair() {
  Subject s = connected_pair();
  s.tell(rejected("n2", term(1), 1, "it owes too much"));
  s.tell(ack("n2", term(1), 1, 1, 10));
  s.tell(started("n2", term(1), 1, SessionKind::kRebuild, 100, 100));
  return s;
}

}  // namespace

// --- a rebuild's life -----------------------------------------------------------------------------------

TEST_CASE("core: a rebuild's life: accepted, running, base complete, completed, proven, keepup", "[core][engine][rebuild]") {
  Subject s = rebuilding_pair();
  const auto phase = [&] { return std::string(to_string(s.replica("n2").session->phase)); };
  CHECK(phase() == "accepted");
  const auto is_rebuilding = [&](const char* at) {
    INFO(at);
    CHECK(s.phase("n2") == RecoveryPhase::kRebuilding);
    CHECK(s.mode() == "degraded: recovery_in_progress: replica n2");
    CHECK_FALSE(in_sync(s.state(), s.replica("n2")));
    CHECK(s.outstanding() == kNothing);
  };
  is_rebuilding("accepted");
  s.tell(progress("n2", term(1), 1, SessionPhase::kRunning, 90));
  CHECK(phase() == "running");
  is_rebuilding("running");
  // Told before the base lane's end, by the other lane: nothing goes back.
  s.tell(progress("n2", term(1), 1, SessionPhase::kBaseComplete, 95));
  s.tell(progress("n2", term(1), 1, SessionPhase::kRunning, 97));
  CHECK(phase() == "base_complete");
  CHECK(s.replica("n2").session->applied == Lsn(97));
  is_rebuilding("base complete");
  s.tell(completed("n2", term(1), 1, 101));
  CHECK(phase() == "completed");
  is_rebuilding("completed, not accepted by the primary");
  s.tell(accepted("n2", term(1), 2, 1, 102));
  CHECK(s.phase("n2") == RecoveryPhase::kIdle);
  CHECK(in_sync(s.state(), s.replica("n2")));
  CHECK(s.mode() == "publish_healthy");
  CHECK(s.outstanding() == kNothing);
  CHECK(s.replica("n2").session->achieved == Lsn(102));
}

TEST_CASE("core: a rebuild that failed is decided again, from fresh facts only", "[core][engine][rebuild]") {
  for (const SessionPhase reached : {SessionPhase::kAccepted, SessionPhase::kRunning, SessionPhase::kBaseComplete, SessionPhase::kCompleted}) {
    INFO(to_string(reached));
    Subject s = rebuilding_pair();
    s.tell(progress("n2", term(1), 1, reached, 90));
    s.tell(in_session(marked(1, 2), 1, SessionKind::kRebuild));  // said within it
    CHECK(s.tell(failed("n2", term(1), 1, Reason::kTransportLost, "cut")) == Lines{task("probe", 2)});
    CHECK(s.phase("n2") == RecoveryPhase::kIdle);
    // The mark is still there: another rebuild, of another session.
    CHECK(s.tell(marked(1, 3)) == Lines{rebuild(3, kUnusable)});
    // Or it was through, and nobody had heard of it.
    CHECK(s.tell(ack("n2", term(1), 1, 4, 100)) == Lines{task("keepup", 4, 100)});
  }
}

TEST_CASE("core: a rebuild that failed without a reason to repeat it is over", "[core][engine][rebuild]") {
  Subject s = rebuilding_pair();
  s.tell(failed("n2", term(1), 1, Reason::kEpochMismatch, "another epoch"));
  CHECK(s.tell(ack("n2", term(1), 1, 2, 60)) == Lines{catchup(2, 60)});
}

TEST_CASE("core: a later session supersedes a rebuild, and the other way round", "[core][engine][rebuild]") {
  Subject s = rebuilding_pair();
  s.tell(started("n2", term(1), 4, SessionKind::kRebuild, 100, 100));
  CHECK(s.replica("n2").session->id == SessionId(4));
  s.tell(progress("n2", term(1), 1, SessionPhase::kBaseComplete, 100));
  s.tell(completed("n2", term(1), 1, 100));
  s.tell(accepted("n2", term(1), 2, 1, 100));
  CHECK(s.replica("n2").session->phase == SessionPhase::kAccepted);
  CHECK(s.phase("n2") == RecoveryPhase::kRebuilding);
  // The replica knows nothing of the session that is alive here.
  CHECK(s.tell(marked(1, 5)) == Lines{invalidate(4, "superseded")});
}

TEST_CASE("core: which rebuild was the newest is kept when other sessions follow, in any order", "[core][engine][rebuild]") {
  std::vector<SessionStarted> events = {started("n2", term(1), 3, SessionKind::kRebuild, 0, 0), started("n2", term(1), 5, SessionKind::kRebuild, 0, 0),
                                        started("n2", term(1), 7, SessionKind::kKeepup, 0, 0), started("n2", term(2), 2, SessionKind::kCatchup, 0, 0)};
  std::sort(events.begin(), events.end(), [](const auto& a, const auto& b) { return a.session < b.session; });
  do {
    Subject s = connected_pair();
    for (const SessionStarted& event : events) s.tell(event);
    CHECK(s.replica("n2").rebuilt == SessionKey{term(1), SessionId(5)});
  } while (std::next_permutation(events.begin(), events.end(), [](const auto& a, const auto& b) { return a.session < b.session; }));
}

TEST_CASE("core: an obstacle that is told again with every answer is published once", "[core][engine][rebuild]") {
  Subject s = connected_pair();
  s.tell(ack("n2", term(1), 1, 1, 10));
  s.tell(obstructed("n2", term(1), 1, "two are going on"));
  CHECK(s.published() == std::string("needs_rebuild: needs_rebuild: replica n2 (") + kNotInWal + "; two are going on)");
  for (uint64_t sync = 2; sync < 6; ++sync) {
    s.tell(ack("n2", term(1), 1, sync, 10));
    CHECK(s.published().empty());
    s.tell(obstructed("n2", term(1), sync, "two are going on"));
    CHECK(s.published().empty());
  }
  s.tell(obstructed("n2", term(1), 6, ""));
  CHECK(s.published() == std::string("needs_rebuild: needs_rebuild: replica n2 (") + kNotInWal + ")");
}

TEST_CASE("core: an obstacle is none once a session has begun, nor in another term", "[core][engine][rebuild]") {
  Subject s = connected_pair();
  s.tell(ack("n2", term(1), 1, 1, 10));
  s.tell(obstructed("n2", term(1), 1, "two are going on"));
  s.tell(ack("n2", term(1), 1, 2, 60));
  s.tell(started("n2", term(1), 2, SessionKind::kCatchup, 60, 100));
  s.tell(failed("n2", term(1), 2, Reason::kPinLost));
  CHECK(s.tell(ack("n2", term(1), 1, 3, 10)) == Lines{rebuild(3, kNotInWal)});
  CHECK(s.mode() == std::string("needs_rebuild: needs_rebuild: replica n2 (") + kNotInWal + ")");
}

// --- orders ---------------------------------------------------------------------------------------------

TEST_CASE("core: an order for a rebuild ends what goes on, and begins one on facts that came after it", "[core][engine][rebuild]") {
  Subject s = healthy_pair();
  CHECK(s.tell(ordered("n2", term(1), 1, true, 4)) == Lines{invalidate(1, "superseded")});
  CHECK(s.tell(failed("n2", term(1), 1, Reason::kSuperseded)) == Lines{task("probe", 1)});
  // Asked before the order: a session of that sync would not fulfil it.
  CHECK(s.tell(ack("n2", term(1), 1, 4, 100)) == Lines{task("probe", 4)});
  CHECK(s.phase("n2") == RecoveryPhase::kIdle);
  CHECK(s.tell(ack("n2", term(1), 1, 5, 100)) == Lines{rebuild(5, kAsked)});
  CHECK(s.phase("n2") == RecoveryPhase::kNeedsRebuild);
  CHECK(s.mode() == std::string("needs_rebuild: needs_rebuild: replica n2 (") + kAsked + ")");
  CHECK(s.tell(started("n2", term(1), 5, SessionKind::kRebuild, 100, 100)) == kNothing);
  CHECK(s.outstanding() == kNothing);
  s.tell(accepted("n2", term(1), 2, 5, 102));
  CHECK(s.outstanding() == kNothing);
  CHECK(s.mode() == "publish_healthy");
  // It is fulfilled: what follows is decided from facts alone.
  s.tell(failed("n2", term(1), 5, Reason::kTransportLost));
  CHECK(s.tell(ack("n2", term(1), 1, 8, 60)) == Lines{catchup(8, 60)});
  CHECK(s.tell(ordered("n2", term(1), 1, true, 4)) == kNothing);
}

TEST_CASE("core: whatever a replica's facts say, an ordered rebuild is what they call for", "[core][engine][rebuild]") {
  for (const uint64_t position : {uint64_t{0}, uint64_t{10}, uint64_t{60}, uint64_t{100}, uint64_t{104}}) {
    Subject s = connected_pair();
    s.tell(ordered("n2", term(1), 1, true, 0));
    CHECK(s.tell(ack("n2", term(1), 1, 1, position)) == Lines{rebuild(1, kAsked)});
  }
}

TEST_CASE("core: an order supersedes a rebuild that had begun before it", "[core][engine][rebuild]") {
  Subject s = rebuilding_pair();
  CHECK(s.tell(ordered("n2", term(1), 1, true, 1)) == Lines{invalidate(1, "superseded")});
  s.tell(failed("n2", term(1), 1, Reason::kSuperseded));
  CHECK(s.tell(marked(1, 2)) == Lines{rebuild(2, kAsked)});
  CHECK(s.tell(started("n2", term(1), 2, SessionKind::kRebuild, 100, 100)) == kNothing);
  // One that began after it fulfils it, also if that is heard first.
  Subject other = rebuilding_pair();
  CHECK(other.tell(ordered("n2", term(1), 1, true, 0)) == kNothing);
  CHECK(other.outstanding() == kNothing);
}

TEST_CASE("core: a session of which only progress is known is not ended by an order before its start is told", "[core][engine][rebuild]") {
  Subject s = connected_pair();
  s.tell(ordered("n2", term(1), 1, true, 0));
  s.tell(ack("n2", term(1), 1, 1, 100));
  CHECK(s.tell(progress("n2", term(1), 1, SessionPhase::kRunning, 100)) == kNothing);
  CHECK(s.outstanding() == kNothing);
  CHECK(s.tell(started("n2", term(1), 1, SessionKind::kRebuild, 100, 100)) == kNothing);
  CHECK(s.outstanding() == kNothing);
}

TEST_CASE("core: an ordered rebuild that cannot begin is tried until it does, and says why it waits", "[core][engine][rebuild]") {
  Subject s = connected_pair();
  s.tell(ordered("n2", term(1), 1, true, 0));
  s.tell(ack("n2", term(1), 1, 1, 100));
  CHECK(s.tell(obstructed("n2", term(1), 1, "two are going on")) == Lines{task("probe", 1)});
  CHECK(s.published() == std::string("needs_rebuild: needs_rebuild: replica n2 (") + kAsked + "; two are going on)");
  CHECK(s.tell(ack("n2", term(1), 1, 2, 100)) == Lines{rebuild(2, kAsked)});
  CHECK(s.published().empty());
}

TEST_CASE("core: an order of an earlier term stands until a rebuild of a later one has begun", "[core][engine][rebuild]") {
  Subject s = healthy_pair();
  s.tell(ordered("n2", term(1), 1, true, 50));
  s.tell(assigned(Role::kPrimary, 2, 1, {"n2"}));
  s.tell(applied_primary(2, term(2), {"n2"}, {{term(1), Lsn(1)}, {term(2), Lsn(101)}}));
  s.tell(configured(2, 1));
  s.tell(connected("n2", 2));
  // The count of syncs began anew.
  SyncAckObserved facts = ack("n2", term(2), 2, 1, 100);
  facts.facts.history = history({{term(1), Lsn(1)}});
  CHECK(s.tell(facts) == Lines{rebuild(1, kAsked)});
  CHECK(s.tell(started("n2", term(2), 1, SessionKind::kRebuild, 100, 100)) == kNothing);
  CHECK(s.outstanding() == kNothing);
}

TEST_CASE("core: a cancelled rebuild ends, and none begins until one is asked for", "[core][engine][rebuild]") {
  Subject s = rebuilding_pair();
  CHECK(s.tell(ordered("n2", term(1), 1, false, 1)) == Lines{invalidate(1, "cancelled")});
  CHECK(s.tell(failed("n2", term(1), 1, Reason::kCancelled)) == Lines{task("probe", 1)});
  CHECK(s.phase("n2") == RecoveryPhase::kIdle);
  CHECK(s.tell(marked(1, 2)) == Lines{task("probe_later", 2)});
  CHECK(s.phase("n2") == RecoveryPhase::kNeedsRebuild);
  CHECK(s.mode() == kHeld);
  // Asked again, now and then: the same answer is no news.
  CHECK(s.tell(marked(1, 3)) == Lines{task("probe_later", 3)});
  CHECK(s.published().empty());
  CHECK(s.tell(ordered("n2", term(1), 2, true, 3)) == Lines{task("probe", 3)});
  CHECK(s.tell(marked(1, 4)) == Lines{rebuild(4, kAsked)});
}

TEST_CASE("core: a cancellation holds back rebuilds only", "[core][engine][rebuild]") {
  Subject s = healthy_pair();
  CHECK(s.tell(ordered("n2", term(1), 1, false, 1)) == kNothing);
  CHECK(s.outstanding() == kNothing);
  CHECK(s.mode() == "publish_healthy");
  s.tell(failed("n2", term(1), 1, Reason::kTransportLost));
  CHECK(s.tell(ack("n2", term(1), 1, 2, 60)) == Lines{catchup(2, 60)});
  CHECK(s.tell(started("n2", term(1), 2, SessionKind::kCatchup, 60, 100)) == kNothing);
  s.tell(failed("n2", term(1), 2, Reason::kPinLost));
  CHECK(s.tell(ack("n2", term(1), 1, 3, 100)) == Lines{task("keepup", 3, 100)});
  CHECK(s.tell(ack("n2", term(1), 1, 4, 104)) == Lines{task("cut_tail", 4, 100)});
  CHECK(s.tell(ack("n2", term(1), 1, 5, 10)) == Lines{task("probe_later", 5)});
  CHECK(s.mode() == kHeld);
}

TEST_CASE("core: a rebuild that is proven is keepup, which a cancellation does not end", "[core][engine][rebuild]") {
  Subject s = rebuilding_pair();
  s.tell(completed("n2", term(1), 1, 100));
  s.tell(accepted("n2", term(1), 2, 1, 100));
  CHECK(s.tell(ordered("n2", term(1), 1, false, 1)) == kNothing);
  CHECK(s.outstanding() == kNothing);
  CHECK(s.mode() == "publish_healthy");
  // Not proven yet, it is one.
  Subject other = rebuilding_pair();
  other.tell(completed("n2", term(1), 1, 100));
  CHECK(other.tell(ordered("n2", term(1), 1, false, 1)) == Lines{invalidate(1, "cancelled")});
}

TEST_CASE("core: of an operator's orders the last one holds, whichever is heard first", "[core][engine][rebuild]") {
  const RebuildOrdered wanted = ordered("n2", term(1), 1, true, 1);
  const RebuildOrdered cancelled = ordered("n2", term(1), 2, false, 1);
  for (const bool last_first : {false, true}) {
    Subject s = rebuilding_pair();
    s.tell(last_first ? cancelled : wanted);
    s.tell(last_first ? wanted : cancelled);
    CHECK(s.replica("n2").order == cancelled);
    CHECK(s.outstanding() == Lines{invalidate(1, "cancelled")});
  }
  // Cancelled before it began: as if it had not been given.
  Subject s = healthy_pair();
  s.tell(wanted);
  CHECK(s.outstanding() == Lines{invalidate(1, "superseded")});
  s.tell(cancelled);
  CHECK(s.outstanding() == kNothing);
}

TEST_CASE("core: an order for one replica is nothing to the others", "[core][engine][rebuild]") {
  Subject s;
  s.be_primary({"n2", "n3"}, {"n2", "n3"});
  s.keep_up("n2", 1, 1, 1);
  s.keep_up("n3", 2, 2, 2);
  CHECK(s.tell(ordered("n3", term(1), 1, true, 2)) == Lines{"invalidate_session replica=n3 session=2 reason=superseded"});
  CHECK(live_session(s.state(), s.replica("n2")) != nullptr);
  // Nor of one that is none here.
  CHECK(s.tell(ordered("n9", term(1), 2, true, 2)) == kNothing);
}
