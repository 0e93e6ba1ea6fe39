#include "repl/volume.h"

#include <fmt/format.h>

#include "log/log.h"
#include "ringbolt/assert.h"

namespace ringbolt::repl {

namespace {

/// A damaged log is no reason not to open: a replica is rebuilt, a primary says what is wrong (take_first_assignment()).
StoreConfig rebuildable(StoreConfig config) {
  config.rebuildable = true;
  return config;
}

}  // namespace

Volume::Volume(io::Io& io, io::BufferPool& pool, CheckpointMemory& memory, const VolumeOptions& options)
    : io_(io), pool_(pool), options_(options), store_(io, pool, memory, rebuildable(options.store), *this), refusals_(io, pool),
      engine_(options.store.name) {}

Volume::~Volume() {
  io_.undefer(engine_turn_);
  io_.undefer(role_left_);
  io_.undefer(change_role_soon_);
  io_.undefer(close_store_);
  io_.disarm(tick_);
  io_.disarm(rebuild_places_);
}

// --- opening ----------------------------------------------------------------------------------------------

void Volume::open(std::function<void(Status)> done) {
  done_ = std::move(done);
  store_.open([this](const Status& status) {
    const auto done_now = std::move(done_);
    done_ = nullptr;
    if (!status.has_value()) {
      const Errc code = status.error().code;
      if (code != Errc::kCorrupt && code != Errc::kIo && !options_.keep_failed) return done_now(status);
      // Damage of one volume must not keep the others from being served.
      open_failure_ = status.error().message;
      role_ = options_.role;
      log::error({.volume = name()}, "{}; the volume is not served", open_failure_);
    } else {
      opened_ = true;
      take_first_assignment();
    }
    observe_copy();
    publish_refusal();
    done_now(boost::outcome_v2::success());
  });
}

std::string Volume::damage() const {
  if (!open_failure_.empty()) return open_failure_;
  // Nobody else need have what a primary's log has: a person must look at it before anything takes its place.
  if (opened_ && role_ == Role::kPrimary && !store_.damage().empty()) return fmt::format("volume {}: {}", name(), store_.damage());
  return store_.failure();
}

std::string Volume::use() const {
  if (!opened_) return fmt::format("it is not open, so nobody can say what its role was: {}", open_failure_.empty() ? "it is being stopped" : open_failure_);
  if (clients_ > 0) return fmt::format("it has {} clients", clients_);
  if (assigned_ || !orders_.empty() || leaving_role_ || taking_ || awaited_) return "an assignment is being carried out";
  const Role role = role_ == Role::kNone && wanted_ ? wanted_->role : role_;
  if (role != Role::kNone) return fmt::format("it has the role {}; assign it the role none first", to_string(role));
  return {};
}

void Volume::publish_refusal() {
  if (options_.on_refusal) options_.on_refusal(refusal());
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
  if (store_.base_full() != base_full_told_) {
    base_full_told_ = store_.base_full();
    observe_copy();
  }
  if (primary_ != nullptr) primary_->on_space();
  if (replica_ != nullptr) replica_->on_space();
}

void Volume::on_store_failed(const std::string&) {
  if (primary_ != nullptr) primary_->on_failed();
  if (replica_ != nullptr) replica_->on_failed();
  // An order to be primary no more is carried out all the same.
  if (!may_take(ordered_role_)) finish_assignment(make_error(Errc::kIo, damage()));
  observe_copy();
  publish_refusal();
  if (stopping_ && role_gone_) io_.defer(close_store_);  // what was to be recorded first may never be
}

// --- clients ------------------------------------------------------------------------------------------------

std::string Volume::refusal() const {
  if (!damage().empty()) return fmt::format("volume {} has failed here: {}", name(), damage());
  if (!opened_ || stopping_) return fmt::format("volume {} is not open", name());
  if (primary_ != nullptr && !serving_stopped_) return {};
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
  if (primary_ == nullptr || serving_stopped_) {
    request.submitted_at = io_.now();
    meter_.answered(request, RequestError::kShutdown, request.submitted_at);
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
  io_.undefer(engine_turn_);
  io_.disarm(tick_);
  io_.disarm(rebuild_places_);
  events_.clear();
  finish_assignment(make_error(Errc::kBusy, "the volume is being stopped"));
  answer_rebuild_orders(make_error(Errc::kBusy, "the volume is being stopped"));
  finish_resize(make_error(Errc::kBusy, "the volume is being stopped"));
  if (leaving_role_) return;  // role_left() goes on
  const auto stopped = [this] { io_.defer(close_store_); };
  if (primary_ != nullptr) return primary_->stop(Farewell::kDrained, stopped);
  if (replica_ != nullptr) return replica_->stop(true, stopped);
  io_.defer(close_store_);
}

void Volume::close_store() {
  primary_.reset();
  replica_.reset();
  role_gone_ = true;
  close_if_quiet();
}

void Volume::close_if_quiet() {
  if (!role_gone_ || !refusals_gone_ || promise_recorded_.waiting() || assignment_recorded_.waiting() || !done_) return;
  const auto done = std::move(done_);
  done_ = nullptr;
  if (!opened_) return done(boost::outcome_v2::success());
  store_.close(done);
}

}  // namespace ringbolt::repl
