// Bodies of RawPeer.
#include "raw_peer.h"

#include <algorithm>
#include <cstring>

#include "ringbolt/assert.h"
#include "ringbolt/crc32c.h"

namespace ringbolt::sim {

RawPeer::RawPeer(io::SimWorld& world, io::SimNode& node) : world_(world), io_(node.create_io()) {}

RawPeer::~RawPeer() = default;

bool RawPeer::call(const std::string& address) {
  connected_.reset();
  io_->connect(address, connect_);
  world_.run_until([&] { return connected_.has_value(); }, 10 * io::kSecond);
  if (!connected_ || *connected_ < 0) return false;
  adopt(io::Socket{*connected_});
  return true;
}

bool RawPeer::answer(const std::string& address, io::Nanos limit) {
  if (!listener_.is_open()) listener_ = io_->listen(address).value();
  connected_.reset();
  if (!connect_.pending()) io_->accept(listener_, connect_);
  world_.run_until([&] { return connected_.has_value(); }, limit);
  if (!connected_ || *connected_ < 0) return false;
  adopt(io::Socket{*connected_});
  return true;
}

void RawPeer::adopt(io::Socket socket) {
  RINGBOLT_ASSERT(!socket_.is_open() || ended_);
  if (socket_.is_open()) io_->close_socket(socket_);
  socket_ = socket;
  ended_ = false;
  sequence = 0;
  stream_.clear();
  messages_.clear();
  to_send_.clear();
  receive_more();
}

void RawPeer::hang_up() {
  io_->shutdown(socket_);
  world_.run_until([&] { return ended_ && !send_.pending(); }, io::kSecond);
}

void RawPeer::on_connected(int32_t result) { connected_ = result; }

void RawPeer::receive_more() {
  io_->receive(socket_, received_.data(), static_cast<uint32_t>(received_.size()), false, receive_);
}

void RawPeer::on_received(int32_t result) {
  if (result <= 0) {
    ended_ = true;
    return;
  }
  stream_.insert(stream_.end(), received_.begin(), received_.begin() + result);
  while (stream_.size() >= repl::kHeaderBytes) {
    const auto header = repl::decode_header(stream_);
    RINGBOLT_ASSERT(header.has_value());
    const size_t bytes = repl::kHeaderBytes + header.value().payload_bytes;
    if (stream_.size() < bytes) break;
    messages_.push_back(
        {header.value(),
         {stream_.begin() + repl::kHeaderBytes, stream_.begin() + static_cast<ptrdiff_t>(bytes)}});
    stream_.erase(stream_.begin(), stream_.begin() + static_cast<ptrdiff_t>(bytes));
  }
  receive_more();
}

bool RawPeer::answer_beside(RawPeer& first, io::Nanos limit) {
  first.connected_.reset();
  if (!first.connect_.pending()) first.io_->accept(first.listener_, first.connect_);
  world_.run_until([&] { return first.connected_.has_value(); }, limit);
  if (!first.connected_ || *first.connected_ < 0) return false;
  adopt(io::Socket{*first.connected_});
  return true;
}

void RawPeer::send_payload(repl::MessageType type, const std::vector<std::byte>& payload) {
  send_bytes(make_message(type, payload));
}

std::vector<std::byte> RawPeer::chunk_payload(repl::SessionDataFields fields,
                                              const std::vector<std::byte>& data, bool damage) {
  fields.data_crc = fields.zeros ? 0 : crc32c(data.data(), data.size()) ^ (damage ? 1u : 0u);
  std::vector<std::byte> payload(repl::SessionDataFields::kBytes);
  repl::encode_fields(fields, payload.data());
  payload.insert(payload.end(), data.begin(), data.end());
  return payload;
}

void RawPeer::send_chunk(repl::SessionDataFields fields, const std::vector<std::byte>& data,
                         bool damage) {
  send_payload(repl::MessageType::kSessionData, chunk_payload(fields, data, damage));
}

std::vector<std::byte> RawPeer::make_message(repl::MessageType type,
                                             const std::vector<std::byte>& payload) {
  repl::MessageHeader header;
  header.type = type;
  header.volume = volume;
  header.epoch = epoch;
  header.session = session;
  header.sequence = ++sequence;
  header.payload_bytes = static_cast<uint32_t>(payload.size());
  size_t covered = payload.size();
  if (type == repl::MessageType::kWalData && covered >= repl::WalDataFields::kBytes) {
    uint32_t frame_header = 0;
    std::memcpy(&frame_header, payload.data() + 32, sizeof frame_header);
    covered = std::min<size_t>(covered, repl::WalDataFields::kBytes + size_t{frame_header});
  }
  if (type == repl::MessageType::kSessionData) {
    covered = std::min<size_t>(covered, repl::SessionDataFields::kBytes);
  }
  header.payload_crc = crc32c(payload.data(), covered);
  std::vector<std::byte> bytes(repl::kHeaderBytes);
  repl::encode_header(header, bytes.data());
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  return bytes;
}

void RawPeer::send_record(Term term, Lsn lsn, Lba lba, int fill,
                          const repl::WalDataFields& positions, bool damage_payload) {
  std::vector<std::byte> frame(2 * kBlockBytes);
  FrameHeader header(frame.data());
  header.begin(volume, term, lsn);
  std::memset(frame.data() + kBlockBytes, fill, kBlockBytes);
  header.add_record(RecordKind::kWrite, lba, 1);
  const uint32_t crc = crc32c(frame.data() + kBlockBytes, kBlockBytes);
  header.place_block_crcs({&crc, 1});
  header.seal(0, Lsn{});
  if (damage_payload) frame.back() ^= std::byte{1};
  repl::WalDataFields fields = positions;
  fields.frame_header_bytes = header.used_bytes();
  fields.data_bytes = kBlockBytes;
  std::vector<std::byte> payload(repl::WalDataFields::kBytes);
  repl::encode_fields(fields, payload.data());
  payload.insert(payload.end(), frame.begin(), frame.begin() + header.used_bytes());
  payload.insert(payload.end(), frame.begin() + kBlockBytes, frame.end());
  send_payload(repl::MessageType::kWalData, payload);
}

void RawPeer::send_positions(const repl::WalDataFields& positions) {
  std::vector<std::byte> payload(repl::WalDataFields::kBytes);
  repl::encode_fields(positions, payload.data());
  send_payload(repl::MessageType::kWalData, payload);
}

void RawPeer::send_bytes(const std::vector<std::byte>& bytes) {
  to_send_.push_back(bytes);
  if (!send_.pending()) send_next();
}

void RawPeer::send_next() {
  if (to_send_.empty() || ended_) return;
  iov_ = iovec{to_send_.front().data(), to_send_.front().size()};
  io_->send(socket_, {&iov_, 1}, send_);
}

void RawPeer::on_sent(int32_t) {
  to_send_.pop_front();
  send_next();
}

std::optional<RawPeer::Message> RawPeer::expect(repl::MessageType type, io::Nanos limit) {
  return expect_any({type}, limit);
}

std::optional<RawPeer::Message> RawPeer::expect_any(const std::vector<repl::MessageType>& types,
                                                    io::Nanos limit) {
  const auto wanted = [&] {
    return std::find(types.begin(), types.end(), messages_.front().header.type) != types.end();
  };
  const auto there = [&] {
    while (!messages_.empty() && !wanted()) {
      // A reject is kept for reject().
      if (messages_.front().header.type == repl::MessageType::kReject) return true;
      messages_.pop_front();
    }
    return !messages_.empty() || ended_;
  };
  world_.run_until(there, limit);
  if (messages_.empty() || !wanted()) return std::nullopt;
  Message message = std::move(messages_.front());
  messages_.pop_front();
  return message;
}

bool RawPeer::wait_ended(io::Nanos limit) {
  return world_.run_until([&] { return ended_; }, limit);
}

std::optional<repl::Reject> RawPeer::reject() {
  const auto message = expect(repl::MessageType::kReject, 5 * io::kSecond);
  if (!message) return std::nullopt;
  const auto decoded = repl::decode_reject(message->payload);
  if (!decoded.has_value()) return std::nullopt;
  return decoded.value();
}

}  // namespace ringbolt::sim
