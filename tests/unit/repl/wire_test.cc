// The replication messages as bytes, all types alike: round trips, every truncation, every damaged
// byte, any bytes; and the header. What each message refuses is in wire_rules_test.cc.
#include "repl/wire.h"

#include <catch2/catch.hpp>
#include <set>

#include "ringbolt/crc32c.h"
#include "wire_samples.h"

using namespace ringbolt;
using namespace ringbolt::repl;
using namespace ringbolt::repl::samples;

namespace {

Bytes part(const Bytes& whole, size_t bytes) {
  // Its own allocation, so that a read beyond it is noticed.
  return Bytes(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(bytes));
}

MessageHeader some_header(MessageType type = MessageType::kWalAck) {
  MessageHeader header;
  header.type = type;
  for (size_t i = 0; i < 16; ++i) header.volume.bytes[i] = static_cast<uint8_t>(i + 1);
  header.epoch = Epoch(0x1122334455667788);
  header.session = SessionId(77);
  header.sequence = UINT64_MAX - 3;
  header.payload_bytes = type == MessageType::kMeasureAck ? 0 : 24;
  header.payload_crc = 0xDEADBEEF;
  return header;
}

Bytes encoded_header(const MessageHeader& header) {
  Bytes bytes(kHeaderBytes);
  encode_header(header, bytes.data());
  return bytes;
}

constexpr MessageType kAllTypes[] = {
    MessageType::kHello,          MessageType::kWelcome,     MessageType::kReject,
    MessageType::kWalData,        MessageType::kWalAck,      MessageType::kSync,
    MessageType::kSyncAck,        MessageType::kSessionControl, MessageType::kSessionData,
    MessageType::kSessionDataAck, MessageType::kSessionAck, MessageType::kVerify, MessageType::kVerifyAck,
    MessageType::kMeasure,        MessageType::kMeasureAck, MessageType::kGrow, MessageType::kGrowAck};

bool is_handshake(MessageType type) {
  return type == MessageType::kHello || type == MessageType::kWelcome || type == MessageType::kReject || type == MessageType::kMeasure ||
         type == MessageType::kMeasureAck;
}

}  // namespace

TEST_CASE("wire: a header survives the round trip and has the documented layout", "[repl]") {
  for (const MessageType type : kAllTypes) {
    const MessageHeader header = some_header(type);
    const auto decoded = decode_header(encoded_header(header));
    REQUIRE(decoded.has_value());
    CHECK(decoded.value() == header);
  }
  const Bytes bytes = encoded_header(some_header());
  CHECK(std::memcmp(bytes.data(), "RBR1", 4) == 0);
  CHECK(bytes[4] == std::byte{1});
  CHECK(bytes[6] == std::byte{5});
  CHECK(bytes[8] == std::byte{1});
  CHECK(bytes[24] == std::byte{0x88});
  CHECK(bytes[32] == std::byte{77});
  CHECK(bytes[40] == std::byte{0xfc});
  CHECK(bytes[48] == std::byte{24});
  CHECK(bytes[52] == std::byte{0xEF});
}

TEST_CASE("wire: every damaged byte of a header is noticed, and every short one", "[repl]") {
  const Bytes bytes = encoded_header(some_header());
  for (size_t bit = 0; bit < kHeaderBytes * 8; ++bit) {
    Bytes damaged = bytes;
    damaged[bit / 8] ^= static_cast<std::byte>(1u << (bit % 8));
    CHECK_FALSE(decode_header(damaged).has_value());
  }
  for (size_t length = 0; length < kHeaderBytes; ++length) CHECK_FALSE(decode_header(part(bytes, length)).has_value());
}

TEST_CASE("wire: headers with impossible fields are refused though their checksum is right", "[repl]") {
  const auto decodes = [](const MessageHeader& header) { return decode_header(encoded_header(header)).has_value(); };
  for (const MessageType type : kAllTypes) {
    MessageHeader header = some_header(type);
    uint32_t limit = kControlBytesMax;
    if (type == MessageType::kWalData) limit = WalDataFields::kBytes + kFrameBytesMax;
    if (type == MessageType::kSessionData) limit = SessionDataFields::kBytes + kFramePayloadBytesMax;
    if (type == MessageType::kMeasure) limit = kMeasureBytesMax;
    if (type == MessageType::kMeasureAck) limit = 0;
    header.payload_bytes = limit;
    CHECK(decodes(header));
    header.payload_bytes = limit + 1;
    CHECK_FALSE(decodes(header));

    const bool from_primary = type == MessageType::kHello || type == MessageType::kSync ||
                              type == MessageType::kSessionControl || type == MessageType::kSessionData || type == MessageType::kVerify ||
                              type == MessageType::kGrow;
    header = some_header(type);
    header.epoch = Epoch{};
    CHECK(decodes(header) == !from_primary);

    const bool in_session =
        type == MessageType::kSessionData || type == MessageType::kSessionDataAck || type == MessageType::kSessionAck ||
        type == MessageType::kVerify || type == MessageType::kVerifyAck || type == MessageType::kGrow || type == MessageType::kGrowAck;
    header = some_header(type);
    header.session = SessionId{};
    CHECK(decodes(header) == !in_session);

    // Read before a version is agreed on, or not.
    header = some_header(type);
    header.version = kVersionMax + 1;
    CHECK(decodes(header) == is_handshake(type));
    header.version = UINT16_MAX;
    CHECK(decodes(header) == is_handshake(type));
    header.version = 0;
    CHECK_FALSE(decodes(header));
  }
  for (const int type : {0, static_cast<int>(std::size(kAllTypes)) + 1, 65535}) {
    CHECK_FALSE(decodes(some_header(static_cast<MessageType>(type))));
  }
  // Another version is named as such.
  MessageHeader other = some_header();
  other.version = 7;
  const auto refused = decode_header(encoded_header(other));
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code == Errc::kUnsupported);
  CHECK(refused.error().message == "message of protocol version 7 (this build speaks 1 to 1)");
  const auto changed = [](size_t at) {
    Bytes bytes = encoded_header(some_header());
    bytes[at] ^= std::byte{1};
    const uint32_t crc = crc32c(bytes.data(), 60);
    std::memcpy(&bytes[60], &crc, sizeof crc);
    return decode_header(bytes);
  };
  for (size_t at = 0; at < 4; ++at) CHECK(changed(at).error().message == "not a ringbolt peer (wrong magic)");
  for (size_t at = 56; at < 60; ++at) CHECK(changed(at).error().message.find("where the header is zero") != std::string::npos);
}

TEST_CASE("wire: what is encoded is decoded, for random messages of every type", "[repl]") {
  SimRandom random(11);
  for_each_message([&]<class M>(const char* name, const auto& decode, const M&) {
    INFO(name);
    std::set<Bytes> seen;
    for (int round = 0; round < 2000; ++round) {
      M message;
      fill(random, message);
      const Bytes bytes = encoded(message);
      REQUIRE(bytes.size() <= kControlBytesMax);
      const auto decoded = decode(bytes);
      INFO((decoded.has_value() ? "" : decoded.error().message));
      REQUIRE(decoded.has_value());
      REQUIRE(decoded.value() == message);
      seen.insert(bytes);
    }
    CHECK(seen.size() >= 15);  // the generator does vary
  });
}

TEST_CASE("wire: no prefix of a message is one, and none with a byte more", "[repl]") {
  SimRandom random(12);
  for_each_message([&]<class M>(const char* name, const auto& decode, const M&) {
    INFO(name);
    for (int round = 0; round < 30; ++round) {
      M message;
      fill(random, message);
      const Bytes bytes = encoded(message);
      for (size_t length = 0; length < bytes.size(); ++length) {
        const auto decoded = decode(part(bytes, length));
        REQUIRE_FALSE(decoded.has_value());
        REQUIRE(decoded.error().message.find(name) != std::string::npos);
      }
      Bytes longer = bytes;
      longer.push_back(std::byte{0});
      bool later_version = false;
      if constexpr (requires { message.version_max; }) later_version = message.version_max > kVersionMax;
      const bool fields_only = requires { M::kBytes; };
      REQUIRE(decode(longer).has_value() == (later_version || fields_only));
    }
  });
}

TEST_CASE("wire: a message with any byte changed is another one or none", "[repl]") {
  SimRandom random(13);
  for_each_message([&]<class M>(const char* name, const auto& decode, const M&) {
    INFO(name);
    for (int round = 0; round < 12; ++round) {
      M message;
      fill(random, message);
      if constexpr (requires { message.history; }) {
        // Two long histories are enough: their bytes are all alike.
        if (round > 1 && message.history.size() > 2) continue;
      }
      const Bytes bytes = encoded(message);
      for (size_t at = 0; at < bytes.size(); ++at) {
        for (int value = 0; value < 256; ++value) {
          if (bytes.size() > 300 && value % 7 != 0) continue;
          Bytes changed = bytes;
          changed[at] = static_cast<std::byte>(value);
          const auto decoded = decode(changed);
          if (!decoded.has_value()) {
            REQUIRE_FALSE(decoded.error().message.empty());
            continue;
          }
          const Bytes again = encoded(decoded.value());
          bool appended = false;
          if constexpr (requires { message.version_max; }) appended = decoded.value().version_max > kVersionMax;
          REQUIRE((again == changed || (appended && again == part(changed, again.size()))));
          REQUIRE((decoded.value() == message) == (changed == bytes));
        }
      }
    }
  });
}

TEST_CASE("wire: decoders are total and what they accept encodes to the same bytes", "[repl]") {
  SimRandom random(14);
  std::vector<Bytes> seeds;
  for_each_message([&]<class M>(const char*, const auto&, const M&) {
    for (int i = 0; i < 20; ++i) {
      M message;
      fill(random, message);
      seeds.push_back(encoded(message));
    }
  });
  for (int round = 0; round < 20000; ++round) {
    Bytes bytes = seeds[random.below(seeds.size())];
    if (random.chance(1, 4)) bytes.resize(random.below(120));
    for (uint64_t i = random.below(4); i > 0 && !bytes.empty(); --i) {
      bytes[random.below(bytes.size())] = static_cast<std::byte>(random.next());
    }
    // Each decoder, of other messages' bytes as well.
    for_each_message([&]<class M>(const char* name, const auto& decode, const M&) {
      const auto decoded = decode(bytes);
      if (!decoded.has_value()) return;
      const Bytes again = encoded(decoded.value());
      bool may_be_longer = requires { M::kBytes; };
      if constexpr (requires { decoded.value().version_max; }) may_be_longer = decoded.value().version_max > kVersionMax;
      INFO(name);
      REQUIRE((again == bytes || (may_be_longer && again.size() <= bytes.size() && again == part(bytes, again.size()))));
    });
    static_cast<void>(decode_header(bytes));
  }
}
