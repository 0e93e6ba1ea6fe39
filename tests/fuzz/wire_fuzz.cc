// Fuzz target: one message of the replication protocol, or the header; WIRE_MESSAGE says which
// (meson.build makes one program of each). The first byte chooses: the bytes as they come, or a valid
// message made from a seed and then changed by what follows, so that rules deep within are reached. Any
// bytes give a message or an error that says what; a message encodes to the bytes that it came from.
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "ringbolt/assert.h"
#include "ringbolt/crc32c.h"
#include "tests/unit/repl/wire_samples.h"

#define WIRE_TEXT_OF(x) #x
#define WIRE_TEXT(x) WIRE_TEXT_OF(x)

namespace {

using namespace ringbolt;
using namespace ringbolt::repl;
using namespace ringbolt::repl::samples;

constexpr std::string_view kMessage = WIRE_TEXT(WIRE_MESSAGE);

/// Exactly `bytes` in an allocation of their own, so that the sanitizer sees a read beyond them.
struct Exact {
  explicit Exact(std::span<const std::byte> bytes) : data(new std::byte[bytes.size()]), size(bytes.size()) {
    if (size > 0) std::memcpy(data.get(), bytes.data(), size);
  }
  [[nodiscard]] std::span<const std::byte> span() const { return {data.get(), size}; }
  std::unique_ptr<std::byte[]> data;
  size_t size;
};

/// Pairs of a place (u16) and a byte; a last single byte cuts or appends.
void change(Bytes& bytes, std::span<const uint8_t> how) {
  while (how.size() >= 3 && !bytes.empty()) {
    const size_t at = how[0] | size_t{how[1]} << 8;
    bytes[at % bytes.size()] = static_cast<std::byte>(how[2]);
    how = how.subspan(3);
  }
  if (how.size() == 1) bytes.resize(how[0] < 128 ? std::min<size_t>(bytes.size(), how[0]) : bytes.size() + how[0] - 128);
}

template <class M, class Decode>
void check(const char* name, const Decode& decode, std::span<const std::byte> bytes) {
  const Exact exact(bytes);
  const Result<M> decoded = decode(exact.span());
  if (!decoded.has_value()) {
    RINGBOLT_ASSERT(decoded.error().message.find(name) != std::string::npos);
    return;
  }
  const Bytes again = encoded(decoded.value());
  // Only of fields, and of a later version's handshake, may there be more.
  bool may_be_longer = requires { M::kBytes; };
  if constexpr (requires { decoded.value().version_max; }) may_be_longer = decoded.value().version_max > kVersionMax;
  RINGBOLT_ASSERT(again.size() == bytes.size() || (may_be_longer && again.size() < bytes.size()));
  RINGBOLT_ASSERT(std::memcmp(again.data(), bytes.data(), again.size()) == 0);
  RINGBOLT_ASSERT(bytes.size() > kControlBytesMax || again.size() <= kControlBytesMax);
}

MessageHeader any_header(SimRandom& random) {
  MessageHeader header;
  header.type = any_of(random, MessageType::kHello, MessageType::kMeasureAck);
  header.version = any_u16(random, 1, 2);
  for (uint8_t& byte : header.volume.bytes) byte = static_cast<uint8_t>(random.next());
  header.epoch = Epoch(any_number(random, 0, UINT64_MAX / 2));
  header.session = SessionId(any_number(random));
  header.sequence = any_number(random);
  header.payload_bytes = static_cast<uint32_t>(any_number(random, 0, 1u << 20));
  header.payload_crc = static_cast<uint32_t>(random.next());
  return header;
}

void check_header(Bytes bytes, bool repair) {
  if (repair && bytes.size() >= kHeaderBytes) {
    std::memcpy(bytes.data(), &kMagic, sizeof kMagic);
    const uint32_t crc = crc32c(bytes.data(), 60);
    std::memcpy(&bytes[60], &crc, sizeof crc);
  }
  const Exact exact(bytes);
  const Result<MessageHeader> decoded = decode_header(exact.span());
  if (!decoded.has_value()) {
    RINGBOLT_ASSERT(!decoded.error().message.empty());
    return;
  }
  const MessageHeader& header = decoded.value();
  const uint32_t limit = header.type == MessageType::kWalData       ? WalDataFields::kBytes + kFrameBytesMax
                         : header.type == MessageType::kSessionData ? SessionDataFields::kBytes + kFramePayloadBytesMax
                         : header.type == MessageType::kMeasure     ? kMeasureBytesMax
                         : header.type == MessageType::kMeasureAck  ? 0
                                                                    : kControlBytesMax;
  RINGBOLT_ASSERT(header.payload_bytes <= limit);
  Bytes again(kHeaderBytes);
  encode_header(header, again.data());
  RINGBOLT_ASSERT(std::memcmp(again.data(), bytes.data(), again.size()) == 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 3) return 0;
  const bool from_sample = (data[0] & 1) != 0;
  const bool repair = (data[0] & 2) != 0;
  const std::span<const uint8_t> rest(data + 1, size - 1);
  SimRandom random(rest[0] | uint64_t{rest[1]} << 8);
  const auto bytes_of = [&](const auto& make) {
    if (!from_sample) return Bytes(std::as_bytes(rest).begin(), std::as_bytes(rest).end());
    Bytes bytes = make();
    change(bytes, rest.subspan(2));
    return bytes;
  };
  bool found = false;
  if (kMessage == "header") {
    found = true;
    check_header(bytes_of([&] {
                   Bytes bytes(kHeaderBytes);
                   encode_header(any_header(random), bytes.data());
                   return bytes;
                 }),
                 repair);
  }
  for_each_message([&]<class M>(const char* name, const auto& decode, const M&) {
    if (kMessage != name) return;
    found = true;
    const Bytes bytes = bytes_of([&] {
      M message;
      fill(random, message);
      Bytes whole = encoded(message);
      const Result<M> decoded = decode(whole);
      RINGBOLT_ASSERT(decoded.has_value() && decoded.value() == message);
      return whole;
    });
    check<M>(name, decode, bytes);
  });
  RINGBOLT_ASSERT(found);  // else WIRE_MESSAGE names none
  return 0;
}
