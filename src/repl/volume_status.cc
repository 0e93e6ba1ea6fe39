#include <fmt/format.h>

#include <optional>

#include "core/plan.h"
#include "repl/volume.h"

namespace ringbolt::repl {

VolumeStatus Volume::status() const {
  VolumeStatus s;
  s.name = name();
  s.size = size_bytes();
  s.role = to_string(role_);
  s.durability = to_string(options_.durability);
  s.clients = clients_;
  s.reads = meter_.reads();
  s.writes = meter_.writes();
  if (opened_) {
    const Superblock& copy = store_.facts();
    const Wal& wal = store_.wal();
    s.uuid = copy.volume.to_string();
    s.epoch = copy.epoch.value();
    s.wal_tail = wal.tail().value();
    s.wal_head = wal.head().value();
    s.written_lsn = wal.written().value();
    s.durable_lsn = wal.durable().value();
    s.checkpoint_lsn = store_.checkpoint().value();
    s.wal_used_bytes = wal.used_blocks() * kBlockBytes;
    s.wal_position_bytes = wal.append_position() * kBlockBytes;
  }
  s.wal_capacity_bytes = options_.store.wal_bytes;
  const core::EngineState& facts = engine_.state();
  s.assigned = facts.assignment.has_value();
  s.role_applied = (primary_ != nullptr && primary_->serving()) || (role_ != Role::kPrimary && facts.role && facts.role->role == role_);
  s.receiver_ready = replica_ != nullptr && receiving_;
  if (facts.assignment && facts.assignment->role == Role::kPrimary) s.durability = to_string(facts.assignment->durability);
  if (primary_ != nullptr) fill_primary(s);
  if (replica_ != nullptr) {
    if (const auto committed = replica_->committed()) s.committed_lsn = committed->value();
  }
  fill_verifications(s);
  s.mode = engine_.projection().mode;
  s.reason = engine_.projection().reason;
  s.healthy = engine_.projection().healthy;
  s.why = core::explain(facts);
  if (const auto unproven = primary_ != nullptr ? primary_->unproven() : std::nullopt) {
    s.why.push_back(fmt::format("what was acknowledged before, up to Lsn {}, is not as safe yet as {} of these copies says: until then the order for it is unfinished",
                                unproven->value(), s.durability));
  }
  return s;
}

namespace {

/// The session as the engine sees it; the newest one that ended if none is going on.
std::optional<SessionStatus> session_status(const core::EngineState& state, const core::ReplicaState& replica) {
  const core::RecoveryPhase recovery = core::recovery_phase(state, replica);
  SessionStatus s;
  if (const core::Session* session = core::live_session(state, replica)) {
    s.id = session->id.value();
    s.kind = to_string(session->proven ? core::SessionKind::kKeepup : session->kind);
    s.phase = session->proven ? "running" : to_string(session->phase);
    if (session->started) {
      s.base_lsn = session->base.value();
      s.target_lsn = session->target.value();
    }
    if (session->achieved) s.achieved_lsn = session->achieved->value();
    return s;
  }
  if (recovery == core::RecoveryPhase::kNeedsRebuild) {
    s.kind = "rebuild";
    s.phase = "idle";
    s.reason = core::rebuild_reason(state, replica);
    return s;
  }
  const auto& failed = replica.last_failure;
  if (failed && failed->term == state.term()) {
    s.id = failed->id.value();
    const auto& known = replica.session;
    const bool is_known = known && known->started && known->term == failed->term && known->id == failed->id;
    s.kind = to_string(is_known && !known->proven ? known->kind : core::SessionKind::kKeepup);
    s.phase = "failed";
    s.reason = failed->text.empty() ? to_string(failed->reason) : failed->text;
    // What keeps it from coming back is newer than why it went.
    if (replica.connection.over && !replica.connection.reason.empty()) s.reason = replica.connection.reason;
    return s;
  }
  if (!replica.connection.over || replica.connection.reason.empty()) return std::nullopt;
  s.kind = "keepup";
  s.phase = "failed";
  s.reason = replica.connection.reason;
  return s;
}

}  // namespace

void Volume::fill_primary(VolumeStatus& s) const {
  const core::EngineState& state = engine_.state();
  s.shipper_configured = state.shipper && state.assignment && state.shipper->version == state.assignment->version &&
                         state.shipper->epoch == state.assignment->epoch;
  s.shipper_connected = s.shipper_configured;
  if (primary_->serving()) s.committed_lsn = primary_->committed().value();
  primary_->client_load().latency.each([&s](io::Nanos upper, uint32_t count) { s.latency.push_back({static_cast<uint64_t>(upper), count}); });
  for (size_t i = 0; i < primary_->members().size(); ++i) {
    const Shipper& shipper = primary_->members().shipper(i);
    ReplicaStatus r;
    r.id = shipper.peer().id;
    r.address = shipper.peer().address;
    r.connected = shipper.connected();
    r.in_sync = primary_->members().contains(r.id);
    s.shipper_connected = s.shipper_connected && r.connected;
    if (shipper.shipping()) {
      r.written_lsn = shipper.log_written().value();
      r.durable_lsn = shipper.log_durable().value();
      r.lag_bytes = store_.wal().bytes_after(shipper.log_written());
    }
    if (const core::ReplicaState* replica = state.find(r.id)) {
      r.session = session_status(state, *replica);
      if (r.session && shipper.rebuilding()) {
        const Shipper::BaseProgress& base = shipper.base_progress();
        r.session->base_bytes_total = size_bytes();
        r.session->base_bytes_done = base.blocks_done * kBlockBytes;
        r.session->base_bytes_skipped = base.blocks_skipped * kBlockBytes;
        r.session->base_bytes_per_second = base.meter.rate();
        r.session->seconds_left = base.meter.seconds_for(size_bytes() - r.session->base_bytes_done - r.session->base_bytes_skipped);
        r.session->losing_ground = base.meter.losing_ground();
      }
      if (core::rebuild_is_ordered(*replica)) r.rebuild_order = RebuildOrderStatus::kOrdered;
      if (core::rebuild_is_cancelled(*replica)) r.rebuild_order = RebuildOrderStatus::kCancelled;
      if (rebuilds_waiting_.contains(r.id)) {
        r.rebuild_order = RebuildOrderStatus::kOrdered;
        if (r.session) r.session->reason = "a rebuild is ordered, and waits: " + rebuild_waits_for();
      }
      // The volume's are those of the recovery that has furthest to go.
      if (r.session && r.session->target_lsn && (!s.target_lsn || *r.session->target_lsn > *s.target_lsn)) {
        s.target_lsn = r.session->target_lsn;
        s.achieved_lsn = r.session->achieved_lsn;
      }
    }
    s.replicas.push_back(std::move(r));
  }
}

}  // namespace ringbolt::repl
