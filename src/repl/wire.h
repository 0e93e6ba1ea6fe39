// The replication protocol's messages as bytes. Little-endian. Decoders are total: any bytes give a
// message or the reason why not.
//
//   header, 64 bytes
//   offset size
//        0    4  magic "RBR1"
//        4    2  protocol version (1)
//        6    2  message type
//        8   16  volume UUID (hello: may be all zero in the answer of a blank replica)
//       24    8  epoch of the sender
//       32    8  session id (0 outside a session)
//       40    8  sequence: +1 per message of this direction of this connection, from 1
//       48    4  payload bytes
//       52    4  CRC32C of the payload; wal_data: of its fields and frame header only, whose block
//                CRCs cover the data
//       56    4  zero
//       60    4  CRC32C of the 60 bytes before
//
// A message of a stale epoch or session is answered with `reject`, which names the current one.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/term_history.h"
#include "ringbolt/result.h"
#include "ringbolt/types.h"

namespace ringbolt::repl {

inline constexpr uint32_t kMagic = 0x31524252;  // "RBR1"
inline constexpr uint16_t kVersion = 1;
inline constexpr size_t kHeaderBytes = 64;
/// Longest payload of any message but wal_data.
inline constexpr uint32_t kControlBytesMax = 4096;

enum class MessageType : uint16_t {
  kHello = 1,           ///< P to R: who asks, for which volume
  kFacts = 2,           ///< R to P: what the copy is; answers hello and a finished cut
  kReject = 3,          ///< either: why not, and the current epoch
  kWalData = 4,         ///< P to R: positions, and a frame of records
  kWalAck = 5,          ///< R to P: written and durable positions
  kSessionControl = 6,  ///< P to R: start a session at a position, or cut the tail
  kSessionAck = 7,      ///< R to P: the session's phase
};

/// Why something was refused or ended. Fixed vocabulary; numbers are on the wire.
enum class Reason : uint16_t {
  kNone = 0,
  kEpochMismatch = 1,
  kTransportLost = 2,
  kProgressStalled = 3,
  kDeadlineExceeded = 4,
  kPinLost = 5,
  kSnapshotUnavailable = 6,
  kLocalWalCorrupt = 7,
  kLocalExtentCorrupt = 8,
  kSuperseded = 9,
  kCancelled = 10,
  kWrongVolume = 11,
  kProtocolViolation = 12,
  kNotReady = 13,
};
const char* to_string(Reason reason);

struct MessageHeader {
  MessageType type = MessageType::kHello;
  Uuid volume;
  Epoch epoch;
  SessionId session;
  uint64_t sequence = 0;
  uint32_t payload_bytes = 0;
  uint32_t payload_crc = 0;
};

/// Writes kHeaderBytes.
void encode_header(const MessageHeader& header, std::byte* out);
Result<MessageHeader> decode_header(std::span<const std::byte> bytes);

struct Hello {
  std::string volume_name;
  std::string node_id;
  std::string replica_id;  ///< who the primary believes to speak to
  Incarnation incarnation;
  uint64_t volume_bytes = 0;
};

struct Facts {
  std::string node_id;
  bool base_usable = false;
  Lsn position;    ///< contiguous and flushed
  Lsn checkpoint;
  uint64_t volume_bytes = 0;
  uint64_t wal_bytes = 0;
  core::TermHistory history;
};

struct Reject {
  Reason reason = Reason::kNone;
  Epoch epoch;  ///< the current one at the sender
  std::string text;
};

/// The fixed part of wal_data; then `frame_header_bytes` of a frame header block (its used part), then
/// `data_bytes` of payload blocks. Both 0: positions only.
struct WalDataFields {
  static constexpr uint32_t kBytes = 40;
  Lsn committed;
  Lsn stable;
  Lsn flush_to;  ///< the replica flushes at least up to here; Lsn 0: nothing asked
  Lsn head;      ///< newest record of the primary, a diagnostic
  uint32_t frame_header_bytes = 0;
  uint32_t data_bytes = 0;
};

struct WalAck {
  Lsn written;
  Lsn durable;
  Lsn stable;  ///< the highest stable position that the replica was told
};

enum class ControlKind : uint16_t { kStart = 1, kCutTail = 2 };

struct SessionControl {
  ControlKind kind = ControlKind::kStart;
  Lsn position;  ///< kStart: the last record that the replica has; kCutTail: the last that it keeps
  core::TermHistory history;  ///< the primary's
};

enum class SessionPhase : uint16_t { kAccepted = 1, kFailed = 2 };

struct SessionAck {
  SessionPhase phase = SessionPhase::kAccepted;
  Reason reason = Reason::kNone;
};

/// Payload encoders append to `out`; decoders take the whole payload.
void encode(const Hello& message, std::vector<std::byte>& out);
void encode(const Facts& message, std::vector<std::byte>& out);
void encode(const Reject& message, std::vector<std::byte>& out);
void encode(const WalAck& message, std::vector<std::byte>& out);
void encode(const SessionControl& message, std::vector<std::byte>& out);
void encode(const SessionAck& message, std::vector<std::byte>& out);
void encode_fields(const WalDataFields& fields, std::byte* out);  ///< WalDataFields::kBytes

Result<Hello> decode_hello(std::span<const std::byte> payload);
Result<Facts> decode_facts(std::span<const std::byte> payload);
Result<Reject> decode_reject(std::span<const std::byte> payload);
Result<WalAck> decode_wal_ack(std::span<const std::byte> payload);
Result<SessionControl> decode_session_control(std::span<const std::byte> payload);
Result<SessionAck> decode_session_ack(std::span<const std::byte> payload);
Result<WalDataFields> decode_fields(std::span<const std::byte> payload);

}  // namespace ringbolt::repl
