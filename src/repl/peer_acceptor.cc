#include "repl/peer_acceptor.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "log/log.h"
#include "ringbolt/assert.h"
#include "ringbolt/crc32c.h"

namespace ringbolt::repl {

/// One connection until its hello is complete. Exactly the hello is read, so that the socket can be
/// handed to another shard with nothing left over.
struct PeerAcceptor::Caller {
  Caller(PeerAcceptor& acceptor, io::Socket accepted) : owner(&acceptor), socket(accepted) {}
  ~Caller() {
    RINGBOLT_ASSERT(!receive.pending());
    owner->io_.disarm(deadline);
    if (socket.is_open()) owner->io_.close_socket(socket);
  }

  void start() {
    owner->io_.arm(deadline, kHelloTimeout);
    owner->io_.receive(socket, bytes.data(), kHeaderBytes, true, receive);
  }

  void on_received(int32_t result) {
    if (gone) return finish();
    const uint32_t wanted = has_header ? call.header.payload_bytes : static_cast<uint32_t>(kHeaderBytes);
    if (result < 0 || static_cast<uint32_t>(result) < wanted) return end(result <= 0 ? "" : "the stream ends within the hello");
    if (has_header) return take_hello();
    const auto header = decode_header({bytes.data(), kHeaderBytes});
    if (!header.has_value()) return end(header.error().message);
    call.header = header.value();
    if (call.header.type == MessageType::kMeasure && call.header.sequence == 1) return hand_to_measuring();
    if (call.header.type != MessageType::kHello || call.header.sequence != 1 || call.header.payload_bytes == 0) {
      return end("the first message is not a hello");
    }
    has_header = true;
    owner->io_.receive(socket, bytes.data(), call.header.payload_bytes, true, receive);
  }

  void hand_to_measuring() {
    const io::Socket taken = socket;
    socket = {};
    finish();
    owner->measuring_.take(taken, call.header);
  }

  void take_hello() {
    const std::span<const std::byte> payload(bytes.data(), call.header.payload_bytes);
    if (crc32c(payload.data(), payload.size()) != call.header.payload_crc) return end("hello checksum mismatch");
    auto hello = decode_hello(payload);
    if (!hello.has_value()) return end(hello.error().message);
    call.hello = std::move(hello.value());
    call.socket = socket;
    socket = {};
    PeerCall routed = call;
    finish();
    owner->router_.route(std::move(routed));
  }

  void on_deadline() { end("no hello in time"); }

  void end(const std::string& why) {
    if (!why.empty()) {
      const std::string address = owner->io_.peer_address(socket);
      RINGBOLT_LOG_LIMITED(kWarn, {.client = address}, "replication: a caller is dropped: {}", why);
    }
    if (receive.pending()) {
      gone = true;
      owner->io_.shutdown(socket);
    } else {
      finish();
    }
  }

  void finish() {
    gone = done = true;
    owner->io_.disarm(deadline);
    owner->io_.defer(owner->remove_);
  }

  PeerAcceptor* owner;
  io::Socket socket;
  bool has_header = false;
  bool gone = false;  // ends as soon as nothing is pending
  bool done = false;
  PeerCall call;
  std::array<std::byte, kControlBytesMax> bytes{};
  io::Op<&Caller::on_received> receive{*this};
  io::TimerOf<&Caller::on_deadline> deadline{*this};
};

PeerAcceptor::PeerAcceptor(io::Io& io, CallRouter& router) : io_(io), router_(router), measuring_(io) {}

PeerAcceptor::~PeerAcceptor() {
  io_.disarm(pause_);
  io_.undefer(remove_);
  callers_.clear();
}

Status PeerAcceptor::listen(const std::string& address, const std::string& tcp_congestion) {
  BOOST_OUTCOME_TRY(socket_, io_.listen(address));
  if (!tcp_congestion.empty()) {
    const Status status = io_.set_congestion_control(socket_, tcp_congestion);
    if (status.has_error()) {
      io_.close_socket(std::exchange(socket_, {}));
      return make_error(status.error().code, "replication." + status.error().message);
    }
  }
  arm_accept();
  return boost::outcome_v2::success();
}

void PeerAcceptor::arm_accept() {
  if (!stopping_) io_.accept(socket_, accept_);
}

void PeerAcceptor::on_accepted(int32_t result) {
  if (stopping_) {
    if (result >= 0) io_.close_socket(io::Socket{result});
    return report_if_stopped();
  }
  if (result < 0) {
    RINGBOLT_LOG_LIMITED(kWarn, "replication: accepting a caller: {}", std::strerror(-result));
    // Out of descriptors or memory: more of them will not help, some time may.
    return io_.arm(pause_, kAcceptPause);
  }
  if (callers_.size() >= kCallersMax) {
    // The oldest: the newest is the likeliest to be a primary, which silent ones must not keep out.
    const auto oldest = std::find_if(callers_.begin(), callers_.end(), [](const auto& caller) { return !caller->gone; });
    if (oldest != callers_.end()) (*oldest)->end("too many callers have not said hello");
  }
  if (callers_.size() >= 2 * kCallersMax) {
    io_.close_socket(io::Socket{result});  // those that end have not ended yet
  } else {
    callers_.push_back(std::make_unique<Caller>(*this, io::Socket{result}));
    callers_.back()->start();
  }
  arm_accept();
}

void PeerAcceptor::remove_gone() {
  std::erase_if(callers_, [](const std::unique_ptr<Caller>& caller) { return caller->done; });
  report_if_stopped();
}

void PeerAcceptor::stop(std::function<void()> stopped) {
  stopping_ = true;
  stopped_ = std::move(stopped);
  io_.disarm(pause_);
  if (accept_.pending()) io_.cancel(accept_);
  for (const auto& caller : callers_) caller->end("");
  measuring_.stop([this] {
    measuring_ended_ = true;
    report_if_stopped();
  });
}

void PeerAcceptor::report_if_stopped() {
  if (!stopping_ || !stopped_ || accept_.pending() || !callers_.empty() || !measuring_ended_) return;
  if (socket_.is_open()) io_.close_socket(socket_);
  socket_ = {};
  const std::function<void()> stopped = std::move(stopped_);
  stopped_ = nullptr;
  stopped();
}

}  // namespace ringbolt::repl
