// The replica's end of a rebuild's bulk connection: hands chunks to the session, acknowledges for the window. Says nothing
// of progress: that goes over the log connection, with everything else that the primary decides on.
#pragma once

#include <string>

#include "repl/link.h"
#include "repl/peer_call.h"
#include "repl/rebuild_session.h"

namespace ringbolt::repl {

class BaseReceiverOwner {
 public:
  virtual ~BaseReceiverOwner() = default;
  /// The primary broke a rule of the session; the connection ends.
  virtual void on_base_refused(const Refused& refused) = 0;
  /// Once, last: it may be destroyed (not from inside).
  virtual void on_base_receiver_closed(const std::string& reason) = 0;
};

class BaseReceiver final : private LinkListener {
 public:
  /// Takes over the connection and welcomes the caller.
  BaseReceiver(io::Io& io, io::BufferPool& pool, Store& store, RebuildSession& session, const PeerCall& call, BaseReceiverOwner& owner);

  /// RebuildSession::on_base_applied().
  void on_applied(uint64_t chunk);
  void close(std::string reason) { link_.close(std::move(reason)); }

 private:
  void on_message(const MessageHeader& header, std::span<const std::byte> payload) override;
  void on_positions(const MessageHeader& header, const WalDataFields& fields) override;
  bool on_frame(const MessageHeader& header, const WalDataFields& fields, io::Buffer& frame) override;
  bool on_chunk(const MessageHeader& header, const SessionDataFields& chunk, io::Buffer& data) override;
  void on_send_ready(FrameGather&) override {}
  void on_sent() override {}
  void on_link_closed(const std::string& reason) override { owner_.on_base_receiver_closed(reason); }

  Store& store_;
  RebuildSession& session_;
  BaseReceiverOwner& owner_;
  uint64_t taken_bytes_ = 0;  // since the last acknowledgement
  Link link_;
};

}  // namespace ringbolt::repl
