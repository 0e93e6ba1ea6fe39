#include "repl/volume.h"

#include <fmt/format.h>

#include "core/projection.h"
#include "log/log.h"
#include "ringbolt/assert.h"

namespace ringbolt::repl {

Volume::Volume(io::Io& io, io::BufferPool& pool, CheckpointMemory& memory, const VolumeOptions& options)
    : io_(io), pool_(pool), options_(options), store_(io, pool, memory, options.store, *this), refusals_(io, pool) {}

Volume::~Volume() {
  io_.undefer(demote_);
  io_.undefer(demoted_);
  io_.undefer(close_store_);
}

// --- opening, and the role ------------------------------------------------------------------------------

void Volume::open(std::function<void(Status)> done) {
  done_ = std::move(done);
  store_.open([this](const Status& status) {
    const auto done_now = std::move(done_);
    if (!status.has_value()) {
      const Errc code = status.error().code;
      if (code != Errc::kCorrupt && code != Errc::kIo) return done_now(status);
      // Damage of one volume must not keep the others from being served.
      open_failure_ = status.error().message;
      role_ = options_.role;
      log::error("{}; the volume is not served", open_failure_);
    } else {
      opened_ = true;
      take_role();
    }
    publish_refusal();
    done_now(boost::outcome_v2::success());
  });
}

std::string Volume::damage() const {
  if (!open_failure_.empty()) return open_failure_;
  return store_.failure();
}

/// The configured epoch is another node's: this one has promised to it, or holds records of it that it
/// did not write as primary. Their terms are taken.
bool Volume::epoch_held_by_another() const {
  const Superblock& facts = store_.facts();
  if (facts.epoch == options_.epoch && facts.incarnation == Incarnation{} && facts.epoch != Epoch{}) return true;
  const auto last = facts.history.last();
  if (!last || last->term.epoch != options_.epoch) return false;
  return facts.epoch != options_.epoch || facts.incarnation < last->term.incarnation;
}

void Volume::publish_refusal() {
  if (options_.on_refusal) options_.on_refusal(refusal());
}

void Volume::take_role() {
  const Epoch known = store_.facts().epoch;
  role_ = options_.role;
  if (role_ == Role::kPrimary && known > options_.epoch) {
    role_reason_ = fmt::format("epoch {} of the configuration is over: this node has promised to epoch {}", options_.epoch.value(),
                               known.value());
  } else if (role_ == Role::kPrimary && epoch_held_by_another()) {
    role_reason_ = fmt::format("another node was primary of epoch {}; the assignment needs a higher one", options_.epoch.value());
  } else if (role_ == Role::kPrimary && !store_.base_usable()) {
    role_reason_ = "its base image is marked unusable: it cannot be primary before it has been rebuilt";
  }
  if (!role_reason_.empty()) {
    log::error("volume {}: not primary: {}", name(), role_reason_);
    role_ = Role::kReplica;
  }
  if (role_ == Role::kReplica) return become_replica();
  if (role_ != Role::kPrimary) return;
  if (store_.facts().volume.is_nil()) store_.adopt_volume(options_.new_volume.is_nil() ? Uuid::random() : options_.new_volume);
  const PrimaryConfig config{options_.durability, options_.epoch, options_.replicas, options_.replica_timeout};
  PrimaryListener& listener = *this;
  primary_ = std::make_unique<Primary>(io_, pool_, store_, config, listener);
  primary_->start();
}

void Volume::become_replica() {
  role_ = Role::kReplica;
  replica_ = std::make_unique<Replica>(io_, pool_, store_, options_.replica_timeout);
  route_call();
}

// --- giving way to a higher epoch -------------------------------------------------------------------------

void Volume::on_primary_fenced(Epoch epoch, const std::string& by) {
  if (epoch > store_.facts().epoch) return fence(epoch, by);
  if (primary_ != nullptr && !demoting_) {
    stop_serving(fmt::format("replica {} knows another primary of epoch {}, or a later opening; the assignment needs a higher epoch", by,
                             epoch.value()));
  }
}

/// Stops serving at once; the promise to the higher epoch is recorded before anything is done for it.
void Volume::fence(Epoch epoch, const std::string& by) {
  if (epoch <= store_.facts().epoch) return;
  Superblock& superblock = store_.superblock().change();
  superblock.epoch = epoch;
  superblock.incarnation = Incarnation{};
  called_ = Incarnation{};
  record_promise();
  if (primary_ != nullptr && !demoting_) stop_serving(fmt::format("fenced by epoch {} ({})", epoch.value(), by));
}

void Volume::stop_serving(const std::string& why) {
  primary_->fence();
  role_reason_ = why;
  log::warn("volume {}: {}", name(), role_reason_);
  send_clients_away("the volume is no longer primary here: " + role_reason_);
  demoting_ = true;
  publish_refusal();
  io_.defer(demote_);  // the caller may be deep inside the primary
}

/// The highest incarnation of the promised epoch that is known here. Durable from the first session on:
/// the history carries it.
Incarnation Volume::known_incarnation() const {
  const Superblock& facts = store_.facts();
  const auto last = facts.history.last();
  const Incarnation written = last && last->term.epoch == facts.epoch ? last->term.incarnation : Incarnation{};
  return std::max(written, called_);
}

/// Calls on_epoch_recorded() when everything promised by now is durable.
void Volume::record_promise() {
  // A wait under way covers only what was promised before it began.
  promise_again_ = epoch_recorded_.waiting();
  if (!promise_again_) store_.superblock().wait(epoch_recorded_);
}

void Volume::demote() {
  if (stopping_ || primary_ == nullptr) return;
  primary_->stop(false, [this] { io_.defer(demoted_); });
}

void Volume::demoted() {
  primary_.reset();
  demoting_ = false;
  if (stopping_) return close_store();
  store_.superblock().change().in_sync.clear();
  become_replica();
}

void Volume::on_epoch_recorded() {
  if (promise_again_) return record_promise();
  if (stopping_) return close_if_quiet();
  route_call();
}

// --- calls of primaries -----------------------------------------------------------------------------------

void Volume::take_call(const PeerCall& call) {
  bool identified = false;  // as one of this volume's, meant for this node
  const auto refuse = [&](Reason reason, const std::string& text) {
    RINGBOLT_LOG_LIMITED(kInfo, "volume {}: call from {} refused: {}", name(), call.hello.node_id, text);
    refusals_.refuse(call, reason, identified ? store_.facts().volume : Uuid{}, identified ? store_.facts().epoch : Epoch{}, text);
  };
  if (!opened_ || stopping_ || store_.failed()) {
    return refuse(Reason::kNotReady, damage().empty() ? "the volume is not open here" : damage());
  }
  const Superblock& facts = store_.facts();
  if (call.hello.replica_id != facts.node_id) {
    return refuse(Reason::kWrongVolume, fmt::format("this node is {}, not {}", facts.node_id, call.hello.replica_id));
  }
  if (call.hello.volume_bytes != facts.volume_bytes) {
    return refuse(Reason::kWrongVolume, fmt::format("the copy here has {} bytes, the volume {}", facts.volume_bytes, call.hello.volume_bytes));
  }
  const bool blank = facts.volume.is_nil() && store_.wal().head() == Lsn{};
  if (call.header.volume.is_nil() || (call.header.volume != facts.volume && !blank)) {
    return refuse(Reason::kWrongVolume, fmt::format("the copy here belongs to volume {}", facts.volume.to_string()));
  }
  identified = true;
  if (role_ == Role::kNone) return refuse(Reason::kNotReady, "the volume has no role here");
  if (call.header.epoch < facts.epoch) {
    return refuse(Reason::kEpochMismatch, fmt::format("epoch {} is over, the current one is {}", call.header.epoch.value(), facts.epoch.value()));
  }
  if (call.header.epoch == facts.epoch && facts.incarnation != Incarnation{}) {
    // Also when it is not any more: two nodes may have written other records under the same term, and
    // their histories would not tell.
    return refuse(Reason::kEpochMismatch, fmt::format("this node was primary of epoch {} itself", facts.epoch.value()));
  }
  if (call.header.epoch == facts.epoch && !epoch_holder_.empty() && epoch_holder_ != call.hello.node_id) {
    return refuse(Reason::kEpochMismatch, fmt::format("{} is primary of epoch {} already", epoch_holder_, facts.epoch.value()));
  }
  if (call.header.epoch == facts.epoch && call.hello.incarnation < known_incarnation()) {
    // A copy of the primary's data directory that runs beside it, or one restored from a backup.
    return refuse(Reason::kEpochMismatch, fmt::format("incarnation {} of epoch {} is over, {} is known", call.hello.incarnation.value(),
                                                      facts.epoch.value(), known_incarnation().value()));
  }
  if (waiting_call_) io_.close_socket(waiting_call_->socket);
  waiting_call_ = call;
  epoch_holder_ = call.hello.node_id;
  fence(call.header.epoch, call.hello.node_id);
  called_ = call.hello.incarnation;
  if (blank && facts.volume.is_nil()) {
    store_.adopt_volume(call.header.volume);
    record_promise();
  }
  route_call();
}

/// Hands the waiting call to the replica role, once that exists and what the call rests on is durable.
void Volume::route_call() {
  if (!waiting_call_ || replica_ == nullptr || epoch_recorded_.waiting() || stopping_ || store_.failed()) return;
  const PeerCall call = *waiting_call_;
  waiting_call_.reset();
  replica_->take_call(call);
}

// --- the store's events -------------------------------------------------------------------------------------

void Volume::on_store_sealed() {
  if (primary_ != nullptr) primary_->on_sealed();
}

void Volume::on_store_written() {
  if (primary_ != nullptr) primary_->on_positions();
  if (replica_ != nullptr) replica_->on_positions();
}

void Volume::on_store_durable() { on_store_written(); }

void Volume::on_store_space() {
  if (primary_ != nullptr) primary_->on_space();
  if (replica_ != nullptr) replica_->on_space();
}

void Volume::on_store_failed(const std::string&) {
  if (primary_ != nullptr) primary_->on_failed();
  if (replica_ != nullptr) replica_->on_failed();
  publish_refusal();
}

// --- clients ------------------------------------------------------------------------------------------------

std::string Volume::refusal() const {
  if (!damage().empty()) return fmt::format("volume {} has failed here: {}", name(), damage());
  if (!opened_ || stopping_) return fmt::format("volume {} is not open", name());
  if (primary_ != nullptr && !demoting_) return {};
  if (!role_reason_.empty()) return fmt::format("volume {} is not served here: {}", name(), role_reason_);
  return fmt::format("volume {} is a {} here; connect to its primary", name(), role_ == Role::kReplica ? "replica" : "volume without role");
}

void Volume::attach(ClientObserver& client) {
  client.previous_observer = nullptr;
  client.next_observer = first_client_;
  if (first_client_ != nullptr) first_client_->previous_observer = &client;
  first_client_ = &client;
  ++clients_;
}

void Volume::detach(ClientObserver& client) {
  (client.previous_observer != nullptr ? client.previous_observer->next_observer : first_client_) = client.next_observer;
  if (client.next_observer != nullptr) client.next_observer->previous_observer = client.previous_observer;
  client.next_observer = client.previous_observer = nullptr;
  --clients_;
}

void Volume::send_clients_away(const std::string& reason) {
  for (ClientObserver* client = first_client_; client != nullptr;) {
    ClientObserver* const next = client->next_observer;
    client->on_volume_gone(reason);
    client = next;
  }
}

void Volume::submit(Request& request) {
  if (primary_ == nullptr || demoting_) {
    request.done(request, RequestError::kShutdown);
    return;
  }
  primary_->submit(request);
}

// --- stopping -----------------------------------------------------------------------------------------------

void Volume::stop(std::function<void(Status)> done) {
  RINGBOLT_ASSERT(!stopping_);
  done_ = std::move(done);
  stopping_ = true;
  publish_refusal();
  if (waiting_call_) {
    io_.close_socket(waiting_call_->socket);
    waiting_call_.reset();
  }
  refusals_.stop([this] {
    refusals_gone_ = true;
    close_if_quiet();
  });
  if (demoting_ && !demote_.queued()) return;  // demoted() goes on
  io_.undefer(demote_);
  const auto stopped = [this] { io_.defer(close_store_); };
  if (primary_ != nullptr) return primary_->stop(true, stopped);
  if (replica_ != nullptr) return replica_->stop(true, stopped);
  io_.defer(close_store_);
}

void Volume::close_store() {
  primary_.reset();
  replica_.reset();
  role_left_ = true;
  close_if_quiet();
}

void Volume::close_if_quiet() {
  if (!role_left_ || !refusals_gone_ || epoch_recorded_.waiting() || !done_) return;
  const auto done = std::move(done_);
  done_ = nullptr;
  if (!opened_) return done(boost::outcome_v2::success());
  store_.close(done);
}

// --- status -------------------------------------------------------------------------------------------------

VolumeStatus Volume::status() const {
  VolumeStatus s;
  s.name = name();
  s.size = size_bytes();
  s.role = to_string(role_);
  s.durability = to_string(options_.durability);
  s.clients = clients_;
  s.assigned = role_ != Role::kNone;
  std::vector<core::ReplicaView> views;
  if (opened_) {
    const Superblock& facts = store_.facts();
    const Wal& wal = store_.wal();
    s.uuid = facts.volume.to_string();
    s.epoch = facts.epoch.value();
    s.wal_tail = wal.tail().value();
    s.wal_head = wal.head().value();
    s.written_lsn = wal.written().value();
    s.durable_lsn = wal.durable().value();
    s.checkpoint_lsn = store_.checkpoint().value();
    s.wal_used_bytes = wal.used_blocks() * kBlockBytes;
  }
  s.wal_capacity_bytes = options_.store.wal_bytes;
  if (primary_ != nullptr) fill_primary(s);
  if (replica_ != nullptr) {
    s.role_applied = s.receiver_ready = true;
    if (const auto committed = replica_->committed()) s.committed_lsn = committed->value();
  }
  for (const ReplicaStatus& r : s.replicas) {
    core::ReplicaView view{r.id, r.connected, r.session.has_value() && r.session->phase == "running", r.in_sync, false, ""};
    if (r.session) view.reason = r.session->reason;
    view.needs_rebuild = r.session && r.session->kind == "rebuild";
    views.push_back(view);
  }
  core::VolumeView view;
  view.role = role_;
  view.failed = !damage().empty();
  view.failure = damage();
  view.base_usable = !opened_ || store_.base_usable();
  view.serving = primary_ != nullptr && primary_->serving();
  view.has_session = replica_ != nullptr && replica_->in_session();
  view.replicas = views;
  const core::Projection projection = core::project(view);
  s.mode = projection.mode;
  s.reason = projection.reason;
  s.healthy = projection.healthy;
  if (!role_reason_.empty()) s.reason = s.reason.empty() ? role_reason_ : s.reason + "; " + role_reason_;
  return s;
}

void Volume::fill_primary(VolumeStatus& s) const {
  s.role_applied = primary_->serving();
  s.shipper_configured = !primary_->shippers().empty() || options_.replicas.empty();
  s.shipper_connected = s.shipper_configured;
  if (primary_->serving()) s.committed_lsn = primary_->committed().value();
  for (const auto& shipper : primary_->shippers()) {
    ReplicaStatus r;
    r.id = shipper->peer().id;
    r.address = shipper->peer().address;
    r.connected = shipper->connected();
    r.in_sync = primary_->in_sync(r.id);
    s.shipper_connected = s.shipper_connected && r.connected;
    SessionStatus session;
    if (shipper->shipping()) {
      session.id = shipper->session().value();
      session.kind = shipper->reached_head() ? "keepup" : "catchup";
      session.phase = "running";
      session.base_lsn = shipper->session_base().value();
      r.written_lsn = shipper->acked_written().value();
      r.durable_lsn = shipper->acked_durable().value();
      r.lag_bytes = store_.wal().bytes_after(shipper->acked_written());
      r.session = session;
    } else if (shipper->rebuild_needed()) {
      session.kind = "rebuild";
      session.phase = "idle";
      session.reason = shipper->reason();
      r.session = session;
    } else if (!shipper->reason().empty()) {
      session.kind = "keepup";
      session.phase = "failed";
      session.reason = shipper->reason();
      r.session = session;
    }
    s.replicas.push_back(std::move(r));
  }
}

}  // namespace ringbolt::repl
