// The accept loop. See listener.h; the session of one client is in handshake_session.cc.
#include "nbd/listener.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include "ringbolt/assert.h"

namespace ringbolt::nbd {

Listener::Listener(ListenerHost host, ListenerOptions options) : host_(host), options_(options) {
  RINGBOLT_ASSERT(options_.handshakes_max > 0);
}

Listener::~Listener() { host_.io.disarm(pause_); }

Status Listener::listen(const std::string& address) {
  RINGBOLT_ASSERT(!socket_.is_open());
  BOOST_OUTCOME_TRY(socket_, host_.io.listen(address));
  if (!options_.tcp_congestion.empty()) {
    const Status status = host_.io.set_congestion_control(socket_, options_.tcp_congestion);
    if (status.has_error()) {
      host_.io.close_socket(std::exchange(socket_, {}));
      return make_error(status.error().code, "nbd." + status.error().message);
    }
  }
  arm_accept();
  return boost::outcome_v2::success();
}

std::string Listener::local_address() const { return host_.io.local_address(socket_); }

void Listener::stop(std::function<void()> stopped) {
  RINGBOLT_ASSERT(!stopping_);
  stopping_ = true;
  stopped_ = std::move(stopped);
  host_.io.disarm(pause_);
  if (accept_.pending()) host_.io.cancel(accept_);
  for (const auto& session : sessions_) session->close("");
  report_if_stopped();
}

void Listener::arm_accept() { host_.io.accept(socket_, accept_); }

void Listener::on_accepted(int32_t result) {
  if (stopping_) {
    if (result >= 0) host_.io.close_socket(io::Socket{result});
    return report_if_stopped();
  }
  if (result < 0) return on_accept_error(result);
  const io::Socket client{result};
  std::string address = described_address(host_.io, client);
  ConnectionPermit permit(host_.limit);
  if (!permit) {
    host_.log.line({"refused the NBD client at " + address + ": the limit of connections is reached", address});
    host_.io.close_socket(client);
    return arm_accept();
  }
  make_room();
  sessions_.push_back(std::make_unique<HandshakeSession>(*this, client, std::move(address), std::move(permit)));
  HandshakeSession& session = *sessions_.back();
  session.place = std::prev(sessions_.end());
  session.start(options_.handshake_timeout);
  arm_accept();
}

void Listener::on_accept_error(int32_t error) {
  switch (error) {
    case -ECONNABORTED:
    case -EPROTO:
    case -EINTR:
      return arm_accept();  // that client is gone, the next one may be fine
    default:
      // Out of descriptors or memory, most likely: trying at once would only spin.
      host_.log.line({"cannot accept NBD clients at " + local_address() + " for now: " + std::strerror(-error), {}});
      host_.io.arm(pause_, kAcceptPause);
  }
}

/// Closes the oldest session if there are too many. Those that are closing already need no help
/// from their peers to go, so they do not count.
void Listener::make_room() {
  if (sessions_.size() - sessions_closing_ < options_.handshakes_max) return;
  for (const auto& session : sessions_) {
    if (!session->closing()) {
      return session->close("too many clients in their handshake, this one is the oldest");
    }
  }
}

void Listener::on_session_gone(HandshakeSession& session) {
  if (session.closing()) --sessions_closing_;
  sessions_.erase(session.place);
  report_if_stopped();
}

void Listener::report_if_stopped() {
  if (!stopping_ || accept_.pending() || !sessions_.empty() || !stopped_) return;
  if (socket_.is_open()) host_.io.close_socket(std::exchange(socket_, io::Socket{}));
  const std::function<void()> stopped = std::exchange(stopped_, nullptr);
  stopped();
}

}  // namespace ringbolt::nbd
