// Facts for tests of the engine, each built in one line, and an engine that is brought to where a test begins.
#pragma once

#include <string>
#include <vector>

#include "core/engine.h"
#include "core/plan.h"

namespace ringbolt::core {

inline Term term(uint64_t epoch, uint64_t incarnation = 1) { return {Epoch(epoch), Incarnation(incarnation)}; }

inline TermHistory history(const std::vector<TermStart>& entries) {
  TermHistory result;
  for (const TermStart& entry : entries) {
    if (!result.append_checked(entry)) return {};
  }
  return result;
}

inline ReplicaAddress at(const std::string& id) { return {id, id + ".example:10810"}; }

inline AssignmentDelivered assigned(Role role, uint64_t epoch, uint64_t version = 0, const std::vector<std::string>& replicas = {},
                                    Durability durability = Durability::kSyncAll) {
  Assignment assignment{Epoch(epoch), version, role, durability, {}};
  for (const std::string& id : replicas) assignment.replicas.push_back(at(id));
  return {assignment};
}

inline RoleApplied applied(uint64_t count, Role role, uint64_t epoch) {
  RoleApplied event;
  event.count = count;
  event.role = role;
  event.epoch = Epoch(epoch);
  return event;
}

/// A primary whose log is of one term from Lsn 1 on, unless told otherwise.
inline RoleApplied applied_primary(uint64_t count, Term of, const std::vector<std::string>& in_sync = {},
                                   const std::vector<TermStart>& terms = {}) {
  RoleApplied event = applied(count, Role::kPrimary, of.epoch.value());
  event.incarnation = of.incarnation;
  event.history = history(terms.empty() ? std::vector<TermStart>{{of, Lsn(1)}} : terms);
  event.in_sync = in_sync;
  return event;
}

inline ShipperConfigured configured(uint64_t epoch, uint64_t version = 0) { return {Epoch(epoch), version}; }
inline ShipperConnected connected(const std::string& id, uint64_t connection) { return {id, connection, true, ""}; }
inline ShipperConnected lost(const std::string& id, uint64_t connection, const std::string& why) { return {id, connection, false, why}; }

/// The WAL of the primary that asks holds 40 .. 100 unless a test says otherwise.
inline SyncAckObserved ack(const std::string& id, Term of, uint64_t connection, uint64_t sync, uint64_t position) {
  SyncAckObserved event;
  event.replica = id;
  event.term = of;
  event.connection = connection;
  event.sync = sync;
  event.epoch = of.epoch;
  event.facts.base_usable = true;
  event.facts.position = Lsn(position);
  if (position > 0) event.facts.history = history({{of, Lsn(1)}});
  event.wal_tail = Lsn(40);
  event.wal_head = Lsn(100);
  return event;
}

inline SyncAckObserved in_session(SyncAckObserved event, uint64_t session, SessionKind kind = SessionKind::kKeepup,
                                  SessionPhase phase = SessionPhase::kRunning) {
  event.active = ActiveSession{SessionId(session), kind, phase};
  return event;
}

inline SessionStarted started(const std::string& id, Term of, uint64_t session, SessionKind kind, uint64_t base, uint64_t target) {
  return {id, of, SessionId(session), kind, Lsn(base), Lsn(target)};
}
inline SessionProgress progress(const std::string& id, Term of, uint64_t session, SessionPhase phase, uint64_t wal_applied) {
  return {id, of, SessionId(session), phase, Lsn(wal_applied)};
}
inline SessionCompleted completed(const std::string& id, Term of, uint64_t session, uint64_t achieved) {
  return {id, of, SessionId(session), Lsn(achieved)};
}
inline SessionFailed failed(const std::string& id, Term of, uint64_t session, Reason reason, const std::string& text = "") {
  return {id, of, SessionId(session), reason, text};
}
inline BarrierAccepted accepted(const std::string& id, Term of, uint64_t decision, uint64_t session, uint64_t achieved) {
  return {id, of, decision, SessionId(session), Lsn(achieved)};
}
inline BarrierRejected rejected(const std::string& id, Term of, uint64_t decision, const std::string& why) { return {id, of, decision, why}; }
inline NeedsRebuildObserved obstructed(const std::string& id, Term of, uint64_t sync, const std::string& why) { return {id, of, sync, why}; }
inline RebuildOrdered ordered(const std::string& id, Term of, uint64_t count, bool wanted, uint64_t after_sync) {
  return {id, of, count, wanted, after_sync};
}
inline CommittedAdvanced committed(Term of, uint64_t lsn) { return {of, Lsn(lsn), Lsn(lsn)}; }

/// Without the volume and what is published: what the adapters are told to do.
inline std::vector<std::string> orders(const std::vector<Command>& commands) {
  std::vector<std::string> lines;
  for (const Command& command : commands) {
    if (std::holds_alternative<PublishProjection>(command)) continue;
    std::string line = describe(command);
    const std::string volume = " volume=vol0";
    line.erase(line.find(volume), volume.size());
    // The model checks that it is the present one.
    if (const size_t term = line.find(" term="); term != std::string::npos) line.erase(term, line.find(' ', term + 1) - term);
    lines.push_back(line);
  }
  return lines;
}

/// What was published by these; empty if nothing was.
inline std::string published(const std::vector<Command>& commands) {
  std::string text;
  for (const Command& command : commands) {
    const auto* publish = std::get_if<PublishProjection>(&command);
    if (publish == nullptr) continue;
    if (!text.empty()) text += " | ";  // at most one a fact
    text += publish->projection.mode;
    if (!publish->projection.reason.empty()) text += ": " + publish->projection.reason;
  }
  return text;
}

/// An engine under a test, and what it said to the last fact.
class Subject {
 public:
  using Lines = std::vector<std::string>;

  /// The new orders.
  Lines tell(const Event& event) {
    last_ = engine_.apply(event);
    return orders(last_);
  }
  [[nodiscard]] std::string published() const { return core::published(last_); }
  [[nodiscard]] Lines outstanding() const { return orders(engine_.outstanding()); }
  [[nodiscard]] const Engine& engine() const { return engine_; }
  [[nodiscard]] const EngineState& state() const { return engine_.state(); }
  [[nodiscard]] const ReplicaState& replica(const std::string& id) const { return *engine_.state().find(id); }
  [[nodiscard]] RecoveryPhase phase(const std::string& id) const { return recovery_phase(state(), replica(id)); }
  [[nodiscard]] std::string mode() const {
    const Projection& p = engine_.projection();
    return p.reason.empty() ? p.mode : p.mode + ": " + p.reason;
  }
  [[nodiscard]] Lines why() const { return explain(engine_.state()); }

  /// A primary of epoch 1 that serves, with these replicas in its set, none of them reached yet.
  void be_primary(const std::vector<std::string>& replicas, const std::vector<std::string>& in_sync = {}) {
    tell(assigned(Role::kPrimary, 1, 0, replicas));
    tell(applied_primary(1, term(1), in_sync));
    tell(configured(1));
    tell(committed(term(1), 100));
  }
  /// Facts at the head and a session that is proven: `sync` is its id.
  void keep_up(const std::string& id, uint64_t connection, uint64_t sync, uint64_t decision, Term of = term(1)) {
    tell(connected(id, connection));
    tell(ack(id, of, connection, sync, 100));
    tell(started(id, of, sync, SessionKind::kKeepup, 100, 100));
    tell(accepted(id, of, decision, sync, 100));
  }

 private:
  Engine engine_{"vol0"};
  std::vector<Command> last_;
};

}  // namespace ringbolt::core
