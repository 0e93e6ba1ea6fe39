// The engine's rules for one replica: what is decided from facts, how a session lives and ends, and that nothing but
// fresh facts decides again.
#include <algorithm>
#include <catch2/catch.hpp>

#include "engine_words.h"

using namespace ringbolt;
using namespace ringbolt::core;

namespace {

std::string probe(uint64_t beyond = 0) {
  return "start_recovery_task replica=n2 kind=probe session=" + std::to_string(beyond) + " position=0";
}
std::string keepup(uint64_t session, uint64_t position) {
  return "start_recovery_task replica=n2 kind=keepup session=" + std::to_string(session) + " position=" + std::to_string(position);
}
std::string cut(uint64_t session, uint64_t position) {
  return "start_recovery_task replica=n2 kind=cut_tail session=" + std::to_string(session) + " position=" + std::to_string(position);
}

}  // namespace

TEST_CASE("core: what a replica is told to do follows from where it is", "[core][engine]") {
  // The WAL holds 40 .. 100.
  CHECK(connected_pair().tell(ack("n2", term(1), 1, 1, 100)) == Lines{keepup(1, 100)});
  CHECK(connected_pair().tell(ack("n2", term(1), 1, 1, 99)) == Lines{catchup(1, 99)});
  CHECK(connected_pair().tell(ack("n2", term(1), 1, 1, 39)) == Lines{catchup(1, 39)});
  CHECK(connected_pair().tell(ack("n2", term(1), 1, 1, 38)) == Lines{rebuild(1, kNotInWal)});
  CHECK(connected_pair().tell(ack("n2", term(1), 1, 1, 0)) == Lines{rebuild(1, kNotInWal)});
  // Ahead of the primary within its own term: what a killed primary had sent and lost. It is cut, never caught up.
  CHECK(connected_pair().tell(ack("n2", term(1), 1, 1, 101)) == Lines{cut(1, 100)});
}

TEST_CASE("core: who says something is connected", "[core][engine]") {
  Subject s;
  s.be_primary({"n2"});
  CHECK(s.tell(ack("n2", term(1), 3, 1, 99)) == Lines{catchup(1, 99)});
  CHECK(s.replica("n2").connection == Connection{3, true, false, ""});
}

TEST_CASE("core: a diverged tail is cut before anything else, then the replica reports again", "[core][engine]") {
  Subject s;
  s.tell(assigned(Role::kPrimary, 3, 0, {"n2"}));
  s.tell(applied_primary(1, term(3), {}, {{term(1), Lsn(1)}, {term(3), Lsn(51)}}));
  s.tell(configured(3));
  s.tell(connected("n2", 1));
  SyncAckObserved tail = ack("n2", term(3), 1, 1, 100);  // as long as this log, so its position says nothing
  tail.facts.history = history({{term(1), Lsn(1)}, {term(2), Lsn(60)}});
  CHECK(s.tell(tail) == Lines{cut(1, 50)});
  CHECK(s.outstanding() == Lines{cut(1, 50)});
  CHECK(s.phase("n2") == RecoveryPhase::kIdle);
  SyncAckObserved shorter = ack("n2", term(3), 1, 2, 50);
  shorter.facts.history = history({{term(1), Lsn(1)}});
  CHECK(s.tell(shorter) == Lines{catchup(2, 50)});
  // It cannot be cut out of a base image.
  tail.sync = 3;
  tail.facts.checkpoint = Lsn(51);
  CHECK(s.tell(tail) == Lines{rebuild(3, "the replica's base image holds records beyond the fork")});
  tail.sync = 4;
  tail.facts.history = history({{term(2), Lsn(60)}});
  CHECK(s.tell(tail) == Lines{rebuild(4, "the term histories do not meet")});
}

TEST_CASE("core: an unusable base image calls for a rebuild wherever the replica's log ends", "[core][engine]") {
  for (const uint64_t position : {uint64_t{0}, uint64_t{60}, uint64_t{100}, uint64_t{101}}) {
    Subject s = connected_pair();
    SyncAckObserved facts = ack("n2", term(1), 1, 1, position);
    facts.facts.base_usable = false;
    CHECK(s.tell(facts) == Lines{rebuild(1, kUnusable)});
    CHECK(s.phase("n2") == RecoveryPhase::kNeedsRebuild);
    CHECK(s.mode() == std::string("needs_rebuild: needs_rebuild: replica n2 (") + kUnusable + ")");
  }
}

TEST_CASE("core: an empty replica of a volume that began with data is rebuilt; of an empty one it is complete", "[core][engine]") {
  for (const bool seeded : {false, true}) {
    Subject s;
    RoleApplied role = applied_primary(1, term(1));
    role.base_seeded = seeded;
    s.tell(assigned(Role::kPrimary, 1, 0, {"n2"}));
    s.tell(role);
    s.tell(configured(1));
    s.tell(connected("n2", 1));
    SyncAckObserved facts = ack("n2", term(1), 1, 1, 0);
    facts.wal_tail = Lsn(1);
    facts.wal_head = Lsn(0);
    const Lines orders = s.tell(facts);
    CHECK(orders.front().find(seeded ? "start_rebuild" : "start_recovery_task replica=n2 kind=keepup session=1 position=0") == 0);
  }
}

TEST_CASE("core: only what a replica says of its copy decides; nothing that was sent or acknowledged does", "[core][engine]") {
  Subject s = connected_pair();
  const std::vector<Event> others = {ShippedAdvanced{"n2", Lsn(100)}, committed(term(1), 100), CheckpointAdvanced{Lsn(90)},
                                     rejected("n2", term(1), 1, "it owes too much"), NeedsRebuildObserved{"n2", term(1), 1, "no source"},
                                     CopyObserved{1, true, "", ""}, connected("n2", 1)};
  for (const Event& event : others) {
    INFO(name_of(event));
    CHECK(s.tell(event) == kNothing);
    CHECK(s.outstanding() == Lines{probe()});
  }
  // Facts do, even if they came too late for a barrier.
  SyncAckObserved late = ack("n2", term(1), 1, 1, 80);
  late.kind = SyncAckKind::kTimedOut;
  CHECK(s.tell(late) == Lines{catchup(1, 80)});
}

TEST_CASE("core: a timed-out answer within a session changes nothing but the facts", "[core][engine]") {
  Subject s;
  s.be_primary({"n2"}, {"n2"});
  s.keep_up("n2", 1, 1, 1);
  SyncAckObserved late = in_session(ack("n2", term(1), 1, 2, 100), 1);
  late.kind = SyncAckKind::kTimedOut;
  CHECK(s.tell(late) == kNothing);
  CHECK(s.published().empty());
  CHECK(s.replica("n2").facts->sync == 2);
  CHECK(in_sync(s.state(), s.replica("n2")));
}

TEST_CASE("core: a lost transport changes reachability and nothing else", "[core][engine]") {
  Subject s;
  s.be_primary({"n2"}, {"n2"});
  s.keep_up("n2", 1, 1, 1);
  EngineState expected = s.state();
  SyncAckObserved none = ack("n2", term(1), 1, 2, 0);
  none.kind = SyncAckKind::kTransportLost;
  none.facts.base_usable = false;  // must not be looked at
  none.epoch = Epoch{};
  CHECK(s.tell(none) == kNothing);
  expected.replicas.front().connection.up = false;
  expected.replicas.front().connection.over = true;
  CHECK(s.state() == expected);
  CHECK(s.mode() == "degraded: awaiting_shipper_connected: replica n2");
  CHECK(in_sync(s.state(), s.replica("n2")));  // leaving the set is a decision of its own
  CHECK(live_session(s.state(), s.replica("n2")) != nullptr);
  CHECK(s.phase("n2") == RecoveryPhase::kIdle);
  // Nor is it said by the next connection's facts, which it is older than.
  s.tell(failed("n2", term(1), 1, Reason::kTransportLost));
  s.tell(connected("n2", 2));
  CHECK(s.tell(ack("n2", term(1), 2, 3, 100)) == Lines{keepup(3, 100)});
  CHECK(s.tell(none) == kNothing);
  CHECK(s.replica("n2").connection.up);
  CHECK(s.outstanding() == Lines{keepup(3, 100)});
}

TEST_CASE("core: facts that a decision may not rest on leave a probe", "[core][engine]") {
  Subject s = connected_pair();
  SECTION("of another term") {
    CHECK(s.tell(ack("n2", term(1, 2), 1, 1, 50)) == kNothing);
    CHECK(s.outstanding() == Lines{probe()});
  }
  SECTION("of a connection that is over") {
    CHECK(s.tell(ack("n2", term(1), 1, 1, 50)) == Lines{catchup(1, 50)});
    CHECK(s.tell(lost("n2", 1, "cut")) == Lines{probe(1)});
    CHECK(s.tell(connected("n2", 2)) == kNothing);
    CHECK(s.outstanding() == Lines{probe(1)});
  }
  SECTION("of the connection before") {
    s.tell(connected("n2", 2));
    CHECK(s.tell(ack("n2", term(1), 1, 1, 50)) == Lines{probe(1)});
  }
  SECTION("older than the session that ended") {
    s.tell(ack("n2", term(1), 1, 1, 50));
    s.tell(failed("n2", term(1), 1, Reason::kTransportLost));
    CHECK(s.outstanding() == Lines{probe(1)});
    CHECK(s.tell(ack("n2", term(1), 1, 1, 50)) == kNothing);
    CHECK(s.outstanding() == Lines{probe(1)});
  }
  CHECK(s.phase("n2") == RecoveryPhase::kIdle);
  CHECK(s.mode().find("needs_rebuild") == std::string::npos);
}

TEST_CASE("core: a probe that was answered with nothing to decide from is asked again", "[core][engine]") {
  Subject s = connected_pair();
  s.tell(ack("n2", term(1), 1, 1, 100));
  s.tell(started("n2", term(1), 1, SessionKind::kKeepup, 100, 100));
  CHECK(s.tell(failed("n2", term(1), 1, Reason::kProgressStalled)) == Lines{probe(1)});
  // Said while the session was going on, told after its end.
  CHECK(s.tell(in_session(ack("n2", term(1), 1, 2, 100), 1)) == Lines{probe(2)});
  CHECK(s.tell(in_session(ack("n2", term(1), 1, 2, 100), 1)) == kNothing);
  CHECK(s.tell(ack("n2", term(1), 1, 3, 100)) == Lines{keepup(3, 100)});
}

TEST_CASE("core: a keepup's life: idle, accepted, running, completed, proven", "[core][engine]") {
  Subject s = connected_pair();
  s.tell(ack("n2", term(1), 1, 1, 100));
  CHECK(live_session(s.state(), s.replica("n2")) == nullptr);
  s.tell(started("n2", term(1), 1, SessionKind::kKeepup, 100, 100));
  const Session* session = live_session(s.state(), s.replica("n2"));
  REQUIRE(session != nullptr);
  CHECK(session->phase == SessionPhase::kAccepted);
  CHECK_FALSE(session->achieved);
  s.tell(progress("n2", term(1), 1, SessionPhase::kRunning, 100));
  CHECK(s.replica("n2").session->phase == SessionPhase::kRunning);
  CHECK(s.phase("n2") == RecoveryPhase::kIdle);
  s.tell(completed("n2", term(1), 1, 104));
  CHECK(s.replica("n2").session->phase == SessionPhase::kCompleted);
  CHECK(s.replica("n2").session->achieved == Lsn(104));
  CHECK_FALSE(s.replica("n2").session->proven);
  s.tell(accepted("n2", term(1), 1, 1, 105));
  CHECK(s.replica("n2").session->proven);
  CHECK(s.replica("n2").session->achieved == Lsn(105));
  // Late words take nothing back.
  s.tell(progress("n2", term(1), 1, SessionPhase::kAccepted, 90));
  s.tell(completed("n2", term(1), 1, 104));
  CHECK(s.replica("n2").session->phase == SessionPhase::kCompleted);
  CHECK(s.replica("n2").session->applied == Lsn(100));
  CHECK(s.replica("n2").session->achieved == Lsn(105));
  CHECK(s.outstanding() == kNothing);
}

TEST_CASE("core: a catch-up's life: it counts from its proof on, not from its arrival", "[core][engine]") {
  Subject s = connected_pair();
  s.tell(rejected("n2", term(1), 1, "it owes too much"));
  CHECK(s.tell(ack("n2", term(1), 1, 1, 60)) == Lines{catchup(1, 60)});
  s.tell(started("n2", term(1), 1, SessionKind::kCatchup, 60, 100));
  CHECK(s.phase("n2") == RecoveryPhase::kCatchingUp);
  CHECK(s.mode() == "degraded: recovery_in_progress: replica n2");
  s.tell(progress("n2", term(1), 1, SessionPhase::kRunning, 100));
  s.tell(completed("n2", term(1), 1, 100));
  CHECK(s.phase("n2") == RecoveryPhase::kCatchingUp);
  CHECK_FALSE(in_sync(s.state(), s.replica("n2")));
  CHECK(s.mode() == "degraded: recovery_in_progress: replica n2");
  s.tell(accepted("n2", term(1), 2, 1, 103));
  CHECK(s.phase("n2") == RecoveryPhase::kIdle);
  CHECK(in_sync(s.state(), s.replica("n2")));
  CHECK(s.mode() == "publish_healthy");
  CHECK(s.outstanding() == kNothing);
}

TEST_CASE("core: a rebuild's life, and an obstacle to its beginning", "[core][engine]") {
  Subject s = connected_pair();
  CHECK(s.tell(ack("n2", term(1), 1, 1, 10)) == Lines{rebuild(1, kNotInWal)});
  CHECK(s.phase("n2") == RecoveryPhase::kNeedsRebuild);
  // It cannot begin now: the replica is asked again, and the answer decides again.
  CHECK(s.tell(obstructed("n2", term(1), 1, "another one is going on")) == Lines{probe(1)});
  CHECK(s.published() == std::string("needs_rebuild: needs_rebuild: replica n2 (") + kNotInWal + "; another one is going on)");
  CHECK(s.phase("n2") == RecoveryPhase::kNeedsRebuild);
  // An obstacle to another decision is none to this one.
  CHECK(s.tell(ack("n2", term(1), 1, 2, 10)) == Lines{rebuild(2, kNotInWal)});
  CHECK(s.tell(obstructed("n2", term(1), 1, "another one is going on")) == kNothing);
  CHECK(s.outstanding() == Lines{rebuild(2, kNotInWal)});
  s.tell(started("n2", term(1), 2, SessionKind::kRebuild, 40, 100));
  CHECK(s.phase("n2") == RecoveryPhase::kRebuilding);
  CHECK(s.mode() == "degraded: recovery_in_progress: replica n2");
  // While it goes on the replica's base image is marked: no contradiction.
  SyncAckObserved facts = in_session(ack("n2", term(1), 1, 3, 0), 2, SessionKind::kRebuild);
  facts.facts.base_usable = false;
  CHECK(s.tell(facts) == kNothing);
  s.tell(progress("n2", term(1), 2, SessionPhase::kBaseComplete, 90));
  CHECK(s.replica("n2").session->phase == SessionPhase::kBaseComplete);
  s.tell(completed("n2", term(1), 2, 101));
  CHECK(s.phase("n2") == RecoveryPhase::kRebuilding);
  s.tell(accepted("n2", term(1), 1, 2, 102));
  CHECK(s.phase("n2") == RecoveryPhase::kIdle);
  CHECK(s.mode() == "publish_healthy");
}

TEST_CASE("core: an obstacle of another term does not keep a rebuild from beginning", "[core][engine]") {
  Subject s = connected_pair();
  s.tell(NeedsRebuildObserved{"n2", term(1, 2), 1, "of a later opening"});
  CHECK(s.tell(ack("n2", term(1), 1, 1, 10)) == Lines{rebuild(1, kNotInWal)});
  CHECK(s.mode() == std::string("needs_rebuild: needs_rebuild: replica n2 (") + kNotInWal + ")");
}

TEST_CASE("core: facts of another term call for no rebuild", "[core][engine]") {
  Subject s;
  s.be_primary({"n2"}, {"n2"});
  s.tell(assigned(Role::kPrimary, 2, 1, {"n2"}));
  s.tell(applied_primary(2, term(2), {"n2"}, {{term(1), Lsn(1)}, {term(2), Lsn(90)}}));
  s.tell(configured(2, 1));
  s.tell(connected("n2", 1));
  CHECK(s.tell(ack("n2", term(1), 1, 7, 10)) == kNothing);
  CHECK(s.outstanding() == Lines{probe()});
  CHECK(s.phase("n2") == RecoveryPhase::kIdle);
  // Nor does the session of another term go on.
  CHECK(s.tell(started("n2", term(1), 7, SessionKind::kRebuild, 0, 100)) == kNothing);
  CHECK(s.phase("n2") == RecoveryPhase::kIdle);
  CHECK(live_session(s.state(), s.replica("n2")) == nullptr);
}

TEST_CASE("core: facts and sessions of no term are of no use to a node that has none", "[core][engine]") {
  Subject s;
  s.tell(assigned(Role::kPrimary, 1, 0, {"n2"}));
  s.tell(ack("n2", Term{}, 0, 1, 10));
  s.tell(started("n2", Term{}, 1, SessionKind::kKeepup, 0, 0));
  s.tell(accepted("n2", Term{}, 1, 1, 10));
  CHECK(live_session(s.state(), s.replica("n2")) == nullptr);
  CHECK_FALSE(decision_of(s.state(), s.replica("n2")));
  CHECK_FALSE(in_sync(s.state(), s.replica("n2")));
  CHECK(s.outstanding() == Lines{"apply_role epoch=1 role=primary"});
  CHECK(s.mode() == "bootstrap_pending: awaiting_role_apply");
  s.tell(committed(Term{}, 10));
  s.tell(applied(1, Role::kPrimary, 0));  // of no epoch
  CHECK_FALSE(decision_of(s.state(), s.replica("n2")));
  CHECK(s.outstanding() == Lines{"apply_role epoch=1 role=primary"});
}

TEST_CASE("core: a failed session leaves a probe, whatever it was and however it failed", "[core][engine]") {
  for (const SessionKind kind : {SessionKind::kKeepup, SessionKind::kCatchup, SessionKind::kRebuild}) {
    for (uint16_t number = 0; number <= kReasonLast; ++number) {
      INFO(to_string(kind) << ", " << to_string(Reason(number)));
      Subject s = connected_pair();
      s.tell(ack("n2", term(1), 1, 1, kind == SessionKind::kKeepup ? 100 : kind == SessionKind::kCatchup ? 60 : 10));
      s.tell(started("n2", term(1), 1, kind, 10, 100));
      CHECK(s.tell(failed("n2", term(1), 1, Reason(number), "in words")) == Lines{probe(1)});
      CHECK(s.outstanding() == Lines{probe(1)});
      CHECK(s.phase("n2") == RecoveryPhase::kIdle);
      CHECK(s.mode().find("needs_rebuild") == std::string::npos);
      CHECK(s.replica("n2").session->reason == Reason(number));
      CHECK(s.replica("n2").last_failure->text == "in words");
      // From fresh facts it is decided again, and only from these.
      CHECK(s.tell(ack("n2", term(1), 1, 2, 99)) == Lines{catchup(2, 99)});
    }
  }
}

TEST_CASE("core: what was said within a session that failed since decides nothing", "[core][engine]") {
  Subject s;
  s.be_primary({"n2"}, {"n2"});
  s.keep_up("n2", 1, 1, 1);
  // A barrier's answer: the replica is up to date, then. The session ends later, and it may have lost its disk.
  s.tell(in_session(ack("n2", term(1), 1, 2, 100), 1));
  CHECK(s.tell(failed("n2", term(1), 1, Reason::kLocalWalCorrupt)) == Lines{probe(2)});
  CHECK(s.tell(ack("n2", term(1), 1, 3, 60)) == Lines{catchup(3, 60)});
}

TEST_CASE("core: a session that was commanded and never began ends like any other", "[core][engine]") {
  Subject s = connected_pair();
  s.tell(ack("n2", term(1), 1, 1, 60));
  CHECK(s.tell(failed("n2", term(1), 1, Reason::kTransportLost)) == Lines{probe(1)});
  // Its start, told late, does not revive it.
  CHECK(s.tell(started("n2", term(1), 1, SessionKind::kCatchup, 60, 100)) == kNothing);
  CHECK(s.tell(progress("n2", term(1), 1, SessionPhase::kRunning, 80)) == kNothing);
  CHECK(s.tell(completed("n2", term(1), 1, 100)) == kNothing);
  CHECK(live_session(s.state(), s.replica("n2")) == nullptr);
  CHECK(s.outstanding() == Lines{probe(1)});
}

TEST_CASE("core: a session ends once; which words are kept does not depend on who spoke first", "[core][engine]") {
  // The end of the session, and refusals of late commands for it.
  const SessionFailed stalled = failed("n2", term(1), 1, Reason::kProgressStalled, "no acknowledgement");
  const SessionFailed superseded = failed("n2", term(1), 1, Reason::kSuperseded, "a");
  const SessionFailed late = failed("n2", term(1), 1, Reason::kTransportLost, "a late one");
  const SessionFailed later = failed("n2", term(1), 1, Reason::kTransportLost, "it was over");
  std::vector<SessionFailed> events = {late, later, stalled, superseded};
  Subject expected = connected_pair();
  for (const SessionFailed& event : events) expected.tell(event);
  CHECK(expected.replica("n2").session->text == "no acknowledgement");
  CHECK(expected.replica("n2").last_failure->text == "no acknowledgement");
  std::sort(events.begin(), events.end(), [](const auto& a, const auto& b) { return a.text < b.text; });
  do {
    Subject s = connected_pair();
    for (const SessionFailed& event : events) s.tell(event);
    CHECK(s.state() == expected.state());
  } while (std::next_permutation(events.begin(), events.end(), [](const auto& a, const auto& b) { return a.text < b.text; }));
  Subject transport = connected_pair();
  transport.tell(later);
  transport.tell(late);
  CHECK(transport.replica("n2").session->text == "a late one");
}

TEST_CASE("core: a new session supersedes the one before it", "[core][engine]") {
  Subject s;
  s.be_primary({"n2"}, {"n2"});
  s.keep_up("n2", 1, 1, 1);
  s.tell(started("n2", term(1), 5, SessionKind::kCatchup, 90, 100));
  CHECK(s.replica("n2").session->id == SessionId(5));
  CHECK_FALSE(s.replica("n2").session->proven);
  CHECK(s.phase("n2") == RecoveryPhase::kCatchingUp);
  // The old one's words are nothing to the new one; its end is remembered, and ends nothing.
  s.tell(progress("n2", term(1), 1, SessionPhase::kCompleted, 100));
  s.tell(completed("n2", term(1), 1, 100));
  CHECK(s.tell(failed("n2", term(1), 1, Reason::kSuperseded)) == kNothing);
  CHECK(s.replica("n2").session->id == SessionId(5));
  CHECK(s.replica("n2").session->phase == SessionPhase::kAccepted);
  CHECK(s.replica("n2").last_failure->id == SessionId(1));
  CHECK(live_session(s.state(), s.replica("n2")) != nullptr);
  // Its proof tells of the set, not of the new session.
  s.tell(rejected("n2", term(1), 3, "it owes too much"));
  s.tell(accepted("n2", term(1), 2, 1, 100));
  CHECK_FALSE(s.replica("n2").session->proven);
  CHECK_FALSE(in_sync(s.state(), s.replica("n2")));
}

TEST_CASE("core: a session that the replica knows nothing of is ended, then decided again", "[core][engine]") {
  Subject s;
  s.be_primary({"n2"}, {"n2"});
  s.keep_up("n2", 1, 1, 1);
  SECTION("it has none") { CHECK(s.tell(ack("n2", term(1), 1, 2, 90)) == Lines{invalidate(1, "superseded")}); }
  SECTION("it has another one") {
    CHECK(s.tell(in_session(ack("n2", term(1), 1, 2, 90), 7)) == Lines{invalidate(1, "superseded")});
  }
  SECTION("it says that this one has failed") {
    CHECK(s.tell(in_session(ack("n2", term(1), 1, 2, 90), 1, SessionKind::kKeepup, SessionPhase::kFailed)) ==
          Lines{invalidate(1, "superseded")});
  }
  CHECK(s.outstanding() == Lines{invalidate(1, "superseded")});
  CHECK(s.tell(failed("n2", term(1), 1, Reason::kSuperseded)) == Lines{catchup(2, 90)});
}

TEST_CASE("core: a session over a base image that became unusable is ended", "[core][engine]") {
  Subject s;
  s.be_primary({"n2"}, {"n2"});
  s.keep_up("n2", 1, 1, 1);
  SyncAckObserved facts = in_session(ack("n2", term(1), 1, 2, 100), 1);
  facts.facts.base_usable = false;
  CHECK(s.tell(facts) == Lines{invalidate(1, "local_extent_corrupt")});
  // It ends on the primary; what the replica's copy is then, it is asked.
  CHECK(s.tell(failed("n2", term(1), 1, Reason::kLocalExtentCorrupt)) == Lines{probe(2)});
  facts.sync = 3;
  facts.active.reset();
  CHECK(s.tell(facts) == Lines{rebuild(3, kUnusable)});
}

TEST_CASE("core: facts that a session rests on do not contradict it", "[core][engine]") {
  Subject s = connected_pair();
  // Said before it was decided, so without it; also facts of another term, and late ones.
  s.tell(ack("n2", term(1), 1, 5, 60));
  CHECK(s.tell(started("n2", term(1), 5, SessionKind::kCatchup, 60, 100)) == kNothing);
  CHECK(s.tell(ack("n2", term(1), 1, 4, 50)) == kNothing);
  CHECK(s.outstanding() == kNothing);
  // What is told of a session before its start is the same session.
  Subject early = connected_pair();
  early.tell(ack("n2", term(1), 1, 5, 60));
  CHECK(early.tell(progress("n2", term(1), 5, SessionPhase::kRunning, 70)) == kNothing);
  CHECK_FALSE(early.replica("n2").session->started);
  CHECK(early.tell(started("n2", term(1), 5, SessionKind::kCatchup, 60, 100)) == kNothing);
  CHECK(early.replica("n2").session->phase == SessionPhase::kRunning);
  CHECK(early.phase("n2") == RecoveryPhase::kCatchingUp);
}

TEST_CASE("core: facts of the term before do not contradict a session of this one", "[core][engine]") {
  Subject s;
  s.be_primary({"n2"}, {"n2"});
  s.tell(connected("n2", 1));
  s.tell(ack("n2", term(1), 1, 9, 100));
  s.tell(assigned(Role::kPrimary, 2, 1, {"n2"}));
  s.tell(applied_primary(2, term(2), {"n2"}));
  s.tell(configured(2, 1));
  // Told before the facts that it rests on. The count of syncs began anew, so the old ones have a higher number.
  CHECK(s.tell(started("n2", term(2), 1, SessionKind::kKeepup, 100, 100)) == kNothing);
  CHECK(s.outstanding() == kNothing);
}

TEST_CASE("core: one of the in-sync set that comes back counts, and is not healthy before it has proven all", "[core][engine]") {
  for (const SessionKind kind : {SessionKind::kCatchup, SessionKind::kRebuild}) {
    Subject s = connected_pair();
    s.tell(ack("n2", term(1), 1, 1, 60));
    s.tell(started("n2", term(1), 1, kind, 60, 100));
    CHECK(in_sync(s.state(), s.replica("n2")));
    CHECK(s.mode() == "degraded: recovery_in_progress: replica n2");
    s.tell(accepted("n2", term(1), 1, 1, 100));
    CHECK(s.mode() == "publish_healthy");
  }
}

TEST_CASE("core: membership is the last decision of the term, else what the opening found", "[core][engine]") {
  Subject s;
  s.be_primary({"n2", "n3"}, {"n2"});
  CHECK(in_sync(s.state(), s.replica("n2")));
  CHECK_FALSE(in_sync(s.state(), s.replica("n3")));
  s.tell(rejected("n2", term(1), 2, "it owes too much"));
  CHECK_FALSE(in_sync(s.state(), s.replica("n2")));
  s.tell(accepted("n2", term(1), 1, 1, 100));  // decided before
  CHECK_FALSE(in_sync(s.state(), s.replica("n2")));
  s.tell(accepted("n2", term(1), 3, 4, 100));
  CHECK(in_sync(s.state(), s.replica("n2")));
  CHECK(s.replica("n2").session->id == SessionId(4));
  // Nobody is in sync with who is not primary.
  s.tell(assigned(Role::kReplica, 2, 1));
  s.tell(applied(2, Role::kReplica, 2));
  CHECK_FALSE(in_sync(s.state(), s.replica("n2")));
}

TEST_CASE("core: connections follow each other by their count", "[core][engine]") {
  Subject s;
  s.be_primary({"n2"}, {"n2"});
  const auto connection = [&] { return s.replica("n2").connection; };
  s.tell(lost("n2", 1, "refused"));
  CHECK(s.mode() == "degraded: awaiting_shipper_connected: replica n2 (refused)");
  s.tell(lost("n2", 2, "no route"));
  CHECK(connection().reason == "no route");
  CHECK(s.tell(lost("n2", 1, "refused")) == kNothing);
  CHECK(connection().reason == "no route");
  s.tell(connected("n2", 3));
  CHECK(connection().up);
  CHECK(connection().reason.empty());
  s.tell(lost("n2", 2, "late"));
  CHECK(connection().up);
  // The end of a connection, heard of before its beginning.
  s.tell(lost("n2", 4, "reset"));
  s.tell(connected("n2", 4));
  CHECK_FALSE(connection().up);
  CHECK(connection().over);
  // Two who tell of one end: whose words are kept does not depend on who spoke first.
  s.tell(lost("n2", 4, ""));
  s.tell(lost("n2", 4, "a"));
  CHECK(connection().reason == "a");
  s.tell(lost("n2", 4, "reset"));
  CHECK(connection().reason == "a");
}

TEST_CASE("core: zero is a position like any other, and unknown is unknown", "[core][engine]") {
  // A replica with nothing, and a log that still holds record 1: it is sent everything.
  Subject s = connected_pair();
  SyncAckObserved facts = ack("n2", term(1), 1, 1, 0);
  facts.wal_tail = Lsn(1);
  CHECK(s.tell(facts) == Lines{catchup(1, 0)});
  s.tell(started("n2", term(1), 1, SessionKind::kCatchup, 0, 100));
  CHECK_FALSE(s.replica("n2").session->achieved);
  // An empty log on both sides, proven at Lsn 0: known, not missing.
  s.tell(accepted("n2", term(1), 1, 1, 0));
  CHECK(s.replica("n2").session->achieved == Lsn(0));
  CHECK(s.replica("n2").session->proven);
  // A committed position of 0 is a commit; none is none.
  Subject other;
  CHECK_FALSE(other.state().committed);
  other.tell(committed(term(1), 0));
  CHECK(other.state().committed->committed == Lsn(0));
  other.tell(committed(term(1), 7));
  other.tell(committed(term(1), 5));
  CHECK(other.state().committed->committed == Lsn(7));
  other.tell(committed(term(2), 3));
  CHECK(other.state().committed->committed == Lsn(3));
  other.tell(committed(term(1), 9));
  CHECK(other.state().committed->committed == Lsn(3));
  other.tell(CheckpointAdvanced{Lsn(5)});
  other.tell(CheckpointAdvanced{Lsn(4)});
  CHECK(other.state().checkpoint == Lsn(5));
}
