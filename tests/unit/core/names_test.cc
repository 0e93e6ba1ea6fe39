// Names that stand in logs, on the API and in scripts: they do not change.
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "engine_facts.h"

using namespace ringbolt;
using namespace ringbolt::core;

namespace {

template <class Enum>
std::vector<std::string> names(std::initializer_list<Enum> values) {
  std::vector<std::string> result;
  for (const Enum value : values) result.emplace_back(to_string(value));
  return result;
}

template <size_t I = 0>
void name_all(std::vector<std::string>& names) {
  if constexpr (I < std::variant_size_v<Event>) {
    names.emplace_back(name_of(Event(std::in_place_index<I>)));
    name_all<I + 1>(names);
  }
}

}  // namespace

TEST_CASE("core: names of states and kinds", "[core][engine]") {
  using Names = std::vector<std::string>;
  CHECK(names({SessionKind::kKeepup, SessionKind::kCatchup, SessionKind::kRebuild}) == Names{"keepup", "catchup", "rebuild"});
  CHECK(names({SessionPhase::kIdle, SessionPhase::kAccepted, SessionPhase::kRunning, SessionPhase::kBaseComplete, SessionPhase::kCompleted,
               SessionPhase::kFailed}) == Names{"idle", "accepted", "running", "base_complete", "completed", "failed"});
  CHECK(names({SyncAckKind::kQuorum, SyncAckKind::kTimedOut, SyncAckKind::kTransportLost, SyncAckKind::kEpochMismatch}) ==
        Names{"quorum", "timed_out", "transport_lost", "epoch_mismatch"});
  CHECK(names({TaskKind::kProbe, TaskKind::kKeepup, TaskKind::kCutTail, TaskKind::kProbeLater}) ==
        Names{"probe", "keepup", "cut_tail", "probe_later"});
  CHECK(names({RecoveryPhase::kIdle, RecoveryPhase::kCatchingUp, RecoveryPhase::kNeedsRebuild, RecoveryPhase::kRebuilding}) ==
        Names{"idle", "catching_up", "needs_rebuild", "rebuilding"});
  // What came from elsewhere may be any number.
  CHECK(std::string(to_string(SessionKind(77))) == "unknown");
  CHECK(std::string(to_string(SessionPhase(77))) == "unknown");
  CHECK(std::string(to_string(SyncAckKind(77))) == "unknown");
  CHECK(std::string(to_string(Reason(777))) == "unknown");
}

TEST_CASE("core: the vocabulary of reasons, by their numbers on the wire", "[core][engine]") {
  const std::vector<std::string> expected = {"",
                                             "epoch_mismatch",
                                             "transport_lost",
                                             "progress_stalled",
                                             "deadline_exceeded",
                                             "pin_lost",
                                             "snapshot_unavailable",
                                             "local_wal_corrupt",
                                             "local_extent_corrupt",
                                             "superseded",
                                             "cancelled",
                                             "wrong_volume",
                                             "protocol_violation",
                                             "not_ready",
                                             "handed_over"};
  REQUIRE(expected.size() == size_t{kReasonLast} + 1);
  for (uint16_t number = 0; number <= kReasonLast; ++number) CHECK(to_string(Reason(number)) == expected[number]);
}

TEST_CASE("core: names of events, in their order", "[core][engine]") {
  std::vector<std::string> found;
  name_all(found);
  CHECK(found == std::vector<std::string>{"assignment_delivered", "epoch_observed", "role_applied", "receiver_ready", "shipper_configured",
                                          "shipper_connected", "shipped_advanced", "committed_advanced", "checkpoint_advanced",
                                          "sync_ack_observed", "session_started", "session_progress", "session_completed", "session_failed",
                                          "barrier_accepted", "barrier_rejected", "needs_rebuild_observed", "copy_observed",
                                          "rebuild_ordered"});
}

TEST_CASE("core: a command says its name, its volume and its fields", "[core][engine]") {
  const SessionId session(7);
  const Term term{Epoch(3), Incarnation(2)};
  const std::vector<Command> commands = {
      ApplyRole{"v", Epoch(2), Role::kPrimary},
      StartReceiver{"v", Epoch(2)},
      ConfigureShipper{"v", Epoch(2), 3, Durability::kSyncQuorum, {{"n2", "a:1"}, {"n3", "b:2"}}},
      StartRecoveryTask{"v", "n2", term, TaskKind::kCutTail, session, Lsn(5)},
      DrainRecoveryTask{"v", "n2", Reason::kCancelled},
      StartCatchUp{"v", "n2", term, session, Lsn(5), Lsn(9)},
      StartRebuild{"v", "n2", term, session, Lsn(9), "in words"},
      InvalidateSession{"v", "n2", term, session, Reason::kSuperseded},
      PublishProjection{"v", {"degraded", "why", false}},
  };
  const std::vector<std::string> expected = {
      "apply_role volume=v epoch=2 role=primary",
      "start_receiver volume=v epoch=2",
      "configure_shipper volume=v epoch=2 version=3 durability=sync_quorum replicas=n2@a:1,n3@b:2",
      "start_recovery_task volume=v replica=n2 kind=cut_tail term=3.2 session=7 position=5",
      "drain_recovery_task volume=v replica=n2 reason=cancelled",
      "start_catchup volume=v replica=n2 term=3.2 session=7 position=5 target=9",
      "start_rebuild volume=v replica=n2 term=3.2 session=7 target=9 why=\"in words\"",
      "invalidate_session volume=v replica=n2 term=3.2 session=7 reason=superseded",
      "publish_projection volume=v mode=degraded reason=\"why\"",
  };
  REQUIRE(commands.size() == std::variant_size_v<Command>);
  for (size_t i = 0; i < commands.size(); ++i) CHECK(describe(commands[i]) == expected[i]);
}
