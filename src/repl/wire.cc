// The header that every message has, and the names.
#include "repl/wire.h"

#include <fmt/format.h>

#include "ringbolt/crc32c.h"

namespace ringbolt::repl {

const char* to_string(MessageType type) {
  switch (type) {
    case MessageType::kHello: return "hello";
    case MessageType::kWelcome: return "welcome";
    case MessageType::kReject: return "reject";
    case MessageType::kWalData: return "wal_data";
    case MessageType::kWalAck: return "wal_ack";
    case MessageType::kSync: return "sync";
    case MessageType::kSyncAck: return "sync_ack";
    case MessageType::kSessionControl: return "session_control";
    case MessageType::kSessionData: return "session_data";
    case MessageType::kSessionDataAck: return "session_data_ack";
    case MessageType::kSessionAck: return "session_ack";
    case MessageType::kVerify: return "verify";
    case MessageType::kVerifyAck: return "verify_ack";
    case MessageType::kMeasure: return "measure";
    case MessageType::kMeasureAck: return "measure_ack";
    case MessageType::kGrow: return "grow";
    case MessageType::kGrowAck: return "grow_ack";
  }
  return "unknown";
}

namespace {

/// Read before the connection has a version, or on one that never gets one.
bool is_handshake(MessageType type) {
  return type == MessageType::kHello || type == MessageType::kWelcome || type == MessageType::kReject || type == MessageType::kMeasure ||
         type == MessageType::kMeasureAck;
}

/// Sent by a primary that has an epoch, and so never with 0. (wal_data is within a session anyway.)
bool needs_epoch(MessageType type) {
  return type == MessageType::kHello || type == MessageType::kSync || type == MessageType::kSessionControl ||
         type == MessageType::kSessionData || type == MessageType::kVerify || type == MessageType::kGrow;
}

bool needs_session(MessageType type) {
  return type == MessageType::kSessionData || type == MessageType::kSessionDataAck || type == MessageType::kSessionAck ||
         type == MessageType::kVerify || type == MessageType::kVerifyAck || type == MessageType::kGrow || type == MessageType::kGrowAck;
}

uint32_t payload_limit(MessageType type) {
  switch (type) {
    case MessageType::kWalData: return WalDataFields::kBytes + kFrameBytesMax;
    case MessageType::kSessionData: return SessionDataFields::kBytes + kFramePayloadBytesMax;
    case MessageType::kMeasure: return kMeasureBytesMax;
    case MessageType::kMeasureAck: return 0;
    default: return kControlBytesMax;
  }
}

}  // namespace

void encode_header(const MessageHeader& header, std::byte* out) {
  std::memset(out, 0, kHeaderBytes);
  const auto put = [out](size_t at, const auto& value) { std::memcpy(out + at, &value, sizeof value); };
  put(0, kMagic);
  put(4, header.version);
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
  if (bytes.size() < kHeaderBytes) return make_error(Errc::kInvalid, "malformed message: it ends within the header");
  const auto get = [bytes]<class T>(size_t at, T* value) { std::memcpy(value, bytes.data() + at, sizeof *value); };
  uint32_t magic, zero, crc;
  uint16_t type;
  uint64_t epoch, session;
  MessageHeader header;
  get(0, &magic);
  if (magic != kMagic) return make_error(Errc::kInvalid, "not a ringbolt peer (wrong magic)");
  get(60, &crc);
  if (crc != crc32c(bytes.data(), 60)) return make_error(Errc::kCorrupt, "message header checksum mismatch");
  get(4, &header.version);
  get(6, &type);
  header.type = static_cast<MessageType>(type);
  const bool other_version = header.version < kVersionMin || header.version > kVersionMax;
  if (header.version == 0 || (other_version && !is_handshake(header.type))) {
    return make_error(Errc::kUnsupported, fmt::format("message of protocol version {} (this build speaks {} to {})", header.version,
                                                      kVersionMin, kVersionMax));
  }
  if (header.type < MessageType::kHello || header.type > MessageType::kGrowAck) {
    return make_error(Errc::kInvalid, fmt::format("message of unknown type {}", type));
  }
  get(8, &header.volume.bytes);
  get(24, &epoch);
  get(32, &session);
  get(40, &header.sequence);
  get(48, &header.payload_bytes);
  get(52, &header.payload_crc);
  get(56, &zero);
  header.epoch = Epoch(epoch);
  header.session = SessionId(session);
  const auto malformed = [&header](std::string what) {
    return make_error(Errc::kInvalid, fmt::format("{} message {}", to_string(header.type), what));
  };
  if (header.payload_bytes > payload_limit(header.type)) {
    return malformed(fmt::format("with {} bytes of payload, at most {} are allowed", header.payload_bytes, payload_limit(header.type)));
  }
  if (zero != 0) return malformed(fmt::format("with {:#x} where the header is zero", zero));
  if (epoch == 0 && needs_epoch(header.type)) return malformed("of epoch 0");
  if (header.epoch > kPeerEpochMax) return malformed(fmt::format("of epoch {}, which nobody assigns", epoch));
  if (session == 0 && needs_session(header.type)) return malformed("outside a session");
  return header;
}

}  // namespace ringbolt::repl
