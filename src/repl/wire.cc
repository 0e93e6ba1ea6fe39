#include "repl/wire.h"

#include <fmt/format.h>

#include "ringbolt/crc32c.h"
#include "volume/wal_format.h"

namespace ringbolt::repl {

namespace {

constexpr size_t kTextBytesMax = 255;

class Writer {
 public:
  explicit Writer(std::vector<std::byte>& out) : out_(out) {}
  template <class T>
  void number(T value) {
    const auto* bytes = reinterpret_cast<const std::byte*>(&value);
    out_.insert(out_.end(), bytes, bytes + sizeof value);
  }
  void text(const std::string& value) {
    const size_t length = std::min(value.size(), kTextBytesMax);
    number(static_cast<uint16_t>(length));
    const auto* bytes = reinterpret_cast<const std::byte*>(value.data());
    out_.insert(out_.end(), bytes, bytes + length);
  }
  void history(const core::TermHistory& value) {
    number(static_cast<uint16_t>(value.size()));
    for (const core::TermStart& entry : value.terms()) {
      number(entry.term.epoch.value());
      number(entry.term.incarnation.value());
      number(entry.first.value());
    }
  }

 private:
  std::vector<std::byte>& out_;
};

/// Reads fields in order; once something does not fit, everything is zero and good() is false.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : bytes_(bytes) {}
  template <class T>
  T number() {
    T value{};
    if (bytes_.size() < sizeof value) {
      good_ = false;
      return value;
    }
    std::memcpy(&value, bytes_.data(), sizeof value);
    bytes_ = bytes_.subspan(sizeof value);
    return value;
  }
  template <class P>
  P position() {
    return P(number<uint64_t>());
  }
  std::string text() {
    const size_t length = number<uint16_t>();
    if (length > kTextBytesMax || length > bytes_.size()) {
      good_ = false;
      return {};
    }
    std::string value(reinterpret_cast<const char*>(bytes_.data()), length);
    bytes_ = bytes_.subspan(length);
    return value;
  }
  core::TermHistory history() {
    core::TermHistory value;
    const size_t count = number<uint16_t>();
    for (size_t i = 0; i < count && good_; ++i) {
      const auto epoch = position<Epoch>();
      const auto incarnation = position<Incarnation>();
      const auto first = position<Lsn>();
      if (good_ && !value.append_checked({{epoch, incarnation}, first})) good_ = false;
    }
    return value;
  }
  [[nodiscard]] bool finished() const { return good_ && bytes_.empty(); }

 private:
  std::span<const std::byte> bytes_;
  bool good_ = true;
};

Error malformed(const char* what) { return make_error(Errc::kInvalid, fmt::format("malformed {} message", what)); }

template <class T>
Result<T> finish(const Reader& reader, T message, const char* what) {
  if (!reader.finished()) return malformed(what);
  return message;
}

}  // namespace

const char* to_string(Reason reason) {
  switch (reason) {
    case Reason::kNone: return "";
    case Reason::kEpochMismatch: return "epoch_mismatch";
    case Reason::kTransportLost: return "transport_lost";
    case Reason::kProgressStalled: return "progress_stalled";
    case Reason::kDeadlineExceeded: return "deadline_exceeded";
    case Reason::kPinLost: return "pin_lost";
    case Reason::kSnapshotUnavailable: return "snapshot_unavailable";
    case Reason::kLocalWalCorrupt: return "local_wal_corrupt";
    case Reason::kLocalExtentCorrupt: return "local_extent_corrupt";
    case Reason::kSuperseded: return "superseded";
    case Reason::kCancelled: return "cancelled";
    case Reason::kWrongVolume: return "wrong_volume";
    case Reason::kProtocolViolation: return "protocol_violation";
    case Reason::kNotReady: return "not_ready";
  }
  return "unknown";
}

void encode_header(const MessageHeader& header, std::byte* out) {
  std::memset(out, 0, kHeaderBytes);
  const auto put = [out](size_t at, const auto& value) { std::memcpy(out + at, &value, sizeof value); };
  put(0, kMagic);
  put(4, kVersion);
  put(6, header.type);
  put(8, header.volume.bytes);
  put(24, header.epoch.value());
  put(32, header.session.value());
  put(40, header.sequence);
  put(48, header.payload_bytes);
  put(52, header.payload_crc);
  put(60, crc32c(out, 60));
}

Result<MessageHeader> decode_header(std::span<const std::byte> bytes) {
  if (bytes.size() < kHeaderBytes) return malformed("cut");
  const auto get = [bytes]<class T>(size_t at, T* value) { std::memcpy(value, bytes.data() + at, sizeof *value); };
  uint32_t magic, crc;
  uint16_t version, type;
  uint64_t epoch, session;
  MessageHeader header;
  get(0, &magic);
  if (magic != kMagic) return make_error(Errc::kInvalid, "not a ringbolt peer (wrong magic)");
  get(4, &version);
  if (version != kVersion) return make_error(Errc::kUnsupported, fmt::format("protocol version {} (this build speaks {})", version, kVersion));
  get(60, &crc);
  if (crc != crc32c(bytes.data(), 60)) return make_error(Errc::kCorrupt, "message header checksum mismatch");
  get(6, &type);
  if (type < static_cast<uint16_t>(MessageType::kHello) || type > static_cast<uint16_t>(MessageType::kSessionAck)) {
    return make_error(Errc::kInvalid, fmt::format("message of unknown type {}", type));
  }
  header.type = static_cast<MessageType>(type);
  get(8, &header.volume.bytes);
  get(24, &epoch);
  get(32, &session);
  get(40, &header.sequence);
  get(48, &header.payload_bytes);
  get(52, &header.payload_crc);
  header.epoch = Epoch(epoch);
  header.session = SessionId(session);
  const uint32_t limit = header.type == MessageType::kWalData ? WalDataFields::kBytes + kFrameBytesMax : kControlBytesMax;
  if (header.payload_bytes > limit) {
    return make_error(Errc::kInvalid, fmt::format("message of type {} with {} bytes of payload", type, header.payload_bytes));
  }
  return header;
}

void encode(const Hello& m, std::vector<std::byte>& out) {
  Writer w(out);
  w.text(m.volume_name);
  w.text(m.node_id);
  w.text(m.replica_id);
  w.number(m.incarnation.value());
  w.number(m.volume_bytes);
}

Result<Hello> decode_hello(std::span<const std::byte> payload) {
  Reader r(payload);
  Hello m;
  m.volume_name = r.text();
  m.node_id = r.text();
  m.replica_id = r.text();
  m.incarnation = r.position<Incarnation>();
  m.volume_bytes = r.number<uint64_t>();
  return finish(r, std::move(m), "hello");
}

void encode(const Facts& m, std::vector<std::byte>& out) {
  Writer w(out);
  w.text(m.node_id);
  w.number(static_cast<uint8_t>(m.base_usable));
  w.number(m.position.value());
  w.number(m.checkpoint.value());
  w.number(m.volume_bytes);
  w.number(m.wal_bytes);
  w.history(m.history);
}

Result<Facts> decode_facts(std::span<const std::byte> payload) {
  Reader r(payload);
  Facts m;
  m.node_id = r.text();
  const auto usable = r.number<uint8_t>();
  m.base_usable = usable == 1;
  m.position = r.position<Lsn>();
  m.checkpoint = r.position<Lsn>();
  m.volume_bytes = r.number<uint64_t>();
  m.wal_bytes = r.number<uint64_t>();
  m.history = r.history();
  if (usable > 1 || m.checkpoint > m.position || m.position.value() > UINT64_MAX / 2) return malformed("facts");
  return finish(r, std::move(m), "facts");
}

void encode(const Reject& m, std::vector<std::byte>& out) {
  Writer w(out);
  w.number(static_cast<uint16_t>(m.reason));
  w.number(m.epoch.value());
  w.text(m.text);
}

Result<Reject> decode_reject(std::span<const std::byte> payload) {
  Reader r(payload);
  Reject m;
  const auto reason = r.number<uint16_t>();
  if (reason > static_cast<uint16_t>(Reason::kNotReady)) return malformed("reject");
  m.reason = static_cast<Reason>(reason);
  m.epoch = r.position<Epoch>();
  m.text = r.text();
  return finish(r, std::move(m), "reject");
}

void encode(const WalAck& m, std::vector<std::byte>& out) {
  Writer w(out);
  w.number(m.written.value());
  w.number(m.durable.value());
  w.number(m.stable.value());
}

Result<WalAck> decode_wal_ack(std::span<const std::byte> payload) {
  Reader r(payload);
  WalAck m;
  m.written = r.position<Lsn>();
  m.durable = r.position<Lsn>();
  m.stable = r.position<Lsn>();
  if (m.durable > m.written) return malformed("wal_ack");
  return finish(r, m, "wal_ack");
}

void encode(const SessionControl& m, std::vector<std::byte>& out) {
  Writer w(out);
  w.number(static_cast<uint16_t>(m.kind));
  w.number(m.position.value());
  w.history(m.history);
}

Result<SessionControl> decode_session_control(std::span<const std::byte> payload) {
  Reader r(payload);
  SessionControl m;
  const auto kind = r.number<uint16_t>();
  if (kind != static_cast<uint16_t>(ControlKind::kStart) && kind != static_cast<uint16_t>(ControlKind::kCutTail)) {
    return malformed("session_control");
  }
  m.kind = static_cast<ControlKind>(kind);
  m.position = r.position<Lsn>();
  m.history = r.history();
  return finish(r, std::move(m), "session_control");
}

void encode(const SessionAck& m, std::vector<std::byte>& out) {
  Writer w(out);
  w.number(static_cast<uint16_t>(m.phase));
  w.number(static_cast<uint16_t>(m.reason));
}

Result<SessionAck> decode_session_ack(std::span<const std::byte> payload) {
  Reader r(payload);
  SessionAck m;
  const auto phase = r.number<uint16_t>();
  const auto reason = r.number<uint16_t>();
  if (phase < 1 || phase > 2 || reason > static_cast<uint16_t>(Reason::kNotReady)) return malformed("session_ack");
  m.phase = static_cast<SessionPhase>(phase);
  m.reason = static_cast<Reason>(reason);
  return finish(r, m, "session_ack");
}

void encode_fields(const WalDataFields& f, std::byte* out) {
  const uint64_t numbers[4] = {f.committed.value(), f.stable.value(), f.flush_to.value(), f.head.value()};
  std::memcpy(out, numbers, sizeof numbers);
  std::memcpy(out + 32, &f.frame_header_bytes, 4);
  std::memcpy(out + 36, &f.data_bytes, 4);
}

Result<WalDataFields> decode_fields(std::span<const std::byte> payload) {
  if (payload.size() < WalDataFields::kBytes) return malformed("wal_data");
  uint64_t numbers[4];
  WalDataFields f;
  std::memcpy(numbers, payload.data(), sizeof numbers);
  std::memcpy(&f.frame_header_bytes, payload.data() + 32, 4);
  std::memcpy(&f.data_bytes, payload.data() + 36, 4);
  f.committed = Lsn(numbers[0]);
  f.stable = Lsn(numbers[1]);
  f.flush_to = Lsn(numbers[2]);
  f.head = Lsn(numbers[3]);
  if (f.frame_header_bytes > kBlockBytes || f.data_bytes > kFramePayloadBytesMax || f.data_bytes % kBlockBytes != 0) {
    return malformed("wal_data");
  }
  if (f.frame_header_bytes == 0 ? f.data_bytes != 0 : f.frame_header_bytes < sizeof(FrameFields)) return malformed("wal_data");
  if (f.stable > f.committed || f.committed > f.head) return malformed("wal_data");
  return f;
}

}  // namespace ringbolt::repl
