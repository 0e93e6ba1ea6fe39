// What the engine wants done: nine commands, executed by adapters (repl::Volume). Each says the state
// that is wanted, so executing it again changes nothing; what it belongs to (epoch and version, or session)
// is part of it, so that a late one is recognized.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "core/assignment.h"
#include "core/events.h"
#include "core/projection.h"
#include "core/reason.h"
#include "ringbolt/types.h"

namespace ringbolt::core {

/// Be this. Answered by RoleApplied.
struct ApplyRole {
  std::string volume;
  Epoch epoch;
  Role role = Role::kNone;
  bool operator==(const ApplyRole&) const = default;
};

/// Take calls of primaries. Answered by ReceiverReady.
struct StartReceiver {
  std::string volume;
  Epoch epoch;
  bool operator==(const StartReceiver&) const = default;
};

/// Ship to exactly these, with this durability. Answered by ShipperConfigured.
struct ConfigureShipper {
  std::string volume;
  Epoch epoch;
  uint64_t version = 0;
  Durability durability = Durability::kSyncAll;
  std::vector<ReplicaAddress> replicas;
  bool operator==(const ConfigureShipper&) const = default;
};

/// What a recovery task without a target of its own does.
enum class TaskKind : uint8_t {
  kProbe,    ///< reach the replica and ask for facts newer than those of sync `session`, until it answers: SyncAckObserved
  kKeepup,   ///< it misses nothing: the stream goes on from `position`. SessionStarted
  kCutTail,  ///< it discards what is beyond `position` and reports again. SyncAckObserved
  kProbeLater,  ///< nothing is to be done on the facts of sync `session`: it is asked again after a while. SyncAckObserved
};
const char* to_string(TaskKind kind);

struct StartRecoveryTask {
  std::string volume, replica;
  Term term;  ///< the primary's; sessions and syncs are counted within it
  TaskKind kind = TaskKind::kProbe;
  SessionId session;  ///< of the facts it rests on; kProbe: that do not do, 0 if there are none
  Lsn position;
  bool operator==(const StartRecoveryTask&) const = default;
};

/// It is a replica no more: whatever is going on with it ends. Answered by ShipperConfigured.
struct DrainRecoveryTask {
  std::string volume, replica;
  Reason reason = Reason::kNone;
  bool operator==(const DrainRecoveryTask&) const = default;
};

/// Send it everything after `position`; at `target` it is where the log was when this was decided. SessionStarted.
struct StartCatchUp {
  std::string volume, replica;
  Term term;
  SessionId session;
  Lsn position, target;
  bool operator==(const StartCatchUp&) const = default;
};

/// Copy it anew. SessionStarted, or NeedsRebuildObserved if it cannot begin now.
struct StartRebuild {
  std::string volume, replica;
  Term term;
  SessionId session;
  Lsn target;
  std::string why;
  bool operator==(const StartRebuild&) const = default;
};

/// The session is over, whatever the replica thinks. Answered by SessionFailed.
struct InvalidateSession {
  std::string volume, replica;
  Term term;
  SessionId session;
  Reason reason = Reason::kNone;
  bool operator==(const InvalidateSession&) const = default;
};

/// Tell people and APIs. Emitted only when it changed.
struct PublishProjection {
  std::string volume;
  Projection projection;
  bool operator==(const PublishProjection&) const = default;
};

using Command = std::variant<ApplyRole, StartReceiver, ConfigureShipper, StartRecoveryTask, DrainRecoveryTask, StartCatchUp, StartRebuild,
                             InvalidateSession, PublishProjection>;

/// The name on the wire and in logs: `apply_role`, `start_receiver`, ...
const char* name_of(const Command& command);
/// One line for logs and tests: the name and the fields.
std::string describe(const Command& command);

}  // namespace ringbolt::core
