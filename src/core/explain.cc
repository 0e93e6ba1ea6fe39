// The chain of facts behind a volume's mode, in words: what `ringboltctl why` prints.
#include "core/plan.h"

namespace ringbolt::core {

namespace {

template <class P>
std::string number(P position) {
  return std::to_string(position.value());
}

std::string term_text(Term term) { return "epoch " + number(term.epoch) + ", incarnation " + number(term.incarnation); }

std::string assignment_line(const Assignment& a) {
  std::string text = std::string("assigned: ") + to_string(a.role) + " of epoch " + number(a.epoch);
  if (a.version > 0) text += ", change " + std::to_string(a.version);
  if (a.role != Role::kPrimary) return text;
  text += std::string(", ") + to_string(a.durability);
  if (a.replicas.empty()) return text + ", without replicas";
  text += ", replicas";
  for (const ReplicaAddress& replica : a.replicas) text += " " + replica.id + " at " + replica.address;
  return text;
}

std::string connection_line(const ReplicaState& replica) {
  const std::string who = "replica " + replica.id + ": ";
  const Connection& c = replica.connection;
  if (c.up) return who + "connected (attempt " + std::to_string(c.number) + ")";
  if (c.number == 0) return who + "not tried yet";
  return who + "not connected" + (c.reason.empty() ? "" : ": " + c.reason);
}

std::string facts_line(const EngineState& state, const SyncAckObserved& ack) {
  std::string text = "replica " + ack.replica + ": at sync " + std::to_string(ack.sync);
  // Over an unusable base image a log is no position.
  text += ack.facts.base_usable ? " it had everything up to Lsn " + number(ack.facts.position) + " flushed" : " its base image was marked unusable";
  text += "; this log then reached from Lsn " + number(ack.wal_tail) + " to " + number(ack.wal_head);
  if (ack.term != state.term()) text += " (said to an earlier term)";
  return text;
}

std::string session_line(const ReplicaState& replica, const Session& session) {
  std::string text = "replica " + replica.id + ": session " + number(session.id);
  if (session.phase == SessionPhase::kFailed) {
    text += std::string(" failed: ") + to_string(session.reason);
    return session.text.empty() ? text : text + " (" + session.text + ")";
  }
  if (!session.started) return text + " begins";
  text += std::string(", ") + to_string(session.proven ? SessionKind::kKeepup : session.kind) + ", " + to_string(session.phase) + ", from Lsn " + number(session.base);
  if (session.kind != SessionKind::kKeepup) text += ", target " + number(session.target);
  return session.proven ? text + ", proven at Lsn " + number(*session.achieved) : text + ", not proven yet";
}

void explain_replica(const EngineState& state, const ReplicaState& replica, std::vector<std::string>& lines) {
  lines.push_back(connection_line(replica));
  if (replica.facts) lines.push_back(facts_line(state, *replica.facts));
  const auto& order = replica.order;
  if (rebuild_is_ordered(replica)) {
    lines.push_back("replica " + replica.id + ": an operator asked for a rebuild after sync " + std::to_string(order->after_sync) + ", and none has begun since");
  } else if (rebuild_is_cancelled(replica)) {
    lines.push_back("replica " + replica.id + ": an operator cancelled its rebuild: none begins until one is asked for");
  }
  if (live_session(state, replica) == nullptr) {
    const auto decision = decision_of(state, replica);
    if (recovery_phase(state, replica) == RecoveryPhase::kNeedsRebuild) {
      std::string why = rebuild_reason(state, replica);
      if (rebuild_is_cancelled(replica)) why = decision->reason + ("; " + why);
      lines.push_back("replica " + replica.id + ": therefore a rebuild, " + why);
    } else if (decision) {
      lines.push_back("replica " + replica.id + ": therefore " + to_string(decision->kind) + ", " + decision->reason);
    } else if (replica.connection.up) {
      lines.push_back("replica " + replica.id + ": asked where it is, not answered yet");
    }
  }
  const Session* const session = replica.session && replica.session->term == state.term() ? &*replica.session : nullptr;
  const Session* const failure = replica.last_failure && replica.last_failure->term == state.term() ? &*replica.last_failure : nullptr;
  if (failure != nullptr && (session == nullptr || failure->id != session->id)) lines.push_back(session_line(replica, *failure));
  if (session != nullptr) lines.push_back(session_line(replica, *session));
  std::string member = "replica " + replica.id + (in_sync(state, replica) ? ": in the in-sync set" : ": not in the in-sync set");
  if (replica.membership && replica.membership->term == state.term() && !replica.membership->reason.empty()) member += ": " + replica.membership->reason;
  lines.push_back(member);
}

}  // namespace

std::vector<std::string> explain(const EngineState& state) {
  std::vector<std::string> lines;
  lines.push_back(state.assignment ? assignment_line(*state.assignment) : "nothing is assigned");
  if (!state.copy.failure.empty()) lines.push_back("this copy has failed: " + state.copy.failure);
  if (!state.copy.damage.empty()) lines.push_back("this copy must be rebuilt: " + state.copy.damage);
  if (!state.copy.base_usable && state.copy.damage.empty()) lines.push_back("this copy's base image is marked unusable: a rebuild of it began and did not end");
  if (is_fenced(state)) {
    lines.push_back("epoch " + number(state.fence->epoch) + " is held elsewhere: " + state.fence->reason);
  }
  if (!state.role) {
    lines.push_back("no role is in effect yet");
  } else if (state.role->role != Role::kPrimary) {
    lines.push_back(std::string("in effect: ") + to_string(state.role->role) + " of epoch " + number(state.role->epoch));
    if (state.role->role == Role::kReplica && state.receiver < state.role->epoch) {
      lines.push_back("it does not take a primary's calls yet");
    } else if (state.role->role == Role::kReplica) {
      lines.push_back(state.copy.primary.empty() ? "no primary ships to it" : "primary " + state.copy.primary + " ships to it");
    }
  } else {
    lines.push_back("in effect: primary, " + term_text(state.term()));
    const bool serving = state.committed && state.committed->term == state.term();
    lines.push_back(serving ? "its term record is committed: it serves" : "its term record is not committed yet: it does not serve");
    if (!shipper_is_configured(state)) lines.push_back("the replicas that are assigned are not shipped to yet");
    for (const ReplicaState& replica : state.replicas) {
      if (is_assigned(state, replica.id)) explain_replica(state, replica, lines);
    }
  }
  const Projection projection = projection_of(state);
  lines.push_back("so the mode is " + projection.mode + (projection.reason.empty() ? "" : ": " + projection.reason));
  return lines;
}

}  // namespace ringbolt::core
