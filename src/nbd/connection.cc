// Life of a connection: start, end of turn, stalls, draining, closing. See connection.h.
#include "nbd/connection.h"

#include <algorithm>
#include <cstring>

namespace ringbolt::nbd {

Connection::Connection(ConnectionHost& host, BlockService& service, Client client)
    : host_(host),
      service_(service),
      socket_(client.socket),
      address_(std::move(client.address)),
      size_bytes_(service.size_bytes()),
      structured_(client.negotiated.structured_replies),
      base_allocation_(client.negotiated.base_allocation),
      permit_(std::move(client.permit)),
      staging_(std::make_unique_for_overwrite<std::byte[]>(kStagingBytes)) {
  RINGBOLT_ASSERT(client.leftover.size() <= kStagingBytes);
  std::copy(client.leftover.begin(), client.leftover.end(), staging_.get());
  staged_end_ = static_cast<uint32_t>(client.leftover.size());
}

Connection::~Connection() {
  host_.io.undefer(turn_);
  stop_waiting();
}

void Connection::start() {
  message_since_ = host_.io.now();
  service_.attach(*this);
  schedule_turn();
}

void Connection::schedule_turn() {
  if (!turn_.queued()) host_.io.defer(turn_);
}

/// Everything that an event made possible happens here, once per turn. The last statement may
/// destroy the connection.
void Connection::on_turn_end() {
  if (mode_ == Mode::kOpen && drain_wanted_) {
    mode_ = Mode::kDraining;
    stop_waiting();
    abandon_current();
  }
  pump();
  flush_replies();
  if (mode_ == Mode::kDraining && pieces_with_volume_ == 0 && queue_.empty() && held_.empty()) {
    mode_ = Mode::kClosing;
    host_.io.shutdown(socket_);  // ends the receive that may still be pending
  }
  if (mode_ == Mode::kClosing && !receive_.pending() && !send_.pending() &&
      pieces_with_volume_ == 0) {
    finish();
  }
}

void Connection::drain(bool hurry) {
  hurry_ = hurry_ || hurry;
  drain_wanted_ = true;
  schedule_turn();
}

void Connection::on_volume_gone(const std::string& reason) {
  if (mode_ == Mode::kOpen && !drain_wanted_) log_line(reason);
  drain(true);
}

void Connection::log_line(std::string_view reason) {
  host_.log.line({"closing the NBD client of " + service_.name() + " at " + address_ + ": " + std::string(reason), address_, service_.name()});
}

/// Ends the connection without answering what is in flight. `reason` goes to the log if not empty.
void Connection::fail(std::string_view reason) {
  if (mode_ == Mode::kClosing) return;
  mode_ = Mode::kClosing;
  if (!reason.empty()) log_line(reason);
  stop_waiting();
  host_.io.shutdown(socket_);
  if (spare_) service_.reply_memory().release(std::exchange(spare_, io::Buffer{}));
  current_ = nullptr;
  release_filling();
  drop_replies();
  schedule_turn();
}

bool Connection::check_stall(io::Nanos now, io::Nanos lost) {
  if (mode_ == Mode::kClosing) return false;  // ends without the peer's help
  send_since_ = std::min(now, send_since_ + lost);
  message_since_ = std::min(now, message_since_ + lost);
  const io::Nanos patience = host_.options.stall_timeout;
  const io::Nanos short_patience = std::min(patience, kStallUnderPressure);
  if (send_.pending()) {
    const bool hasten = hurry_ || (service_.reply_memory().waiting != 0 && read_pinned_bytes_ != 0);
    if (now - send_since_ >= (hasten ? short_patience : patience)) {
      fail("it does not read its replies");
      return false;
    }
  }
  const bool receiving = mode_ == Mode::kOpen && receive_.pending() && is_mid_message();
  if (receiving) {
    const bool hasten = service_.payload_memory().waiting != 0 && filling_ != nullptr;
    if (now - message_since_ >= (hasten ? short_patience : patience)) {
      fail("it does not send the rest of a request");
      return false;
    }
  }
  return send_.pending() || receiving;
}

void Connection::finish() {
  drop_replies();
  release_filling();
  RINGBOLT_ASSERT(read_pinned_bytes_ == 0 && filling_ == nullptr && !spare_);
  RINGBOLT_ASSERT(pieces_.used() == 0);
  service_.detach(*this);
  host_.io.close_socket(socket_);
  host_.on_connection_gone(*this);
}

}  // namespace ringbolt::nbd
