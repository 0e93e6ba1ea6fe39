// What the facts call for: the commands that are wanted and not yet answered, what a replica's recovery is
// called, the volume's mode, and the chain of facts behind it. Pure functions of EngineState.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/commands.h"
#include "core/engine_state.h"
#include "core/recovery_decision.h"

namespace ringbolt::core {

/// Every command whose answer is still due, in the order in which they are to be executed. An empty plan: the
/// facts call for nothing, until another one comes.
std::vector<Command> plan(const EngineState& state);

/// It is assigned primary, and somebody else's epoch stands against that.
bool is_fenced(const EngineState& state);
/// It is a replica now.
bool is_assigned(const EngineState& state, const std::string& id);
/// Exactly the replicas of the assignment are shipped to, or tried.
bool shipper_is_configured(const EngineState& state);
/// What its facts call for; empty if it has said nothing yet that a decision may rest on.
std::optional<RecoveryDecision> decision_of(const EngineState& state, const ReplicaState& replica);
RecoveryPhase recovery_phase(const EngineState& state, const ReplicaState& replica);
/// The replica counts for durability.
bool in_sync(const EngineState& state, const ReplicaState& replica);
/// Why it needs a rebuild, and why that has not begun; for people. Requires: recovery_phase() is kNeedsRebuild.
std::string rebuild_reason(const EngineState& state, const ReplicaState& replica);
/// An operator asked for a rebuild, and none has started since.
bool rebuild_is_ordered(const ReplicaState& replica);
/// An operator wants no rebuild of it to begin.
bool rebuild_is_cancelled(const ReplicaState& replica);
/// The session that is going on with it, of the present term; null if there is none.
const Session* live_session(const EngineState& state, const ReplicaState& replica);

Projection projection_of(const EngineState& state);
/// One fact a line, first cause first.
std::vector<std::string> explain(const EngineState& state);

}  // namespace ringbolt::core
