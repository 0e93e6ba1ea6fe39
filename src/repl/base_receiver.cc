#include "repl/base_receiver.h"

namespace ringbolt::repl {

BaseReceiver::BaseReceiver(io::Io& io, io::BufferPool& pool, Store& store, RebuildSession& session, const PeerCall& call,
                           BaseReceiverOwner& owner)
    : store_(store), session_(session), owner_(owner), link_(io, pool, call.socket, *this) {
  link_.set_identity(store_.facts().volume, call.header.epoch);
  link_.set_session(call.header.session);
  link_.take_chunks();
  link_.start_after(call.header.sequence);
  Welcome welcome;
  welcome.node_id = store_.config().node_id;
  welcome.volume_bytes = store_.config().volume_bytes;
  welcome.wal_bytes = store_.config().wal_bytes;
  welcome.features = call.hello.features & kFeatures;
  link_.send(MessageType::kWelcome, welcome);
}

bool BaseReceiver::on_chunk(const MessageHeader& header, const SessionDataFields& chunk, io::Buffer& data) {
  if (header.volume != store_.facts().volume) {
    owner_.on_base_refused({Reason::kWrongVolume, "a chunk of another volume"});
    return false;
  }
  const auto taken = session_.apply_base(header.session, header.epoch, chunk, data);
  if (!taken.has_value()) {
    owner_.on_base_refused(taken.error());
    return false;
  }
  if (taken.value()) taken_bytes_ += chunk.data_bytes();
  return taken.value();
}

void BaseReceiver::on_applied(uint64_t chunk) {
  link_.send(MessageType::kSessionDataAck, SessionDataAck{chunk, taken_bytes_});
  taken_bytes_ = 0;
  link_.resume();
}

void BaseReceiver::on_message(const MessageHeader&, std::span<const std::byte>) { link_.close("a control message on the bulk connection"); }

void BaseReceiver::on_positions(const MessageHeader&, const WalDataFields&) { link_.close("wal_data on the bulk connection"); }

bool BaseReceiver::on_frame(const MessageHeader&, const WalDataFields&, io::Buffer&) {
  link_.close("wal_data on the bulk connection");
  return false;
}

}  // namespace ringbolt::repl
