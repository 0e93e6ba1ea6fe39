// Drives one client's Handshake over its socket: either a send or a receive is in flight, never
// both, so a client that does not read its replies is not read from either.
#include "nbd/listener.h"

namespace ringbolt::nbd {

HandshakeSession::HandshakeSession(Listener& listener, io::Socket socket, std::string address, ConnectionPermit permit)
    : listener_(listener),
      socket_(socket),
      address_(std::move(address)),
      permit_(std::move(permit)),
      handshake_(listener.host_.directory) {}

HandshakeSession::~HandshakeSession() {
  listener_.host_.io.disarm(deadline_);
  listener_.host_.io.undefer(turn_);
}

void HandshakeSession::start(io::Nanos timeout) {
  // For the handshake as a whole, so that a byte now and then does not buy more time.
  listener_.host_.io.arm(deadline_, timeout);
  advance();
}

void HandshakeSession::advance() {
  io::Io& io = listener_.host_.io;
  while (!closing_) {
    if (!handshake_.output().empty()) {
      sending_.swap(handshake_.output());
      handshake_.output().clear();
      iov_ = {sending_.data(), sending_.size()};
      return io.send(socket_, std::span(&iov_, 1), send_);
    }
    if (handshake_.state() == Handshake::State::kClose) return close(handshake_.close_reason());
    if (handshake_.state() == Handshake::State::kAttach) {
      finished_ = true;
      return io.defer(turn_);
    }
    if (input_begin_ == input_end_) {
      input_begin_ = 0;
      return io.receive(socket_, input_.data(), kInputBytes, false, receive_);
    }
    input_begin_ +=
        handshake_.consume(std::span(input_.data() + input_begin_, input_end_ - input_begin_));
  }
}

void HandshakeSession::on_received(int32_t result) {
  if (closing_) return listener_.host_.io.defer(turn_);
  if (result <= 0) return close("");  // it left; that happens
  input_end_ = static_cast<size_t>(result);
  advance();
}

void HandshakeSession::on_sent(int32_t result) {
  if (closing_) return listener_.host_.io.defer(turn_);
  if (result < 0) return close("");
  sending_.clear();
  advance();
}

void HandshakeSession::on_deadline() { close("the handshake took too long"); }

void HandshakeSession::close(std::string_view reason) {
  if (closing_) return;
  closing_ = true;
  ++listener_.sessions_closing_;
  if (!reason.empty()) {
    listener_.host_.log.line({"closing the NBD client at " + address_ + " in its handshake: " + std::string(reason), address_});
  }
  listener_.host_.io.shutdown(socket_);
  listener_.host_.io.defer(turn_);
}

/// The only place where a session ends: nothing of it is running any more.
void HandshakeSession::on_turn_end() {
  if (receive_.pending() || send_.pending()) return;  // their completions lead here again
  io::Io& io = listener_.host_.io;
  if (closing_ || !finished_) {
    io.close_socket(socket_);
    return listener_.on_session_gone(*this);
  }
  Client client;
  client.socket = socket_;
  client.negotiated = handshake_.negotiated();
  client.leftover.assign(input_.begin() + static_cast<ptrdiff_t>(input_begin_),
                         input_.begin() + static_cast<ptrdiff_t>(input_end_));
  client.permit = std::move(permit_);
  client.address = std::move(address_);
  HandOver& hand_over = listener_.host_.hand_over;
  listener_.on_session_gone(*this);
  hand_over.attach(std::move(client));
}

}  // namespace ringbolt::nbd
