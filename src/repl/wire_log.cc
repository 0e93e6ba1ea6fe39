// wal_data, wal_ack, sync, sync_ack.
#include "repl/wire_codec.h"
#include "volume/wal_format.h"

namespace ringbolt::repl {

using codec::Reader;
using codec::Writer;

void encode_fields(const WalDataFields& f, std::byte* out) {
  const uint64_t numbers[4] = {f.committed.value(), f.stable.value(), f.flush_to.value(), f.head.value()};
  std::memcpy(out, numbers, sizeof numbers);
  std::memcpy(out + 32, &f.frame_header_bytes, 4);
  std::memcpy(out + 36, &f.data_bytes, 4);
}

Result<WalDataFields> decode_fields(std::span<const std::byte> payload) {
  const auto malformed = [](const char* what) {
    return make_error(Errc::kInvalid, fmt::format("malformed wal_data message: {}", what));
  };
  if (payload.size() < WalDataFields::kBytes) return malformed("it ends within its fields");
  uint64_t numbers[4];
  WalDataFields f;
  std::memcpy(numbers, payload.data(), sizeof numbers);
  std::memcpy(&f.frame_header_bytes, payload.data() + 32, 4);
  std::memcpy(&f.data_bytes, payload.data() + 36, 4);
  f.committed = Lsn(numbers[0]);
  f.stable = Lsn(numbers[1]);
  f.flush_to = Lsn(numbers[2]);
  f.head = Lsn(numbers[3]);
  if (f.frame_header_bytes > kBlockBytes) return malformed("frame_header_bytes is more than a block");
  if (f.data_bytes > kFramePayloadBytesMax) return malformed("data_bytes is more than a frame holds");
  if (f.data_bytes % kBlockBytes != 0) return malformed("data_bytes is not whole blocks");
  if (f.frame_header_bytes == 0 && f.data_bytes != 0) return malformed("data_bytes without a frame header");
  if (f.frame_header_bytes != 0 && f.frame_header_bytes < sizeof(FrameFields)) return malformed("frame_header_bytes is too small");
  if (f.stable > f.committed) return malformed("stable Lsn > committed Lsn");
  if (f.committed > f.head) return malformed("committed Lsn > head Lsn");
  return f;
}

void encode(const WalAck& m, std::vector<std::byte>& out) {
  Writer w(out);
  w.number(m.written);
  w.number(m.durable);
  w.number(m.stable);
}

Result<WalAck> decode_wal_ack(std::span<const std::byte> payload) {
  Reader r("wal_ack", payload);
  WalAck m;
  m.written = r.position<Lsn>("written Lsn");
  m.durable = r.position<Lsn>("durable Lsn");
  m.stable = r.position<Lsn>("stable Lsn");
  r.refuse_if(m.durable > m.written, "durable Lsn {} > written Lsn {}", m.durable.value(), m.written.value());
  return r.finish(m);
}

void encode(const Sync& m, std::vector<std::byte>& out) {
  Writer w(out);
  w.number(m.sync_id);
  w.optional(m.target);
  w.number(m.deadline.value());
}

Result<Sync> decode_sync(std::span<const std::byte> payload) {
  Reader r("sync", payload);
  Sync m;
  m.sync_id = r.from_one<uint64_t>("sync id");
  m.target = r.optional_lsn("target Lsn");
  r.refuse_if(m.target == Lsn{}, "target Lsn is 0");
  m.deadline = Millis(r.number<uint32_t>("deadline"));
  return r.finish(m);
}

void encode(const SyncAck& m, std::vector<std::byte>& out) {
  Writer w(out);
  w.number(m.sync_id);
  w.number(m.kind);
  w.number(m.epoch);
  w.flag(m.base_usable);
  w.optional(m.written);
  w.optional(m.durable);
  w.optional(m.base_limit);
  w.history(m.history);
  w.flag(m.session.has_value());
  if (m.session) {
    w.number(m.session->id);
    w.number(m.session->kind);
    w.number(m.session->phase);
  }
  w.number(m.reason);
}

namespace {

void check_positions(Reader& r, const SyncAck& m) {
  const bool any = m.written || m.durable || m.base_limit;
  r.refuse_if(any && !m.base_usable, "positions of a copy whose base image is unusable");
  const bool due = m.base_usable && (m.kind == SyncAckKind::kQuorum || m.kind == SyncAckKind::kTimedOut);
  const auto must = [&r, required = any || due](const std::optional<Lsn>& position, const char* field) {
    r.refuse_if(required && !position, "{} is missing", field);
  };
  must(m.written, "written Lsn");
  must(m.durable, "durable Lsn");
  must(m.base_limit, "base limit Lsn");
  if (!any || !r.good()) return;
  r.refuse_if(m.durable > m.written, "durable Lsn {} > written Lsn {}", m.durable->value(), m.written->value());
  r.refuse_if(m.base_limit > m.durable, "base limit Lsn {} > durable Lsn {}", m.base_limit->value(), m.durable->value());
  r.refuse_if(m.written > Lsn{} && m.history.empty(), "written Lsn {} without a term history", m.written->value());
}

}  // namespace

Result<SyncAck> decode_sync_ack(std::span<const std::byte> payload) {
  Reader r("sync_ack", payload);
  SyncAck m;
  m.sync_id = r.from_one<uint64_t>("sync id");
  m.kind = r.enumerator("kind", SyncAckKind::kQuorum, SyncAckKind::kEpochMismatch);
  m.epoch = r.epoch("epoch");
  r.refuse_if(m.epoch == Epoch{}, "epoch is 0");
  m.base_usable = r.flag("base_usable");
  m.written = r.optional_lsn("written Lsn");
  m.durable = r.optional_lsn("durable Lsn");
  m.base_limit = r.optional_lsn("base limit Lsn");
  m.history = r.history();
  if (r.flag("session")) {
    ActiveSession session;
    session.id = r.from_one<SessionId>("session id");
    session.kind = r.enumerator("session kind", SessionKind::kKeepup, SessionKind::kRebuild);
    session.phase = r.enumerator("active session's phase", SessionPhase::kAccepted, SessionPhase::kCompleted);
    r.refuse_if(session.phase == SessionPhase::kBaseComplete && session.kind != SessionKind::kRebuild,
                "phase base_complete of a {} session", to_string(session.kind));
    m.session = session;
  }
  m.reason = r.reason();
  check_positions(r, m);
  return r.finish(std::move(m));
}

}  // namespace ringbolt::repl
