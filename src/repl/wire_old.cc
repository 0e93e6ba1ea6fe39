// The messages of before sync and session kinds.
#include "repl/wire_codec.h"

namespace ringbolt::repl {

using codec::Reader;
using codec::Writer;

void encode(const Facts& m, std::vector<std::byte>& out) {
  Writer w(out);
  w.text(m.node_id, kNodeIdBytesMax);
  w.flag(m.base_usable);
  w.number(m.position);
  w.number(m.checkpoint);
  w.number(m.volume_bytes);
  w.number(m.wal_bytes);
  w.history(m.history);
}

Result<Facts> decode_facts(std::span<const std::byte> payload) {
  Reader r("facts", payload);
  Facts m;
  m.node_id = r.text("node_id", kNodeIdBytesMax);
  m.base_usable = r.flag("base_usable");
  m.position = r.lsn("position Lsn");
  m.checkpoint = r.lsn("checkpoint Lsn");
  m.volume_bytes = r.number<uint64_t>("volume_bytes");
  m.wal_bytes = r.number<uint64_t>("wal_bytes");
  m.history = r.history();
  r.refuse_if(m.checkpoint > m.position, "checkpoint Lsn {} > position Lsn {}", m.checkpoint.value(), m.position.value());
  return r.finish(std::move(m));
}

void encode(const OldSessionControl& m, std::vector<std::byte>& out) {
  Writer w(out);
  w.number(m.kind);
  w.number(m.position);
  w.history(m.history);
}

Result<OldSessionControl> decode_old_session_control(std::span<const std::byte> payload) {
  Reader r("session_control", payload);
  OldSessionControl m;
  m.kind = r.enumerator("kind", OldControlKind::kStart, OldControlKind::kCutTail);
  m.position = r.position<Lsn>("position Lsn");
  m.history = r.history();
  return r.finish(std::move(m));
}

void encode(const OldSessionAck& m, std::vector<std::byte>& out) {
  Writer w(out);
  w.number(m.phase);
  w.number(m.reason);
}

Result<OldSessionAck> decode_old_session_ack(std::span<const std::byte> payload) {
  Reader r("session_ack", payload);
  OldSessionAck m;
  m.phase = r.enumerator("phase", OldSessionPhase::kAccepted, OldSessionPhase::kFailed);
  m.reason = r.reason();
  return r.finish(m);
}

}  // namespace ringbolt::repl
