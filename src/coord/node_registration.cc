#include "coord/node_registration.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "log/log.h"

namespace ringbolt::coord {

std::string cluster_prefix(const std::string& cluster) { return "/ringbolt/" + cluster + "/"; }
std::string nodes_prefix(const std::string& cluster) { return cluster_prefix(cluster) + "nodes/"; }

const char* to_string(NodeRegistration::State state) {
  switch (state) {
    case NodeRegistration::State::kUnregistered: return "unregistered";
    case NodeRegistration::State::kRegistered: return "registered";
    case NodeRegistration::State::kRefused: return "refused";
  }
  return "unknown";
}

NodeRegistration::NodeRegistration(Store& store, const std::string& cluster, NodeRecord record, Span lease, Clock clock, std::function<void()> woken)
    : store_(store), key_(nodes_prefix(cluster) + record.id), nothing_key_(cluster_prefix(cluster) + "nothing"), record_(std::move(record)),
      clock_(std::move(clock)), woken_(std::move(woken)), lease_(lease) {}

void NodeRegistration::turn() {
  look_at_time();
  if (leaving_) return;
  const auto request = lease_.next(clock_());
  if (!request) return;
  switch (*request) {
    case LeaseKeeper::Request::kGrant: return grant();
    case LeaseKeeper::Request::kRenew: return renew();
    case LeaseKeeper::Request::kProve: return prove();
  }
}

Instant NodeRegistration::wake() const {
  if (leaving_) return Instant::max();
  return was_sure_ ? std::min(lease_.wake(), lease_.valid_until()) : lease_.wake();
}

void NodeRegistration::change(const NodeRecord& record) {
  record_ = record;
}

void NodeRegistration::leave(std::function<void()> done) {
  leaving_ = true;
  if (lease_.id() == 0) return done();
  store_.revoke(lease_.id(), [done = std::move(done)](const Reply<Stamp>& reply) {
    // Gone already is just as well.
    const bool alive = reply.has_error() && reply.error().trouble != Trouble::kNotFound;
    if (alive) log::warn("coordinator: the lease could not be given back and ends by itself: {}", reply.error().message);
    done();
  });
}

// An answer can come when this object is gone (the store lives longer), hence weak pointers, and one to what was asked before it
// left says nothing any more.

void NodeRegistration::grant() {
  store_.grant(lease_.time() / std::chrono::seconds(1), [weak = weak_from_this()](const Reply<Lease>& reply) {
    const auto self = weak.lock();
    if (!self || self->leaving_) return;
    if (reply.has_error()) return self->on_failure(reply.error());
    self->lease_.on_granted(reply.value());
    self->turn();
  });
}

void NodeRegistration::renew() {
  store_.renew(lease_.id(), [weak = weak_from_this()](const Reply<Lease>& reply) {
    const auto self = weak.lock();
    if (!self || self->leaving_) return;
    if (reply.has_error()) return self->on_failure(reply.error());
    if (reply.value().seconds == 0) return self->on_lost("the lease has ended");
    self->lease_.on_renewed(reply.value().stamp);
    self->turn();
  });
}

/// Puts the record if that is to be done, else finds it. Either way a majority commits it, as it could change something; what it
/// removes then is not there, so it makes no revision.
Transaction NodeRegistration::proof() const {
  Transaction transaction;
  transaction.otherwise = {{Step::Kind::kRange, {key_}}};
  const Step put{Step::Kind::kPut, {key_}, to_text(record_), lease_.id()};
  if (state_ != State::kRegistered) {
    transaction.compares = {replaces_ ? Compare{key_, Compare::Of::kModified, *replaces_} : Compare{key_, Compare::Of::kCreated, 0}};
    transaction.then = {put};
    return transaction;
  }
  transaction.compares = {{key_, Compare::Of::kModified, modified_}, {key_, Compare::Of::kLease, lease_.id()}};
  transaction.then = {worth_telling(told_, record_) ? put : Step{Step::Kind::kRemove, {nothing_key_}}};
  return transaction;
}

void NodeRegistration::prove() {
  telling_ = record_;
  store_.commit(proof(), [weak = weak_from_this()](const Reply<TransactionReply>& reply) {
    const auto self = weak.lock();
    if (!self || self->leaving_) return;
    if (reply.has_value()) return self->on_proof(reply.value());
    if (reply.error().trouble == Trouble::kNotFound) return self->on_lost("the lease has ended");
    self->on_failure(reply.error());
  });
}

void NodeRegistration::on_proof(const TransactionReply& reply) {
  note(nullptr);
  if (!reply.held) return on_other(reply);
  const bool put = state_ != State::kRegistered || worth_telling(told_, telling_);
  if (!put) {
    lease_.on_proven(clock_(), reply.stamp);
    look_at_time();
    return woken_();
  }
  told_ = telling_;
  adopt(reply.stamp.revision, reply.stamp);
}

/// The record is not as it was expected to be.
void NodeRegistration::on_other(const TransactionReply& reply) {
  const std::vector<Entry>& found = reply.entries.front();
  replaces_.reset();
  if (found.empty()) {
    if (state_ == State::kRegistered) return on_lost("the record is gone, and so the lease");
    // It went between the comparison that found it and the one that was to replace it.
    lease_.on_failure(clock_());
    return woken_();
  }
  const Entry& entry = found.front();
  const Result<NodeRecord> other = parse_node_record(entry.value);
  if (other.has_error()) return refuse(fmt::format("{} is taken by what is {}", key_, other.error().message));
  const NodeRecord& record = other.value();
  const bool same_daemon = record.registration == record_.registration;
  if (same_daemon && record.incarnation == record_.incarnation && entry.lease == lease_.id()) {
    // Put, with an answer that was lost.
    told_ = record;
    return adopt(entry.modified, reply.stamp);
  }
  const bool own = same_daemon && (record.incarnation == record_.incarnation || !was_registered_);
  if (!own) {
    return refuse(fmt::format("node id {} is in use by another daemon, on {} (admin {}), {}", record_.id, record.host, record.admin,
                              same_daemon ? "which was started later with a copy of this data directory" : "as long as that one's lease lives"));
  }
  replaces_ = entry.modified;
  // Under an earlier lease, or of an earlier start: not this lease's any more.
  state_ = State::kUnregistered;
  prove();
}

void NodeRegistration::adopt(Revision modified, const Stamp& stamp) {
  modified_ = modified;
  replaces_.reset();
  was_registered_ = true;
  lease_.on_proven(clock_(), stamp);
  if (std::exchange(state_, State::kRegistered) != State::kRegistered) {
    log::info("coordinator: node {} is registered, under lease {:x} of {} s", record_.id, lease_.id(), lease_.time() / std::chrono::seconds(1));
  }
  reason_.clear();
  look_at_time();
  woken_();
}

void NodeRegistration::on_failure(const Failure& failure) {
  note(&failure);
  if (state_ != State::kRegistered) {
    state_ = State::kUnregistered;
    reason_ = failure.message;
  }
  // A password does not become right by being tried often; while there is a lease to lose it may be that just something changes.
  const bool wait = failure.trouble == Trouble::kDenied && !surely_registered();
  lease_.on_failure(clock_(), wait ? lease_.time() : Span::zero());
  woken_();
}

void NodeRegistration::on_lost(const std::string& why) {
  note(nullptr);
  if (state_ == State::kRegistered) log::warn("coordinator: node {} is not registered any more: {}; it registers again", record_.id, why);
  state_ = State::kUnregistered;
  reason_ = why;
  replaces_.reset();
  was_sure_ = false;
  lease_.on_lost(clock_());
  turn();
  woken_();
}

void NodeRegistration::refuse(const std::string& why) {
  if (state_ != State::kRefused || reason_ != why) log::error("coordinator: refused: {}", why);
  state_ = State::kRefused;
  reason_ = why;
  was_sure_ = false;
  lease_.on_lost(clock_(), lease_.time());
  woken_();
}

void NodeRegistration::look_at_time() {
  const bool sure = surely_registered();
  if (was_sure_ && !sure) log::warn("coordinator: the lease of node {} was not renewed in time and may be over", record_.id);
  was_sure_ = sure;
}

void NodeRegistration::note(const Failure* failure) {
  const bool troubled = failure != nullptr;
  if (std::exchange(troubled_, troubled) == troubled) return;
  if (troubled) {
    RINGBOLT_LOG_LIMITED(kWarn, "coordinator: {}", failure->message);
  } else {
    RINGBOLT_LOG_LIMITED(kInfo, "coordinator: it answers again");
  }
}

}  // namespace ringbolt::coord
