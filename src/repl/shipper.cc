#include "repl/shipper.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "log/log.h"
#include "ringbolt/assert.h"

namespace ringbolt::repl {

namespace {
/// How long a replica may be behind in knowing the committed position of an idle volume.
constexpr io::Nanos kPositionsDelay = 5 * io::kMillisecond;
}  // namespace

Shipper::Shipper(io::Io& io, io::BufferPool& pool, Store& store, ShipperOwner& owner, PeerAddress peer, const Timing& timing,
                 uint64_t jitter_seed)
    : io_(io), pool_(pool), store_(store), owner_(owner), peer_(std::move(peer)), timing_(timing), jitter_(jitter_seed | 1),
      slice_(std::make_unique<std::byte[]>(kBlockBytes)) {}

Shipper::~Shipper() {
  RINGBOLT_ASSERT(!connect_.pending() && !read_.pending());
  io_.disarm(retry_);
  io_.disarm(tick_);
  io_.disarm(positions_);
  io_.undefer(destroy_);
  io_.undefer(pin_lost_);
  io_.undefer(end_session_);
  pool_.cancel_wait(memory_);
  if (read_buffer_) pool_.release(read_buffer_);
}

// --- connecting ---------------------------------------------------------------------------------------

void Shipper::start() { connect(); }

void Shipper::connect() {
  if (phase_ != Phase::kWaiting) return;
  if (link_ != nullptr || closed_link_ != nullptr || connect_.pending() || read_.pending()) {
    // The old connection is still ending.
    io_.arm(retry_, timing_.retry_min);
    return;
  }
  phase_ = Phase::kConnecting;
  asked_at_ = io_.now();
  ticked_at_ = asked_at_;
  io_.connect(peer_.address, connect_);
  io_.arm(tick_, timing_.heartbeat);
}

void Shipper::on_connected(int32_t result) {
  if (phase_ == Phase::kStopped) {
    if (result >= 0) io_.close_socket(io::Socket{result});
    return finish_stop();
  }
  if (result < 0) return retry_later(fmt::format("cannot connect: {}", std::strerror(-result)));
  link_ = std::make_unique<Link>(io_, pool_, io::Socket{result}, *this);
  link_->set_identity(store_.facts().volume, owner_.term().epoch);
  link_->start();
  ask();
}

void Shipper::ask() {
  phase_ = Phase::kAsking;
  asked_at_ = io_.now();
  Hello hello;
  hello.volume_name = store_.config().name;
  hello.node_id = store_.config().node_id;
  hello.replica_id = peer_.id;
  hello.incarnation = owner_.term().incarnation;
  hello.volume_bytes = store_.config().volume_bytes;
  link_->send(MessageType::kHello, hello);
  owner_.on_replica_changed(*this);
}

void Shipper::retry_later(std::string reason) {
  if (!reason.empty() && reason != last_logged_) {
    log::info("volume {}: replica {} at {}: {}", store_.config().name, peer_.id, peer_.address, reason);
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

void Shipper::close_link(std::string reason) {
  if (link_ != nullptr) link_->close(std::move(reason));
}

void Shipper::on_link_closed(const std::string& reason) {
  // From inside the link: it is destroyed at the end of the turn.
  closed_link_ = std::move(link_);
  io_.defer(destroy_);
  drop_read();
  if (phase_ == Phase::kStopped) return;
  retry_later(reason);
}

void Shipper::destroy_closed_link() {
  closed_link_.reset();
  if (phase_ == Phase::kStopped) finish_stop();
}

void Shipper::on_pin_lost() { close_link("pin_lost: the records that it needs are no longer in the WAL"); }

void Shipper::on_session_over() {
  if (shipping()) close_link("it does not acknowledge in time");
}

void Shipper::stop(std::function<void()> stopped) {
  stopped_ = std::move(stopped);
  phase_ = Phase::kStopped;
  io_.disarm(retry_);
  io_.disarm(tick_);
  io_.disarm(positions_);
  pool_.cancel_wait(memory_);
  if (connect_.pending()) io_.cancel(connect_);
  close_link("the primary stops");
  finish_stop();
}

void Shipper::finish_stop() {
  if (link_ != nullptr || closed_link_ != nullptr || connect_.pending() || read_.pending() || !stopped_) return;
  const std::function<void()> stopped = std::move(stopped_);
  stopped_ = nullptr;
  stopped();
}

// --- facts, decision, session -------------------------------------------------------------------------

void Shipper::on_message(const MessageHeader& header, std::span<const std::byte> payload) {
  unanswered_ = false;
  if (header.type == MessageType::kReject) return on_reject(header, payload);
  // Addresses are used again: what another volume's copy says of its epochs is nothing to this one.
  if (header.volume != store_.facts().volume) return close_link("the peer speaks of another volume");
  if (header.epoch > owner_.term().epoch) {
    owner_.on_fenced(header.epoch, peer_.id);
    return close_link("the peer knows a higher epoch");
  }
  if (header.type == MessageType::kFacts && (phase_ == Phase::kAsking || phase_ == Phase::kCutting)) return on_facts(payload);
  const bool of_session = header.session == session_ && (phase_ == Phase::kStarting || phase_ == Phase::kShipping);
  if (header.type == MessageType::kOldSessionAck && of_session) {
    const auto ack = decode_old_session_ack(payload);
    if (!ack.has_value()) return close_link(ack.error().message);
    if (ack.value().phase == OldSessionPhase::kFailed) {
      return close_link(fmt::format("the replica ended the session: {}", to_string(ack.value().reason)));
    }
    if (phase_ == Phase::kStarting) {
      phase_ = Phase::kShipping;
      retry_delay_ = 0;
      last_logged_.clear();
      reason_.clear();
      log::info("volume {}: replica {} in session {} from Lsn {}", store_.config().name, peer_.id, session_.value(),
                session_base_.value());
      owner_.on_replica_changed(*this);
      pump();
    }
    return;
  }
  if (header.type == MessageType::kWalAck && of_session) return on_ack(payload);
  close_link(fmt::format("unexpected message of type {}", static_cast<int>(header.type)));
}

void Shipper::on_facts(std::span<const std::byte> payload) {
  const auto facts = decode_facts(payload);
  if (!facts.has_value()) return close_link(facts.error().message);
  // Identity is what the peer says of itself, never its address.
  if (facts.value().node_id != peer_.id) {
    return close_link(fmt::format("the node there is {}, not {}", facts.value().node_id, peer_.id));
  }
  if (facts.value().volume_bytes != store_.config().volume_bytes) {
    return close_link(fmt::format("its copy has {} bytes, the volume {}", facts.value().volume_bytes, store_.config().volume_bytes));
  }
  wal_bytes_ = facts.value().wal_bytes;
  if (const auto last = facts.value().history.last(); last && last->term > owner_.term()) {
    // A copy of this node's data runs somewhere, too, or a later primary wrote: this one must not go on.
    owner_.on_fenced(last->term.epoch, peer_.id);
    return close_link(fmt::format("the replica has records of incarnation {} of epoch {}", last->term.incarnation.value(),
                                  last->term.epoch.value()));
  }
  decide(facts.value());
}

void Shipper::decide(const Facts& facts) {
  const core::ReplicaFacts replica{facts.base_usable, facts.position, facts.checkpoint, facts.history};
  const core::PrimaryFacts primary{store_.wal().tail(), store_.wal().head(), store_.facts().base_seeded, store_.facts().history};
  const core::RecoveryDecision decision = core::decide_recovery(replica, primary);
  switch (decision.kind) {
    case core::RecoveryKind::kKeepup:
    case core::RecoveryKind::kCatchup:
      return start_session(decision.position);
    case core::RecoveryKind::kCutTail: {
      log::info("volume {}: replica {} is at Lsn {}, cuts its log after {}: {}", store_.config().name, peer_.id,
                facts.position.value(), decision.position.value(), decision.reason);
      phase_ = Phase::kCutting;
      asked_at_ = io_.now();
      link_->send(MessageType::kOldSessionControl, OldSessionControl{OldControlKind::kCutTail, decision.position, store_.facts().history});
      return owner_.on_replica_changed(*this);
    }
    case core::RecoveryKind::kRebuild:
      return needs_rebuild(decision.reason);
  }
}

void Shipper::start_session(Lsn position) {
  session_ = owner_.next_session();
  session_base_ = position;
  next_ = position.next();
  written_ = durable_ = position;
  confirmed_stable_ = Lsn{};
  reached_head_ = false;
  rebuild_needed_ = false;
  told_committed_ = told_stable_ = told_flush_ = Lsn{};
  phase_ = Phase::kStarting;
  asked_at_ = io_.now();
  link_->set_session(session_);
  link_->send(MessageType::kOldSessionControl, OldSessionControl{OldControlKind::kStart, position, store_.facts().history});
  owner_.on_replica_changed(*this);
}

/// Stays connected and keeps asking: the facts may change (a rebuild, a new disk).
void Shipper::needs_rebuild(std::string reason) {
  if (reason != last_logged_) {
    log::warn("volume {}: replica {} needs a rebuild: {}", store_.config().name, peer_.id, reason);
    last_logged_ = reason;
  }
  reason_ = std::move(reason);
  phase_ = Phase::kNeedsRebuild;
  rebuild_needed_ = true;
  asked_at_ = io_.now();
  session_ = SessionId{};
  link_->set_session(session_);
  owner_.on_replica_changed(*this);
}

void Shipper::on_reject(const MessageHeader& header, std::span<const std::byte> payload) {
  const auto reject = decode_reject(payload);
  if (!reject.has_value()) return close_link(reject.error().message);
  const Epoch known = std::max(header.epoch, reject.value().epoch);
  // Of the same epoch, too: it is another's, or another opening's, and that one is acknowledged to.
  const bool of_this_volume = header.volume == store_.facts().volume;
  if (of_this_volume && reject.value().reason == Reason::kEpochMismatch && known >= owner_.term().epoch) owner_.on_fenced(known, peer_.id);
  close_link(fmt::format("refused: {} ({})", reject.value().text, to_string(reject.value().reason)));
}

void Shipper::on_ack(std::span<const std::byte> payload) {
  const auto ack = decode_wal_ack(payload);
  if (!ack.has_value()) return close_link(ack.error().message);
  // Positions only grow within a session and never pass what was sent.
  if (ack.value().written < written_ || ack.value().durable < durable_ || ack.value().written >= next_) {
    return close_link("acknowledgement of an impossible position");
  }
  written_ = ack.value().written;
  durable_ = ack.value().durable;
  confirmed_stable_ = std::max(confirmed_stable_, ack.value().stable);
  owner_.on_replica_changed(*this);
}

void Shipper::on_positions(const MessageHeader&, const WalDataFields&) { close_link("wal_data from a replica"); }

bool Shipper::on_frame(const MessageHeader&, const WalDataFields&, io::Buffer&) {
  close_link("wal_data from a replica");
  return false;
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
    if (read_ready_) {
      if (!gather_from_read(gather)) break;
      continue;
    }
    if (next_ <= store_.wal().sealed() && store_.wal().find_place(next_)) read_frame();
    if (next_ < store_.wal().tail()) {
      // Its part of the WAL was needed: it loses catch-up, nobody waits for it.
      io_.defer(pin_lost_);
    }
    break;
  }
  if (gather.empty()) return;
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
  next_ = frame.last().next();
  return true;
}

void Shipper::read_frame() {
  if (!shipping() || read_.pending() || read_ready_ || read_in_send_ || memory_.queued()) return;
  const auto place = store_.wal().find_place(next_);
  if (!place) return link_->request_send();
  if (!read_buffer_) read_buffer_ = pool_.allocate(place->blocks * kBlockBytes);
  if (read_buffer_ && read_buffer_.bytes < place->blocks * kBlockBytes) {
    pool_.release(read_buffer_);
    read_buffer_ = pool_.allocate(place->blocks * kBlockBytes);
  }
  if (!read_buffer_) {
    pool_.wait(memory_);
    return;
  }
  read_place_ = *place;
  io_.read(store_.wal().geometry().file, read_buffer_.data, place->blocks * kBlockBytes,
           store_.wal().device_block(place->position) * kBlockBytes, read_);
}

void Shipper::on_frame_read(int32_t result) {
  if (phase_ == Phase::kStopped) return finish_stop();
  if (!shipping()) return;
  if (result < 0) {
    log::error("volume {}: reading the WAL for replica {}: {}", store_.config().name, peer_.id, std::strerror(-result));
    return close_link("the primary cannot read its WAL");
  }
  // The place may have been given up and written again while it was read.
  const auto place = store_.wal().find_place(next_);
  if (!place || place->position != read_place_.position) return link_->request_send();
  const FrameHeader header(read_buffer_.data);
  const char* wrong = header.check(store_.wal().geometry().volume, store_.wal().geometry().volume_blocks);
  if (wrong == nullptr && (header.first_lsn() != place->first || header.total_blocks() != place->blocks)) wrong = "another frame";
  if (wrong == nullptr && header.check_payload(read_buffer_.data + kBlockBytes)) wrong = "payload checksum mismatch";
  if (wrong != nullptr) {
    log::error("volume {}: the WAL is damaged at byte {}: {}", store_.config().name,
               store_.wal().device_block(place->position) * kBlockBytes, wrong);
    return close_link("the primary's WAL is damaged");
  }
  read_place_ = *place;
  read_ready_ = true;
  link_->request_send();
}

bool Shipper::gather_from_read(FrameGather& gather) {
  const FrameHeader header(read_buffer_.data);
  if (next_ < read_place_.first || next_ > read_place_.live_last) {
    read_ready_ = false;  // the cursor moved elsewhere meanwhile
    return true;
  }
  if (slice_in_send_) return false;
  const auto slice = header.slice(next_, read_place_.live_last, slice_.get());
  slice_in_send_ = true;
  WalDataFields f = fields();
  f.frame_header_bytes = FrameHeader(slice_.get()).used_bytes();
  f.data_bytes = slice.blocks * kBlockBytes;
  gather.add(f, slice_.get(), read_buffer_.data + kBlockBytes + size_t{slice.first_block} * kBlockBytes);
  read_ready_ = false;
  read_in_send_ = true;
  next_ = read_place_.live_last.next();
  return true;
}

void Shipper::on_sent() {
  if (!reached_head_ && shipping() && next_ > store_.wal().sealed()) {
    reached_head_ = true;
    owner_.on_replica_changed(*this);
  }
  for (size_t i = 0; i < pinned_size_; ++i) store_.wal().unpin(*pinned_[i]);
  pinned_size_ = 0;
  read_in_send_ = false;
  slice_in_send_ = false;
}

/// The link is gone: what was read for it is not needed.
void Shipper::drop_read() {
  read_ready_ = false;
  pool_.cancel_wait(memory_);
  if (!read_.pending() && read_buffer_) {
    pool_.release(read_buffer_);
    read_buffer_ = {};
  }
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
  const bool answer_due = phase_ == Phase::kAsking || phase_ == Phase::kCutting || phase_ == Phase::kStarting ||
                          (phase_ == Phase::kShipping && unanswered_);
  if (answer_due && now - std::max(link_->last_heard(), asked_at_) > timing_.timeout) {
    return close_link("the replica does not answer");
  }
  if (phase_ == Phase::kNeedsRebuild && now - asked_at_ > timing_.retry_max) return close_link("");  // to ask for fresh facts
  if (phase_ == Phase::kShipping && now - link_->last_sent() >= timing_.heartbeat && !link_->sending()) {
    unanswered_ = true;
    link_->send_positions(fields());
  }
}

}  // namespace ringbolt::repl
