// The chain of facts behind a mode: what `ringboltctl why` prints names each fact that matters, first cause first.
#include <catch2/catch.hpp>

#include "engine_facts.h"

using namespace ringbolt;
using namespace ringbolt::core;

namespace {

using Lines = Subject::Lines;

const std::string kAssigned = "assigned: primary of epoch 1, sync_all, replicas n2 at n2.example:10810";
const std::string kInEffect = "in effect: primary, epoch 1, incarnation 1";
const std::string kServes = "its term record is committed: it serves";

}  // namespace

TEST_CASE("core: why nothing is going on", "[core][engine]") {
  Subject s;
  CHECK(s.why() == Lines{"nothing is assigned", "no role is in effect yet", "so the mode is allocated_only: awaiting_role_apply"});
  s.tell(assigned(Role::kNone, 2, 3));
  s.tell(applied(1, Role::kNone, 2));
  CHECK(s.why() == Lines{"assigned: none of epoch 2, change 3", "in effect: none of epoch 2", "so the mode is allocated_only: awaiting_role_apply"});
}

TEST_CASE("core: why a starting primary is not healthy yet", "[core][engine]") {
  Subject s;
  s.tell(assigned(Role::kPrimary, 1, 0, {"n2"}));
  CHECK(s.why() == Lines{kAssigned, "no role is in effect yet", "so the mode is bootstrap_pending: awaiting_role_apply"});
  s.tell(applied_primary(1, term(1), {"n2"}));
  CHECK(s.why() == Lines{kAssigned, kInEffect, "its term record is not committed yet: it does not serve",
                         "the replicas that are assigned are not shipped to yet", "replica n2: not tried yet",
                         "replica n2: in the in-sync set", "so the mode is bootstrap_pending: awaiting_shipper_configured"});
  s.tell(configured(1));
  s.tell(lost("n2", 1, "cannot connect: Connection refused"));
  CHECK(s.why() == Lines{kAssigned, kInEffect, "its term record is not committed yet: it does not serve",
                         "replica n2: not connected: cannot connect: Connection refused", "replica n2: in the in-sync set",
                         "so the mode is bootstrap_pending: awaiting_shipper_connected: replica n2 (cannot connect: Connection refused)"});
}

TEST_CASE("core: why a pair is healthy", "[core][engine]") {
  Subject s;
  s.be_primary({"n2"}, {"n2"});
  s.keep_up("n2", 1, 1, 1);
  CHECK(s.why() == Lines{kAssigned, kInEffect, kServes, "replica n2: connected (attempt 1)",
                         "replica n2: at sync 1 it had everything up to Lsn 100 flushed; this log then reached from Lsn 40 to 100",
                         "replica n2: session 1, keepup, completed, from Lsn 100, proven at Lsn 100", "replica n2: in the in-sync set",
                         "so the mode is publish_healthy"});
  Subject alone;
  alone.be_primary({});
  CHECK(alone.why() == Lines{"assigned: primary of epoch 1, sync_all, without replicas", kInEffect, kServes, "so the mode is publish_healthy"});
}

TEST_CASE("core: why a replica lags", "[core][engine]") {
  Subject s;
  s.be_primary({"n2"}, {"n2"});
  s.keep_up("n2", 1, 1, 1);
  s.tell(rejected("n2", term(1), 2, "it owes an acknowledgement for 5 s"));
  s.tell(failed("n2", term(1), 1, Reason::kProgressStalled, "it does not acknowledge in time"));
  s.tell(lost("n2", 1, "it does not acknowledge in time"));
  s.tell(connected("n2", 2));
  s.tell(ack("n2", term(1), 2, 4, 60));
  CHECK(s.why() == Lines{kAssigned, kInEffect, kServes, "replica n2: connected (attempt 2)",
                         "replica n2: at sync 4 it had everything up to Lsn 60 flushed; this log then reached from Lsn 40 to 100",
                         "replica n2: therefore catch-up, all it misses is in the WAL",
                         "replica n2: session 1 failed: progress_stalled (it does not acknowledge in time)",
                         "replica n2: not in the in-sync set: it owes an acknowledgement for 5 s",
                         "so the mode is degraded: awaiting_shipper_configured: replica n2"});
  s.tell(progress("n2", term(1), 4, SessionPhase::kRunning, 60));
  const Lines begins = s.why();
  CHECK(std::find(begins.begin(), begins.end(), "replica n2: session 4 begins") != begins.end());
  s.tell(started("n2", term(1), 4, SessionKind::kCatchup, 60, 100));
  CHECK(s.why() == Lines{kAssigned, kInEffect, kServes, "replica n2: connected (attempt 2)",
                         "replica n2: at sync 4 it had everything up to Lsn 60 flushed; this log then reached from Lsn 40 to 100",
                         "replica n2: session 1 failed: progress_stalled (it does not acknowledge in time)",
                         "replica n2: session 4, catchup, running, from Lsn 60, target 100, not proven yet",
                         "replica n2: not in the in-sync set: it owes an acknowledgement for 5 s",
                         "so the mode is degraded: recovery_in_progress: replica n2"});
}

TEST_CASE("core: why a replica is cut off", "[core][engine]") {
  Subject s;
  s.be_primary({"n2"}, {"n2"});
  s.keep_up("n2", 1, 1, 1);
  s.tell(failed("n2", term(1), 1, Reason::kTransportLost, "connection reset"));
  s.tell(lost("n2", 1, "connection reset"));
  s.tell(lost("n2", 2, "cannot connect: No route to host"));
  s.tell(rejected("n2", term(1), 2, "it owes an acknowledgement for 5 s"));
  CHECK(s.why() == Lines{kAssigned, kInEffect, kServes, "replica n2: not connected: cannot connect: No route to host",
                         "replica n2: at sync 1 it had everything up to Lsn 100 flushed; this log then reached from Lsn 40 to 100",
                         "replica n2: session 1 failed: transport_lost (connection reset)",
                         "replica n2: not in the in-sync set: it owes an acknowledgement for 5 s",
                         "so the mode is degraded: awaiting_shipper_connected: replica n2 (cannot connect: No route to host)"});
}

TEST_CASE("core: why a replica's tail is cut", "[core][engine]") {
  Subject s;
  s.be_primary({"n2"});
  s.tell(connected("n2", 1));
  s.tell(ack("n2", term(1), 1, 1, 104));
  CHECK(s.why() == Lines{kAssigned, kInEffect, kServes, "replica n2: connected (attempt 1)",
                         "replica n2: at sync 1 it had everything up to Lsn 104 flushed; this log then reached from Lsn 40 to 100",
                         "replica n2: therefore a cut of its tail, the replica holds records that never became part of history",
                         "replica n2: not in the in-sync set", "so the mode is degraded: awaiting_shipper_configured: replica n2"});
}

TEST_CASE("core: why a replica needs a rebuild", "[core][engine]") {
  Subject s;
  s.be_primary({"n2"});
  s.tell(connected("n2", 1));
  SyncAckObserved facts = ack("n2", term(1), 1, 1, 0);
  facts.facts.base_usable = false;
  s.tell(facts);
  s.tell(NeedsRebuildObserved{"n2", term(1), 1, "another rebuild is going on"});
  CHECK(s.why() ==
        Lines{kAssigned, kInEffect, kServes, "replica n2: connected (attempt 1)",
              "replica n2: at sync 1 its base image was marked unusable; this log then reached from Lsn 40 to 100",
              "replica n2: therefore a rebuild, the replica's base image is marked unusable; another rebuild is going on",
              "replica n2: not in the in-sync set",
              "so the mode is needs_rebuild: needs_rebuild: replica n2 (the replica's base image is marked unusable; another rebuild is going on)"});
  // The obstacle stands until a session has begun.
  facts.sync = 2;
  s.tell(facts);
  CHECK(s.why().at(5) == "replica n2: therefore a rebuild, the replica's base image is marked unusable; another rebuild is going on");
  s.tell(started("n2", term(1), 2, SessionKind::kRebuild, 90, 100));
  CHECK(s.why().at(5) == "replica n2: session 2, rebuild, accepted, from Lsn 90, target 100, not proven yet");
  s.tell(failed("n2", term(1), 2, Reason::kPinLost));
  facts.sync = 3;
  s.tell(facts);
  CHECK(s.why().at(5) == "replica n2: therefore a rebuild, the replica's base image is marked unusable");
  for (const std::string& line : s.why()) CHECK(line.find("another rebuild") == std::string::npos);
}

TEST_CASE("core: why a rebuild was begun, or is not, by an operator's order", "[core][engine]") {
  Subject s;
  s.be_primary({"n2"}, {"n2"});
  s.keep_up("n2", 1, 1, 1);
  s.tell(ordered("n2", term(1), 1, true, 4));
  CHECK(s.why().at(5) == "replica n2: an operator asked for a rebuild after sync 4, and none has begun since");
  s.tell(failed("n2", term(1), 1, Reason::kSuperseded, "ended"));
  s.tell(ack("n2", term(1), 1, 5, 100));
  CHECK(s.why().at(5) == "replica n2: an operator asked for a rebuild after sync 4, and none has begun since");
  CHECK(s.why().at(6) == "replica n2: therefore a rebuild, an operator asked for it");
  s.tell(started("n2", term(1), 5, SessionKind::kRebuild, 100, 100));
  for (const std::string& line : s.why()) CHECK(line.find("operator") == std::string::npos);
  s.tell(ordered("n2", term(1), 2, false, 5));
  s.tell(failed("n2", term(1), 5, Reason::kCancelled, "ended"));
  SyncAckObserved facts = ack("n2", term(1), 1, 6, 0);
  facts.facts.base_usable = false;
  s.tell(facts);
  CHECK(s.why() ==
        Lines{kAssigned, kInEffect, kServes, "replica n2: connected (attempt 1)",
              "replica n2: at sync 6 its base image was marked unusable; this log then reached from Lsn 40 to 100",
              "replica n2: an operator cancelled its rebuild: none begins until one is asked for",
              "replica n2: therefore a rebuild, the replica's base image is marked unusable; a rebuild was cancelled; "
              "`ringboltctl rebuild vol0 n2` begins one",
              "replica n2: session 5 failed: cancelled (ended)", "replica n2: in the in-sync set",
              "so the mode is needs_rebuild: needs_rebuild: replica n2 (a rebuild was cancelled; `ringboltctl rebuild vol0 n2` begins one)"});
}

TEST_CASE("core: why a replica that the term before knew is asked again", "[core][engine]") {
  Subject s;
  s.be_primary({"n2"}, {"n2"});
  s.keep_up("n2", 1, 1, 1);
  s.tell(rejected("n2", term(1), 2, "a decision of the term before"));
  s.tell(failed("n2", term(1), 1, Reason::kEpochMismatch, "an end in the term before"));
  s.tell(assigned(Role::kPrimary, 2, 1, {"n2"}));
  s.tell(applied_primary(2, term(2), {"n2"}));
  s.tell(configured(2, 1));
  s.tell(committed(term(2), 101));
  CHECK(s.why() == Lines{"assigned: primary of epoch 2, change 1, sync_all, replicas n2 at n2.example:10810",
                         "in effect: primary, epoch 2, incarnation 1", kServes, "replica n2: connected (attempt 1)",
                         "replica n2: at sync 1 it had everything up to Lsn 100 flushed; this log then reached from Lsn 40 to 100"
                         " (said to an earlier term)",
                         "replica n2: asked where it is, not answered yet", "replica n2: in the in-sync set", "so the mode is degraded: awaiting_shipper_configured: replica n2"});
}

TEST_CASE("core: why a primary that was fenced does not serve", "[core][engine]") {
  Subject s;
  s.be_primary({"n2"}, {"n2"});
  s.keep_up("n2", 1, 1, 1);
  s.tell(EpochObserved{Epoch(2), "fenced by epoch 2 (replica n2 knows it)"});
  CHECK(s.why().at(1) == "epoch 2 is held elsewhere: fenced by epoch 2 (replica n2 knows it)");
  CHECK(s.why().back() == "so the mode is bootstrap_pending: fenced by epoch 2 (replica n2 knows it); awaiting_role_apply");
  s.tell(applied(2, Role::kReplica, 2));
  CHECK(s.why() == Lines{kAssigned, "epoch 2 is held elsewhere: fenced by epoch 2 (replica n2 knows it)", "in effect: replica of epoch 2",
                         "it does not take a primary's calls yet",
                         "so the mode is bootstrap_pending: fenced by epoch 2 (replica n2 knows it); awaiting_receiver_ready"});
  s.tell(ReceiverReady{Epoch(2)});
  CHECK(s.why().at(3) == "no primary ships to it");
  s.tell(CopyObserved{1, true, "", "n2"});
  CHECK(s.why().at(3) == "primary n2 ships to it");
  // Another's lower epoch is no fact that matters.
  Subject other;
  other.tell(EpochObserved{Epoch(1), "an old one"});
  other.tell(assigned(Role::kPrimary, 2));
  for (const std::string& line : other.why()) CHECK(line.find("an old one") == std::string::npos);
}

TEST_CASE("core: why a copy is of no use", "[core][engine]") {
  Subject s;
  s.be_primary({});
  s.tell(CopyObserved{1, true, "base image flush: Input/output error", ""});
  CHECK(s.why() == Lines{"assigned: primary of epoch 1, sync_all, without replicas", "this copy has failed: base image flush: Input/output error",
                         kInEffect, kServes, "so the mode is degraded: base image flush: Input/output error"});
  Subject replica;
  replica.tell(assigned(Role::kReplica, 1));
  replica.tell(applied(1, Role::kReplica, 1));
  replica.tell(CopyObserved{1, false, "", ""});
  CHECK(replica.why() == Lines{"assigned: replica of epoch 1",
                               "this copy's base image is marked unusable: a rebuild of it began and did not end", "in effect: replica of epoch 1",
                               "it does not take a primary's calls yet", "so the mode is needs_rebuild: the base image is marked unusable"});
}
