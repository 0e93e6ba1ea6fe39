#include "repl/shipper.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "log/log.h"
#include "ringbolt/assert.h"
#include "ringbolt/probe.h"

namespace ringbolt::repl {

namespace {
constexpr const char* kElsewhere = "the replica is found elsewhere now";
/// How long a replica may be behind in knowing the committed position of an idle volume.
constexpr io::Nanos kPositionsDelay = 5 * io::kMillisecond;
/// How often in a row a replica is asked again without a pause.
constexpr uint32_t kAskedAtOnceMax = 3;
/// Of what was rebuilt so many ranges are compared before it is accepted.
constexpr uint64_t kSamples = 64;
}  // namespace

Shipper::Shipper(io::Io& io, io::BufferPool& pool, Store& store, RebuildLimits& limits, ShipperOwner& owner, core::ReplicaAddress peer,
                 const Timing& timing, uint64_t jitter_seed)
    : io_(io), pool_(pool), store_(store), limits_(limits), owner_(owner), peer_(std::move(peer)), timing_(timing), jitter_(jitter_seed | 1), place_(limits),
      reader_(io, pool, store, *this), slice_(std::make_unique<std::byte[]>(kBlockBytes)) {}

Shipper::~Shipper() {
  RINGBOLT_ASSERT(!connect_.pending());
  io_.disarm(retry_);
  io_.disarm(tick_);
  io_.disarm(positions_);
  io_.undefer(destroy_);
  io_.undefer(destroy_lane_);
  io_.undefer(verified_);
  io_.undefer(pin_lost_);
  io_.undefer(end_session_);
}

void Shipper::set_timing(const Timing& timing) {
  timing_ = timing;
  if (lane_ != nullptr) lane_->set_timeout(timing.timeout);
}

// --- connecting ---------------------------------------------------------------------------------------

void Shipper::probe() {
  if (phase_ == Phase::kIdle) {
    phase_ = Phase::kWaiting;
    connect();
  } else if (phase_ == Phase::kDeciding) {
    // What it said is no longer what a decision may rest on. One that keeps saying such things is given some time.
    if (++asked_in_vain_ <= kAskedAtOnceMax) return ask();
    phase_ = Phase::kObstructed;
    asked_at_ = io_.now();
  }
  // Else it is under way, or (kObstructed) asked again before long.
}

void Shipper::probe_later(Term term, SessionId decision) {
  if (phase_ != Phase::kDeciding || term != connection_term_ || decision.value() != sync_) return;  // newer facts are on their way
  place_.give_back();
  phase_ = Phase::kObstructed;
  asked_at_ = io_.now();
  owner_.on_replica_changed(*this);
}

void Shipper::connect() {
  if (phase_ != Phase::kWaiting) return;
  if (link_ != nullptr || closed_link_ != nullptr || lane_ != nullptr || verifier_ != nullptr || connect_.pending() || reader_.pending()) {
    // The old connection is still ending.
    io_.arm(retry_, timing_.retry_min);
    return;
  }
  phase_ = Phase::kConnecting;
  connection_ = owner_.next_connection();
  connection_term_ = owner_.term();
  cause_ = Reason::kNone;
  sync_open_ = false;
  session_ = SessionId{};
  asked_in_vain_ = 0;
  asked_at_ = io_.now();
  ticked_at_ = asked_at_;
  reaching_ = peer_.address;
  io_.connect(reaching_, connect_);
  io_.arm(tick_, timing_.heartbeat);
}

void Shipper::on_connected(int32_t result) {
  if (phase_ == Phase::kStopped) {
    if (result >= 0) io_.close_socket(io::Socket{result});
    return finish_stop();
  }
  // It was cancelled, or could not be any more. What is said on it would be nobody's facts.
  const char* over = nullptr;
  if (connection_term_ != owner_.term()) over = "a new term begins";
  if (reaching_ != peer_.address) over = kElsewhere;
  if (over != nullptr) {
    if (result >= 0) io_.close_socket(io::Socket{result});
    tell_lost(over);
    return retry_later(over);
  }
  if (result < 0) {
    std::string why = fmt::format("cannot connect: {}", std::strerror(-result));
    place_.give_back();
    tell_lost(why);
    return retry_later(std::move(why));
  }
  link_ = std::make_unique<Link>(io_, pool_, io::Socket{result}, *this);
  link_->set_identity(store_.facts().volume, connection_term_.epoch);
  link_->start();
  ++connections_made_;
  greet();
}

void Shipper::greet() {
  phase_ = Phase::kGreeting;
  asked_at_ = io_.now();
  Hello hello;
  hello.volume_name = store_.config().name;
  hello.node_id = store_.config().node_id;
  hello.replica_id = peer_.id;
  hello.incarnation = connection_term_.incarnation;
  hello.volume_bytes = std::max(store_.config().volume_bytes, required_bytes_);
  peer_bytes_ = 0;
  link_->send(MessageType::kHello, hello);
}

void Shipper::retry_later(std::string reason) {
  if (!reason.empty() && reason != last_logged_) {
    log::info({.volume = store_.config().name, .replica = peer_.id}, "replica {} at {}: {}", peer_.id, peer_.address, reason);
    last_logged_ = reason;
  }
  if (!reason.empty()) reason_ = std::move(reason);
  phase_ = Phase::kWaiting;
  io_.disarm(tick_);
  io_.disarm(positions_);
  retry_delay_ = std::clamp(retry_delay_ * 2, timing_.retry_min, timing_.retry_max);
  // Jitter of up to half the delay, so that many volumes do not knock at once.
  jitter_ = jitter_ * 6364136223846793005ull + 1442695040888963407ull;
  const auto jitter = static_cast<io::Nanos>((jitter_ >> 33) % static_cast<uint64_t>(retry_delay_ / 2 + 1));
  io_.arm(retry_, retry_delay_ - jitter);
  owner_.on_replica_changed(*this);
}

void Shipper::close_link(Reason cause, std::string reason) {
  if (link_ == nullptr || link_->closing()) return;
  cause_ = cause;
  link_->close(std::move(reason));
}

/// The connection is over, and with it what depended on it: facts for the engine, in this order.
void Shipper::tell_lost(const std::string& reason) {
  if (sync_open_) {
    sync_open_ = false;
    core::SyncAckObserved lost;
    lost.replica = peer_.id;
    lost.term = connection_term_;
    lost.connection = connection_;
    lost.sync = sync_;
    lost.kind = SyncAckKind::kTransportLost;
    owner_.report(lost);
  }
  const Reason cause = cause_ == Reason::kNone ? Reason::kTransportLost : cause_;
  if (session_ != SessionId{} && cause == Reason::kTransportLost) mark(Mark::kTransportLost);
  if (session_ != SessionId{}) owner_.report(core::SessionFailed{peer_.id, connection_term_, session_, cause, reason});
  session_ = SessionId{};
  owner_.report(core::ShipperConnected{peer_.id, connection_, false, reason});
}

void Shipper::on_link_closed(const std::string& reason) {
  // From inside the link: it is destroyed at the end of the turn.
  closed_link_ = std::move(link_);
  io_.defer(destroy_);
  reader_.drop();
  // What was ordered ends the session; what comes after it is to begin at once. A replica that does not come back keeps no place.
  if (!place_.ahead() || (phase_ != Phase::kShipping && phase_ != Phase::kStarting)) place_.give_back();
  end_lane();
  if (verifier_ != nullptr) verifier_->stop("the session ended");
  tell_lost(reason);
  handed_over(false);
  grown(reason);
  if (phase_ == Phase::kStopped) return;
  retry_later(reason);
}

void Shipper::destroy_closed_link() {
  closed_link_.reset();
  if (phase_ == Phase::kStopped) finish_stop();
}

void Shipper::on_pin_lost() {
  mark(Mark::kPinLost);
  close_link(Reason::kPinLost, "pin_lost: the records that it needs are no longer in the WAL");
}

void Shipper::on_session_over() {
  if (shipping()) close_link(Reason::kProgressStalled, "it does not acknowledge in time");
}

void Shipper::stop(std::function<void()> stopped) {
  stopped_ = std::move(stopped);
  phase_ = Phase::kStopped;
  io_.disarm(retry_);
  io_.disarm(tick_);
  io_.disarm(positions_);
  // What it read may be on its way out still: it is dropped when the link is closed.
  place_.give_back();
  end_lane();
  if (verifier_ != nullptr) verifier_->stop("the primary stops");
  if (connect_.pending()) io_.cancel(connect_);
  close_link(Reason::kCancelled, "the primary stops");
  finish_stop();
}

void Shipper::reconnect() {
  retry_delay_ = 0;
  if (phase_ == Phase::kConnecting) {
    io_.cancel(connect_);
  } else {
    close_link(Reason::kEpochMismatch, "a new term begins");
  }
}

void Shipper::move_to(const std::string& address) {
  if (peer_.address == address) return;
  peer_.address = address;
  retry_delay_ = 0;
  last_logged_.clear();  // what is wrong there is worth a line, even if it is what was wrong here
  if (phase_ == Phase::kConnecting) {
    io_.cancel(connect_);
  } else if (phase_ == Phase::kWaiting) {
    // Unless the old connection is still ending: then it waits for that anyway.
    io_.disarm(retry_);
    io_.arm(retry_, timing_.retry_min);
  } else {
    close_link(Reason::kTransportLost, kElsewhere);
  }
}

void Shipper::finish_stop() {
  if (link_ != nullptr || closed_link_ != nullptr || lane_ != nullptr || verifier_ != nullptr || connect_.pending() || reader_.pending() || !stopped_) return;
  const std::function<void()> stopped = std::move(stopped_);
  stopped_ = nullptr;
  stopped();
}

// --- messages -----------------------------------------------------------------------------------------

void Shipper::on_message(const MessageHeader& header, std::span<const std::byte> payload) {
  unanswered_ = false;
  if (header.type == MessageType::kReject) return on_reject(header, payload);
  const bool greeted = header.type == MessageType::kWelcome && phase_ == Phase::kGreeting;
  // Addresses are used again: what another volume's copy says of its epochs is nothing to this one.
  if (header.volume != store_.facts().volume && !(greeted && header.volume.is_nil())) {
    return close_link(Reason::kWrongVolume, "the peer speaks of another volume");
  }
  if (header.epoch > connection_term_.epoch) {
    // Unless it is this primary's own that was raised since this connection was made.
    if (header.epoch > owner_.term().epoch) owner_.on_fenced(header.epoch, fmt::format("replica {} knows it", peer_.id));
    return close_link(Reason::kEpochMismatch, "the peer knows a higher epoch");
  }
  if (greeted) return on_welcome(payload);
  const bool of_session = header.session == session_ && (phase_ == Phase::kStarting || phase_ == Phase::kShipping);
  if (header.type == MessageType::kSyncAck && sync_open_) return on_sync_ack(payload);
  if (header.type == MessageType::kSessionAck && of_session) return on_session_ack(payload);
  if (header.type == MessageType::kWalAck && of_session) return on_ack(payload);
  if (header.type == MessageType::kVerifyAck && of_session) return on_verify_ack(payload);
  if (header.type == MessageType::kGrowAck && of_session) return on_grow_ack(payload);
  std::string text = fmt::format("unexpected {} message", to_string(header.type));
  if (header.session != session_ && session_ != SessionId{} && !link_->closing()) {
    // Of a session that is over: the current one is named.
    cause_ = Reason::kSuperseded;
    link_->send(MessageType::kReject, Reject{Reason::kSuperseded, connection_term_.epoch, text, session_});
    return link_->close_after_sending(std::move(text));
  }
  close_link(Reason::kProtocolViolation, std::move(text));
}

void Shipper::on_welcome(std::span<const std::byte> payload) {
  const auto welcome = decode_welcome(payload);
  if (!welcome.has_value()) return close_link(Reason::kProtocolViolation, welcome.error().message);
  // Identity is what the peer says of itself, never its address.
  if (welcome.value().node_id != peer_.id) {
    return close_link(Reason::kWrongVolume, fmt::format("the node there is {}, not {}", welcome.value().node_id, peer_.id));
  }
  if (const uint64_t required = std::max(store_.config().volume_bytes, required_bytes_); welcome.value().volume_bytes < required) {
    return close_link(Reason::kWrongVolume, fmt::format("its copy has {} bytes, the volume {}", welcome.value().volume_bytes, required));
  }
  features_ = welcome.value().features;
  peer_bytes_ = welcome.value().volume_bytes;
  wal_bytes_ = welcome.value().wal_bytes;
  owner_.report(core::ShipperConnected{peer_.id, connection_, true, ""});
  ask();
}

/// Asks for facts. The replica answers when they are facts: flushed.
void Shipper::ask() {
  if (!place_.ahead()) place_.give_back();  // it may not be a rebuild that is decided on what it says now
  grown("its session has ended");
  phase_ = Phase::kSyncing;
  asked_at_ = io_.now();
  sync_ = owner_.next_sync();
  sync_open_ = true;
  session_ = SessionId{};
  link_->set_session(session_);
  link_->send(MessageType::kSync, Sync{.sync_id = sync_, .target = std::nullopt, .deadline = {}});
  owner_.on_replica_changed(*this);
}

void Shipper::on_sync_ack(std::span<const std::byte> payload) {
  const auto decoded = decode_sync_ack(payload);
  if (!decoded.has_value()) return close_link(Reason::kProtocolViolation, decoded.error().message);
  const SyncAck& ack = decoded.value();
  if (ack.sync_id != sync_) return close_link(Reason::kProtocolViolation, fmt::format("an answer to sync {}, asked was {}", ack.sync_id, sync_));
  if (ack.kind == SyncAckKind::kEpochMismatch) {
    sync_open_ = false;
    mark(Mark::kFencedByAnswer);
    if (connection_term_ == owner_.term()) owner_.on_fenced(ack.epoch, fmt::format("replica {} knows another primary", peer_.id));
    return close_link(Reason::kEpochMismatch, "the peer knows another primary");
  }
  if (ack.kind == SyncAckKind::kTransportLost) return close_link(Reason::kProtocolViolation, "an answer that says that there is none");
  if (const auto last = ack.history.last(); last && last->term > owner_.term()) {
    // A copy of this node's data runs somewhere, too, or a later primary wrote: this one must not go on.
    owner_.on_fenced(last->term.epoch, fmt::format("replica {} has records of incarnation {} of epoch {}", peer_.id,
                                                   last->term.incarnation.value(), last->term.epoch.value()));
    return close_link(Reason::kEpochMismatch, "the peer has records of a later primary");
  }
  if (ack.base_usable && !ack.durable) return close_link(Reason::kProtocolViolation, "facts without positions");
  sync_open_ = false;
  const bool in_session = phase_ == Phase::kShipping;
  if (!in_session) phase_ = Phase::kDeciding;
  take_facts(ack);
  const bool of_session = in_session && ack.session && ack.session->id == session_;
  if (of_session && ack.durable) owner_.on_barrier_answered(*this, ack.kind, *ack.durable);
}

void Shipper::take_facts(const SyncAck& ack) {
  core::SyncAckObserved event;
  event.replica = peer_.id;
  event.term = connection_term_;
  event.connection = connection_;
  event.sync = ack.sync_id;
  event.kind = ack.kind;
  event.epoch = ack.epoch;
  event.facts.base_usable = ack.base_usable;
  // A copy whose base image is unusable has no position: nothing is decided from these two then.
  event.facts.position = ack.durable.value_or(Lsn{});
  event.facts.checkpoint = ack.base_limit.value_or(Lsn{});
  event.facts.history = ack.history;
  event.active = ack.session;
  event.wal_tail = store_.wal().tail();
  event.wal_head = store_.wal().head();
  owner_.report(std::move(event));
}

void Shipper::on_session_ack(std::span<const std::byte> payload) {
  const auto decoded = decode_session_ack(payload);
  if (!decoded.has_value()) return close_link(Reason::kProtocolViolation, decoded.error().message);
  const SessionAck& ack = decoded.value();
  switch (ack.phase) {
    case SessionPhase::kFailed:
      if (phase_ == Phase::kStarting && rebuilding() && ack.reason == Reason::kNotReady) {
        // Nothing of it has begun, and there is nothing wrong with the connection.
        place_.give_back();
        return obstructed("it waits: its node is not ready for it now");
      }
      return close_link(ack.reason, fmt::format("the replica ended the session: {}", to_string(ack.reason)));
    case SessionPhase::kAccepted:
      if (phase_ != Phase::kStarting) break;
      return on_session_accepted();
    case SessionPhase::kRunning:
    case SessionPhase::kBaseComplete:
      if (!shipping() || !rebuilding()) break;
      return on_rebuild_ack(ack);
    case SessionPhase::kCompleted:
      if (shipping() && rebuilding() && base_told_complete_) return on_rebuild_ack(ack);
      if (!hand_over_done_) break;
      return handed_over(ack.achieved == store_.wal().head());
    default: break;
  }
  close_link(Reason::kProtocolViolation, fmt::format("session_ack of phase {} out of place", to_string(ack.phase)));
}

void Shipper::on_session_accepted() {
  phase_ = Phase::kShipping;
  asked_in_vain_ = 0;
  last_logged_.clear();
  reason_.clear();
  log::info({.volume = store_.config().name, .replica = peer_.id, .session = session_, .epoch = connection_term_.epoch, .lsn = session_base_}, "replica {} in session {} ({}) from Lsn {}", peer_.id, session_.value(),
            to_string(session_kind_), session_base_.value());
  owner_.report(core::SessionStarted{peer_.id, connection_term_, session_, session_kind_, session_base_, session_target_});
  owner_.report(core::SessionProgress{peer_.id, connection_term_, session_, SessionPhase::kRunning, session_base_});
  owner_.on_replica_changed(*this);
  if (session_kind_ == core::SessionKind::kRebuild) {
    BaseLaneOwner& lane_owner = *this;
    base_progress_ = {};
    base_progress_.meter.begin(io_.now());
    lane_ = std::make_unique<BaseLane>(io_, pool_, store_, limits_,
                                       BaseLane::Options{.term = connection_term_,
                                                         .session = session_,
                                                         .peer = peer_,
                                                         .clients = &owner_.client_load(),
                                                         .timeout = timing_.timeout},
                                       lane_owner);
    lane_->start();
  }
  pump();
}

void Shipper::on_reject(const MessageHeader& header, std::span<const std::byte> payload) {
  const auto decoded = decode_reject(payload);
  if (!decoded.has_value()) return close_link(Reason::kProtocolViolation, decoded.error().message);
  const Reject& reject = decoded.value();
  const Epoch known = std::max(header.epoch, reject.epoch);
  // Of the same epoch, too: it is another's, or another opening's, and that one is acknowledged to.
  const bool of_this_volume = header.volume == store_.facts().volume;
  if (of_this_volume && reject.reason == Reason::kEpochMismatch && known >= connection_term_.epoch && connection_term_ == owner_.term()) {
    owner_.on_fenced(known, fmt::format("replica {} says: {}", peer_.id, reject.text));
  }
  close_link(reject.reason, fmt::format("refused: {} ({})", reject.text, to_string(reject.reason)));
}

void Shipper::on_ack(std::span<const std::byte> payload) {
  const auto ack = decode_wal_ack(payload);
  if (!ack.has_value()) return close_link(Reason::kProtocolViolation, ack.error().message);
  // Positions only grow within a session and never pass what was sent.
  if (ack.value().written < written_ || ack.value().durable < durable_ || ack.value().written >= next_) {
    return close_link(Reason::kProtocolViolation, "acknowledgement of an impossible position");
  }
  written_ = ack.value().written;
  durable_ = ack.value().durable;
  confirmed_stable_ = std::max(confirmed_stable_, ack.value().stable);
  round_trips_.acknowledged(written_, io_.now());
  owner_.on_replica_changed(*this);
}

void Shipper::on_positions(const MessageHeader&, const WalDataFields&) { close_link(Reason::kProtocolViolation, "wal_data from a replica"); }

bool Shipper::on_frame(const MessageHeader&, const WalDataFields&, io::Buffer&) {
  close_link(Reason::kProtocolViolation, "wal_data from a replica");
  return false;
}

// --- what the engine decided ---------------------------------------------------------------------------

/// The decision came when what it rests on was over. The engine must know, or it would wait for its answer.
void Shipper::session_not_possible(Term term, SessionId session, const char* why) {
  owner_.report(core::SessionFailed{peer_.id, term, session, Reason::kTransportLost, why});
}

void Shipper::start_session(Term term, SessionId session, core::SessionKind kind, Lsn position, Lsn target) {
  if (term == connection_term_ && session == session_) return;  // delivered again
  if (phase_ != Phase::kDeciding || term != connection_term_ || session.value() != sync_ || link_->closing()) {
    return session_not_possible(term, session, "the connection that it was decided for is over");
  }
  begin_session(session, kind, position, target);
  SessionControl control;
  control.kind = ControlKind::kStartCatchup;
  control.base = position;
  control.target = target;
  control.history = store_.facts().history;
  link_->send(MessageType::kSessionControl, control);
  owner_.on_replica_changed(*this);
}

void Shipper::begin_session(SessionId session, core::SessionKind kind, Lsn position, Lsn target) {
  if (kind == core::SessionKind::kCatchup) mark(Mark::kCatchUp);
  if (kind == core::SessionKind::kRebuild) {
    mark(Mark::kRebuild);
  } else if (!place_.ahead()) {  // the order may have come between what the replica said and what was decided on it
    place_.give_back();
  }
  session_ = session;
  session_kind_ = kind;
  session_base_ = position;
  session_target_ = target;
  next_ = defect(Defect::kRecordSkipped) && kind == core::SessionKind::kCatchup ? position.plus(2) : position.next();
  written_ = durable_ = position;
  confirmed_stable_ = Lsn{};
  reached_head_ = false;
  round_trips_.forget();
  base_sampled_ = base_told_complete_ = false;
  achieved_.reset();
  told_committed_ = told_stable_ = told_flush_ = Lsn{};
  phase_ = Phase::kStarting;
  asked_at_ = io_.now();
  link_->set_session(session_);
}

void Shipper::cut_tail(Term term, SessionId decision, Lsn fork) {
  if (phase_ != Phase::kDeciding || term != connection_term_ || decision.value() != sync_ || link_->closing()) return;  // newer facts are on their way
  log::info({.volume = store_.config().name, .replica = peer_.id, .lsn = fork}, "replica {} cuts its log after Lsn {}", peer_.id, fork.value());
  SessionControl control;
  control.kind = ControlKind::kCutTail;
  control.target = fork;
  control.history = store_.facts().history;
  link_->send(MessageType::kSessionControl, control);
  ask();  // answered when the cut is done
}

bool Shipper::reserve_rebuild(const core::StartRebuild& command) {
  if (phase_ != Phase::kDeciding || command.term != connection_term_ || command.session.value() != sync_) return false;  // newer facts are on their way
  if (link_->closing()) {
    session_not_possible(command.term, command.session, "the connection that it was decided for is over");
    return false;
  }
  if (store_.failed()) {
    // It could not be ended, and a copy that is perhaps the only good one would be gone.
    place_.give_back();
    obstructed("it waits: the primary's own copy has failed");
    return false;
  }
  if (command.why != last_logged_) {
    log::warn({.volume = store_.config().name, .replica = peer_.id}, "replica {} needs a rebuild: {}", peer_.id, command.why);
    last_logged_ = command.why;
  }
  reason_ = command.why;
  if (!place_.take()) {
    obstructed(fmt::format("it waits: {} rebuilds run on this node, as many as may", limits_.parallel.load()));
    return false;
  }
  return true;
}

/// The rebuild that was decided cannot begin now: the engine knows why, and new facts are asked for after a while.
void Shipper::obstructed(std::string why) {
  mark(Mark::kRebuildObstructed);
  phase_ = Phase::kObstructed;
  asked_at_ = io_.now();
  owner_.report(core::NeedsRebuildObserved{peer_.id, connection_term_, sync_, std::move(why)});
  owner_.on_replica_changed(*this);
}

void Shipper::start_rebuild(const core::StartRebuild& command) {
  if (phase_ != Phase::kDeciding || command.term != connection_term_ || command.session.value() != sync_) return;  // newer facts are on their way
  if (link_->closing()) return session_not_possible(command.term, command.session, "the connection that it was decided for is over");
  RINGBOLT_ASSERT(place_.held());
  // As little as possible through the log: everything up to here comes with the base image.
  const Lsn base = store_.wal().sealed();
  begin_session(command.session, core::SessionKind::kRebuild, base, std::max({base, command.target, Lsn(1)}));
  SessionControl control;
  control.kind = ControlKind::kStartRebuild;
  control.base_kind = BaseKind::kLive;
  control.base = session_base_;
  control.target = session_target_;
  control.history = store_.facts().history;
  link_->send(MessageType::kSessionControl, control);
  owner_.on_replica_changed(*this);
}

void Shipper::invalidate(Term term, SessionId session, Reason reason) {
  // Of the term that the session is of: a new one counts from 1 again.
  if (term == connection_term_ && session_ == session && link_ != nullptr) return close_link(reason, fmt::format("the session is over: {}", to_string(reason)));
  session_not_possible(term, session, "it was over");
}

void Shipper::sync_up_to(Lsn target) {
  RINGBOLT_ASSERT(shipping());
  if (sync_open_) return;  // one at a time; the set asks again when it is answered
  sync_ = owner_.next_sync();
  sync_open_ = true;
  unanswered_ = true;
  link_->send(MessageType::kSync, Sync{.sync_id = sync_, .target = target, .deadline = Millis::from_nanos(timing_.timeout)});
}

void Shipper::hand_over(std::function<void(bool taken)> done) {
  RINGBOLT_ASSERT(shipping() && !hand_over_done_);
  hand_over_done_ = std::move(done);
  // It is no session of the replica any more from here on: another question would be refused, and end the connection.
  if (verifier_ != nullptr) verifier_->stop("the primary leaves");
  SessionControl control;
  control.kind = ControlKind::kCancelSession;
  control.reason = Reason::kHandedOver;
  control.target = store_.wal().head();
  unanswered_ = true;
  link_->send(MessageType::kSessionControl, control);
}

void Shipper::handed_over(bool taken) {
  if (!hand_over_done_) return;
  const auto done = std::move(hand_over_done_);
  hand_over_done_ = nullptr;
  done(taken);
}

// --- a rebuild's base lane ----------------------------------------------------------------------------------

/// The place is for reading the base image. What comes now is up to the replica, and one whose disk hangs must not keep others waiting.
void Shipper::on_base_sent() {
  place_.give_back();
  complete_base_if_due();
}

/// Nothing in the base image may be newer than what this node can still lose: else the replica would be ahead of it after a power cut.
void Shipper::complete_base_if_due() {
  if (!shipping() || !rebuilding() || base_told_complete_ || lane_ == nullptr || !lane_->complete()) return;
  const Lsn barrier = std::max(lane_->newest(), session_target_);
  if (store_.wal().durable() < barrier) {
    if (store_.wal().sealed() >= barrier) store_.request_flush(barrier);
    return;
  }
  if (!base_sampled_) {
    const uint64_t blocks = store_.config().volume_bytes / kBlockBytes;
    if (verifier_ == nullptr) begin_verifier(Verifier::sampled_blocks(blocks, kSamples), Verifier::samples(blocks, kSamples, session_.value()));
    return;
  }
  base_told_complete_ = true;
  unanswered_ = true;
  SessionControl control;
  control.kind = ControlKind::kBaseComplete;
  control.target = barrier;
  link_->send(MessageType::kSessionControl, control);
}

void Shipper::on_rebuild_ack(const SessionAck& ack) {
  base_progress_.blocks_done = ack.base_blocks_done;
  base_progress_.blocks_skipped = ack.base_blocks_skipped;
  base_progress_.meter.add(io_.now(), (ack.base_blocks_done + ack.base_blocks_skipped) * kBlockBytes, store_.wal().bytes_after(written_));
  if (ack.phase != SessionPhase::kCompleted) {
    return owner_.report(core::SessionProgress{peer_.id, connection_term_, session_, ack.phase, ack.applied.value_or(session_base_)});
  }
  if (*ack.achieved < std::max(lane_->newest(), session_target_) || *ack.achieved >= next_) {
    return close_link(Reason::kProtocolViolation, "a rebuild that is complete at an impossible Lsn");
  }
  achieved_ = ack.achieved;
  written_ = std::max(written_, *ack.achieved);
  durable_ = std::max(durable_, *ack.achieved);
  log::info({.volume = store_.config().name, .replica = peer_.id, .session = session_, .lsn = *achieved_}, "replica {} is rebuilt at Lsn {}: {} blocks copied, {} newer in its log", peer_.id,
            achieved_->value(), ack.base_blocks_done, ack.base_blocks_skipped);
  end_lane();
  owner_.report(core::SessionCompleted{peer_.id, connection_term_, session_, *achieved_});
  owner_.on_replica_changed(*this);
}

void Shipper::on_base_lane_failed(Reason reason, const std::string& text) {
  // The log connection's end ends the session, on both sides.
  close_link(reason, text);
}

// --- comparing the copies ---------------------------------------------------------------------------------

bool Shipper::start_verify(std::function<void(const VerifyResult&)> done) {
  if (!may_verify()) return false;
  verify_done_ = std::move(done);
  const uint64_t blocks = store_.config().volume_bytes / kBlockBytes;
  begin_verifier(blocks, Verifier::whole(blocks));
  return true;
}

void Shipper::begin_verifier(uint64_t blocks, Verifier::Ranges ranges) {
  verifier_ = std::make_unique<Verifier>(
      pool_, store_, verify_ids_ + 1, blocks, std::move(ranges),
      [this](const Verify& question) {
        if (link_ == nullptr || link_->closing()) return;  // it is stopped soon
        verify_ids_ = question.id;
        link_->send(MessageType::kVerify, question);
      },
      [this] { io_.defer(verified_); });
  verifier_->start();
}

void Shipper::on_verify_ack(std::span<const std::byte> payload) {
  const auto ack = decode_verify_ack(payload);
  if (!ack.has_value()) return close_link(Reason::kProtocolViolation, ack.error().message);
  if (verifier_ == nullptr) return;  // it was stopped
  const auto taken = verifier_->on_answer(ack.value());
  if (!taken.has_value()) return close_link(Reason::kProtocolViolation, taken.error().message);
}

// --- growing ----------------------------------------------------------------------------------------------

void Shipper::grow(uint64_t volume_bytes, std::function<void(const std::string& problem)> done) {
  if (grow_done_) return done("it is being made larger already");
  grow_to_ = volume_bytes;
  grow_done_ = std::move(done);
  if (!shipping() || link_->closing()) return grown("there is no session with it");
  if (rebuilding()) return grown("it is being rebuilt");
  if ((features_ & kFeatureGrow) == 0) return grown("its daemon is of a version that cannot do it");
  link_->send(MessageType::kGrow, Grow{volume_bytes});
}

void Shipper::on_grow_ack(std::span<const std::byte> payload) {
  const auto ack = decode_grow_ack(payload);
  if (!ack.has_value()) return close_link(Reason::kProtocolViolation, ack.error().message);
  if (!grow_done_ || (ack.value().problem.empty() && ack.value().volume_bytes < grow_to_)) {
    return close_link(Reason::kProtocolViolation, "an answer to grow that nobody asked for, or that does not fit");
  }
  peer_bytes_ = std::max(peer_bytes_, ack.value().volume_bytes);
  grown(ack.value().problem);
}

void Shipper::require_bytes(uint64_t volume_bytes) {
  required_bytes_ = volume_bytes;
  if (link_ == nullptr || peer_bytes_ >= std::max(store_.config().volume_bytes, required_bytes_)) return;
  // It would refuse the first record about what is new.
  close_link(Reason::kSuperseded, "the volume has become larger than its copy; it is called again, and follows");
}

void Shipper::take_growth_back() {
  required_bytes_ = 0;
  if (peer_bytes() > store_.config().volume_bytes) close_link(Reason::kSuperseded, "the volume stays as it is, and its copy has become larger; it is called again");
}

void Shipper::grown(const std::string& problem) {
  if (!grow_done_) return;
  const auto done = std::move(grow_done_);
  grow_done_ = nullptr;
  done(problem);
}

// --- comparing, the end -----------------------------------------------------------------------------------

void Shipper::on_verified() {
  const std::unique_ptr<Verifier> verifier = std::move(verifier_);
  const VerifyResult& result = verifier->result();
  if (verify_done_) {
    mark(Mark::kVerified);
    const auto done = std::move(verify_done_);
    verify_done_ = nullptr;
    done(result);
  } else if (shipping() && rebuilding()) {
    if (result.blocks_differing > 0) {
      const std::string what = fmt::format("{} of {} sampled blocks differ after the rebuild, the first of them block {}", result.blocks_differing,
                                           result.blocks_compared, result.differing.front().first.value());
      log::error({.volume = store_.config().name, .replica = peer_.id, .session = session_}, "replica {}: {}", peer_.id, what);
      close_link(Reason::kLocalExtentCorrupt, what);
    } else if (!result.problem.empty()) {
      close_link(Reason::kLocalExtentCorrupt, result.problem);
    } else {
      base_sampled_ = true;
      complete_base_if_due();
    }
  }
  if (phase_ == Phase::kStopped) finish_stop();
}

void Shipper::end_lane() {
  if (lane_ != nullptr) lane_->stop();
}

void Shipper::destroy_lane() {
  lane_.reset();
  if (phase_ == Phase::kStopped) finish_stop();
}

// --- shipping ---------------------------------------------------------------------------------------------

WalDataFields Shipper::fields() const {
  WalDataFields f;
  f.committed = owner_.committed();
  f.stable = owner_.stable();
  f.flush_to = owner_.flush_wanted();
  f.head = store_.wal().head();
  return f;
}

void Shipper::pump() {
  if (!shipping()) return;
  complete_base_if_due();
  if (next_ <= store_.wal().sealed()) return link_->request_send();
  if (!reached_head_) {
    reached_head_ = true;
    owner_.on_replica_changed(*this);
  }
  // Nothing to carry the positions: a flush that a client waits for goes at once, the rest soon.
  if (owner_.flush_wanted() > told_flush_) {
    on_positions_due();
  } else if ((owner_.committed() > told_committed_ || owner_.stable() > told_stable_) && !positions_.armed()) {
    io_.arm(positions_, kPositionsDelay);
  }
}

void Shipper::on_positions_due() {
  if (!shipping()) return;
  const WalDataFields f = fields();
  if (f.committed == told_committed_ && f.stable == told_stable_ && f.flush_to == told_flush_) return;
  told_committed_ = f.committed;
  told_stable_ = f.stable;
  told_flush_ = f.flush_to;
  unanswered_ = true;
  link_->send_positions(f);
}

void Shipper::on_send_ready(FrameGather& gather) {
  if (!shipping()) return;
  while (gather.has_room()) {
    if (Frame* frame = store_.wal().find_frame(next_)) {
      if (!gather_from_memory(gather, *frame)) break;
      continue;
    }
    if (const WalReader::ReadFrame* frame = reader_.find(next_)) {
      if (!gather_from_read(gather, *frame)) break;
      continue;
    }
    if (next_ < store_.wal().tail()) {
      // Its part of the WAL was needed: it loses catch-up, nobody waits for it.
      io_.defer(pin_lost_);
    }
    break;
  }
  if (gather.empty()) return;
  round_trips_.sent(Lsn(next_.value() - 1), io_.now());
  const WalDataFields f = fields();
  told_committed_ = f.committed;
  told_stable_ = f.stable;
  told_flush_ = f.flush_to;
  unanswered_ = true;
}

bool Shipper::gather_from_memory(FrameGather& gather, Frame& frame) {
  FrameHeader header = frame.header();
  WalDataFields f = fields();
  uint32_t first_block = 0;
  f.data_bytes = frame.payload_blocks * kBlockBytes;
  const std::byte* header_bytes = frame.buffer.data;
  if (frame.first != next_) {
    // The session begins within this frame: the part that the replica has is left out.
    if (slice_in_send_) return false;
    const auto slice = header.slice(next_, frame.last(), slice_.get());
    mark(Mark::kFrameSliced);
    slice_in_send_ = true;
    first_block = slice.first_block;
    f.data_bytes = slice.blocks * kBlockBytes;
    header_bytes = slice_.get();
    header = FrameHeader(slice_.get());
  }
  f.frame_header_bytes = header.used_bytes();
  store_.wal().pin(frame);
  pinned_[pinned_size_++] = &frame;
  gather.add(f, header_bytes, frame.payload() + size_t{first_block} * kBlockBytes);
  sent_bytes_ += f.frame_header_bytes + f.data_bytes;
  next_ = frame.last().next();
  return true;
}

bool Shipper::gather_from_read(FrameGather& gather, const WalReader::ReadFrame& frame) {
  FrameHeader header(const_cast<std::byte*>(frame.bytes));
  const std::byte* data = frame.bytes + kBlockBytes;
  const std::byte* header_bytes = frame.bytes;
  WalDataFields f = fields();
  f.data_bytes = header.payload_blocks() * kBlockBytes;
  if (frame.place.first != next_ || frame.place.live_last != header.last_lsn()) {
    // It begins before what the replica lacks, or its end was cut off.
    if (slice_in_send_) return false;
    const auto slice = header.slice(next_, frame.place.live_last, slice_.get());
    slice_in_send_ = true;
    header_bytes = slice_.get();
    header = FrameHeader(slice_.get());
    data += size_t{slice.first_block} * kBlockBytes;
    f.data_bytes = slice.blocks * kBlockBytes;
  }
  f.frame_header_bytes = header.used_bytes();
  gather.add(f, header_bytes, data);
  sent_bytes_ += f.frame_header_bytes + f.data_bytes;
  next_ = frame.place.live_last.next();
  return true;
}

void Shipper::on_wal_read() {
  if (phase_ == Phase::kStopped) return finish_stop();
  if (shipping()) link_->request_send();
}

void Shipper::on_wal_unreadable(const std::string& why) {
  if (phase_ == Phase::kStopped) return finish_stop();
  if (!shipping()) return;
  log::error({.volume = store_.config().name, .replica = peer_.id, .session = session_}, "for replica {}: {}", peer_.id, why);
  close_link(Reason::kLocalWalCorrupt, "the primary cannot read its WAL");
}

void Shipper::on_sent() {
  if (!reached_head_ && shipping() && next_ > store_.wal().sealed()) {
    reached_head_ = true;
    owner_.on_replica_changed(*this);
  }
  for (size_t i = 0; i < pinned_size_; ++i) store_.wal().unpin(*pinned_[i]);
  pinned_size_ = 0;
  reader_.sent(next_);
  slice_in_send_ = false;
}

/// Watches for silence, and keeps an idle connection talking so that silence means something.
void Shipper::on_tick() {
  io_.arm(tick_, timing_.heartbeat);
  const io::Nanos now = io_.now();
  // While this node did not run it heard nobody: that is not the peer's silence.
  if (now - ticked_at_ > 2 * timing_.heartbeat) asked_at_ = now;
  ticked_at_ = now;
  if (phase_ == Phase::kConnecting) {
    if (now - asked_at_ > timing_.timeout) io_.cancel(connect_);
    return;
  }
  if (link_ == nullptr) return;
  // Also while it cuts: nothing is sent then, so a dead connection would never be noticed. A cut that
  // takes longer goes on, and is what the next facts wait for.
  // What it does not take owes nothing yet, but says as much: it may have answered all that came before, and be gone since.
  const bool answer_due = phase_ == Phase::kGreeting || phase_ == Phase::kSyncing || phase_ == Phase::kStarting ||
                          (phase_ == Phase::kShipping && (unanswered_ || link_->sending()));
  if (answer_due && now - std::max(link_->last_heard(), asked_at_) > timing_.timeout) {
    mark(Mark::kReplicaSilent);
    return close_link(Reason::kDeadlineExceeded, "the replica does not answer");
  }
  if (phase_ == Phase::kObstructed && now - asked_at_ > timing_.retry_max) return ask();
  if (phase_ == Phase::kShipping && now - link_->last_sent() >= timing_.heartbeat && !link_->sending()) {
    unanswered_ = true;
    link_->send_positions(fields());
  }
}

}  // namespace ringbolt::repl
