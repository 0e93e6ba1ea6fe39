// Fuzz target: every decoder of the replication protocol. The first byte chooses the message and
// whether a header's checksum is made right. Any bytes give a message or an error; a message,
// encoded and decoded again, is the same message.
#include <cstdint>
#include <cstring>
#include <vector>

#include "repl/wire.h"
#include "ringbolt/assert.h"
#include "ringbolt/crc32c.h"

namespace {

using namespace ringbolt;
using namespace ringbolt::repl;

using Bytes = std::span<const std::byte>;

/// Every byte of a payload means something, so what was decoded encodes to exactly what came.
template <class Message>
void check_round_trip(const Result<Message>& decoded, Bytes payload) {
  if (!decoded.has_value()) {
    RINGBOLT_ASSERT(!decoded.error().message.empty());
    return;
  }
  std::vector<std::byte> again;
  encode(decoded.value(), again);
  RINGBOLT_ASSERT(again.size() == payload.size());
  RINGBOLT_ASSERT(again.empty() || std::memcmp(again.data(), payload.data(), again.size()) == 0);
}

void check_header(std::vector<std::byte> bytes, bool repair) {
  if (repair && bytes.size() >= kHeaderBytes) {
    std::memcpy(bytes.data(), &kMagic, sizeof kMagic);
    std::memcpy(&bytes[4], &kVersion, sizeof kVersion);
    const uint32_t crc = crc32c(bytes.data(), 60);
    std::memcpy(&bytes[60], &crc, sizeof crc);
  }
  const Result<MessageHeader> decoded = decode_header(bytes);
  if (!decoded.has_value()) {
    RINGBOLT_ASSERT(!decoded.error().message.empty());
    return;
  }
  const MessageHeader& header = decoded.value();
  const uint32_t limit = header.type == MessageType::kWalData
                             ? WalDataFields::kBytes + kFrameBytesMax
                             : kControlBytesMax;
  RINGBOLT_ASSERT(header.payload_bytes <= limit);
  std::vector<std::byte> again(kHeaderBytes);
  encode_header(header, again.data());
  // All but the zero field and so the checksum.
  RINGBOLT_ASSERT(std::memcmp(again.data(), bytes.data(), 56) == 0);
  RINGBOLT_ASSERT(decode_header(again).has_value());
}

void check_fields(Bytes payload) {
  const Result<WalDataFields> decoded = decode_fields(payload);
  if (!decoded.has_value()) return;
  const WalDataFields& fields = decoded.value();
  RINGBOLT_ASSERT(fields.frame_header_bytes <= kBlockBytes &&
                  fields.data_bytes <= kFramePayloadBytesMax);
  RINGBOLT_ASSERT(fields.stable <= fields.committed && fields.committed <= fields.head);
  std::vector<std::byte> again(WalDataFields::kBytes);
  encode_fields(fields, again.data());
  RINGBOLT_ASSERT(std::memcmp(again.data(), payload.data(), again.size()) == 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::span<const uint8_t> rest(data + 1, size - 1);
  std::vector<std::byte> payload(rest.size());
  if (!rest.empty()) std::memcpy(payload.data(), rest.data(), rest.size());
  switch (data[0] % 9) {
    case 0:
      check_header(payload, false);
      break;
    case 1:
      check_header(payload, true);
      break;
    case 2:
      check_fields(payload);
      break;
    case 3:
      check_round_trip(decode_hello(payload), payload);
      break;
    case 4:
      check_round_trip(decode_facts(payload), payload);
      break;
    case 5:
      check_round_trip(decode_reject(payload), payload);
      break;
    case 6:
      check_round_trip(decode_wal_ack(payload), payload);
      break;
    case 7:
      check_round_trip(decode_session_control(payload), payload);
      break;
    default:
      check_round_trip(decode_session_ack(payload), payload);
      break;
  }
  return 0;
}
