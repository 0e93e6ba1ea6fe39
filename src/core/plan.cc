#include "core/plan.h"

#include <algorithm>

#include "core/recovery_decision.h"

namespace ringbolt::core {

namespace {

/// What this copy is to be. A primary that somebody of its epoch or a higher one stands against is a replica.
struct Wanted {
  Epoch epoch;
  Role role = Role::kNone;
};

Wanted wanted_role(const EngineState& state) {
  if (!state.assignment) return {};
  if (is_fenced(state)) return {state.fence->epoch, Role::kReplica};
  return {state.assignment->epoch, state.assignment->role};
}

/// This node is primary, of this term.
bool is_present(const EngineState& state, Term term) { return term != Term{} && term == state.term(); }

bool role_is_applied(const EngineState& state) {
  const Wanted wanted = wanted_role(state);
  return state.role && state.role->epoch == wanted.epoch && state.role->role == wanted.role;
}

/// It is a replica no more, and nobody has said yet that nothing is going on with it.
bool is_leaving(const EngineState& state, const ReplicaState& replica) {
  if (is_assigned(state, replica.id) || !replica.named) return false;
  return !state.shipper || *replica.named >= AssignmentNumber{state.shipper->epoch, state.shipper->version};
}

/// The replica said this while it held the session for alive.
bool said_within(const SyncAckObserved& facts, const Session& session) {
  return facts.active && facts.active->id == session.id && facts.active->phase != SessionPhase::kFailed;
}

/// Facts that a decision may rest on: of this term, of the connection that stands, and said after the last session
/// ended. What was said within it (a barrier's answer) is older than what ended it. And said after a rebuild was
/// ordered: the session that is decided on older ones would not fulfil that.
bool has_fresh_facts(const EngineState& state, const ReplicaState& replica) {
  const auto& facts = replica.facts;
  if (!facts || !is_present(state, facts->term) || replica.connection.over || facts->connection != replica.connection.number) return false;
  if (rebuild_is_ordered(replica) && std::pair(facts->term, facts->sync) <= std::pair(replica.order->term, replica.order->after_sync)) return false;
  const auto& session = replica.session;
  return !session || !is_present(state, session->term) || (facts->sync > session->id.value() && !said_within(*facts, *session));
}

/// Asks beyond the newest answer: that one is then known not to do, so an answer that does not do either is followed
/// by another question.
StartRecoveryTask probe(const EngineState& state, const ReplicaState& replica) {
  const bool answered = replica.facts && is_present(state, replica.facts->term);
  return {state.volume, replica.id, state.term(), TaskKind::kProbe, SessionId(answered ? replica.facts->sync : 0), Lsn{}};
}

/// It hinders the rebuild that these facts call for, not one that older ones did.
bool is_obstructed(const ReplicaState& replica) {
  const auto& obstacle = replica.obstacle;
  return obstacle && obstacle->term == replica.facts->term && obstacle->sync == replica.facts->sync;
}

/// The last that kept a rebuild from beginning: it stands, for people, until a session has begun or said why not. So that
/// asking again, and getting the same answer, is no change.
bool has_obstacle(const EngineState& state, const ReplicaState& replica) {
  const auto& obstacle = replica.obstacle;
  if (!obstacle || obstacle->reason.empty() || !is_present(state, obstacle->term)) return false;
  const auto& session = replica.session;
  return !session || SessionKey{session->term, session->id} <= SessionKey{obstacle->term, SessionId(obstacle->sync)};
}

/// What an operator has ordered since does not let the session go on.
Reason against_order(const Session& session, const ReplicaState& replica) {
  if (!session.started) return Reason::kNone;  // what it is will be told
  // One that has begun since has fulfilled the order.
  if (rebuild_is_ordered(replica)) return Reason::kSuperseded;
  const bool is_rebuild = session.kind == SessionKind::kRebuild && !session.proven;
  return is_rebuild && rebuild_is_cancelled(replica) ? Reason::kCancelled : Reason::kNone;
}

/// The session is alive here, and the replica's newest facts say that there it is not, or cannot be.
Reason contradiction(const Session& session, const ReplicaState& replica) {
  if (!replica.facts || replica.facts->term != session.term || replica.facts->sync <= session.id.value()) return Reason::kNone;
  if (!said_within(*replica.facts, session)) return Reason::kSuperseded;
  if (!replica.facts->facts.base_usable && session.kind != SessionKind::kRebuild) return Reason::kLocalExtentCorrupt;
  return Reason::kNone;
}

void plan_replica(const EngineState& state, const ReplicaState& replica, std::vector<Command>& commands) {
  const std::string& volume = state.volume;
  if (const Session* session = live_session(state, replica)) {
    Reason reason = against_order(*session, replica);
    if (reason == Reason::kNone) reason = contradiction(*session, replica);
    if (reason != Reason::kNone) commands.push_back(InvalidateSession{volume, replica.id, session->term, session->id, reason});
    return;
  }
  const auto decision = decision_of(state, replica);
  if (!decision) return commands.push_back(probe(state, replica));
  const SyncAckObserved& ack = *replica.facts;
  const SessionId session(ack.sync);
  switch (decision->kind) {
    case RecoveryKind::kKeepup:
      return commands.push_back(StartRecoveryTask{volume, replica.id, ack.term, TaskKind::kKeepup, session, decision->position});
    case RecoveryKind::kCatchup:
      return commands.push_back(StartCatchUp{volume, replica.id, ack.term, session, decision->position, ack.wal_head});
    case RecoveryKind::kCutTail:
      return commands.push_back(StartRecoveryTask{volume, replica.id, ack.term, TaskKind::kCutTail, session, decision->position});
    case RecoveryKind::kRebuild:
      if (rebuild_is_cancelled(replica)) {
        return commands.push_back(StartRecoveryTask{volume, replica.id, ack.term, TaskKind::kProbeLater, session, Lsn{}});
      }
      if (is_obstructed(replica)) return commands.push_back(probe(state, replica));
      return commands.push_back(StartRebuild{volume, replica.id, ack.term, session, ack.wal_head, decision->reason});
  }
}

/// Sessions that the change of role ends, told before it. A primary that leaves because it was told to ends them
/// itself, last: it drains and hands over through them.
void plan_farewells(const EngineState& state, std::vector<Command>& commands) {
  if (wanted_role(state).role != Role::kPrimary && !is_fenced(state)) return;
  for (const ReplicaState& replica : state.replicas) {
    if (const Session* session = live_session(state, replica)) {
      commands.push_back(InvalidateSession{state.volume, replica.id, session->term, session->id, Reason::kEpochMismatch});
    }
  }
}

}  // namespace

bool is_fenced(const EngineState& state) {
  if (!state.assignment || state.assignment->role != Role::kPrimary || !state.fence) return false;
  const Fence& fence = *state.fence;
  return fence.epoch > state.assignment->epoch || (fence.epoch == state.assignment->epoch && fence.held);
}

bool is_assigned(const EngineState& state, const std::string& id) {
  if (!state.assignment) return false;
  const auto& replicas = state.assignment->replicas;
  return std::any_of(replicas.begin(), replicas.end(), [&](const ReplicaAddress& r) { return r.id == id; });
}

bool shipper_is_configured(const EngineState& state) {
  return state.assignment && state.shipper && state.shipper->epoch == state.assignment->epoch && state.shipper->version == state.assignment->version;
}

const Session* live_session(const EngineState& state, const ReplicaState& replica) {
  const auto& session = replica.session;
  if (!session || !is_present(state, session->term) || session->phase == SessionPhase::kFailed) return nullptr;
  return &*session;
}

bool in_sync(const EngineState& state, const ReplicaState& replica) {
  if (state.term() == Term{}) return false;
  if (replica.membership && is_present(state, replica.membership->term)) return replica.membership->in;
  const auto& set = state.role->in_sync;
  return std::find(set.begin(), set.end(), replica.id) != set.end();
}

bool rebuild_is_ordered(const ReplicaState& replica) {
  const auto& order = replica.order;
  return order && order->wanted && replica.rebuilt <= std::optional(SessionKey{order->term, SessionId(order->after_sync)});
}

bool rebuild_is_cancelled(const ReplicaState& replica) { return replica.order && !replica.order->wanted; }

std::optional<RecoveryDecision> decision_of(const EngineState& state, const ReplicaState& replica) {
  if (!has_fresh_facts(state, replica)) return std::nullopt;
  if (rebuild_is_ordered(replica)) return RecoveryDecision{RecoveryKind::kRebuild, Lsn{}, "an operator asked for it"};
  const SyncAckObserved& ack = *replica.facts;
  return decide_recovery(ack.facts, PrimaryFacts{ack.wal_tail, ack.wal_head, state.role->base_seeded, state.role->history});
}

RecoveryPhase recovery_phase(const EngineState& state, const ReplicaState& replica) {
  if (const Session* session = live_session(state, replica)) {
    if (session->proven) return RecoveryPhase::kIdle;
    if (session->kind == SessionKind::kRebuild) return RecoveryPhase::kRebuilding;
    return session->kind == SessionKind::kCatchup ? RecoveryPhase::kCatchingUp : RecoveryPhase::kIdle;
  }
  const auto decision = decision_of(state, replica);
  return decision && decision->kind == RecoveryKind::kRebuild ? RecoveryPhase::kNeedsRebuild : RecoveryPhase::kIdle;
}

const char* to_string(RecoveryPhase phase) {
  switch (phase) {
    case RecoveryPhase::kIdle: return "idle";
    case RecoveryPhase::kCatchingUp: return "catching_up";
    case RecoveryPhase::kNeedsRebuild: return "needs_rebuild";
    case RecoveryPhase::kRebuilding: return "rebuilding";
  }
  return "unknown";
}

std::vector<Command> plan(const EngineState& state) {
  std::vector<Command> commands;
  if (!state.assignment) return commands;
  const Wanted wanted = wanted_role(state);
  if (!role_is_applied(state)) {
    plan_farewells(state, commands);
    commands.push_back(ApplyRole{state.volume, wanted.epoch, wanted.role});
    return commands;
  }
  if (wanted.role == Role::kReplica && state.receiver < wanted.epoch) commands.push_back(StartReceiver{state.volume, wanted.epoch});
  if (wanted.role != Role::kPrimary) return commands;
  if (!shipper_is_configured(state)) {
    for (const ReplicaState& replica : state.replicas) {
      if (is_leaving(state, replica)) commands.push_back(DrainRecoveryTask{state.volume, replica.id, Reason::kCancelled});
    }
    commands.push_back(ConfigureShipper{state.volume, state.assignment->epoch, state.assignment->version, state.assignment->durability,
                                        state.assignment->replicas});
    return commands;
  }
  for (const ReplicaState& replica : state.replicas) {
    if (is_assigned(state, replica.id)) plan_replica(state, replica, commands);
  }
  return commands;
}

std::string rebuild_reason(const EngineState& state, const ReplicaState& replica) {
  if (rebuild_is_cancelled(replica)) return "a rebuild was cancelled; `ringboltctl rebuild " + state.volume + " " + replica.id + "` begins one";
  std::string reason = decision_of(state, replica)->reason;
  if (has_obstacle(state, replica)) reason += "; " + replica.obstacle->reason;
  return reason;
}

// --- the projection -------------------------------------------------------------------------------------

namespace {

std::string reason_of(const EngineState& state, const ReplicaState& replica) {
  if (recovery_phase(state, replica) == RecoveryPhase::kNeedsRebuild) return rebuild_reason(state, replica);
  return replica.connection.over ? replica.connection.reason : "";
}

}  // namespace

Projection projection_of(const EngineState& state) {
  VolumeView view;
  view.failed = !state.copy.failure.empty();
  view.failure = state.copy.failure;
  view.base_usable = state.copy.base_usable;
  view.damage = state.copy.damage;
  view.base_full = state.copy.base_full;
  const Wanted wanted = wanted_role(state);
  view.role = wanted.role;
  view.role_applied = role_is_applied(state);
  view.fenced = is_fenced(state) ? state.fence->reason : "";
  view.receiver_ready = state.receiver >= wanted.epoch;
  view.has_session = !state.copy.primary.empty();
  std::vector<ReplicaView> replicas;
  if (wanted.role == Role::kPrimary) {
    view.shipper_configured = view.role_applied && shipper_is_configured(state);
    view.serving = state.committed && state.committed->term == state.term() && view.role_applied;
    for (const ReplicaState& replica : state.replicas) {
      if (!is_assigned(state, replica.id)) continue;
      const RecoveryPhase phase = recovery_phase(state, replica);
      replicas.push_back({.id = replica.id,
                          .connected = replica.connection.up,
                          .in_session = live_session(state, replica) != nullptr,
                          .in_sync = in_sync(state, replica),
                          .needs_rebuild = phase == RecoveryPhase::kNeedsRebuild,
                          .reason = reason_of(state, replica),
                          .recovering = phase == RecoveryPhase::kCatchingUp || phase == RecoveryPhase::kRebuilding});
    }
  }
  view.replicas = replicas;
  return project(view);
}

}  // namespace ringbolt::core
