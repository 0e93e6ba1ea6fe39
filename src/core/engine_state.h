// Everything the engine knows of one volume: facts, each the newest of its kind. Nothing in here is a
// decision: those are computed from it (plan.h), so they cannot contradict it or depend on the order of arrival.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/events.h"
#include "core/projection.h"

namespace ringbolt::core {

struct Connection {
  uint64_t number = 0;  ///< 0: never tried
  bool up = false;
  bool over = false;    ///< nothing of it can come any more
  std::string reason;
  bool operator==(const Connection&) const = default;
};

struct Session {
  Term term;
  SessionId id;
  SessionKind kind = SessionKind::kKeepup;
  SessionPhase phase = SessionPhase::kIdle;  ///< only advances; kFailed ends it
  bool started = false;
  bool proven = false;  ///< the primary has accepted its end by a barrier: it is keepup from there on
  Lsn base, target, applied;
  std::optional<Lsn> achieved;
  Reason reason = Reason::kNone;
  std::string text;
  bool operator==(const Session&) const = default;
};

struct Membership {
  Term term;
  uint64_t decision = 0;
  bool in = false;
  std::string reason;
  bool operator==(const Membership&) const = default;
};

struct RebuildObstacle {
  Term term;
  uint64_t sync = 0;
  std::string reason;
  bool operator==(const RebuildObstacle&) const = default;
};

/// A session, as they follow each other with one replica.
struct SessionKey {
  Term term;
  SessionId id;
  constexpr auto operator<=>(const SessionKey&) const = default;
};

/// Which assignment: they follow each other by it.
struct AssignmentNumber {
  Epoch epoch;
  uint64_t version = 0;
  constexpr auto operator<=>(const AssignmentNumber&) const = default;
};

struct ReplicaState {
  std::string id;
  std::optional<AssignmentNumber> named;  ///< the newest assignment whose replica it is
  Connection connection;
  std::optional<SyncAckObserved> facts;
  std::optional<Session> session;
  std::optional<Session> last_failure;
  std::optional<Membership> membership;
  std::optional<RebuildObstacle> obstacle;
  std::optional<RebuildOrdered> order;
  std::optional<SessionKey> rebuilt;  ///< the newest rebuild that has started
  Lsn shipped;
  bool operator==(const ReplicaState&) const = default;
};

/// The highest epoch that somebody else has spoken of.
struct Fence {
  Epoch epoch;
  bool held = false;   ///< another node is its primary; else it may be this one, that was told so since it asked
  std::string reason;  ///< who, for people
  bool operator==(const Fence&) const = default;
};

struct EngineState {
  std::string volume;
  std::optional<Assignment> assignment;
  std::optional<Fence> fence;
  std::optional<RoleApplied> role;
  Epoch receiver;
  std::optional<ShipperConfigured> shipper;
  std::optional<CommittedAdvanced> committed;
  Lsn checkpoint;
  CopyObserved copy;
  std::vector<ReplicaState> replicas;  ///< by id; those that are a replica no more, too
  bool operator==(const EngineState&) const = default;

  [[nodiscard]] const ReplicaState* find(const std::string& id) const;
  [[nodiscard]] Term term() const { return role && role->role == Role::kPrimary ? Term{role->epoch, role->incarnation} : Term{}; }
};

/// How far a replica's recovery is.
enum class RecoveryPhase : uint8_t { kIdle, kCatchingUp, kNeedsRebuild, kRebuilding };
const char* to_string(RecoveryPhase phase);

}  // namespace ringbolt::core
