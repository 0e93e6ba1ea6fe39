// How a fact enters the state. Each kind has its own order; merging is idempotent, and of any two facts the
// result does not depend on which came first.
#include <algorithm>
#include <tuple>

#include "core/engine.h"
#include "core/plan.h"

namespace ringbolt::core {

namespace {

/// Replicas that may be known at a time: those of the assignment, and those that were. Those named longest ago are
/// forgotten first.
constexpr size_t kReplicasKnownMax = size_t{4} * kReplicasMax;

/// Null: nobody that this volume has to do with.
ReplicaState* entry(EngineState& state, const std::string& id) {
  auto& replicas = state.replicas;
  const auto place = [&] {
    return std::lower_bound(replicas.begin(), replicas.end(), id,
                            [](const ReplicaState& replica, const std::string& wanted) { return replica.id < wanted; });
  };
  if (const auto at = place(); at != replicas.end() && at->id == id) return &*at;
  if (replicas.size() >= kReplicasKnownMax) {
    if (!is_assigned(state, id)) return nullptr;
    // There is one: fewer than that are assigned.
    const auto key = [&](const ReplicaState& replica) { return std::pair(is_assigned(state, replica.id), replica.named); };
    replicas.erase(std::min_element(replicas.begin(), replicas.end(),
                                    [&](const ReplicaState& a, const ReplicaState& b) { return key(a) < key(b); }));
  }
  ReplicaState replica;
  replica.id = id;
  return &*replicas.insert(place(), std::move(replica));
}

/// Who is a replica no more is remembered: facts of it that come late change nothing then, and if it is one again
/// it has left the set and its sessions are over.
void take(EngineState& state, const AssignmentDelivered& event) {
  const Assignment& next = event.assignment;
  if (next.replicas.size() > kReplicasMax) return;  // judge() takes none such
  const AssignmentNumber number{next.epoch, next.version};
  if (!state.assignment || number > AssignmentNumber{state.assignment->epoch, state.assignment->version}) state.assignment = next;
  for (const ReplicaAddress& address : next.replicas) {
    ReplicaState* replica = entry(state, address.id);
    if (replica != nullptr) replica->named = std::max(replica->named, std::optional(number));
  }
}

void observe(EngineState& state, const Fence& next) {
  auto& known = state.fence;
  const auto key = [](const Fence& fence) { return std::pair(fence.epoch, fence.held); };
  // Several may say the same of one epoch; whose words are kept must not depend on who was first.
  if (!known || key(next) > key(*known) || (key(next) == key(*known) && next.reason < known->reason)) known = next;
}

void take(EngineState& state, const EpochObserved& event) { observe(state, {event.epoch, true, event.reason}); }

/// A replica spoke of an epoch when it was asked. The asking primary's own epoch is then another's as well; a higher one
/// may be this node's by now.
void observe(EngineState& state, const SyncAckObserved& event, Epoch epoch, const char* what) {
  observe(state, {epoch, epoch == event.term.epoch, "replica " + event.replica + what + std::to_string(epoch.value())});
}

void take(EngineState& state, const RoleApplied& event) {
  if (!state.role || event.count > state.role->count) state.role = event;
}

void take(EngineState& state, const ReceiverReady& event) { state.receiver = std::max(state.receiver, event.epoch); }

void take(EngineState& state, const ShipperConfigured& event) {
  if (state.shipper && std::pair(event.epoch, event.version) <= std::pair(state.shipper->epoch, state.shipper->version)) return;
  state.shipper = event;
}

void merge_connection(Connection& known, uint64_t number, bool up, const std::string& reason) {
  if (number < known.number) return;
  if (number > known.number) known = Connection{number, false, false, ""};
  if (!up) {
    known.over = true;
    // Two may tell of one end; whose words are kept must not depend on who was first.
    if (!reason.empty() && (known.reason.empty() || reason < known.reason)) known.reason = reason;
  }
  known.up = !known.over;
}

void take(EngineState& state, const ShipperConnected& event) {
  if (ReplicaState* replica = entry(state, event.replica)) {
    merge_connection(replica->connection, event.connection, event.connected, event.reason);
  }
}

void take(EngineState& state, const ShippedAdvanced& event) {
  if (ReplicaState* replica = entry(state, event.replica)) replica->shipped = std::max(replica->shipped, event.shipped);
}

void take(EngineState& state, const CommittedAdvanced& event) {
  if (!state.committed || event.term > state.committed->term) {
    state.committed = event;
  } else if (event.term == state.committed->term) {
    state.committed->committed = std::max(state.committed->committed, event.committed);
    state.committed->durable = std::max(state.committed->durable, event.durable);
  }
}

void take(EngineState& state, const CheckpointAdvanced& event) { state.checkpoint = std::max(state.checkpoint, event.checkpoint); }

void take_facts(EngineState& state, ReplicaState& replica, const SyncAckObserved& event) {
  merge_connection(replica.connection, event.connection, true, "");
  if (!replica.facts || std::pair(event.term, event.sync) > std::pair(replica.facts->term, replica.facts->sync)) replica.facts = event;
  // The adapter should have noticed; a later primary's records are not to be cut on an older one's word.
  if (event.epoch > event.term.epoch) observe(state, event, event.epoch, " knows epoch ");
  const auto last = event.facts.history.last();
  if (last && last->term > event.term) observe(state, event, last->term.epoch, " has records of a later primary, of epoch ");
}

void take(EngineState& state, const SyncAckObserved& event) {
  ReplicaState* replica = entry(state, event.replica);
  if (replica == nullptr) return;
  switch (event.kind) {
    case SyncAckKind::kTransportLost:
      // Says that it cannot be reached, and nothing of the copy.
      return merge_connection(replica->connection, event.connection, false, "");
    case SyncAckKind::kEpochMismatch: return observe(state, event, event.epoch, " knows a primary of epoch ");
    case SyncAckKind::kQuorum:
    case SyncAckKind::kTimedOut: return take_facts(state, *replica, event);
  }
}

/// The session with this key, if it is the newest known; null if a newer one is.
Session* newest(ReplicaState& replica, Term term, SessionId id) {
  const auto key = std::pair(term, id);
  if (replica.session && std::pair(replica.session->term, replica.session->id) > key) return nullptr;
  if (!replica.session || std::pair(replica.session->term, replica.session->id) < key) {
    replica.session = Session{};
    replica.session->term = term;
    replica.session->id = id;
  }
  return &*replica.session;
}

Session* newest(EngineState& state, const std::string& id, Term term, SessionId session) {
  ReplicaState* replica = entry(state, id);
  return replica == nullptr ? nullptr : newest(*replica, term, session);
}

void take(EngineState& state, const SessionStarted& event) {
  ReplicaState* replica = entry(state, event.replica);
  if (replica == nullptr) return;
  // Kept when later sessions follow: an order for a rebuild is fulfilled by it.
  if (event.kind == SessionKind::kRebuild) replica->rebuilt = std::max(replica->rebuilt, std::optional(SessionKey{event.term, event.session}));
  Session* session = newest(*replica, event.term, event.session);
  if (session == nullptr) return;
  session->started = true;
  session->kind = event.kind;
  session->base = event.base;
  session->target = event.target;
  session->phase = std::max(session->phase, SessionPhase::kAccepted);
}

void take(EngineState& state, const SessionProgress& event) {
  Session* session = newest(state, event.replica, event.term, event.session);
  if (session == nullptr) return;
  // Its end is told by SessionFailed, with the reason.
  if (event.phase < SessionPhase::kFailed) session->phase = std::max(session->phase, event.phase);
  session->applied = std::max(session->applied, event.wal_applied);
}

void take(EngineState& state, const SessionCompleted& event) {
  Session* session = newest(state, event.replica, event.term, event.session);
  if (session == nullptr) return;
  session->phase = std::max(session->phase, SessionPhase::kCompleted);
  session->achieved = std::max(session->achieved, std::optional(event.achieved));
}

/// A session ends once. Both its end and the refusal of a late command for it may be told, each with a reason; which
/// one is kept must not depend on who was first. That the transport was lost is the least of them: the refusal says so.
void end(Session& session, const SessionFailed& event) {
  const auto key = [](Reason reason, const std::string& text) {
    return std::tuple<bool, Reason, const std::string&>(reason == Reason::kTransportLost, reason, text);
  };
  if (session.phase == SessionPhase::kFailed && key(session.reason, session.text) <= key(event.reason, event.text)) return;
  session.phase = SessionPhase::kFailed;
  session.reason = event.reason;
  session.text = event.text;
}

void take(EngineState& state, const SessionFailed& event) {
  ReplicaState* replica = entry(state, event.replica);
  if (replica == nullptr) return;
  if (Session* session = newest(*replica, event.term, event.session)) end(*session, event);
  auto& last = replica->last_failure;
  const auto key = std::pair(event.term, event.session);
  if (last && std::pair(last->term, last->id) > key) return;
  if (!last || std::pair(last->term, last->id) < key) {
    last = Session{};
    last->term = event.term;
    last->id = event.session;
  }
  end(*last, event);
}

void decide_membership(ReplicaState& replica, const Membership& next) {
  const auto& known = replica.membership;
  if (known && std::pair(known->term, known->decision) >= std::pair(next.term, next.decision)) return;
  replica.membership = next;
}

void take(EngineState& state, const BarrierAccepted& event) {
  ReplicaState* replica = entry(state, event.replica);
  if (replica == nullptr) return;
  if (Session* session = newest(*replica, event.term, event.session)) {
    session->proven = true;
    session->phase = std::max(session->phase, SessionPhase::kCompleted);
    session->achieved = std::max(session->achieved, std::optional(event.achieved));
  }
  decide_membership(*replica, {event.term, event.decision, true, ""});
}

void take(EngineState& state, const BarrierRejected& event) {
  if (ReplicaState* replica = entry(state, event.replica)) {
    decide_membership(*replica, {event.term, event.decision, false, event.reason});
  }
}

void take(EngineState& state, const NeedsRebuildObserved& event) {
  ReplicaState* replica = entry(state, event.replica);
  if (replica == nullptr) return;
  const auto& known = replica->obstacle;
  if (known && std::pair(known->term, known->sync) >= std::pair(event.term, event.sync)) return;
  replica->obstacle = RebuildObstacle{event.term, event.sync, event.reason};
}

void take(EngineState& state, const RebuildOrdered& event) {
  ReplicaState* replica = entry(state, event.replica);
  if (replica != nullptr && (!replica->order || event.count > replica->order->count)) replica->order = event;
}

void take(EngineState& state, const CopyObserved& event) {
  if (event.count > state.copy.count) state.copy = event;
}

/// Calls the overload of take() for what the variant holds. (std::visit brings exceptions into the library.)
template <size_t I = 0>
void dispatch(EngineState& state, const Event& event) {
  if constexpr (I < std::variant_size_v<Event>) {
    if (const auto* held = std::get_if<I>(&event)) return take(state, *held);
    dispatch<I + 1>(state, event);
  }
}

}  // namespace

const ReplicaState* EngineState::find(const std::string& id) const {
  const auto at = std::find_if(replicas.begin(), replicas.end(), [&](const ReplicaState& replica) { return replica.id == id; });
  return at == replicas.end() ? nullptr : &*at;
}

void merge(EngineState& state, const Event& event) { dispatch(state, event); }

}  // namespace ringbolt::core
