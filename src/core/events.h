// What the engine is told: facts, one event each. Every event carries what orders it against others of
// its kind (an epoch and version, a connection, a sync id, a session id, a count), so that the engine ends in
// the same state in whatever order, and however often, they arrive.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "core/assignment.h"
#include "core/reason.h"
#include "core/recovery_decision.h"
#include "core/term_history.h"
#include "ringbolt/types.h"

namespace ringbolt::core {

enum class SessionKind : uint8_t { kKeepup = 1, kCatchup = 2, kRebuild = 3 };
enum class SessionPhase : uint8_t { kIdle, kAccepted, kRunning, kBaseComplete, kCompleted, kFailed };
enum class SyncAckKind : uint8_t { kQuorum = 1, kTimedOut = 2, kTransportLost = 3, kEpochMismatch = 4 };

const char* to_string(SessionKind kind);
const char* to_string(SessionPhase phase);
const char* to_string(SyncAckKind kind);

/// An assignment that was judged and taken, and is durable.
struct AssignmentDelivered {
  Assignment assignment;
};

/// Somebody else holds this epoch: no lower one, and not this one, can be held as primary here.
struct EpochObserved {
  Epoch epoch;
  std::string reason;  ///< who, for people
  bool operator==(const EpochObserved&) const = default;
};

/// The role is in effect; `count` orders them. For a primary: its term is durable.
struct RoleApplied {
  uint64_t count = 0;
  Epoch epoch;
  Role role = Role::kNone;
  // Of a primary:
  Incarnation incarnation;
  TermHistory history;
  bool base_seeded = false;
  std::vector<std::string> in_sync;  ///< the set as the opening found it
  bool operator==(const RoleApplied&) const = default;
};

/// A replica takes calls.
struct ReceiverReady {
  Epoch epoch;
};

/// Exactly the replicas of this assignment are shipped to, or tried.
struct ShipperConfigured {
  Epoch epoch;
  uint64_t version = 0;
  bool operator==(const ShipperConfigured&) const = default;
};

/// `connection` counts the attempts at this replica since the daemon's start.
struct ShipperConnected {
  std::string replica;
  uint64_t connection = 0;
  bool connected = false;  ///< false: over, or it never came to be
  std::string reason;      ///< why not
};

/// Diagnostic only: nothing follows from what was sent.
struct ShippedAdvanced {
  std::string replica;
  Lsn shipped;
};

struct CommittedAdvanced {
  Term term;           ///< of this opening: its term record is committed
  Lsn committed;
  Lsn durable;
  bool operator==(const CommittedAdvanced&) const = default;
};

struct CheckpointAdvanced {
  Lsn checkpoint;
};

struct ActiveSession {
  SessionId id;
  SessionKind kind = SessionKind::kKeepup;
  SessionPhase phase = SessionPhase::kIdle;
  bool operator==(const ActiveSession&) const = default;
};

/// What a replica answered to a sync, or that it did not. `sync` counts within a term.
struct SyncAckObserved {
  std::string replica;
  Term term;                ///< the primary's, when it asked
  uint64_t connection = 0;
  uint64_t sync = 0;
  SyncAckKind kind = SyncAckKind::kQuorum;
  Epoch epoch;              ///< the replica's current one
  // kQuorum and kTimedOut only:
  ReplicaFacts facts;
  std::optional<ActiveSession> active;
  Lsn wal_tail, wal_head;   ///< the primary's, at that moment
  bool operator==(const SyncAckObserved&) const = default;
};

/// `session` is the sync id on whose facts it was decided. Sessions of older terms are no more.
struct SessionStarted {
  std::string replica;
  Term term;
  SessionId session;
  SessionKind kind = SessionKind::kKeepup;
  Lsn base, target;
};

struct SessionProgress {
  std::string replica;
  Term term;
  SessionId session;
  SessionPhase phase = SessionPhase::kRunning;
  Lsn wal_applied;
};

/// The replica says that it is through; it counts only after the barrier.
struct SessionCompleted {
  std::string replica;
  Term term;
  SessionId session;
  Lsn achieved;
};

/// Also of a session that was commanded and never started.
struct SessionFailed {
  std::string replica;
  Term term;
  SessionId session;
  Reason reason = Reason::kNone;
  std::string text;
};

/// The replica has proven to hold everything up to `achieved`, flushed, and the in-sync set with it is
/// recorded. `decision` counts the set's changes within a term.
struct BarrierAccepted {
  std::string replica;
  Term term;
  uint64_t decision = 0;
  SessionId session;
  Lsn achieved;
};

/// It owes more than it may: the set without it is recorded.
struct BarrierRejected {
  std::string replica;
  Term term;
  uint64_t decision = 0;
  std::string reason;
};

/// The rebuild that was decided on these facts cannot begin now.
struct NeedsRebuildObserved {
  std::string replica;
  Term term;
  uint64_t sync = 0;
  std::string reason;
};

/// How this node's own copy is. `count` orders what is said.
struct CopyObserved {
  uint64_t count = 0;
  bool base_usable = true;
  std::string failure;  ///< empty: none
  std::string primary;  ///< replica: in session with this primary; empty: with none
  bool base_full = false;  ///< no space for the base image: once the WAL is full, too, writes fail
  std::string damage = {};  ///< what is wrong with it, where only a rebuild helps and it is not the rebuild mark
  bool operator==(const CopyObserved&) const = default;
};

/// An operator's word on rebuilding a replica; `count` orders them. It holds until the next one, or until the daemon
/// ends.
struct RebuildOrdered {
  std::string replica;
  Term term;                ///< the primary's, when it was given
  uint64_t count = 0;
  bool wanted = false;      ///< copy it anew whatever its facts say; false: end the one that goes on, and begin none
  uint64_t after_sync = 0;  ///< the newest sync of `term` then: what was begun or said before it does not fulfil it
  bool operator==(const RebuildOrdered&) const = default;
};

using Event = std::variant<AssignmentDelivered, EpochObserved, RoleApplied, ReceiverReady, ShipperConfigured, ShipperConnected,
                           ShippedAdvanced, CommittedAdvanced, CheckpointAdvanced, SyncAckObserved, SessionStarted, SessionProgress,
                           SessionCompleted, SessionFailed, BarrierAccepted, BarrierRejected, NeedsRebuildObserved, CopyObserved,
                           RebuildOrdered>;

/// The name in logs.
const char* name_of(const Event& event);

}  // namespace ringbolt::core
