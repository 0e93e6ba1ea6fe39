// The engine's rules for roles, replicas and epochs, one by one.
#include <catch2/catch.hpp>

#include "engine_words.h"

using namespace ringbolt;
using namespace ringbolt::core;

namespace {

const std::string kProbe2 = "start_recovery_task replica=n2 kind=probe session=0 position=0";
const std::string kProbe3 = "start_recovery_task replica=n3 kind=probe session=0 position=0";

std::string configure(uint64_t epoch, uint64_t version, const std::string& replicas, const std::string& durability = "sync_all") {
  return "configure_shipper epoch=" + std::to_string(epoch) + " version=" + std::to_string(version) + " durability=" + durability +
         " replicas=" + replicas;
}
std::string apply_role(uint64_t epoch, const std::string& role) { return "apply_role epoch=" + std::to_string(epoch) + " role=" + role; }

}  // namespace

TEST_CASE("core: an engine that was told nothing wants nothing", "[core][engine]") {
  Subject s;
  CHECK(s.mode() == "allocated_only: awaiting_role_apply");
  CHECK(s.outstanding() == kNothing);
  CHECK(s.state().term() == Term{});
  // Facts without an assignment are kept, and nothing follows from them.
  CHECK(s.tell(applied_primary(1, term(1))) == kNothing);
  CHECK(s.tell(connected("n2", 1)) == kNothing);
  CHECK(s.tell(ack("n2", term(1), 1, 1, 100)) == kNothing);
  CHECK(s.mode() == "allocated_only: awaiting_role_apply");
}

TEST_CASE("core: a replica's way to ready: apply_role, start_receiver, a primary", "[core][engine]") {
  Subject s;
  CHECK(s.tell(assigned(Role::kReplica, 3)) == Lines{apply_role(3, "replica")});
  CHECK(s.published() == "bootstrap_pending: awaiting_role_apply");
  CHECK(s.tell(applied(1, Role::kReplica, 3)) == Lines{"start_receiver epoch=3"});
  CHECK(s.published() == "bootstrap_pending: awaiting_receiver_ready");
  CHECK(s.outstanding() == Lines{"start_receiver epoch=3"});
  CHECK(s.tell(ReceiverReady{Epoch(3)}) == kNothing);
  CHECK(s.published() == "bootstrap_pending: awaiting_shipper_connected");
  CHECK(s.outstanding() == kNothing);
  CHECK(s.tell(CopyObserved{1, true, "", "n1"}) == kNothing);
  CHECK(s.published() == "replica_ready: replica_not_primary");
  CHECK(s.engine().projection().healthy);
  CHECK(s.tell(CopyObserved{2, true, "", ""}) == kNothing);
  CHECK(s.published() == "bootstrap_pending: awaiting_shipper_connected");
  CHECK_FALSE(s.engine().projection().healthy);
  // A higher epoch: the receiver of the older one is not enough.
  CHECK(s.tell(assigned(Role::kReplica, 4)) == Lines{apply_role(4, "replica")});
  CHECK(s.tell(applied(2, Role::kReplica, 4)) == Lines{"start_receiver epoch=4"});
}

TEST_CASE("core: no role: it is applied, and that is all", "[core][engine]") {
  Subject s;
  CHECK(s.tell(assigned(Role::kNone, 2)) == Lines{apply_role(2, "none")});
  CHECK(s.tell(applied(1, Role::kNone, 2)) == kNothing);
  CHECK(s.outstanding() == kNothing);
  CHECK(s.mode() == "allocated_only: awaiting_role_apply");
}

TEST_CASE("core: a primary's way to healthy, one fact at a time", "[core][engine]") {
  Subject s;
  CHECK(s.tell(assigned(Role::kPrimary, 1, 0, {"n2"})) == Lines{apply_role(1, "primary")});
  CHECK(s.published() == "bootstrap_pending: awaiting_role_apply");
  CHECK(s.tell(applied_primary(1, term(1), {"n2"})) == Lines{configure(1, 0, "n2@n2.example:10810")});
  CHECK(s.published() == "bootstrap_pending: awaiting_shipper_configured");
  CHECK(s.tell(configured(1)) == Lines{kProbe2});
  CHECK(s.published() == "bootstrap_pending: awaiting_shipper_connected: replica n2");
  CHECK(s.tell(connected("n2", 1)) == kNothing);
  CHECK(s.published() == "bootstrap_pending: awaiting_barrier_durability");
  CHECK(s.outstanding() == Lines{kProbe2});
  CHECK(s.tell(ack("n2", term(1), 1, 1, 100)) == Lines{"start_recovery_task replica=n2 kind=keepup session=1 position=100"});
  CHECK(s.published().empty());
  CHECK(s.tell(started("n2", term(1), 1, SessionKind::kKeepup, 100, 100)) == kNothing);
  CHECK(s.outstanding() == kNothing);
  CHECK(s.tell(committed(term(1), 101)) == kNothing);
  CHECK(s.published() == "publish_healthy");
  CHECK(s.engine().projection().healthy);
  // What has nothing to tell publishes nothing.
  CHECK(s.engine().outstanding().empty());
  for (const Event& event : std::vector<Event>{committed(term(1), 102), CheckpointAdvanced{Lsn(50)}, ShippedAdvanced{"n2", Lsn(102)},
                                               accepted("n2", term(1), 1, 1, 102), in_session(ack("n2", term(1), 1, 2, 102), 1)}) {
    INFO(name_of(event));
    CHECK(s.tell(event) == kNothing);
    CHECK(s.published().empty());
  }
}

TEST_CASE("core: a primary alone is healthy once its term record is committed", "[core][engine]") {
  Subject s;
  s.tell(assigned(Role::kPrimary, 1));
  s.tell(applied_primary(1, term(1)));
  s.tell(configured(1));
  CHECK(s.mode() == "bootstrap_pending: awaiting_barrier_durability");
  // That of another opening is none of this one's.
  s.tell(committed(term(1, 2), 5));
  CHECK(s.mode() == "bootstrap_pending: awaiting_barrier_durability");
  s.tell(applied_primary(2, term(1, 2)));
  CHECK(s.mode() == "publish_healthy");
}

TEST_CASE("core: a redelivered assignment changes nothing and calls for nothing", "[core][engine]") {
  Subject s;
  s.be_primary({"n2", "n3"}, {"n2", "n3"});
  s.keep_up("n2", 1, 1, 1);
  const EngineState before = s.state();
  const Lines outstanding = s.outstanding();
  CHECK(s.tell(assigned(Role::kPrimary, 1, 0, {"n2", "n3"})) == kNothing);
  CHECK(s.published().empty());
  CHECK(s.state() == before);
  CHECK(s.outstanding() == outstanding);
  // An older one, too, and another of the same number: the first one was recorded.
  s.tell(assigned(Role::kPrimary, 1, 4, {"n2"}));
  const EngineState newer = s.state();
  CHECK(s.tell(assigned(Role::kPrimary, 1, 3, {"n2", "n3"})) == kNothing);
  CHECK(s.tell(assigned(Role::kReplica, 1, 4)) == kNothing);
  CHECK(s.state().assignment == newer.assignment);
}

TEST_CASE("core: replicas are added, removed and added again", "[core][engine]") {
  Subject s;
  s.be_primary({"n2"}, {"n2"});
  s.keep_up("n2", 1, 1, 1);
  REQUIRE(s.mode() == "publish_healthy");

  SECTION("added") {
    CHECK(s.tell(assigned(Role::kPrimary, 1, 1, {"n2", "n3"})) == Lines{configure(1, 1, "n2@n2.example:10810,n3@n3.example:10810")});
    CHECK(s.published() == "degraded: awaiting_shipper_configured");
    CHECK(s.tell(configured(1, 1)) == Lines{kProbe3});
    CHECK(s.published() == "degraded: awaiting_shipper_connected: replica n3");
    CHECK(live_session(s.state(), s.replica("n2")) != nullptr);  // it was not disturbed
    s.tell(connected("n3", 1));
    CHECK(s.tell(ack("n3", term(1), 1, 2, 60)) == Lines{"start_catchup replica=n3 session=2 position=60 target=100"});
    s.tell(started("n3", term(1), 2, SessionKind::kCatchup, 60, 100));
    CHECK(s.published() == "degraded: recovery_in_progress: replica n3");
    s.tell(accepted("n3", term(1), 2, 2, 101));
    CHECK(s.published() == "publish_healthy");
  }
  SECTION("only the durability changes") {
    CHECK(s.tell(assigned(Role::kPrimary, 1, 1, {"n2"}, Durability::kSyncQuorum)) ==
          Lines{configure(1, 1, "n2@n2.example:10810", "sync_quorum")});
    CHECK(s.tell(configured(1, 1)) == kNothing);
    CHECK(s.published() == "publish_healthy");
  }
  SECTION("removed, and added again in the same term") {
    CHECK(s.tell(assigned(Role::kPrimary, 1, 1)) == Lines{"drain_recovery_task replica=n2 reason=cancelled", configure(1, 1, "")});
    s.tell(rejected("n2", term(1), 2, "it is a replica no more"));
    s.tell(failed("n2", term(1), 1, Reason::kCancelled));
    s.tell(lost("n2", 1, "the primary stops"));
    CHECK(s.tell(configured(1, 1)) == kNothing);
    CHECK(s.mode() == "publish_healthy");
    CHECK(s.outstanding() == kNothing);
    // A third change has nothing to drain: what was going on with n2 is over since the second.
    CHECK(s.tell(assigned(Role::kPrimary, 1, 2, {"n3"})) == Lines{configure(1, 2, "n3@n3.example:10810")});
    CHECK(s.tell(configured(1, 2)) == Lines{kProbe3});

    CHECK(s.tell(assigned(Role::kPrimary, 1, 3, {"n2"})) ==
          Lines{"drain_recovery_task replica=n3 reason=cancelled", configure(1, 3, "n2@n2.example:10810")});
    // It left the set; that the opening of this term found it there counts no more.
    CHECK_FALSE(in_sync(s.state(), s.replica("n2")));
    CHECK(s.tell(configured(1, 3)) == Lines{"start_recovery_task replica=n2 kind=probe session=1 position=0"});
    s.tell(connected("n2", 2));
    CHECK(s.tell(ack("n2", term(1), 2, 3, 100)) == Lines{"start_recovery_task replica=n2 kind=keepup session=3 position=100"});
    s.tell(started("n2", term(1), 3, SessionKind::kKeepup, 100, 100));
    CHECK(s.mode() == "degraded: recovery_in_progress: replica n2");
    s.tell(accepted("n2", term(1), 4, 3, 100));
    CHECK(s.mode() == "publish_healthy");
  }
  SECTION("removed and added again before the removal was carried out") {
    s.tell(assigned(Role::kPrimary, 1, 1));
    CHECK(s.tell(assigned(Role::kPrimary, 1, 2, {"n2"})) == Lines{configure(1, 2, "n2@n2.example:10810")});
    CHECK(s.tell(configured(1, 1)) == kNothing);
    CHECK(s.outstanding() == Lines{configure(1, 2, "n2@n2.example:10810")});
    CHECK(s.tell(configured(1, 2)) == kNothing);
    CHECK(s.mode() == "publish_healthy");
  }
}

TEST_CASE("core: facts of a replica that is removed change nothing that is shown or wanted", "[core][engine]") {
  Subject s;
  s.be_primary({"n2"}, {"n2"});
  s.keep_up("n2", 1, 1, 1);
  const std::vector<Event> strange = {connected("n9", 3), ack("n9", term(1), 3, 9, 10), started("n9", term(1), 9, SessionKind::kRebuild, 0, 100),
                                      rejected("n9", term(1), 9, "it owes too much"), NeedsRebuildObserved{"n9", term(1), 9, "no"}};
  for (const Event& event : strange) {
    INFO(name_of(event));
    CHECK(s.tell(event) == kNothing);
    CHECK(s.published().empty());
    CHECK(s.outstanding() == kNothing);
  }
  for (const std::string& line : s.why()) CHECK(line.find("n9") == std::string::npos);
}

TEST_CASE("core: a raised epoch ends the sessions, then the role is applied, then everything is asked anew", "[core][engine]") {
  Subject s;
  s.be_primary({"n2", "n3"}, {"n2", "n3"});
  s.keep_up("n2", 1, 1, 1);
  s.keep_up("n3", 1, 2, 2);
  CHECK(s.tell(assigned(Role::kPrimary, 2, 1, {"n2", "n3"})) ==
        Lines{invalidate("n2", 1, "epoch_mismatch"), invalidate("n3", 2, "epoch_mismatch"), apply_role(2, "primary")});
  CHECK(s.published() == "bootstrap_pending: awaiting_role_apply");
  CHECK(s.tell(failed("n2", term(1), 1, Reason::kEpochMismatch)) == kNothing);
  CHECK(s.outstanding() == Lines{invalidate("n3", 2, "epoch_mismatch"), apply_role(2, "primary")});
  // The new term: what is known of the older one is nothing to begin from. The set is what the opening found.
  CHECK(s.tell(applied_primary(2, term(2), {"n2"}, {{term(1), Lsn(1)}, {term(2), Lsn(101)}})) ==
        Lines{configure(2, 1, "n2@n2.example:10810,n3@n3.example:10810")});
  CHECK(s.outstanding() == Lines{configure(2, 1, "n2@n2.example:10810,n3@n3.example:10810")});
  CHECK(in_sync(s.state(), s.replica("n2")));
  CHECK_FALSE(in_sync(s.state(), s.replica("n3")));
  CHECK(s.tell(configured(2, 1)) == Lines{kProbe2, kProbe3});
  // Answers to the older term's questions are late.
  CHECK(s.tell(ack("n2", term(1), 1, 7, 100)) == kNothing);
  CHECK(s.tell(accepted("n3", term(1), 9, 2, 100)) == kNothing);
  CHECK_FALSE(in_sync(s.state(), s.replica("n3")));
  CHECK(s.tell(rejected("n2", term(1), 10, "too late")) == kNothing);
  CHECK(in_sync(s.state(), s.replica("n2")));
  CHECK(s.outstanding() == Lines{kProbe2, kProbe3});
  // The count of syncs begins anew with the term, so these are newer.
  SyncAckObserved facts = ack("n2", term(2), 1, 1, 100);
  facts.facts.history = history({{term(1), Lsn(1)}});
  CHECK(s.tell(facts) == Lines{"start_recovery_task replica=n2 kind=keepup session=1 position=100"});
}

TEST_CASE("core: shippers are configured by epoch and version, not by one of them", "[core][engine]") {
  Subject s;
  s.tell(assigned(Role::kPrimary, 2, 1, {"n2"}));
  s.tell(applied_primary(1, term(2)));
  for (const ShipperConfigured& other : {configured(1, 1), configured(2, 0), configured(1, 9)}) {
    CHECK(s.tell(other) == kNothing);
    CHECK(s.outstanding() == Lines{configure(2, 1, "n2@n2.example:10810")});
  }
  CHECK(s.tell(configured(2, 1)) == Lines{kProbe2});
}

TEST_CASE("core: a primary that is told to leave keeps its sessions: it hands over through them", "[core][engine]") {
  Subject s;
  s.be_primary({"n2"}, {"n2"});
  s.keep_up("n2", 1, 1, 1);
  CHECK(s.tell(assigned(Role::kReplica, 2, 1)) == Lines{apply_role(2, "replica")});
  CHECK(s.outstanding() == Lines{apply_role(2, "replica")});
  CHECK(s.tell(failed("n2", term(1), 1, Reason::kCancelled)) == kNothing);
  CHECK(s.tell(applied(2, Role::kReplica, 2)) == Lines{"start_receiver epoch=2"});
  CHECK(s.mode() == "bootstrap_pending: awaiting_receiver_ready");
  // And back: the connections of its first time as primary are no more.
  s.tell(ReceiverReady{Epoch(2)});
  CHECK(s.tell(assigned(Role::kPrimary, 3, 1, {"n2"})) == Lines{apply_role(3, "primary")});
  s.tell(applied_primary(3, term(3), {}, {{term(1), Lsn(1)}, {term(3), Lsn(101)}}));
  CHECK(s.tell(configured(3, 1)) == Lines{kProbe2});
  CHECK_FALSE(in_sync(s.state(), s.replica("n2")));
}

TEST_CASE("core: an older role report does not undo a newer one", "[core][engine]") {
  Subject s;
  s.be_primary({});
  s.tell(assigned(Role::kPrimary, 2));
  s.tell(applied_primary(5, term(2)));
  CHECK(s.tell(applied_primary(4, term(1))) == kNothing);
  CHECK(s.state().term() == term(2));
  // Nor is the right role of the wrong epoch, or the wrong role of the right epoch, the wanted one.
  Subject other;
  other.tell(assigned(Role::kReplica, 2));
  other.tell(applied(1, Role::kReplica, 1));
  CHECK(other.outstanding() == Lines{apply_role(2, "replica")});
  other.tell(applied(2, Role::kNone, 2));
  CHECK(other.outstanding() == Lines{apply_role(2, "replica")});
}

TEST_CASE("core: a primary that meets a higher epoch gives way", "[core][engine]") {
  Subject s;
  s.be_primary({"n2"}, {"n2"});
  s.keep_up("n2", 1, 1, 1);
  SECTION("told by its adapter") {
    CHECK(s.tell(EpochObserved{Epoch(4), "n3 is its primary"}) == Lines{invalidate("n2", 1, "epoch_mismatch"), apply_role(4, "replica")});
    CHECK(s.published() == "bootstrap_pending: n3 is its primary; awaiting_role_apply");
  }
  SECTION("by a replica's answer") {
    SyncAckObserved answer = ack("n2", term(1), 1, 2, 0);
    answer.kind = SyncAckKind::kEpochMismatch;
    answer.epoch = Epoch(4);
    CHECK(s.tell(answer) == Lines{invalidate("n2", 1, "epoch_mismatch"), apply_role(4, "replica")});
    CHECK(s.published() == "bootstrap_pending: replica n2 knows a primary of epoch 4; awaiting_role_apply");
    // It carries no facts.
    CHECK(s.replica("n2").facts->sync == 1);
  }
  SECTION("by facts that name it") {
    SyncAckObserved answer = in_session(ack("n2", term(1), 1, 2, 100), 1);
    answer.epoch = Epoch(4);
    CHECK(s.tell(answer) == Lines{invalidate("n2", 1, "epoch_mismatch"), apply_role(4, "replica")});
  }
  SECTION("by records of a later term in a replica's log: they are not cut, they are obeyed") {
    SyncAckObserved answer = in_session(ack("n2", term(1), 1, 2, 120), 1);
    answer.facts.history = history({{term(1), Lsn(1)}, {term(4), Lsn(110)}});
    CHECK(s.tell(answer) == Lines{invalidate("n2", 1, "epoch_mismatch"), apply_role(4, "replica")});
  }
  s.tell(failed("n2", term(1), 1, Reason::kEpochMismatch));
  CHECK(s.tell(applied(2, Role::kReplica, 4)) == Lines{"start_receiver epoch=4"});
  CHECK(s.tell(ReceiverReady{Epoch(4)}) == kNothing);
  CHECK(s.outstanding() == kNothing);
  s.tell(CopyObserved{1, true, "", "n3"});
  CHECK(s.mode().find("replica_ready: ") == 0);
  // Its own assignment, delivered again, does not make it primary.
  CHECK(s.tell(assigned(Role::kPrimary, 1, 9, {"n2"})) == kNothing);
  CHECK(s.outstanding() == kNothing);
  // A higher one does.
  CHECK(s.tell(assigned(Role::kPrimary, 5, 1, {"n2"})) == Lines{apply_role(5, "primary")});
}

TEST_CASE("core: an epoch that another node holds as well is not held here", "[core][engine]") {
  Subject s;
  s.be_primary({"n2"}, {"n2"});
  SECTION("told by its adapter") { CHECK(s.tell(EpochObserved{Epoch(1), "n3 holds it"}) == Lines{apply_role(1, "replica")}); }
  SECTION("by a replica's answer") {
    SyncAckObserved answer = ack("n2", term(1), 1, 2, 0);
    answer.kind = SyncAckKind::kEpochMismatch;
    CHECK(s.tell(answer) == Lines{apply_role(1, "replica")});
  }
  SECTION("by records of a later opening of the same epoch") {
    SyncAckObserved answer = ack("n2", term(1), 1, 2, 120);
    answer.facts.history = history({{term(1), Lsn(1)}, {term(1, 2), Lsn(110)}});
    CHECK(s.tell(answer) == Lines{apply_role(1, "replica")});
  }
  CHECK(s.mode().find("bootstrap_pending: ") == 0);
}

TEST_CASE("core: a lower epoch fences nobody, nor does a primary's own that it has since been given", "[core][engine]") {
  Subject s;
  s.tell(assigned(Role::kPrimary, 3, 1, {"n2"}));
  s.tell(applied_primary(1, term(3)));
  s.tell(configured(3, 1));
  CHECK(s.tell(EpochObserved{Epoch(2), "an old one"}) == kNothing);
  CHECK(s.mode().find("bootstrap_pending: awaiting") == 0);
  // Asked as primary of epoch 1, the replica knew epoch 3: this node's own, told to it meanwhile.
  SyncAckObserved answer = ack("n2", term(1), 1, 8, 0);
  answer.kind = SyncAckKind::kEpochMismatch;
  answer.epoch = Epoch(3);
  CHECK(s.tell(answer) == kNothing);
  SyncAckObserved facts = ack("n2", term(1), 1, 9, 120);
  facts.epoch = Epoch(3);
  facts.facts.history = history({{term(1), Lsn(1)}, {term(3), Lsn(110)}});
  CHECK(s.tell(facts) == kNothing);
  CHECK(s.outstanding() == Lines{kProbe2});
  // Asked as primary of epoch 3, it is another's.
  answer.term = term(3);
  CHECK(s.tell(answer) == Lines{apply_role(3, "replica")});
}

TEST_CASE("core: whose word about an epoch is kept does not depend on who spoke first", "[core][engine]") {
  const EpochObserved a{Epoch(4), "n2 says so"}, b{Epoch(4), "n3 says so"}, c{Epoch(3), "a long story"};
  Subject one, other;
  for (const EpochObserved& event : {a, b, c}) one.tell(event);
  for (const EpochObserved& event : {c, b, a}) other.tell(event);
  CHECK(one.state() == other.state());
  CHECK(one.state().fence->epoch == Epoch(4));
}

TEST_CASE("core: a replica keeps its role whatever epoch it hears of", "[core][engine]") {
  Subject s;
  s.tell(assigned(Role::kReplica, 2));
  s.tell(applied(1, Role::kReplica, 2));
  s.tell(ReceiverReady{Epoch(2)});
  CHECK(s.tell(EpochObserved{Epoch(7), "n5"}) == kNothing);
  CHECK(s.outstanding() == kNothing);
  CHECK(s.mode() == "bootstrap_pending: awaiting_shipper_connected");
}

TEST_CASE("core: the copy's own state is what was said last", "[core][engine]") {
  Subject s;
  s.be_primary({});
  s.tell(CopyObserved{2, true, "WAL write: Input/output error", ""});
  CHECK(s.published() == "degraded: WAL write: Input/output error");
  s.tell(CopyObserved{1, true, "", ""});
  CHECK(s.published().empty());
  CHECK(s.mode() == "degraded: WAL write: Input/output error");
  Subject replica;
  replica.tell(assigned(Role::kReplica, 1));
  replica.tell(CopyObserved{1, false, "", ""});
  CHECK(replica.mode() == "needs_rebuild: the base image is marked unusable");
}

TEST_CASE("core: more replicas than there may be are not known, and never more than 32", "[core][engine]") {
  Subject s;
  std::vector<std::string> many;
  for (uint32_t i = 0; i <= kReplicasMax; ++i) many.push_back("m" + std::to_string(i));
  s.tell(assigned(Role::kPrimary, 1, 0, many));
  CHECK_FALSE(s.state().assignment);  // judge() takes none such
  s.be_primary({"n2", "n3"});
  s.keep_up("n2", 1, 1, 1);
  for (int i = 0; i < 100; ++i) s.tell(connected("stranger" + std::to_string(i), 1));
  CHECK(s.state().replicas.size() == 32);
  // Those of the assignment are always known; who was one goes first when there is no room, oldest first.
  for (uint64_t version = 1; version < 40; ++version) {
    const std::string a = "a" + std::to_string(version), b = "b" + std::to_string(version);
    s.tell(assigned(Role::kPrimary, 1, version, {a, b, "n2"}));
    CHECK(s.state().replicas.size() <= 32);
    REQUIRE(s.state().find(a) != nullptr);
    REQUIRE(s.state().find(b) != nullptr);
    REQUIRE(s.state().find("n2") != nullptr);
    CHECK(live_session(s.state(), s.replica("n2")) != nullptr);
  }
  CHECK(s.state().find("a38") != nullptr);
  CHECK(s.state().find("a1") == nullptr);
}

TEST_CASE("core: a replica that is one again is not forgotten for the sake of a new one", "[core][engine]") {
  Subject s;
  s.be_primary({"n2"});
  s.keep_up("n2", 1, 1, 1);
  for (uint64_t version = 1; version <= 15; ++version) {
    s.tell(assigned(Role::kPrimary, 1, version, {"a" + std::to_string(version), "b" + std::to_string(version)}));
  }
  REQUIRE(s.state().replicas.size() == 31);
  // There is room for one of the two, and n2 was named longest ago.
  s.tell(assigned(Role::kPrimary, 1, 16, {"a16", "b16", "n2"}));
  CHECK(s.state().replicas.size() == 32);
  CHECK(s.state().find("a1") == nullptr);
  CHECK(s.replica("n2").connection.number == 1);
}
