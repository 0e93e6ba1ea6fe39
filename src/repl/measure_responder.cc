#include "repl/measure_responder.h"

#include <algorithm>
#include <array>
#include <string>

#include "log/log.h"
#include "ringbolt/assert.h"
#include "ringbolt/crc32c.h"

namespace ringbolt::repl {

/// One caller: a message is received piece by piece, then answered, then the next one is looked at.
struct MeasureResponder::Call {
  static constexpr uint32_t kBufferBytes = 64u << 10;

  Call(MeasureResponder& responder, io::Socket call, const MessageHeader& first)
      : owner(&responder), socket(call), header(first), left(first.payload_bytes), in_message(true), buffer(std::make_unique<std::byte[]>(kBufferBytes)) {}
  ~Call() {
    RINGBOLT_ASSERT(!receive.pending() && !send.pending());
    owner->io_.disarm(message_deadline);
    owner->io_.disarm(call_deadline);
    owner->io_.close_socket(socket);
  }

  void start() {
    owner->io_.arm(call_deadline, kCallTime);
    owner->io_.arm(message_deadline, kMessageTime);
    go_on();
  }

  /// Goes through what has been received, until something has to be waited for.
  void go_on() {
    if (gone) return finish();
    if (!in_message && !begin_message()) return;
    const auto part = std::min(left, have - at);
    crc = crc32c(buffer.get() + at, part, crc);
    left -= part;
    at += part;
    if (left > 0) return receive_more();
    if (crc != header.payload_crc) return end("measure message checksum mismatch");
    answer();
  }

  /// False: it is not all there, or it is no message.
  bool begin_message() {
    if (have - at < kHeaderBytes) {
      receive_more();
      return false;
    }
    const auto decoded = decode_header({buffer.get() + at, kHeaderBytes});
    if (!decoded.has_value() || decoded.value().type != MessageType::kMeasure || decoded.value().sequence != header.sequence + 1) {
      end(decoded.has_value() ? "not the next measure message" : decoded.error().message);
      return false;
    }
    header = decoded.value();
    at += kHeaderBytes;
    left = header.payload_bytes;
    crc = 0;
    in_message = true;
    return true;
  }

  void receive_more() {
    std::copy(buffer.get() + at, buffer.get() + have, buffer.get());  // at most a part of a header
    have -= at;
    at = 0;
    owner->io_.receive(socket, buffer.get() + have, kBufferBytes - have, false, receive);
  }

  void on_received(int32_t result) {
    if (gone || result <= 0) return end({});
    have += static_cast<uint32_t>(result);
    go_on();
  }

  void answer() {
    in_message = false;
    MessageHeader ack;
    ack.type = MessageType::kMeasureAck;
    ack.version = kVersionMin;
    ack.sequence = header.sequence;
    encode_header(ack, ack_bytes.data());
    ack_iov = {ack_bytes.data(), ack_bytes.size()};
    owner->io_.send(socket, {&ack_iov, 1}, send);
  }

  void on_sent(int32_t result) {
    if (gone || result < 0) return end({});
    owner->io_.arm(message_deadline, kMessageTime);
    go_on();
  }

  void on_message_deadline() { end("no measure message in time"); }
  void on_call_deadline() { end("it has measured for long enough"); }

  void end(const std::string& why) {
    if (!why.empty() && !gone) RINGBOLT_LOG_LIMITED(kWarn, "replication: a caller that measures is dropped: {}", why);
    if (!gone) owner->io_.shutdown(socket);
    gone = true;
    finish();
  }

  void finish() {
    if (receive.pending() || send.pending() || done) return;
    done = true;
    owner->io_.defer(owner->remove_);
  }

  MeasureResponder* owner;
  io::Socket socket;
  MessageHeader header;         // of the present message, or the last one
  uint32_t left;                // of its payload
  bool in_message;
  bool gone = false;            // ends as soon as nothing is pending
  bool done = false;
  uint32_t crc = 0;
  uint32_t at = 0, have = 0;    // what was looked at and what was received, in the buffer
  std::unique_ptr<std::byte[]> buffer;
  std::array<std::byte, kHeaderBytes> ack_bytes{};
  iovec ack_iov{};
  io::Op<&Call::on_received> receive{*this};
  io::Op<&Call::on_sent> send{*this};
  io::TimerOf<&Call::on_message_deadline> message_deadline{*this};
  io::TimerOf<&Call::on_call_deadline> call_deadline{*this};
};

MeasureResponder::MeasureResponder(io::Io& io) : io_(io) {}

MeasureResponder::~MeasureResponder() {
  io_.undefer(remove_);
  calls_.clear();
}

void MeasureResponder::take(io::Socket socket, const MessageHeader& first) {
  RINGBOLT_ASSERT(first.type == MessageType::kMeasure && first.sequence == 1);
  if (stopping_ || calls_.size() >= kCallersMax) {
    io_.close_socket(socket);
    return;
  }
  calls_.push_back(std::make_unique<Call>(*this, socket, first));
  calls_.back()->start();
}

void MeasureResponder::stop(std::function<void()> stopped) {
  stopping_ = true;
  stopped_ = std::move(stopped);
  for (const auto& call : calls_) call->end({});
  remove_gone();
}

void MeasureResponder::remove_gone() {
  std::erase_if(calls_, [](const std::unique_ptr<Call>& call) { return call->done; });
  if (!calls_.empty() || !stopped_) return;
  const std::function<void()> stopped = std::move(stopped_);
  stopped_ = nullptr;
  stopped();
}

}  // namespace ringbolt::repl
