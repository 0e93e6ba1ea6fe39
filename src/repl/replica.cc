#include "repl/replica.h"

#include <fmt/format.h>

#include <algorithm>

#include "log/log.h"
#include "ringbolt/assert.h"
#include "ringbolt/probe.h"

namespace ringbolt::repl {

namespace {
constexpr io::Nanos kReplicaDrainTimeout = 2 * io::kSecond;
/// How often the primary is told how far a rebuild is.
constexpr io::Nanos kProgressInterval = 200 * io::kMillisecond;
}

Replica::Replica(io::Io& io, io::BufferPool& pool, Store& store, io::Nanos timeout, ReplicaListener& listener)
    : io_(io), pool_(pool), store_(store), timeout_(timeout), listener_(listener), rebuild_(io, pool, store, *this),
      verify_(pool, store, [](void* self) { static_cast<Replica*>(self)->on_rebuild_quiet(); }, this) {}

Replica::~Replica() {
  pool_.cancel_wait(memory_);
  io_.undefer(ack_);
  io_.undefer(destroy_);
  io_.disarm(drain_timeout_);
  io_.disarm(tick_);
  io_.disarm(sync_deadline_);
  io_.disarm(progress_);
}

/// Something is under way on this copy that must end before another caller, or nobody, may have it.
bool Replica::busy() const {
  return link_ != nullptr || closed_link_ != nullptr || bulk_ != nullptr || closed_bulk_ != nullptr || cutting_ || history_recorded_.waiting() ||
         heir_recorded_.waiting() || rebuild_.active() || !rebuild_.quiet() || !verify_.quiet();
}

// --- a call ---------------------------------------------------------------------------------------------

void Replica::take_call(const PeerCall& call) {
  // The newest caller counts: an older connection of the same primary is dead or will be. One call
  // that was still waiting for that is dropped.
  if (waiting_call_) io_.close_socket(waiting_call_->socket);
  waiting_call_ = call;
  if (stopping_) {
    io_.close_socket(call.socket);
    waiting_call_.reset();
    return;
  }
  if (link_ != nullptr) link_->close("superseded by a new connection");
  begin_call();
}

void Replica::begin_call() {
  if (!waiting_call_ || busy() || stopping_) return;
  const PeerCall call = *waiting_call_;
  waiting_call_.reset();
  primary_id_ = call.hello.node_id;
  term_ = Term{call.header.epoch, call.hello.incarnation};
  primary_bytes_ = call.hello.volume_bytes;
  session_ = SessionId{};
  link_ = std::make_unique<Link>(io_, pool_, call.socket, *this);
  link_->set_identity(store_.facts().volume, term_.epoch);
  link_->set_memory(store_.payload_memory(), store_.wal().reserve_memory());
  link_->start_after(call.header.sequence);
  receiving_since_ = ticked_at_ = io_.now();
  io_.arm(tick_, timeout_ / 4);
  Welcome welcome;
  welcome.node_id = store_.config().node_id;
  // As large as it will be in a session: see take_growth_back().
  welcome.volume_bytes = std::min(primary_bytes_, store_.config().volume_bytes);
  welcome.wal_bytes = store_.config().wal_bytes;
  welcome.features = call.hello.features & kFeatures;
  link_->send(MessageType::kWelcome, welcome);
}

void Replica::hang_up(const std::string& why) {
  if (waiting_call_) io_.close_socket(std::exchange(waiting_call_, std::nullopt)->socket);
  if (link_ != nullptr) link_->close(why);
}

// --- facts ------------------------------------------------------------------------------------------------

void Replica::on_sync(const MessageHeader& header, std::span<const std::byte> payload) {
  const auto sync = decode_sync(payload);
  if (!sync.has_value()) return refuse(Reason::kProtocolViolation, sync.error().message);
  if (in_session_ && header.session != session_) return refuse_session(header, "sync");
  sync_ = sync.value();
  io_.disarm(sync_deadline_);
  if (sync_->deadline.is_set()) io_.arm(sync_deadline_, sync_->deadline.nanos());
  continue_sync();
}

/// Facts are told when they are facts: flushed. Outside a session that is everything appended.
void Replica::continue_sync() {
  if (!sync_ || link_ == nullptr || cutting_ || history_recorded_.waiting()) return;
  if (store_.failed()) return refuse(Reason::kLocalWalCorrupt, store_.failure());
  Wal& wal = store_.wal();
  const Lsn target = sync_->target.value_or(in_session_ ? Lsn{} : wal.head());
  const Lsn flush = std::min(target, wal.head());
  if (wal.durable() < flush) wal.request_flush(flush);
  if (wal.durable() >= target) send_facts(SyncAckKind::kQuorum);
}

void Replica::on_sync_deadline() {
  if (sync_ && link_ != nullptr && !cutting_) send_facts(SyncAckKind::kTimedOut);
}

void Replica::send_facts(SyncAckKind kind) {
  SyncAck ack;
  ack.sync_id = sync_->sync_id;
  ack.kind = kind;
  ack.epoch = store_.facts().epoch;
  ack.base_usable = store_.base_usable();
  if (ack.base_usable) {
    ack.written = store_.wal().written();
    ack.durable = store_.wal().durable();
    ack.base_limit = store_.base_limit();
  }
  ack.history = store_.facts().history;
  if (in_session_) {
    const bool rebuilding = kind_ == core::SessionKind::kRebuild && rebuild_.active();
    ack.session = ActiveSession{session_, kind_, rebuilding ? rebuild_.phase() : SessionPhase::kRunning};
  }
  sync_.reset();
  io_.disarm(sync_deadline_);
  link_->send(MessageType::kSyncAck, ack);
}

void Replica::refuse(Reason reason, std::string text) {
  link_->send(MessageType::kReject, Reject{reason, store_.facts().epoch, text});
  link_->close_after_sending(std::move(text));
}

/// Of a session that is over, or of none: the one that runs is named.
void Replica::refuse_session(const MessageHeader& header, const char* what) {
  mark(Mark::kSessionRefused);
  std::string text = fmt::format("{} of session {}", what, header.session.value());
  const auto current = in_session_ ? std::optional(session_) : std::nullopt;
  const Reason reason = header.session == SessionId{} ? Reason::kProtocolViolation : Reason::kSuperseded;
  link_->send(MessageType::kReject, Reject{reason, store_.facts().epoch, text, current});
  link_->close_after_sending(std::move(text));
}

bool Replica::check_session(const MessageHeader& header) {
  const bool is_over = header.epoch < store_.facts().epoch && !defect(Defect::kStaleEpoch);
  if (header.epoch != term_.epoch || is_over) {
    mark(Mark::kEpochRefused);
    refuse(Reason::kEpochMismatch, fmt::format("epoch {} is over, the current one is {}", header.epoch.value(),
                                               store_.facts().epoch.value()));
    return false;
  }
  if (header.volume != store_.facts().volume) {
    refuse(Reason::kWrongVolume, "message for another volume");
    return false;
  }
  return true;
}

void Replica::on_message(const MessageHeader& header, std::span<const std::byte> payload) {
  if (!check_session(header)) return;
  if (header.type == MessageType::kReject) {
    const auto reject = decode_reject(payload);
    return link_->close(reject.has_value() ? "refused: " + reject.value().text : reject.error().message);
  }
  if (header.type == MessageType::kSync) return on_sync(header, payload);
  if (header.type == MessageType::kVerify) return on_verify(header, payload);
  if (header.type == MessageType::kGrow) return on_grow(header, payload);
  const bool changing = cutting_ || history_recorded_.waiting() || heir_recorded_.waiting();
  if (header.type != MessageType::kSessionControl || changing) {
    return refuse(Reason::kProtocolViolation, fmt::format("unexpected {} message", to_string(header.type)));
  }
  const auto control = decode_session_control(payload);
  if (!control.has_value()) return refuse(Reason::kProtocolViolation, control.error().message);
  // Blocks that are being read must stay what they are. These two change nothing of them: a primary may leave while its
  // replica is compared.
  const bool keeps_blocks = control.value().kind == ControlKind::kCancelSession || control.value().kind == ControlKind::kBaseComplete;
  if (!keeps_blocks && !verify_.quiet()) return refuse(Reason::kProtocolViolation, "another session while blocks are compared");
  if (control.value().kind == ControlKind::kCancelSession) {
    if (!in_session_ || header.session != session_) return refuse_session(header, "cancel");
    return take_over(control.value());
  }
  if (control.value().kind == ControlKind::kBaseComplete) {
    const auto marked = rebuild_.mark_base_complete(header.session, header.epoch, *control.value().target);
    if (!marked.has_value()) return refuse(marked.error().reason, marked.error().text);
    return send_progress();
  }
  if (control.value().kind == ControlKind::kCutTail && header.session != SessionId{}) {
    return refuse(Reason::kProtocolViolation, "a cut within a session");
  }
  if (control.value().kind != ControlKind::kCutTail && header.session == SessionId{}) {
    return refuse(Reason::kProtocolViolation, "a session without an id");
  }
  // A new session supersedes the one that ran.
  session_ = header.session;
  link_->set_session(session_);
  if (std::exchange(in_session_, false)) listener_.on_replica_session();
  if (control.value().kind == ControlKind::kStartRebuild) return start_rebuild(control.value());
  if (rebuild_.active()) return refuse(Reason::kProtocolViolation, "another kind of session while a rebuild runs");
  on_control(control.value());
}

void Replica::on_control(const SessionControl& control) {
  const Lsn head = store_.wal().head();
  if (control.kind == ControlKind::kCutTail) {
    const Lsn fork = *control.target;
    if (fork > head || fork < store_.base_limit()) return refuse(Reason::kProtocolViolation, fmt::format("cannot cut at Lsn {}", fork.value()));
    // Where the histories part, and nowhere else: an order that was right once, said again, would take records that count.
    const auto parted = core::fork_point({control.history, kLsnMax}, {store_.facts().history, head});
    if (control.history.last()->term != term_ || parted != fork) {
      return refuse(Reason::kProtocolViolation, fmt::format("a cut at Lsn {}, where the histories do not part", fork.value()));
    }
    return cut(fork);
  }
  if (*control.base != head || control.history.empty()) {
    return refuse(Reason::kProtocolViolation,
                  fmt::format("a session from Lsn {} does not continue this log at {}", control.base->value(), head.value()));
  }
  if (!store_.base_usable()) return refuse(Reason::kLocalExtentCorrupt, "the base image is not usable");
  // A term that the caller is not of would outlive it here, and stand in the way of every later primary.
  if (control.history.last()->term != term_) return refuse(Reason::kProtocolViolation, "the history does not end in the caller's term");
  // Every record here must be one of the primary's, else the primary decided on wrong facts.
  const auto fork = core::fork_point({control.history, head}, {store_.facts().history, head});
  if (fork != head) return refuse(Reason::kProtocolViolation, "the primary's history does not contain this copy's records");
  start_session(control);
}

void Replica::session_failed(Reason reason, const std::string& why) {
  // A primary that waits for something here asks again and again.
  RINGBOLT_LOG_LIMITED(kWarn, {.volume = store_.config().name, .peer = primary_id_, .session = session_}, "session {} of {} is refused: {}", session_.value(),
                       primary_id_, why);
  SessionAck ack;
  ack.phase = SessionPhase::kFailed;
  ack.reason = reason;
  link_->send(MessageType::kSessionAck, ack);
}

/// The primary leaves. Told so by one whose every record is here and flushed, this copy may be promoted.
void Replica::take_over(const SessionControl& control) {
  in_session_ = false;
  listener_.on_replica_session();
  if (control.reason != Reason::kHandedOver) return link_->close("the primary ended the session");
  const Lsn head = store_.wal().head();
  // What is stable may be so without this copy: only the primary's own head says what everything is.
  if (*control.target != head || stable_ < head || store_.wal().durable() < head || !store_.base_usable()) {
    return session_failed(Reason::kNotReady, fmt::format("a hand-over at Lsn {} before everything is here and stable, up to {}",
                                                         control.target->value(), head.value()));
  }
  store_.superblock().change().handed_over = head;
  store_.superblock().wait(heir_recorded_);
}

void Replica::on_heir_recorded() {
  if (stopping_) return continue_stop();
  if (link_ == nullptr || link_->closing()) return begin_call();
  SessionAck ack;
  ack.phase = SessionPhase::kCompleted;
  ack.applied = ack.achieved = store_.facts().handed_over;
  log::info({.volume = store_.config().name, .peer = primary_id_, .lsn = store_.facts().handed_over}, "{} has handed over at Lsn {}", primary_id_, store_.facts().handed_over.value());
  link_->send(MessageType::kSessionAck, ack);
}

void Replica::cut(Lsn fork) {
  cutting_ = true;
  store_.cut(fork, [this](const Status& status) {
    cutting_ = false;
    if (stopping_) return continue_stop();
    if (link_ != nullptr && !link_->closing()) {
      if (status.has_value()) {
        continue_sync();
      } else {
        refuse(Reason::kLocalWalCorrupt, status.error().message);
      }
    }
    begin_call();
  });
}

/// The primary's history becomes this copy's before its first record is appended. (Records that it
/// has are a prefix of the primary's: that is what the position and the cut established.)
void Replica::start_session(const SessionControl& control) {
  // All of this log is the primary's, which never had a larger volume: a growth that it knows nothing of came to nothing.
  if (!store_.growing()) store_.take_growth_back(std::min(primary_bytes_, store_.config().volume_bytes));
  starting_ = control;
  kind_ = control.target == control.base ? core::SessionKind::kKeepup : core::SessionKind::kCatchup;
  Superblock& superblock = store_.superblock().change();
  superblock.history = control.history;
  superblock.handed_over = Lsn{};
  superblock.durable = store_.wal().durable();
  superblock.in_sync.clear();
  store_.superblock().wait(history_recorded_);
}

void Replica::on_history_recorded() {
  if (stopping_) return continue_stop();
  if (link_ == nullptr || link_->closing()) return begin_call();
  session_begins(*starting_.base);
}

/// This copy takes the stream after `from`.
void Replica::session_begins(Lsn from) {
  in_session_ = true;
  receiving_since_ = io_.now();
  acked_written_ = acked_durable_ = store_.wal().durable();
  acked_stable_ = Lsn{};
  // What an earlier primary said is no promise of this one: its history may have forked below.
  committed_ = stable_ = flush_to_ = Lsn{};
  SessionAck ack;
  ack.applied = store_.wal().written();
  link_->send(MessageType::kSessionAck, ack);
  listener_.on_replica_session();
  log::info({.volume = store_.config().name, .peer = primary_id_, .session = session_, .epoch = term_.epoch, .lsn = from}, "replica of {} in session {} from Lsn {}, epoch {}", primary_id_, session_.value(),
            from.value(), term_.epoch.value());
  link_->resume();
  continue_sync();
}

// --- a rebuild --------------------------------------------------------------------------------------------

void Replica::start_rebuild(const SessionControl& control) {
  if (control.history.empty() || control.history.last()->term != term_) {
    return refuse(Reason::kProtocolViolation, "the history does not end in the caller's term");
  }
  if (store_.growing()) return session_failed(Reason::kNotReady, "this copy is just being made larger");
  kind_ = core::SessionKind::kRebuild;
  RebuildConfig config;
  config.id = session_;
  config.epoch = term_.epoch;
  config.base = *control.base;
  config.target = *control.target;
  config.snapshot = control.snapshot_id;
  config.deadline = control.deadline.nanos();
  config.history = control.history;
  // The one before it first: its connection's end must not be taken for this one's.
  rebuild_.cancel(Reason::kSuperseded);
  if (bulk_ != nullptr) bulk_->close("superseded by another session");
  RINGBOLT_LOG_LIMITED(kInfo, {.volume = store_.config().name, .peer = primary_id_, .session = session_, .lsn = config.base},
                       "{} rebuilds this copy in session {}, from Lsn {} on", primary_id_, session_.value(), config.base.value());
  const auto started = rebuild_.supersede(config);
  if (!started.has_value()) return session_failed(started.error().reason, started.error().text);
}

void Replica::on_rebuild_running() {
  // Not before the copy is marked: until then it is what it was. What lies behind the volume's end now is zeroed when it grows.
  if (!store_.growing()) store_.take_growth_back(std::min(primary_bytes_, store_.config().volume_bytes));
  listener_.on_replica_session();  // the base image is unusable from here on
  if (stopping_ || link_ == nullptr || link_->closing()) return rebuild_.cancel(Reason::kTransportLost);
  session_begins(rebuild_.config().base);
  io_.arm(progress_, kProgressInterval);
}

bool Replica::take_bulk_call(const PeerCall& call) {
  const bool wanted = in_session_ && link_ != nullptr && !link_->closing() && rebuild_.active() && bulk_ == nullptr && closed_bulk_ == nullptr &&
                      call.header.session == session_ && call.header.epoch == term_.epoch && call.hello.incarnation == term_.incarnation &&
                      call.hello.node_id == primary_id_;
  if (!wanted) return false;
  BaseReceiverOwner& owner = *this;
  bulk_ = std::make_unique<BaseReceiver>(io_, pool_, store_, rebuild_, call, owner);
  return true;
}

void Replica::on_base_applied(uint64_t chunk) {
  if (bulk_ != nullptr) bulk_->on_applied(chunk);
}

void Replica::send_progress() {
  if (!in_session_ || link_ == nullptr || link_->closing() || !rebuild_.active()) return;
  io_.arm(progress_, kProgressInterval);
  SessionAck ack;
  ack.phase = rebuild_.phase();
  ack.applied = store_.wal().written();
  ack.base_blocks_done = rebuild_.blocks_done();
  ack.base_blocks_skipped = rebuild_.blocks_skipped();
  link_->send(MessageType::kSessionAck, ack);
}

void Replica::on_rebuild_completed(Lsn achieved) {
  log::info({.volume = store_.config().name, .peer = primary_id_, .session = session_, .lsn = achieved}, "rebuilt at Lsn {}: {} blocks copied, {} newer in the log already", achieved.value(),
            rebuild_.blocks_done(), rebuild_.blocks_skipped());
  io_.disarm(progress_);
  listener_.on_replica_session();  // the base image is usable again
  if (bulk_ != nullptr) bulk_->close("the rebuild is complete");
  if (!in_session_ || link_ == nullptr || link_->closing()) return;
  SessionAck ack;
  ack.phase = SessionPhase::kCompleted;
  ack.applied = store_.wal().written();
  ack.achieved = achieved;
  ack.base_blocks_done = rebuild_.blocks_done();
  ack.base_blocks_skipped = rebuild_.blocks_skipped();
  link_->send(MessageType::kSessionAck, ack);
  continue_sync();
}

void Replica::on_rebuild_failed(Reason reason, const std::string& text) {
  io_.disarm(progress_);
  if (bulk_ != nullptr) bulk_->close("the rebuild failed");
  if (link_ == nullptr || link_->closing()) return;
  in_session_ = false;
  listener_.on_replica_session();
  session_failed(reason, text);
}

void Replica::on_rebuild_quiet() { io_.defer(destroy_); }

void Replica::on_verify(const MessageHeader& header, std::span<const std::byte> payload) {
  const auto question = decode_verify(payload);
  if (!question.has_value()) return refuse(Reason::kProtocolViolation, question.error().message);
  if (!in_session_ || header.session != session_) return refuse(Reason::kSuperseded, "verify of another session");
  if (!verify_.ask(question.value(), *link_)) refuse(Reason::kProtocolViolation, "verify of blocks that are not there, or of too many at once");
}

/// The session goes on meanwhile.
void Replica::on_grow(const MessageHeader& header, std::span<const std::byte> payload) {
  const auto grow = decode_grow(payload);
  if (!grow.has_value()) return refuse(Reason::kProtocolViolation, grow.error().message);
  if (!in_session_ || header.session != session_) return refuse_session(header, "grow");
  const uint64_t wanted = grow.value().volume_bytes;
  // It may have them by the next session on this connection, and records about them.
  primary_bytes_ = std::max(primary_bytes_, wanted);
  if (wanted <= store_.config().volume_bytes) return send_grow_ack(session_, {});
  if (rebuild_.active()) return send_grow_ack(session_, "it is being rebuilt");
  if (store_.growing()) return send_grow_ack(session_, "it is being made larger already");
  store_.grow(wanted, [this, alive = std::weak_ptr(alive_), session = session_](const Status& status) {
    if (alive.expired()) return;
    send_grow_ack(session, status.has_value() ? std::string() : status.error().message);
  });
}

void Replica::send_grow_ack(SessionId session, std::string problem) {
  if (link_ == nullptr || link_->closing() || !in_session_ || session != session_) return;
  link_->send(MessageType::kGrowAck, GrowAck{store_.config().volume_bytes, std::move(problem)});
}

void Replica::on_base_refused(const Refused& refused) {
  RINGBOLT_LOG_LIMITED(kWarn, {.volume = store_.config().name, .peer = primary_id_, .session = session_}, "the base image from {} is refused: {}", primary_id_, refused.text);
  // From inside the connection: it ends once it is out of its hands.
  rebuild_.cancel(refused.reason);
  on_rebuild_failed(refused.reason, refused.text);
}

void Replica::on_base_receiver_closed(const std::string& reason) {
  closed_bulk_ = std::move(bulk_);
  io_.defer(destroy_);
  if (rebuild_.phase() != SessionPhase::kRunning) return;
  rebuild_.cancel(Reason::kTransportLost);
  on_rebuild_failed(Reason::kTransportLost, fmt::format("the connection for the base image: {}", reason));
}

// --- records ----------------------------------------------------------------------------------------------

void Replica::take_positions(const WalDataFields& fields) {
  committed_ = std::max(committed_, fields.committed);
  stable_ = std::max(stable_, fields.stable);
  flush_to_ = std::max(flush_to_, fields.flush_to);
  apply_stable();
  const Lsn flush = std::min(flush_to_, store_.wal().head());
  if (flush > store_.wal().durable()) store_.request_flush(flush);
}

/// What is stable elsewhere goes into the base image once it is flushed here, too.
void Replica::apply_stable() {
  const Lsn durable = store_.wal().durable();
  store_.set_stable(defect(Defect::kCheckpointBeyondStable) ? durable : std::min(stable_, durable));
}

void Replica::on_positions(const MessageHeader& header, const WalDataFields& fields) {
  if (!check_session(header)) return;
  if (!in_session_ || header.session != session_) return refuse_session(header, "wal_data");
  take_positions(fields);
  // Nothing else may come of it: the answer shows that this end lives and knows.
  ack_due_ = true;
  io_.defer(ack_);
}

const char* Replica::check_frame(const FrameHeader& header, const io::Buffer& frame) const {
  const Store& store = store_;
  if (const char* wrong = header.check(store.facts().volume, store.config().volume_bytes / kBlockBytes)) return wrong;
  if (header.is_pad()) return "pad frame on the wire";
  // Exactly the next record: a gap or a repetition is a mistake of the sender, never skipped over.
  if (header.first_lsn() != store.wal().head().next()) return "records that do not continue the log";
  const auto first_term = store.facts().history.term_at(header.first_lsn());
  const auto last_term = store.facts().history.term_at(header.last_lsn());
  if (first_term != header.term() || last_term != header.term()) return "records of a term that is not in the history";
  if (header.check_payload(frame.data + kBlockBytes)) return "payload checksum mismatch";
  return nullptr;
}

bool Replica::on_frame(const MessageHeader& message, const WalDataFields& fields, io::Buffer& frame) {
  if (!check_session(message)) return false;
  if (!in_session_ || message.session != session_) {
    refuse_session(message, "wal_data");
    return false;
  }
  const FrameHeader header(frame.data);
  const uint64_t promised = uint64_t{fields.data_bytes} / kBlockBytes;
  const char* wrong = header.payload_blocks() != promised ? "frame length mismatch" : check_frame(header, frame);
  if (wrong != nullptr) {
    RINGBOLT_LOG_LIMITED(kWarn, {.volume = store_.config().name, .peer = primary_id_, .session = session_}, "records from {} refused: {}", primary_id_, wrong);
    refuse(Reason::kProtocolViolation, wrong);
    return false;
  }
  // Positions first: they may be what frees the space that the records need.
  take_positions(fields);
  const Wal::Admission admission = store_.append_frame(frame);
  if (admission != Wal::Admission::kOk) {
    mark(Mark::kReplicaWaits);
    if (!store_.failed()) waiting_for_space_ = true;
    if (admission == Wal::Admission::kNoMemory) pool_.wait(memory_);  // nobody announces that
    return false;
  }
  frame = {};
  const Lsn flush = std::min(flush_to_, store_.wal().head());
  if (flush > store_.wal().durable()) store_.request_flush(flush);
  return true;
}

void Replica::on_send_ready(FrameGather&) {}

void Replica::on_positions() {
  // The bits first: from when a record may be checkpointed on, the base lane must not write its blocks.
  rebuild_.wal_applied();
  apply_stable();
  rebuild_.try_complete();
  verify_.on_applied();
  continue_sync();
  if (in_session_ && (store_.wal().written() > acked_written_ || store_.wal().durable() > acked_durable_)) io_.defer(ack_);
  if (draining_) continue_stop();
}

void Replica::send_ack() {
  if (!in_session_ || link_ == nullptr || link_->closing()) return;
  const Wal& wal = store_.wal();
  WalAck ack{wal.written(), wal.durable(), stable_};
  if (defect(Defect::kAckAtReceipt)) ack.written = wal.sealed();
  if (defect(Defect::kDurableIsWritten)) ack.durable = ack.written;
  if (!ack_due_ && ack.written == acked_written_ && ack.durable == acked_durable_ && ack.stable == acked_stable_) return;
  ack_due_ = false;
  acked_written_ = ack.written;
  acked_durable_ = ack.durable;
  acked_stable_ = ack.stable;
  link_->send(MessageType::kWalAck, ack);
}

void Replica::on_space() {
  if (!waiting_for_space_ || link_ == nullptr) return;
  waiting_for_space_ = false;
  receiving_since_ = io_.now();
  link_->resume();
}

void Replica::set_timeout(io::Nanos timeout) {
  timeout_ = timeout;
  // One that was far away may be too late by the new measure.
  if (tick_.armed()) io_.arm(tick_, timeout_ / 4);
}

/// A primary whose host lost power, or that hangs, must not look like a healthy one for ever.
void Replica::on_tick() {
  if (link_ == nullptr || link_->closing()) return;
  io_.arm(tick_, timeout_ / 4);
  const io::Nanos now = io_.now();
  // While this node did not run it heard nobody: that is not the primary's silence.
  if (now - ticked_at_ > timeout_ / 2) receiving_since_ = now;
  ticked_at_ = now;
  const io::Nanos silent = now - std::max(link_->last_heard(), receiving_since_);
  // Before a session, or while this copy cuts its log, the primary waits for what is said here.
  if (in_session_ && !waiting_for_space_ && silent > timeout_) {
    mark(Mark::kPrimarySilent);
    link_->close("the primary is silent");
  }
}

void Replica::on_failed() {
  verify_.on_applied();
  if (link_ != nullptr && !link_->closing()) refuse(Reason::kLocalWalCorrupt, store_.failure());
  if (stopping_) continue_stop();  // what it waits for in the superblock may never come
}

// --- ends -------------------------------------------------------------------------------------------------

void Replica::on_link_closed(const std::string& reason) {
  // A primary may ask again and again for a copy that needs a rebuild, every time with the same end.
  const bool told = !in_session_ && reason == last_ended_;
  last_ended_ = reason;
  if (!reason.empty() && !told) {
    RINGBOLT_LOG_LIMITED(kInfo, {.volume = store_.config().name, .peer = primary_id_, .session = session_}, "connection with primary {} ended: {}", primary_id_, reason);
  }
  io_.disarm(tick_);
  closed_link_ = std::move(link_);
  waiting_for_space_ = false;
  sync_.reset();
  io_.disarm(sync_deadline_);
  io_.disarm(progress_);
  rebuild_.cancel(Reason::kTransportLost);
  verify_.forget();
  if (bulk_ != nullptr) bulk_->close("the session's connection ended");
  if (std::exchange(in_session_, false)) listener_.on_replica_session();
  io_.defer(destroy_);
}

void Replica::destroy_closed_link() {
  closed_link_.reset();
  closed_bulk_.reset();
  if (stopping_) return continue_stop();
  begin_call();
}

void Replica::stop(bool drain, std::function<void()> stopped) {
  RINGBOLT_ASSERT(!stopping_);
  stopping_ = true;
  stopped_ = std::move(stopped);
  draining_ = drain && in_session_ && !rebuild_.active() && !store_.failed();
  if (waiting_call_) {
    io_.close_socket(waiting_call_->socket);
    waiting_call_.reset();
  }
  if (draining_) {
    io_.arm(drain_timeout_, kReplicaDrainTimeout);
    store_.request_flush(store_.wal().head());
  }
  continue_stop();
}

void Replica::on_drain_timeout() {
  draining_ = false;
  continue_stop();
}

void Replica::continue_stop() {
  if (draining_ && in_session_ && !store_.failed() && std::min(stable_, store_.wal().durable()) < store_.wal().head()) return;
  draining_ = false;
  io_.disarm(drain_timeout_);
  if (link_ != nullptr) link_->close("the replica stops");
  if (busy() || !stopped_) return;
  const std::function<void()> stopped = std::move(stopped_);
  stopped_ = nullptr;
  stopped();
}

}  // namespace ringbolt::repl
