// The NBD wire protocol: numbers and big-endian codecs, nothing else. No I/O, no state.
// Source: the NBD protocol document (fixed newstyle), sections "Values" and "Transmission phase".
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>

namespace ringbolt::nbd {

// --- handshake -----------------------------------------------------------------------------------

inline constexpr uint64_t kGreetingMagic = 0x4e42444d41474943;  // "NBDMAGIC"
inline constexpr uint64_t kOptionMagic = 0x49484156454f5054;    // "IHAVEOPT"
inline constexpr uint64_t kOptionReplyMagic = 0x0003e889045565a9;

inline constexpr uint16_t kFlagFixedNewstyle = 1;
inline constexpr uint16_t kFlagNoZeroes = 2;
inline constexpr uint32_t kClientFlagFixedNewstyle = 1;
inline constexpr uint32_t kClientFlagNoZeroes = 2;

inline constexpr uint32_t kOptExportName = 1;
inline constexpr uint32_t kOptAbort = 2;
inline constexpr uint32_t kOptList = 3;
inline constexpr uint32_t kOptStartTls = 5;
inline constexpr uint32_t kOptInfo = 6;
inline constexpr uint32_t kOptGo = 7;
inline constexpr uint32_t kOptStructuredReply = 8;
inline constexpr uint32_t kOptListMetaContext = 9;
inline constexpr uint32_t kOptSetMetaContext = 10;

inline constexpr uint32_t kRepAck = 1;
inline constexpr uint32_t kRepServer = 2;
inline constexpr uint32_t kRepInfo = 3;
inline constexpr uint32_t kRepMetaContext = 4;
inline constexpr uint32_t kRepErrorBit = uint32_t{1} << 31;
inline constexpr uint32_t kRepErrUnsupported = kRepErrorBit + 1;
inline constexpr uint32_t kRepErrPolicy = kRepErrorBit + 2;
inline constexpr uint32_t kRepErrInvalid = kRepErrorBit + 3;
inline constexpr uint32_t kRepErrUnknown = kRepErrorBit + 6;
inline constexpr uint32_t kRepErrTooBig = kRepErrorBit + 9;

inline constexpr uint16_t kInfoExport = 0;
inline constexpr uint16_t kInfoName = 1;
inline constexpr uint16_t kInfoDescription = 2;
inline constexpr uint16_t kInfoBlockSize = 3;

inline constexpr uint16_t kTransmissionHasFlags = 1u << 0;
inline constexpr uint16_t kTransmissionSendFlush = 1u << 2;
inline constexpr uint16_t kTransmissionSendFua = 1u << 3;
inline constexpr uint16_t kTransmissionSendTrim = 1u << 5;
inline constexpr uint16_t kTransmissionSendWriteZeroes = 1u << 6;
inline constexpr uint16_t kTransmissionSendDf = 1u << 7;
inline constexpr uint16_t kTransmissionCanMultiConn = 1u << 8;
inline constexpr uint16_t kTransmissionSendCache = 1u << 10;
inline constexpr uint16_t kTransmissionSendFastZero = 1u << 11;

inline constexpr size_t kGreetingBytes = 18;
inline constexpr size_t kClientFlagsBytes = 4;
inline constexpr size_t kOptionHeaderBytes = 16;
inline constexpr size_t kOptionReplyHeaderBytes = 20;
/// Longest string of the protocol (export names, error texts).
inline constexpr size_t kStringBytesMax = 4096;

inline constexpr std::string_view kBaseAllocation = "base:allocation";
inline constexpr uint32_t kBaseAllocationId = 1;

// --- transmission --------------------------------------------------------------------------------

inline constexpr uint32_t kRequestMagic = 0x25609513;
inline constexpr uint32_t kSimpleReplyMagic = 0x67446698;
inline constexpr uint32_t kChunkMagic = 0x668e33ef;

inline constexpr uint16_t kCommandRead = 0;
inline constexpr uint16_t kCommandWrite = 1;
inline constexpr uint16_t kCommandDisconnect = 2;
inline constexpr uint16_t kCommandFlush = 3;
inline constexpr uint16_t kCommandTrim = 4;
inline constexpr uint16_t kCommandCache = 5;
inline constexpr uint16_t kCommandWriteZeroes = 6;
inline constexpr uint16_t kCommandBlockStatus = 7;

inline constexpr uint16_t kCommandFlagFua = 1u << 0;
inline constexpr uint16_t kCommandFlagNoHole = 1u << 1;
inline constexpr uint16_t kCommandFlagDontFragment = 1u << 2;
inline constexpr uint16_t kCommandFlagOneExtent = 1u << 3;
inline constexpr uint16_t kCommandFlagFastZero = 1u << 4;

inline constexpr uint16_t kChunkFlagDone = 1;
inline constexpr uint16_t kChunkNone = 0;
inline constexpr uint16_t kChunkOffsetData = 1;
inline constexpr uint16_t kChunkBlockStatus = 5;
inline constexpr uint16_t kChunkError = (1u << 15) + 1;
inline constexpr uint16_t kChunkErrorOffset = (1u << 15) + 2;

/// Values of the error field: the protocol's own, whatever the host's errno values are.
inline constexpr uint32_t kErrorNone = 0;
inline constexpr uint32_t kErrorIo = 5;
inline constexpr uint32_t kErrorInvalid = 22;
inline constexpr uint32_t kErrorNoSpace = 28;
inline constexpr uint32_t kErrorOverflow = 75;
inline constexpr uint32_t kErrorNotSupported = 95;
inline constexpr uint32_t kErrorShutdown = 108;

inline constexpr size_t kRequestBytes = 28;
inline constexpr size_t kSimpleReplyBytes = 16;
inline constexpr size_t kChunkHeaderBytes = 20;

// --- codecs --------------------------------------------------------------------------------------

/// Stores `value` big-endian and returns the first byte behind it.
template <class Integer>
inline std::byte* store(std::byte* at, Integer value) {
  if constexpr (sizeof(Integer) == 2) value = __builtin_bswap16(value);
  if constexpr (sizeof(Integer) == 4) value = __builtin_bswap32(value);
  if constexpr (sizeof(Integer) == 8) value = __builtin_bswap64(value);
  std::memcpy(at, &value, sizeof(value));
  return at + sizeof(value);
}

template <class Integer>
inline Integer load(const std::byte* at) {
  Integer value;
  std::memcpy(&value, at, sizeof(value));
  if constexpr (sizeof(Integer) == 2) value = __builtin_bswap16(value);
  if constexpr (sizeof(Integer) == 4) value = __builtin_bswap32(value);
  if constexpr (sizeof(Integer) == 8) value = __builtin_bswap64(value);
  return value;
}
static_assert(std::endian::native == std::endian::little, "store() and load() swap always");

struct RequestHeader {
  uint16_t flags = 0;
  uint16_t command = 0;
  uint64_t cookie = 0;
  uint64_t offset = 0;
  uint32_t length = 0;
};

/// From kRequestBytes bytes; nothing if the magic is wrong (the stream is out of step).
inline std::optional<RequestHeader> decode_request(const std::byte* at) {
  if (load<uint32_t>(at) != kRequestMagic) return std::nullopt;
  return RequestHeader{load<uint16_t>(at + 4), load<uint16_t>(at + 6), load<uint64_t>(at + 8),
                       load<uint64_t>(at + 16), load<uint32_t>(at + 24)};
}

/// What a client sends: for load generators and tests, so that the layout stands in one place.
inline void encode_request(std::byte* at, const RequestHeader& request) {
  at = store(at, kRequestMagic);
  at = store(at, request.flags);
  at = store(at, request.command);
  at = store(at, request.cookie);
  at = store(at, request.offset);
  store(at, request.length);
}

/// kSimpleReplyBytes; returns the first byte behind it.
inline std::byte* encode_simple_reply(std::byte* at, uint32_t error, uint64_t cookie) {
  at = store(at, kSimpleReplyMagic);
  at = store(at, error);
  return store(at, cookie);
}

/// kChunkHeaderBytes; returns the first byte behind it. `payload_bytes` follow on the wire.
inline std::byte* encode_chunk(std::byte* at, bool done, uint16_t type, uint64_t cookie,
                               uint32_t payload_bytes) {
  at = store(at, kChunkMagic);
  at = store(at, static_cast<uint16_t>(done ? kChunkFlagDone : 0));
  at = store(at, type);
  at = store(at, cookie);
  return store(at, payload_bytes);
}

/// Takes fields off the front of untrusted bytes; every member returns whether there was enough.
class FieldReader {
 public:
  explicit FieldReader(std::span<const std::byte> bytes) : rest_(bytes) {}
  [[nodiscard]] bool at_end() const { return rest_.empty(); }
  [[nodiscard]] size_t bytes_left() const { return rest_.size(); }

  template <class Integer>
  [[nodiscard]] bool take(Integer& value) {
    if (rest_.size() < sizeof(Integer)) return false;
    value = load<Integer>(rest_.data());
    rest_ = rest_.subspan(sizeof(Integer));
    return true;
  }
  /// The length is 64 bits wide so that no sum of a caller can wrap before the comparison.
  [[nodiscard]] bool take_string(uint64_t bytes, std::string_view& text) {
    if (bytes > rest_.size()) return false;
    const size_t count = static_cast<size_t>(bytes);
    text = {reinterpret_cast<const char*>(rest_.data()), count};
    rest_ = rest_.subspan(count);
    return true;
  }

 private:
  std::span<const std::byte> rest_;
};

}  // namespace ringbolt::nbd
