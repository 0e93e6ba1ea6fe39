// One fact of a healthy volume with three replicas: what the engine costs while nothing is to be decided. Once a second
// for each volume, and for each barrier.
#include "bench/micro/benchmark.h"

#include <array>
#include <string>

#include "core/engine.h"

namespace ringbolt::core {
namespace {

constexpr Term kTerm{Epoch(1), Incarnation(1)};
const std::array<std::string, 3> kReplicas = {"n2", "n3", "n4"};

/// What a replica answers that has everything.
SyncAckObserved ack(const std::string& id, uint64_t sync, const TermHistory& history) {
  SyncAckObserved event;
  event.replica = id;
  event.term = kTerm;
  event.connection = 1;
  event.sync = sync;
  event.epoch = kTerm.epoch;
  event.facts.base_usable = true;
  event.facts.position = Lsn(1000);
  event.facts.history = history;
  event.wal_tail = Lsn(1);
  event.wal_head = Lsn(1000);
  return event;
}

/// The newest is the present term.
TermHistory history(int64_t terms) {
  TermHistory result;
  for (int64_t i = 1; i <= terms; ++i) {
    const auto number = static_cast<uint64_t>(i);
    result.open(i == terms ? kTerm : Term{Epoch(0), Incarnation(number)}, Lsn(number));
  }
  return result;
}

Engine healthy(const TermHistory& terms) {
  Engine engine("volume");
  Assignment assignment{kTerm.epoch, 0, Role::kPrimary, Durability::kSyncAll, {}};
  for (const std::string& id : kReplicas) assignment.replicas.push_back({id, id + ".example:10810"});
  engine.apply(AssignmentDelivered{assignment});
  engine.apply(RoleApplied{1, kTerm.epoch, Role::kPrimary, kTerm.incarnation, terms, false, {}});
  engine.apply(ShipperConfigured{kTerm.epoch, 0});
  engine.apply(CommittedAdvanced{kTerm, Lsn(1), Lsn(1)});
  uint64_t sync = 0;
  for (const std::string& id : kReplicas) {
    engine.apply(ShipperConnected{id, 1, true, ""});
    engine.apply(ack(id, ++sync, terms));
    engine.apply(SessionStarted{id, kTerm, SessionId(sync), SessionKind::kKeepup, Lsn(1000), Lsn(1000)});
    engine.apply(BarrierAccepted{id, kTerm, sync, SessionId(sync), Lsn(1000)});
  }
  return engine;
}

void engine_committed_advanced(benchmark::State& state) {
  Engine engine = healthy(history(1));
  if (engine.projection().mode != "publish_healthy") return state.SkipWithError("not healthy");
  Lsn lsn(1000);
  for (auto _ : state) {
    lsn = lsn.next();
    benchmark::DoNotOptimize(engine.apply(CommittedAdvanced{kTerm, lsn, lsn}));
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(engine_committed_advanced);

void engine_sync_ack_observed(benchmark::State& state) {
  const TermHistory terms = history(state.range(0));
  Engine engine = healthy(terms);
  std::array<SyncAckObserved, kReplicas.size()> answers;
  for (size_t i = 0; i < answers.size(); ++i) {
    answers[i] = ack(kReplicas[i], 0, terms);
    answers[i].active = ActiveSession{SessionId(i + 1), SessionKind::kKeepup, SessionPhase::kRunning};
  }
  uint64_t sync = 10;
  for (auto _ : state) {
    SyncAckObserved& answer = answers[sync % answers.size()];
    answer.sync = ++sync;
    benchmark::DoNotOptimize(engine.apply(answer));
  }
  if (!engine.outstanding().empty()) state.SkipWithError("something is outstanding");
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(engine_sync_ack_observed)->ArgName("terms")->Arg(1)->Arg(64);

/// Facts that are decided from: a session ends, the replica is asked, and a session is ordered.
void engine_session_again(benchmark::State& state) {
  const TermHistory terms = history(state.range(0));
  Engine engine = healthy(terms);
  uint64_t sync = 10, session = 1;
  for (auto _ : state) {
    benchmark::DoNotOptimize(engine.apply(SessionFailed{"n2", kTerm, SessionId(session), Reason::kTransportLost, ""}));
    benchmark::DoNotOptimize(engine.apply(ack("n2", ++sync, terms)));
    session = sync;
    benchmark::DoNotOptimize(engine.apply(SessionStarted{"n2", kTerm, SessionId(session), SessionKind::kKeepup, Lsn(1000), Lsn(1000)}));
  }
  if (!engine.outstanding().empty()) state.SkipWithError("something is outstanding");
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(engine_session_again)->ArgName("terms")->Arg(1)->Arg(64);

}  // namespace
}  // namespace ringbolt::core
