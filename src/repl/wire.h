// The replication protocol's messages as bytes. Little-endian. Decoders are total: any bytes give a
// message, or the reason why not, which names the field.
//
//   header, 64 bytes; its layout is the same in every version
//   offset size  field
//        0    4  magic "RBR1"
//        4    2  protocol version: hello, welcome and reject: the lowest that the sender speaks, for they
//                are read before there is a common one; all others: the one chosen for the connection
//        6    2  message type
//        8   16  volume UUID (may be all zero in what a blank replica says)
//       24    8  epoch of the sender
//       32    8  session id (0 outside a session)
//       40    8  sequence: +1 per message of this direction of this connection, from 1
//       48    4  payload bytes
//       52    4  CRC32C of the payload; wal_data: of its fields and frame header only, whose block
//                CRCs cover the data; session_data: of its fields only, which carry the data's CRC
//       56    4  zero
//       60    4  CRC32C of the 60 bytes before
//
//   payload: the fields in the order of the struct
//        integers, positions, enumerators   their own width
//        bool                               1 byte, 0 or 1
//        optional                           1 byte, 0: absent, 1: present and the value follows
//        text                               u16 length, at most 255 bytes, none of them a control character
//        term history                       u16 count, then epoch, incarnation, first Lsn (u64 each)
//
// An absent position is absent, never Lsn 0: that is the empty prefix of a log. Each message has one
// encoding only: what is decoded encodes to the same bytes. Hello, welcome and reject never change their
// layout, but a later version may append to hello and welcome; what follows is then ignored.
//
// Two connections per volume and replica, `log` and `bulk`, so that bulk never delays
// acknowledgements; each begins with a hello. A connection that begins with `measure` is neither: it is about no volume, its
// messages carry bytes that nobody looks at, and each is answered when all of it has come. A message of a stale epoch or session is answered with
// `reject`, which names the current one.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/events.h"
#include "ringbolt/result.h"
#include "ringbolt/types.h"

namespace ringbolt::repl {

inline constexpr uint32_t kMagic = 0x31524252;  // "RBR1"
/// The versions that this build speaks.
inline constexpr uint16_t kVersionMin = 1;
inline constexpr uint16_t kVersionMax = 1;
inline constexpr uint16_t kVersion = kVersionMax;
/// Optional features: bits of hello and welcome. This build has all of them.
inline constexpr uint64_t kFeatureGrow = 1;  ///< grow and grow_ack
inline constexpr uint64_t kFeatures = kFeatureGrow;

inline constexpr size_t kHeaderBytes = 64;
/// Longest payload of any message but wal_data, session_data and measure.
inline constexpr uint32_t kControlBytesMax = 4096;
/// Longest payload of measure: as long as the longest frame of a log.
inline constexpr uint32_t kMeasureBytesMax = kFrameBytesMax;
/// Longest text of a message, and longest node id, bytes.
inline constexpr size_t kTextBytesMax = 255;
inline constexpr size_t kNodeIdBytesMax = 63;
/// Most blocks of one session_data without data.
inline constexpr uint32_t kZeroChunkBlocksMax = 1u << 24;
/// No log gets this far, and below it arithmetic on what a peer said cannot wrap.
inline constexpr Lsn kLsnMax{UINT64_MAX / 2};
/// Nobody assigns a higher one: a copy that promised to it could never be assigned anything again.
inline constexpr Epoch kPeerEpochMax{UINT64_MAX / 2};

enum class MessageType : uint16_t {
  kHello = 1,            ///< P to R, first on each connection: who asks, for which volume
  kWelcome = 2,          ///< R to P: answers hello
  kReject = 3,           ///< either: why not, and the current epoch and session
  kWalData = 4,          ///< P to R: positions, and a frame of records
  kWalAck = 5,           ///< R to P: written and durable positions
  kSync = 6,             ///< P to R: asks for facts, once a position is durable
  kSyncAck = 7,          ///< R to P: the facts
  kSessionControl = 8,   ///< P to R: start or cancel a session, or cut the tail
  kSessionData = 9,      ///< P to R, bulk: a chunk of the base image
  kSessionDataAck = 10,  ///< R to P, bulk: window
  kSessionAck = 11,      ///< R to P: the session's phase and progress
  kVerify = 12,          ///< P to R: asks for checksums of blocks
  kVerifyAck = 13,       ///< R to P: the checksums
  kMeasure = 14,         ///< anybody to a node, first on a connection and then again: any bytes, which are thrown away
  kMeasureAck = 15,      ///< the answer, without payload: the message of this sequence has come
  kGrow = 16,            ///< P to R: the volume is about to get larger, the copy is to be first
  kGrowAck = 17,         ///< R to P: it is, or why not
};
const char* to_string(MessageType type);

// Numbers of these are on the wire.
using core::ActiveSession;
using core::Reason;
using core::SessionKind;
using core::SessionPhase;
using core::SyncAckKind;
using core::to_string;

/// A length of time, never a moment: the clocks of two hosts do not agree.
class Millis {
 public:
  constexpr Millis() = default;
  constexpr explicit Millis(uint32_t value) : value_(value) {}
  /// Rounded up, so that a short time does not become none; cut at what fits.
  static constexpr Millis from_nanos(int64_t nanos) {
    if (nanos <= 0) return Millis();
    const int64_t millis = nanos / kNanosEach + (nanos % kNanosEach != 0 ? 1 : 0);
    return Millis(millis > int64_t{UINT32_MAX} ? UINT32_MAX : static_cast<uint32_t>(millis));
  }
  [[nodiscard]] constexpr uint32_t value() const { return value_; }
  [[nodiscard]] constexpr int64_t nanos() const { return int64_t{value_} * kNanosEach; }
  /// As a deadline: false means that there is none.
  [[nodiscard]] constexpr bool is_set() const { return value_ != 0; }
  constexpr auto operator<=>(const Millis&) const = default;

 private:
  static constexpr int64_t kNanosEach = 1'000'000;
  uint32_t value_ = 0;
};

struct MessageHeader {
  MessageType type = MessageType::kHello;
  uint16_t version = kVersion;
  Uuid volume;
  Epoch epoch;
  SessionId session;
  uint64_t sequence = 0;
  uint32_t payload_bytes = 0;
  uint32_t payload_crc = 0;
  bool operator==(const MessageHeader&) const = default;
};

/// Writes kHeaderBytes.
void encode_header(const MessageHeader& header, std::byte* out);
/// Hello, welcome and reject are taken of any version. That of the others is one that this build
/// speaks; whether it is the connection's is the caller's to check, like epoch, session and sequence.
Result<MessageHeader> decode_header(std::span<const std::byte> bytes);

// --- handshake ------------------------------------------------------------------------------------

struct VersionRange {
  uint16_t min = kVersionMin;
  uint16_t max = kVersionMax;
  bool operator==(const VersionRange&) const = default;
};

/// The highest version that a peer of `min` to `max` and this build both speak; else kUnsupported with
/// both ranges in words.
Result<uint16_t> choose_version(uint16_t min, uint16_t max);
Result<uint16_t> choose_version(VersionRange theirs, VersionRange ours);

enum class Channel : uint8_t { kLog = 1, kBulk = 2 };
const char* to_string(Channel channel);

struct Hello {
  std::string volume_name;
  std::string node_id;
  std::string replica_id;  ///< who the primary believes to speak to
  Incarnation incarnation;
  uint64_t volume_bytes = 0;  ///< the copy must have them: a smaller one grows, and is called again
  uint16_t version_min = kVersionMin;
  uint16_t version_max = kVersionMax;
  uint64_t features = kFeatures;  ///< what the sender has, bits that this build does not know included
  Channel channel = Channel::kLog;
  bool operator==(const Hello&) const = default;
};

struct Welcome {
  uint16_t version = kVersion;  ///< the chosen one
  uint16_t version_min = kVersionMin;
  uint16_t version_max = kVersionMax;
  uint64_t features = 0;  ///< what both have
  std::string node_id;
  bool blank = false;  ///< the copy belongs to no volume yet
  uint64_t volume_bytes = 0;
  uint64_t wal_bytes = 0;
  bool operator==(const Welcome&) const = default;
};

struct Reject {
  Reason reason = Reason::kNone;  ///< never kNone on the wire
  Epoch epoch;  ///< the current one at the sender
  std::string text;
  std::optional<SessionId> session = std::nullopt;  ///< the current one at the sender, if there is one
  bool operator==(const Reject&) const = default;
};

// --- log ------------------------------------------------------------------------------------------

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
  bool operator==(const WalDataFields&) const = default;
};

struct WalAck {
  Lsn written;
  Lsn durable;
  Lsn stable;  ///< the highest stable position that the replica was told
  bool operator==(const WalAck&) const = default;
};

/// Asks for facts; with a target, once that is durable or the deadline has passed.
struct Sync {
  uint64_t sync_id = 0;  ///< from 1
  std::optional<Lsn> target;  ///< at least 1: to wait for nothing is no barrier
  Millis deadline;
  bool operator==(const Sync&) const = default;
};

/// Facts only. The three positions are there together or not at all: absent while the base image is
/// unusable, present otherwise in kQuorum and kTimedOut.
struct SyncAck {
  uint64_t sync_id = 0;
  SyncAckKind kind = SyncAckKind::kQuorum;
  Epoch epoch;  ///< the current one of the replica, from 1
  bool base_usable = false;
  std::optional<Lsn> written;     ///< applied: contiguous in the replica's WAL
  std::optional<Lsn> durable;     ///< the same, and flushed
  std::optional<Lsn> base_limit;  ///< the base image may hold records up to here: no cut below
  core::TermHistory history;
  std::optional<ActiveSession> session;
  Reason reason = Reason::kNone;
  bool operator==(const SyncAck&) const = default;
};

// --- sessions -------------------------------------------------------------------------------------

enum class ControlKind : uint8_t { kStartCatchup = 1, kStartRebuild = 2, kCancelSession = 3, kCutTail = 4, kBaseComplete = 5 };
const char* to_string(ControlKind kind);

enum class BaseKind : uint8_t { kNone = 0, kLive = 1, kSnapshot = 2 };
const char* to_string(BaseKind kind);

///                 base kind        base      target   snapshot id        deadline  reason  history
/// start_catchup   none             required  >= base  0                  any       none    not empty
/// start_rebuild   live, snapshot   required  >= base  with snapshot only any       none    not empty
/// cancel_session  none             absent    with handed_over only 0     none      why     empty
/// cut_tail        none             absent    required 0                  any       none    not empty
/// base_complete   none             absent    required 0                  none      none    empty
struct SessionControl {
  ControlKind kind = ControlKind::kStartCatchup;
  BaseKind base_kind = BaseKind::kNone;
  /// start_catchup: the last record that the replica has. start_rebuild: all after it come through the
  /// WAL lane.
  std::optional<Lsn> base;
  /// start_*: what the session must reach, at least 1 (the primary's term record if there is nothing
  /// else yet). cut_tail: the last record that the replica keeps, 0 for none. cancel_session because of a hand-over: the
  /// primary's last record, which the replica must have. base_complete: the whole base image was sent, and nothing in it
  /// is newer than this record: the rebuild is complete once the log reaches it.
  std::optional<Lsn> target;
  uint64_t snapshot_id = 0;  ///< 0: the live image
  Millis deadline;
  Reason reason = Reason::kNone;
  core::TermHistory history;  ///< the primary's
  bool operator==(const SessionControl&) const = default;
};

/// The fixed part of session_data; then data_bytes() of data, whose CRC32C is `data_crc`, so that it can
/// be received in place.
struct SessionDataFields {
  static constexpr uint32_t kBytes = 36;
  static constexpr uint32_t kFlagZeros = 1, kFlagLast = 2;
  uint64_t chunk = 0;  ///< from 1
  Lba first;
  uint32_t blocks = 0;
  Lsn read;  ///< the image that was read holds nothing newer; from 1: the primary's term record comes first
  bool zeros = false;  ///< the range is zero, no data follows
  bool last = false;   ///< the last chunk of the base image
  uint32_t data_crc = 0;  ///< zeros: 0
  [[nodiscard]] constexpr uint32_t data_bytes() const { return zeros ? 0 : blocks * kBlockBytes; }
  bool operator==(const SessionDataFields&) const = default;
};

/// Window only: never says that anything is applied.
struct SessionDataAck {
  uint64_t chunk = 0;  ///< the window is given back up to this chunk; from 1
  uint64_t bytes = 0;  ///< so many bytes of data
  bool operator==(const SessionDataAck&) const = default;
};

struct SessionAck {
  SessionPhase phase = SessionPhase::kAccepted;
  std::optional<Lsn> applied;  ///< in the replica's WAL
  uint64_t base_blocks_done = 0;
  uint64_t base_blocks_skipped = 0;  ///< WAL wins: not written, because a newer record was applied
  std::optional<Lsn> achieved;       ///< exactly with kCompleted; from 1
  Reason reason = Reason::kNone;     ///< exactly with kFailed
  bool operator==(const SessionAck&) const = default;
};

// --- verify ---------------------------------------------------------------------------------------

inline constexpr uint32_t kVerifyBlocksMax = 64;

/// Asks for checksums of blocks as they are once the replica has written all up to `after`.
struct Verify {
  uint64_t id = 0;  ///< from 1
  Lba first;
  uint32_t blocks = 0;  ///< 1 .. kVerifyBlocksMax
  Lsn after;
  bool operator==(const Verify&) const = default;
};

/// One CRC64 for each block, all of them read while the newest record was between `after` and `head`.
struct VerifyAck {
  uint64_t id = 0;
  Lsn head;
  Reason reason = Reason::kNone;  ///< exactly if there are no checksums: why not
  std::vector<uint64_t> sums;
  bool operator==(const VerifyAck&) const = default;
};

// --- grow -----------------------------------------------------------------------------------------

/// Within a session. The primary's own copy grows when all replicas in step have: until then no record is about what is new.
struct Grow {
  uint64_t volume_bytes = 0;  ///< what the volume is to have
  bool operator==(const Grow&) const = default;
};

struct GrowAck {
  uint64_t volume_bytes = 0;  ///< what the copy has now, durably
  std::string problem;        ///< why it did not grow; empty: it has what it was asked for, or more
  bool operator==(const GrowAck&) const = default;
};

/// Payload encoders append to `out`; a text is cut where it must be, and its control characters become
/// '?'. Decoders take the whole payload, those of fields at least these.
void encode(const Hello& message, std::vector<std::byte>& out);
void encode(const Welcome& message, std::vector<std::byte>& out);
void encode(const Reject& message, std::vector<std::byte>& out);
void encode(const WalAck& message, std::vector<std::byte>& out);
void encode(const Sync& message, std::vector<std::byte>& out);
void encode(const SyncAck& message, std::vector<std::byte>& out);
void encode(const SessionControl& message, std::vector<std::byte>& out);
void encode(const SessionDataAck& message, std::vector<std::byte>& out);
void encode(const SessionAck& message, std::vector<std::byte>& out);
void encode(const Verify& message, std::vector<std::byte>& out);
void encode(const VerifyAck& message, std::vector<std::byte>& out);
void encode(const Grow& message, std::vector<std::byte>& out);
void encode(const GrowAck& message, std::vector<std::byte>& out);
void encode_fields(const WalDataFields& fields, std::byte* out);      ///< WalDataFields::kBytes
void encode_fields(const SessionDataFields& fields, std::byte* out);  ///< SessionDataFields::kBytes

Result<Hello> decode_hello(std::span<const std::byte> payload);
Result<Welcome> decode_welcome(std::span<const std::byte> payload);
Result<Reject> decode_reject(std::span<const std::byte> payload);
Result<WalAck> decode_wal_ack(std::span<const std::byte> payload);
Result<Sync> decode_sync(std::span<const std::byte> payload);
Result<SyncAck> decode_sync_ack(std::span<const std::byte> payload);
Result<SessionControl> decode_session_control(std::span<const std::byte> payload);
Result<SessionDataAck> decode_session_data_ack(std::span<const std::byte> payload);
Result<SessionAck> decode_session_ack(std::span<const std::byte> payload);
Result<Verify> decode_verify(std::span<const std::byte> payload);
Result<VerifyAck> decode_verify_ack(std::span<const std::byte> payload);
Result<Grow> decode_grow(std::span<const std::byte> payload);
Result<GrowAck> decode_grow_ack(std::span<const std::byte> payload);
Result<WalDataFields> decode_fields(std::span<const std::byte> payload);
Result<SessionDataFields> decode_session_data_fields(std::span<const std::byte> payload);

}  // namespace ringbolt::repl
