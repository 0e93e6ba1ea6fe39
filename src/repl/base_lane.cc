#include "repl/base_lane.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "log/log.h"
#include "ringbolt/assert.h"
#include "ringbolt/crc32c.h"

namespace ringbolt::repl {

namespace {

/// Of one read and one message: large enough for any disk, small enough that clients' requests find their turns in between.
constexpr uint32_t kPieceBlocksMax = 64;
/// In a small pool a lane has at most this part.
constexpr uint64_t kPoolShare = 8;
/// What was not used of the rate is not saved up for longer.
constexpr io::Nanos kBurst = 20 * io::kMillisecond;

bool is_zero(const std::byte* data, size_t bytes) {
  // The first word, and every one equal to the one before it.
  uint64_t first;
  std::memcpy(&first, data, sizeof first);
  return first == 0 && std::memcmp(data, data + sizeof first, bytes - sizeof first) == 0;
}

}  // namespace

BaseLane::BaseLane(io::Io& io, io::BufferPool& pool, Store& store, RebuildLimits& limits, const Options& options, BaseLaneOwner& owner)
    : io_(io), pool_(pool), store_(store), limits_(limits), options_(options), owner_(owner),
      piece_blocks_(static_cast<uint32_t>(std::clamp<uint64_t>(limits.chunk_bytes / kBlockBytes, 1, kPieceBlocksMax))),
      window_(std::max<uint64_t>(std::min(limits.chunk_bytes * limits.in_flight, pool.limit_bytes() / kPoolShare) / (uint64_t{piece_blocks_} * kBlockBytes), 1)),
      blocks_total_(store.config().volume_bytes / kBlockBytes) {}

BaseLane::~BaseLane() {
  io_.disarm(tick_);
  io_.disarm(turn_);
  io_.disarm(part_);
  io_.undefer(destroy_);
  pool_.cancel_wait(memory_);
  for (const auto& piece : order_) release(*piece);
}

void BaseLane::release(Piece& piece) {
  if (piece.buffer) pool_.release(std::exchange(piece.buffer, {}));
}

// --- the connection ---------------------------------------------------------------------------------------

void BaseLane::start() {
  progress_at_ = io_.now();
  io_.connect(options_.peer.address, connect_);
  io_.arm(tick_, options_.timeout / 4);
}

void BaseLane::on_connected(int32_t result) {
  if (stopped_) {
    if (result >= 0) io_.close_socket(io::Socket{result});
    if (quiet()) owner_.on_base_lane_quiet();
    return;
  }
  if (result < 0) return fail(Reason::kTransportLost, fmt::format("cannot connect for the base image: {}", std::strerror(-result)));
  LinkListener& listener = *this;
  link_ = std::make_unique<Link>(io_, pool_, io::Socket{result}, listener);
  link_->set_identity(store_.facts().volume, options_.term.epoch);
  link_->set_session(options_.session);
  link_->start();
  Hello hello;
  hello.volume_name = store_.config().name;
  hello.node_id = store_.config().node_id;
  hello.replica_id = options_.peer.id;
  hello.incarnation = options_.term.incarnation;
  hello.volume_bytes = store_.config().volume_bytes;
  hello.channel = Channel::kBulk;
  link_->send(MessageType::kHello, hello);
}

void BaseLane::fail(Reason reason, std::string text) {
  if (failed_ || stopped_) return;
  failed_ = true;
  owner_.on_base_lane_failed(reason, text);
}

void BaseLane::stop() {
  if (stopped_) return;
  stopped_ = true;
  io_.disarm(tick_);
  io_.disarm(turn_);
  io_.disarm(part_);
  pool_.cancel_wait(memory_);
  if (connect_.pending()) io_.cancel(connect_);
  if (link_ != nullptr) link_->close("the rebuild is over");
  if (quiet()) owner_.on_base_lane_quiet();
}

void BaseLane::on_link_closed(const std::string& reason) {
  closed_link_ = std::move(link_);
  io_.defer(destroy_);
  if (!complete_) fail(Reason::kTransportLost, fmt::format("the connection for the base image: {}", reason));
}

void BaseLane::destroy_closed_link() {
  closed_link_.reset();
  if (stopped_ && quiet()) owner_.on_base_lane_quiet();
}

void BaseLane::on_message(const MessageHeader& header, std::span<const std::byte> payload) {
  if (header.type == MessageType::kReject) {
    const auto reject = decode_reject(payload);
    if (!reject.has_value()) return fail(Reason::kProtocolViolation, reject.error().message);
    return fail(reject.value().reason, fmt::format("the base image is refused: {}", reject.value().text));
  }
  if (header.type == MessageType::kWelcome && !welcomed_) {
    const auto welcome = decode_welcome(payload);
    if (!welcome.has_value()) return fail(Reason::kProtocolViolation, welcome.error().message);
    if (welcome.value().node_id != options_.peer.id) {
      return fail(Reason::kWrongVolume, fmt::format("the node there is {}, not {}", welcome.value().node_id, options_.peer.id));
    }
    welcomed_ = true;
    progress_at_ = io_.now();
    begin_part();
    return pump();
  }
  if (header.type == MessageType::kSessionDataAck && welcomed_ && header.session == options_.session) return on_ack(payload);
  fail(Reason::kProtocolViolation, fmt::format("unexpected {} message on the bulk connection", to_string(header.type)));
}

void BaseLane::on_positions(const MessageHeader&, const WalDataFields&) { fail(Reason::kProtocolViolation, "wal_data from a replica"); }

bool BaseLane::on_frame(const MessageHeader&, const WalDataFields&, io::Buffer&) {
  fail(Reason::kProtocolViolation, "wal_data from a replica");
  return false;
}

// --- reading ------------------------------------------------------------------------------------------------

void BaseLane::pump() {
  while (welcomed_ && !pace_.pausing() && !stopped_ && !failed_ && next_.value() < blocks_total_ && order_.size() < window_) {
    const io::Nanos now = io_.now();
    // Of the rate as it is now: one that was raised takes effect at once.
    const io::Nanos turn = std::max(turn_began_ + static_cast<io::Nanos>(turn_bytes_ * uint64_t{io::kSecond} / rate()), limits_.quiet_until());
    if (turn > now) return io_.arm(turn_, turn - now);
    const auto blocks = static_cast<uint32_t>(std::min<uint64_t>(piece_blocks_, blocks_total_ - next_.value()));
    const io::Buffer buffer = pool_.allocate(blocks * kBlockBytes);
    if (!buffer) return pool_.wait(memory_);
    turn_began_ = std::max(turn, now - kBurst);
    turn_bytes_ = uint64_t{blocks} * kBlockBytes;
    if (free_.empty()) free_.push_back(std::make_unique<Piece>());
    order_.push_back(std::move(free_.back()));
    free_.pop_back();
    Piece& piece = *order_.back();
    piece.owner = this;
    piece.buffer = buffer;
    piece.state = Piece::State::kReading;
    piece.fields = {};
    piece.fields.chunk = ++chunks_;
    piece.fields.first = next_;
    piece.fields.blocks = blocks;
    next_ = next_.plus(blocks);
    piece.fields.last = next_.value() == blocks_total_;
    piece.job = {};
    piece.job.first = piece.fields.first;
    piece.job.blocks = blocks;
    piece.job.data = buffer.data;
    piece.job.owner = &piece;
    piece.job.done = [](ReadJob& job, int error) {
      Piece& read = *static_cast<Piece*>(job.owner);
      read.owner->read_done(read, error);
    };
    ++reads_;
    part_bytes_ += uint64_t{blocks} * kBlockBytes;
    store_.read(piece.job);
  }
}

uint64_t BaseLane::rate() const {
  const uint64_t cap = limits_.rate_per_lane();
  return cap == 0 ? pace_.rate() : std::min(cap, pace_.rate());
}

void BaseLane::begin_part() {
  own_began_ = *options_.clients;
  node_began_ = limits_.clients.total();
  part_bytes_ = 0;
  if (pace_.pausing()) limits_.keep_quiet(io_.now() + pace_.part());
  io_.arm(part_, pace_.part());
}

void BaseLane::on_part_over() {
  if (stopped_ || failed_ || complete_) return;
  const auto seen = [](const ClientLoad& now, const ClientLoad& began) {
    return ClientWatch::Seen{.latency = now.latency.since(began.latency), .waited = began.open(), .waiting = now.open()};
  };
  pace_.end_part({.own = seen(*options_.clients, own_began_), .node = seen(limits_.clients.total(), node_began_), .bytes = part_bytes_});
  begin_part();
  pump();
}

void BaseLane::read_done(Piece& piece, int error) {
  --reads_;
  if (stopped_) {
    release(piece);
    if (quiet()) owner_.on_base_lane_quiet();
    return;
  }
  if (error != 0) {
    return fail(Reason::kLocalExtentCorrupt,
                fmt::format("the primary cannot read its blocks {} to {}", piece.fields.first.value(), piece.fields.first.value() + piece.fields.blocks - 1));
  }
  // Whatever was read was logged by now, at the latest.
  piece.fields.read = std::max(store_.wal().head(), Lsn(1));
  newest_ = std::max(newest_, piece.fields.read);
  piece.state = Piece::State::kRead;
  if (is_zero(piece.buffer.data, size_t{piece.fields.blocks} * kBlockBytes)) {
    piece.fields.zeros = true;
    release(piece);
  } else {
    piece.fields.data_crc = crc32c(piece.buffer.data, piece.fields.data_bytes());
  }
  if (link_ != nullptr) link_->request_send();
}

// --- sending ------------------------------------------------------------------------------------------------

void BaseLane::on_send_ready(FrameGather& gather) {
  if (stopped_ || failed_) return;
  for (const auto& piece : order_) {
    if (piece->state == Piece::State::kSending || piece->state == Piece::State::kSent) continue;
    if (piece->state != Piece::State::kRead || !gather.has_room()) return;
    gather.add_chunk(piece->fields, piece->fields.zeros ? nullptr : piece->buffer.data);
    piece->state = Piece::State::kSending;
  }
}

void BaseLane::on_sent() {
  for (const auto& piece : order_) {
    if (piece->state != Piece::State::kSending) continue;
    piece->state = Piece::State::kSent;
    release(*piece);
  }
  if (!stopped_ && !failed_) retire();
}

void BaseLane::on_ack(std::span<const std::byte> payload) {
  const auto ack = decode_session_data_ack(payload);
  if (!ack.has_value()) return fail(Reason::kProtocolViolation, ack.error().message);
  const uint64_t chunk = ack.value().chunk;
  if (order_.empty() || chunk < order_.front()->fields.chunk || chunk > chunks_) {
    return fail(Reason::kProtocolViolation, fmt::format("chunk {} is acknowledged, which is not under way", chunk));
  }
  acknowledged_ = chunk;
  progress_at_ = io_.now();
  retire();
}

/// Gives back the window of what the replica has dealt with. An acknowledgement may come before our own send has ended.
void BaseLane::retire() {
  while (!order_.empty() && order_.front()->fields.chunk <= acknowledged_) {
    Piece& piece = *order_.front();
    if (piece.state == Piece::State::kSending) return;
    if (piece.state != Piece::State::kSent) {
      return fail(Reason::kProtocolViolation, fmt::format("chunk {} is acknowledged before it was sent", piece.fields.chunk));
    }
    blocks_acknowledged_ += piece.fields.blocks;
    free_.push_back(std::move(order_.front()));
    order_.pop_front();
  }
  if (next_.value() == blocks_total_ && order_.empty() && !complete_) {
    complete_ = true;
    io_.disarm(tick_);
    return owner_.on_base_sent();
  }
  pump();
}

/// A connection that hangs is as good as none.
void BaseLane::on_tick() {
  io_.arm(tick_, options_.timeout / 4);
  const io::Nanos now = io_.now();
  // Nothing is owed while nothing was sent: the rate or the memory is what is waited for.
  if (welcomed_ && order_.empty()) progress_at_ = now;
  if (now - progress_at_ > options_.timeout) fail(Reason::kProgressStalled, "the replica takes nothing of the base image");
}

}  // namespace ringbolt::repl
