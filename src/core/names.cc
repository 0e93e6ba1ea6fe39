// Names of events, commands and states, as they stand in logs and on the API.
#include "core/commands.h"
#include "core/events.h"

namespace ringbolt::core {

const char* to_string(SessionKind kind) {
  switch (kind) {
    case SessionKind::kKeepup: return "keepup";
    case SessionKind::kCatchup: return "catchup";
    case SessionKind::kRebuild: return "rebuild";
  }
  return "unknown";
}

const char* to_string(SessionPhase phase) {
  switch (phase) {
    case SessionPhase::kIdle: return "idle";
    case SessionPhase::kAccepted: return "accepted";
    case SessionPhase::kRunning: return "running";
    case SessionPhase::kBaseComplete: return "base_complete";
    case SessionPhase::kCompleted: return "completed";
    case SessionPhase::kFailed: return "failed";
  }
  return "unknown";
}

const char* to_string(SyncAckKind kind) {
  switch (kind) {
    case SyncAckKind::kQuorum: return "quorum";
    case SyncAckKind::kTimedOut: return "timed_out";
    case SyncAckKind::kTransportLost: return "transport_lost";
    case SyncAckKind::kEpochMismatch: return "epoch_mismatch";
  }
  return "unknown";
}

const char* to_string(TaskKind kind) {
  switch (kind) {
    case TaskKind::kProbe: return "probe";
    case TaskKind::kKeepup: return "keepup";
    case TaskKind::kCutTail: return "cut_tail";
    case TaskKind::kProbeLater: return "probe_later";
  }
  return "unknown";
}

const char* name_of(const Event& event) {
  static constexpr const char* kNames[] = {
      "assignment_delivered", "epoch_observed",     "role_applied",   "receiver_ready",     "shipper_configured", "shipper_connected",
      "shipped_advanced",     "committed_advanced", "checkpoint_advanced", "sync_ack_observed", "session_started",  "session_progress",
      "session_completed",    "session_failed",     "barrier_accepted", "barrier_rejected",  "needs_rebuild_observed", "copy_observed",
      "rebuild_ordered"};
  static_assert(std::size(kNames) == std::variant_size_v<Event>);
  return kNames[event.index()];
}

const char* name_of(const Command& command) {
  static constexpr const char* kNames[] = {"apply_role",    "start_receiver", "configure_shipper",  "start_recovery_task", "drain_recovery_task",
                                           "start_catchup", "start_rebuild",  "invalidate_session", "publish_projection"};
  static_assert(std::size(kNames) == std::variant_size_v<Command>);
  return kNames[command.index()];
}

namespace {

template <class P>
std::string digits(P position) {
  return std::to_string(position.value());
}

std::string term(Term t) { return digits(t.epoch) + "." + digits(t.incarnation); }

std::string fields(const ApplyRole& c) { return "epoch=" + digits(c.epoch) + " role=" + to_string(c.role); }
std::string fields(const StartReceiver& c) { return "epoch=" + digits(c.epoch); }
std::string fields(const ConfigureShipper& c) {
  std::string text = "epoch=" + digits(c.epoch) + " version=" + std::to_string(c.version) + " durability=" + to_string(c.durability) + " replicas=";
  for (const ReplicaAddress& replica : c.replicas) {
    if (&replica != &c.replicas.front()) text += ",";
    text += replica.id + "@" + replica.address;
  }
  return text;
}
std::string fields(const StartRecoveryTask& c) {
  return "replica=" + c.replica + " kind=" + to_string(c.kind) + " term=" + term(c.term) + " session=" + digits(c.session) + " position=" + digits(c.position);
}
std::string fields(const DrainRecoveryTask& c) { return "replica=" + c.replica + " reason=" + to_string(c.reason); }
std::string fields(const StartCatchUp& c) {
  return "replica=" + c.replica + " term=" + term(c.term) + " session=" + digits(c.session) + " position=" + digits(c.position) + " target=" + digits(c.target);
}
std::string fields(const StartRebuild& c) {
  return "replica=" + c.replica + " term=" + term(c.term) + " session=" + digits(c.session) + " target=" + digits(c.target) + " why=\"" + c.why + "\"";
}
std::string fields(const InvalidateSession& c) {
  return "replica=" + c.replica + " term=" + term(c.term) + " session=" + digits(c.session) + " reason=" + to_string(c.reason);
}
std::string fields(const PublishProjection& c) { return "mode=" + c.projection.mode + " reason=\"" + c.projection.reason + "\""; }

}  // namespace

std::string describe(const Command& command) {
  std::string text = name_of(command);
  const auto add = [&text](const auto* c) {
    if (c != nullptr) text += " volume=" + c->volume + " " + fields(*c);
  };
  add(std::get_if<ApplyRole>(&command));
  add(std::get_if<StartReceiver>(&command));
  add(std::get_if<ConfigureShipper>(&command));
  add(std::get_if<StartRecoveryTask>(&command));
  add(std::get_if<DrainRecoveryTask>(&command));
  add(std::get_if<StartCatchUp>(&command));
  add(std::get_if<StartRebuild>(&command));
  add(std::get_if<InvalidateSession>(&command));
  add(std::get_if<PublishProjection>(&command));
  return text;
}

}  // namespace ringbolt::core
