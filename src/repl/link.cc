#include "repl/link.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "ringbolt/assert.h"
#include "ringbolt/crc32c.h"

namespace ringbolt::repl {

void FrameGather::add(const WalDataFields& fields, const std::byte* header, const std::byte* data) {
  RINGBOLT_ASSERT(has_room());
  items_[count_++] = Item{.fields = fields, .chunk = std::nullopt, .header = header, .data = data};
  bytes_ += fields.frame_header_bytes + fields.data_bytes;
}

void FrameGather::add_chunk(const SessionDataFields& fields, const std::byte* data) {
  RINGBOLT_ASSERT(has_room() && (data == nullptr) == fields.zeros);
  items_[count_++] = Item{.fields = {}, .chunk = fields, .header = nullptr, .data = data};
  bytes_ += fields.data_bytes();
}

bool LinkListener::on_chunk(const MessageHeader&, const SessionDataFields&, io::Buffer&) {
  RINGBOLT_ASSERT(false);  // this listener's link does not take chunks
  return false;
}

Link::Link(io::Io& io, io::BufferPool& pool, io::Socket socket, LinkListener& listener)
    : io_(io), pool_(pool), socket_(socket), listener_(listener), last_heard_(io.now()), last_sent_(io.now()),
      staging_(std::make_unique<std::byte[]>(kStagingBytes)) {
  scratch_.reserve(kControlBytesMax);
  queued_.reserve(kQueueBytesMax);
  sending_.reserve(kQueueBytesMax);
}

Link::~Link() {
  RINGBOLT_ASSERT(!send_.pending() && !receive_.pending());
  io_.undefer(send_soon_);
  pool_.cancel_wait(memory_);
  release_frame();
  if (!closed_) io_.close_socket(socket_);
}

void Link::start_after(uint64_t sequence) {
  received_sequence_ = sequence;
  receive_more();
}

void Link::set_identity(const Uuid& volume, Epoch epoch) {
  volume_ = volume;
  epoch_ = epoch;
}

// --- sending --------------------------------------------------------------------------------------

void Link::seal_message(MessageType type, uint32_t crc, uint32_t payload_bytes, std::byte* out) {
  MessageHeader header;
  header.type = type;
  header.volume = volume_;
  header.epoch = epoch_;
  header.session = session_;
  header.sequence = ++sent_sequence_;
  header.payload_bytes = payload_bytes;
  header.payload_crc = crc;
  encode_header(header, out);
}

/// Queues the message in scratch_. Its sequence number is given here: queued messages always go out
/// before the frames gathered later.
void Link::queue(MessageType type) {
  RINGBOLT_ASSERT(!gathering_);
  if (queued_.size() + kHeaderBytes + scratch_.size() > kQueueBytesMax) {
    close("the peer does not take its control messages");
    return;
  }
  std::array<std::byte, kHeaderBytes> head{};
  seal_message(type, crc32c(scratch_.data(), scratch_.size()), static_cast<uint32_t>(scratch_.size()), head.data());
  queued_.insert(queued_.end(), head.begin(), head.end());
  queued_.insert(queued_.end(), scratch_.begin(), scratch_.end());
  io_.defer(send_soon_);
}

void Link::send_positions(const WalDataFields& fields) {
  if (closing_) return;
  scratch_.resize(WalDataFields::kBytes);
  encode_fields(fields, scratch_.data());
  queue(MessageType::kWalData);
}

void Link::request_send() {
  if (!closing_) io_.defer(send_soon_);
}

void Link::send_now() {
  if (send_.pending() || closing_) return;
  size_t count = 0;
  const auto add = [&](const std::byte* data, size_t bytes) {
    iov_[count++] = iovec{const_cast<std::byte*>(data), bytes};
  };
  std::swap(queued_, sending_);
  queued_.clear();
  if (!sending_.empty()) add(sending_.data(), sending_.size());
  gather_.count_ = gather_.bytes_ = 0;
  gathering_ = true;
  if (!close_when_sent_) listener_.on_send_ready(gather_);
  gathering_ = false;
  if (closing_) {
    if (!gather_.empty()) listener_.on_sent();
    return;
  }
  frames_in_send_ = !gather_.empty();
  for (size_t i = 0; i < gather_.count_; ++i) {
    const FrameGather::Item& item = gather_.items_[i];
    std::byte* head = frame_heads_[i].data();
    if (item.chunk) {
      const uint32_t data_bytes = item.chunk->data_bytes();
      encode_fields(*item.chunk, head + kHeaderBytes);
      seal_message(MessageType::kSessionData, crc32c(head + kHeaderBytes, SessionDataFields::kBytes), SessionDataFields::kBytes + data_bytes, head);
      add(head, kHeaderBytes + SessionDataFields::kBytes);
      if (data_bytes > 0) add(item.data, data_bytes);
      continue;
    }
    encode_fields(item.fields, head + kHeaderBytes);
    const uint32_t crc = crc32c(item.header, item.fields.frame_header_bytes, crc32c(head + kHeaderBytes, WalDataFields::kBytes));
    seal_message(MessageType::kWalData, crc, WalDataFields::kBytes + item.fields.frame_header_bytes + item.fields.data_bytes, head);
    add(head, kHeaderBytes + WalDataFields::kBytes);
    add(item.header, item.fields.frame_header_bytes);
    if (item.fields.data_bytes > 0) add(item.data, item.fields.data_bytes);
  }
  if (count == 0) return;
  last_sent_ = io_.now();
  io_.send(socket_, {iov_.data(), count}, send_);
}

void Link::on_send_done(int32_t result) {
  if (frames_in_send_) {
    frames_in_send_ = false;
    listener_.on_sent();
  }
  if (result < 0) close(fmt::format("send: {}", std::strerror(-result)));
  if (!closing_ && close_when_sent_ && queued_.empty()) close(close_reason_);
  if (closing_) return finish_if_quiet();
  send_now();
}

// --- receiving ------------------------------------------------------------------------------------

void Link::receive_more() {
  if (closing_ || receive_.pending()) return;
  if (frame_pending_ && frame_ && frame_have_ < data_bytes_ && staged_from_ == staged_to_) {
    // The rest of a frame's data goes directly to its place.
    receiving_frame_ = true;
    io_.receive(socket_, frame_.data + data_offset_ + frame_have_, data_bytes_ - frame_have_, true, receive_);
    return;
  }
  if (staged_from_ > 0) {
    std::memmove(staging_.get(), staging_.get() + staged_from_, staged_to_ - staged_from_);
    staged_to_ -= staged_from_;
    staged_from_ = 0;
  }
  RINGBOLT_ASSERT(staged_to_ < kStagingBytes);
  receiving_frame_ = false;
  io_.receive(socket_, staging_.get() + staged_to_, static_cast<uint32_t>(kStagingBytes - staged_to_), false, receive_);
}

void Link::on_received(int32_t result) {
  if (closing_) return finish_if_quiet();
  if (result <= 0) {
    close(result == 0 ? "the peer closed the connection" : fmt::format("receive: {}", std::strerror(-result)));
    return;
  }
  last_heard_ = io_.now();
  if (receiving_frame_) {
    frame_have_ += static_cast<uint32_t>(result);
    if (frame_have_ < data_bytes_) {
      close("the peer closed the connection within a frame");
      return;
    }
  } else {
    staged_to_ += static_cast<size_t>(result);
  }
  parse();
}

void Link::parse() {
  if (parsing_) return;
  parsing_ = true;
  while (!closing_ && !close_when_sent_ && parse_one()) {
  }
  parsing_ = false;
}

/// Handles one message. False if more bytes, memory or the listener's readiness are needed.
bool Link::parse_one() {
  if (frame_pending_) return offer_frame();
  const std::span<const std::byte> staged(staging_.get() + staged_from_, staged_to_ - staged_from_);
  if (staged.size() < kHeaderBytes) {
    receive_more();
    return false;
  }
  const auto decoded = decode_header(staged);
  if (!decoded.has_value()) {
    close(decoded.error().message);
    return false;
  }
  const MessageHeader& header = decoded.value();
  if (header.sequence != received_sequence_ + 1) {
    close(fmt::format("message {} where {} was due", header.sequence, received_sequence_ + 1));
    return false;
  }
  if (header.type == (takes_chunks_ ? MessageType::kWalData : MessageType::kSessionData)) {
    // Longer than the staging buffer, and nobody here takes it.
    close(takes_chunks_ ? "wal_data on the bulk connection" : "session_data on the log connection");
    return false;
  }
  if (header.type == MessageType::kMeasure) {
    close("measure within a replication connection");  // likewise
    return false;
  }
  if (header.type == MessageType::kWalData) return take_wal_data(header);
  if (header.type == MessageType::kSessionData) return take_session_data(header);
  if (staged.size() < kHeaderBytes + header.payload_bytes) {
    receive_more();
    return false;
  }
  const auto payload = staged.subspan(kHeaderBytes, header.payload_bytes);
  if (crc32c(payload.data(), payload.size()) != header.payload_crc) {
    close("message payload checksum mismatch");
    return false;
  }
  received_sequence_ = header.sequence;
  staged_from_ += kHeaderBytes + header.payload_bytes;
  listener_.on_message(header, payload);
  return true;
}

bool Link::take_wal_data(const MessageHeader& header) {
  const std::span<const std::byte> staged(staging_.get() + staged_from_, staged_to_ - staged_from_);
  const auto body = staged.subspan(kHeaderBytes);
  if (body.size() < WalDataFields::kBytes) {
    if (header.payload_bytes < WalDataFields::kBytes) {
      close("malformed wal_data message");
    } else {
      receive_more();
    }
    return false;
  }
  const auto fields = decode_fields(body.first(std::min<size_t>(body.size(), WalDataFields::kBytes)));
  if (!fields.has_value() || header.payload_bytes != WalDataFields::kBytes + uint64_t{fields.value().frame_header_bytes} +
                                                         fields.value().data_bytes) {
    close("malformed wal_data message");
    return false;
  }
  const uint32_t covered = WalDataFields::kBytes + fields.value().frame_header_bytes;
  if (body.size() < covered) {
    receive_more();
    return false;
  }
  if (crc32c(body.data(), covered) != header.payload_crc) {
    close("wal_data checksum mismatch");
    return false;
  }
  received_sequence_ = header.sequence;
  if (fields.value().frame_header_bytes == 0) {
    staged_from_ += kHeaderBytes + covered;
    listener_.on_positions(header, fields.value());
    return true;
  }
  frame_message_ = header;
  frame_fields_ = fields.value();
  is_chunk_ = false;
  fields_bytes_ = WalDataFields::kBytes;
  frame_header_bytes_ = frame_fields_.frame_header_bytes;
  data_bytes_ = frame_fields_.data_bytes;
  data_offset_ = kBlockBytes;
  frame_have_ = 0;
  frame_pending_ = true;
  return begin_frame();
}

bool Link::take_session_data(const MessageHeader& header) {
  const std::span<const std::byte> staged(staging_.get() + staged_from_, staged_to_ - staged_from_);
  const auto body = staged.subspan(kHeaderBytes);
  if (header.payload_bytes < SessionDataFields::kBytes) {
    close("malformed session_data message");
    return false;
  }
  if (body.size() < SessionDataFields::kBytes) {
    receive_more();
    return false;
  }
  if (crc32c(body.data(), SessionDataFields::kBytes) != header.payload_crc) {
    close("session_data checksum mismatch");
    return false;
  }
  const auto fields = decode_session_data_fields(body.first(SessionDataFields::kBytes));
  if (!fields.has_value() || header.payload_bytes != uint64_t{SessionDataFields::kBytes} + fields.value().data_bytes()) {
    close(fields.has_value() ? "malformed session_data message" : fields.error().message);
    return false;
  }
  received_sequence_ = header.sequence;
  frame_message_ = header;
  chunk_fields_ = fields.value();
  is_chunk_ = true;
  fields_bytes_ = SessionDataFields::kBytes;
  frame_header_bytes_ = 0;
  data_bytes_ = chunk_fields_.data_bytes();
  data_offset_ = 0;
  frame_have_ = 0;
  frame_pending_ = true;
  return begin_frame();
}

bool Link::allocate_frame(uint32_t bytes) {
  frame_ = share_ != nullptr ? share_->allocate(bytes) : pool_.allocate(bytes);
  frame_charged_ = share_ != nullptr ? frame_.bytes : 0;
  if (!frame_ && reserve_ != nullptr) frame_ = reserve_->take(io::BufferReserve::Use::kFrame);
  return static_cast<bool>(frame_);
}

void Link::release_frame() {
  if (!frame_) return;
  if (std::exchange(frame_charged_, 0) != 0) {
    share_->release(frame_);
  } else {
    pool_.release(frame_);
  }
  frame_ = {};
}

/// Moves a frame's header, and what is staged of its data, to a pool buffer.
bool Link::begin_frame() {
  const size_t consumed = kHeaderBytes + fields_bytes_ + frame_header_bytes_;
  if (data_offset_ + data_bytes_ == 0) {  // zeros
    staged_from_ += consumed;
    return true;
  }
  if (!allocate_frame(data_offset_ + data_bytes_)) {
    pool_.wait(memory_);
    return false;
  }
  const std::byte* from = staging_.get() + staged_from_ + kHeaderBytes + fields_bytes_;
  const size_t available = static_cast<size_t>(staging_.get() + staged_to_ - from) - frame_header_bytes_;
  std::memset(frame_.data, 0, data_offset_);
  std::memcpy(frame_.data, from, frame_header_bytes_);
  frame_have_ = static_cast<uint32_t>(std::min<size_t>(available, data_bytes_));
  std::memcpy(frame_.data + data_offset_, from + frame_header_bytes_, frame_have_);
  staged_from_ += consumed + frame_have_;
  return true;
}

bool Link::offer_frame() {
  const bool needs_buffer = data_offset_ + data_bytes_ > 0;
  if (needs_buffer && !frame_ && !begin_frame()) return false;
  if (frame_have_ < data_bytes_) {
    receive_more();
    return false;
  }
  const bool taken = is_chunk_ ? listener_.on_chunk(frame_message_, chunk_fields_, frame_) : listener_.on_frame(frame_message_, frame_fields_, frame_);
  if (!frame_ && frame_charged_ != 0) share_->forgo(std::exchange(frame_charged_, 0));
  if (!taken || closing_) return false;
  RINGBOLT_ASSERT(!frame_);
  frame_pending_ = false;
  return true;
}

void Link::on_memory() { parse(); }

void Link::resume() {
  if (frame_pending_ && !receive_.pending() && !memory_.queued()) parse();
}

// --- ending -----------------------------------------------------------------------------------------

void Link::close(std::string reason) {
  if (closing_) return;
  closing_ = true;
  close_reason_ = std::move(reason);
  pool_.cancel_wait(memory_);
  io_.undefer(send_soon_);
  io_.shutdown(socket_);
  finish_if_quiet();
}

void Link::close_after_sending(std::string reason) {
  if (closing_) return;
  close_reason_ = std::move(reason);
  close_when_sent_ = true;
  if (queued_.empty() && !send_.pending()) close(close_reason_);
}

void Link::finish_if_quiet() {
  if (closed_ || send_.pending() || receive_.pending()) return;
  closed_ = true;
  release_frame();
  io_.close_socket(socket_);
  listener_.on_link_closed(close_reason_);
}

}  // namespace ringbolt::repl
