// The replication messages as bytes: round trips, every truncation, every damaged byte, any bytes.
#include "repl/wire.h"

#include <catch2/catch.hpp>
#include <functional>

#include "io/sim_world.h"
#include "ringbolt/crc32c.h"
#include "volume/wal_format.h"

using namespace ringbolt;
using namespace ringbolt::repl;

namespace {

using Bytes = std::vector<std::byte>;

core::TermHistory some_history(size_t terms) {
  core::TermHistory history;
  for (size_t i = 1; i <= terms; ++i) history.open({Epoch(i), Incarnation(1)}, Lsn(10 * i));
  return history;
}

template <class T>
Bytes encoded(const T& message) {
  Bytes out;
  encode(message, out);
  return out;
}

/// Whole is decoded; every prefix and every longer text is not.
template <class Decode>
void check_lengths(const Bytes& whole, const Decode& decode) {
  REQUIRE(decode(whole).has_value());
  for (size_t length = 0; length < whole.size(); ++length) {
    // Its own allocation, so that a read beyond it is noticed.
    const Bytes part(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(length));
    CHECK_FALSE(decode(part).has_value());
  }
  Bytes longer = whole;
  longer.push_back(std::byte{0});
  CHECK_FALSE(decode(longer).has_value());
}

MessageHeader some_header() {
  MessageHeader header;
  header.type = MessageType::kWalAck;
  for (size_t i = 0; i < 16; ++i) header.volume.bytes[i] = static_cast<uint8_t>(i + 1);
  header.epoch = Epoch(0x1122334455667788);
  header.session = SessionId(77);
  header.sequence = UINT64_MAX - 3;
  header.payload_bytes = 24;
  header.payload_crc = 0xDEADBEEF;
  return header;
}

}  // namespace

TEST_CASE("wire: a header survives the round trip and has the documented layout", "[repl]") {
  const MessageHeader header = some_header();
  Bytes bytes(kHeaderBytes);
  encode_header(header, bytes.data());
  const auto decoded = decode_header(bytes);
  REQUIRE(decoded.has_value());
  const MessageHeader& d = decoded.value();
  CHECK(d.type == header.type);
  CHECK(d.volume == header.volume);
  CHECK(d.epoch == header.epoch);
  CHECK(d.session == header.session);
  CHECK(d.sequence == header.sequence);
  CHECK(d.payload_bytes == header.payload_bytes);
  CHECK(d.payload_crc == header.payload_crc);
  CHECK(std::memcmp(bytes.data(), "RBR1", 4) == 0);
  CHECK(bytes[4] == std::byte{1});
  CHECK(bytes[6] == std::byte{5});
  CHECK(bytes[24] == std::byte{0x88});
  CHECK(bytes[48] == std::byte{24});
}

TEST_CASE("wire: every damaged bit of a header is noticed, and every short one", "[repl]") {
  Bytes bytes(kHeaderBytes);
  encode_header(some_header(), bytes.data());
  for (size_t bit = 0; bit < kHeaderBytes * 8; ++bit) {
    Bytes damaged = bytes;
    damaged[bit / 8] ^= static_cast<std::byte>(1u << (bit % 8));
    CHECK_FALSE(decode_header(damaged).has_value());
  }
  for (size_t length = 0; length < kHeaderBytes; ++length) {
    CHECK_FALSE(decode_header(Bytes(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(length)))
                    .has_value());
  }
}

TEST_CASE("wire: headers with impossible fields are refused though their checksum is right",
          "[repl]") {
  MessageHeader header = some_header();
  Bytes bytes(kHeaderBytes);
  const auto decodes = [&] {
    encode_header(header, bytes.data());
    return decode_header(bytes).has_value();
  };
  CHECK(decodes());
  header.payload_bytes = kControlBytesMax;
  CHECK(decodes());
  header.payload_bytes = kControlBytesMax + 1;
  CHECK_FALSE(decodes());
  header.type = MessageType::kWalData;
  header.payload_bytes = WalDataFields::kBytes + kFrameBytesMax;
  CHECK(decodes());
  header.payload_bytes += 1;
  CHECK_FALSE(decodes());
  header.payload_bytes = 10;
  for (const int type : {0, 8, 65535}) {
    header.type = static_cast<MessageType>(type);
    CHECK_FALSE(decodes());
  }
  // Another version is named as such.
  header = some_header();
  encode_header(header, bytes.data());
  bytes[4] = std::byte{2};
  const auto other = decode_header(bytes);
  REQUIRE_FALSE(other.has_value());
  CHECK(other.error().code == Errc::kUnsupported);
}

TEST_CASE("wire: each message survives the round trip and no truncation", "[repl]") {
  SECTION("hello") {
    const Hello hello{"vol0", "n1", std::string(255, 'x'), Incarnation(9), 1u << 30};
    const Bytes bytes = encoded(hello);
    const auto d = decode_hello(bytes);
    REQUIRE(d.has_value());
    CHECK(d.value().volume_name == "vol0");
    CHECK(d.value().node_id == "n1");
    CHECK(d.value().replica_id == hello.replica_id);
    CHECK(d.value().incarnation == Incarnation(9));
    CHECK(d.value().volume_bytes == 1u << 30);
    check_lengths(bytes, decode_hello);
  }
  SECTION("facts") {
    for (const size_t terms : {size_t{0}, size_t{1}, core::TermHistory::kTermsMax}) {
      const Facts facts{"n2", true, Lsn(99), Lsn(98), 1u << 20, 1u << 23, some_history(terms)};
      const Bytes bytes = encoded(facts);
      CHECK(bytes.size() <= kControlBytesMax);
      const auto d = decode_facts(bytes);
      REQUIRE(d.has_value());
      CHECK(d.value().node_id == "n2");
      CHECK(d.value().base_usable);
      CHECK(d.value().position == Lsn(99));
      CHECK(d.value().checkpoint == Lsn(98));
      CHECK(d.value().volume_bytes == 1u << 20);
      CHECK(d.value().wal_bytes == 1u << 23);
      CHECK(d.value().history == facts.history);
      check_lengths(bytes, decode_facts);
    }
  }
  SECTION("reject") {
    const Bytes bytes = encoded(Reject{Reason::kEpochMismatch, Epoch(4), "over"});
    const auto d = decode_reject(bytes);
    REQUIRE(d.has_value());
    CHECK(d.value().reason == Reason::kEpochMismatch);
    CHECK(d.value().epoch == Epoch(4));
    CHECK(d.value().text == "over");
    check_lengths(bytes, decode_reject);
  }
  SECTION("wal_ack") {
    const Bytes bytes = encoded(WalAck{Lsn(5), Lsn(4), Lsn(3)});
    const auto d = decode_wal_ack(bytes);
    REQUIRE(d.has_value());
    CHECK(d.value().written == Lsn(5));
    CHECK(d.value().durable == Lsn(4));
    CHECK(d.value().stable == Lsn(3));
    check_lengths(bytes, decode_wal_ack);
  }
  SECTION("session_control") {
    for (const ControlKind kind : {ControlKind::kStart, ControlKind::kCutTail}) {
      const Bytes bytes = encoded(SessionControl{kind, Lsn(5), some_history(3)});
      const auto d = decode_session_control(bytes);
      REQUIRE(d.has_value());
      CHECK(d.value().kind == kind);
      CHECK(d.value().position == Lsn(5));
      CHECK(d.value().history == some_history(3));
      check_lengths(bytes, decode_session_control);
    }
  }
  SECTION("session_ack") {
    const Bytes bytes = encoded(SessionAck{SessionPhase::kFailed, Reason::kLocalWalCorrupt});
    const auto d = decode_session_ack(bytes);
    REQUIRE(d.has_value());
    CHECK(d.value().phase == SessionPhase::kFailed);
    CHECK(d.value().reason == Reason::kLocalWalCorrupt);
    check_lengths(bytes, decode_session_ack);
  }
  SECTION("wal_data") {
    WalDataFields f;
    f.stable = Lsn(1);
    f.committed = Lsn(2);
    f.flush_to = Lsn(9);
    f.head = Lsn(3);
    f.frame_header_bytes = 200;
    f.data_bytes = 8192;
    Bytes bytes(WalDataFields::kBytes);
    encode_fields(f, bytes.data());
    const auto d = decode_fields(bytes);
    REQUIRE(d.has_value());
    CHECK(d.value().stable == f.stable);
    CHECK(d.value().committed == f.committed);
    CHECK(d.value().flush_to == f.flush_to);
    CHECK(d.value().head == f.head);
    CHECK(d.value().frame_header_bytes == 200);
    CHECK(d.value().data_bytes == 8192);
    for (size_t length = 0; length < bytes.size(); ++length) {
      CHECK_FALSE(
          decode_fields(Bytes(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(length)))
              .has_value());
    }
  }
}

TEST_CASE("wire: messages that contradict themselves are refused", "[repl]") {
  CHECK_FALSE(decode_wal_ack(encoded(WalAck{Lsn(4), Lsn(5), Lsn(0)})).has_value());
  CHECK_FALSE(decode_facts(encoded(Facts{"n", true, Lsn(4), Lsn(5), 1, 1, {}})).has_value());
  CHECK_FALSE(
      decode_facts(encoded(Facts{"n", true, Lsn(UINT64_MAX), Lsn(5), 1, 1, {}})).has_value());
  CHECK_FALSE(
      decode_session_control(encoded(SessionControl{static_cast<ControlKind>(3), Lsn(1), {}}))
          .has_value());
  CHECK_FALSE(decode_session_ack(encoded(SessionAck{static_cast<SessionPhase>(0), Reason::kNone}))
                  .has_value());
  CHECK_FALSE(
      decode_session_ack(encoded(SessionAck{SessionPhase::kFailed, static_cast<Reason>(14)}))
          .has_value());
  CHECK_FALSE(decode_reject(encoded(Reject{static_cast<Reason>(14), Epoch(1), ""})).has_value());
  const auto fields = [](uint64_t stable, uint64_t committed, uint64_t head, uint32_t header,
                         uint32_t data) {
    WalDataFields f;
    f.stable = Lsn(stable);
    f.committed = Lsn(committed);
    f.head = Lsn(head);
    f.frame_header_bytes = header;
    f.data_bytes = data;
    Bytes bytes(WalDataFields::kBytes);
    encode_fields(f, bytes.data());
    return decode_fields(bytes).has_value();
  };
  CHECK(fields(1, 2, 3, 0, 0));
  CHECK(fields(1, 2, 3, sizeof(FrameFields), 0));
  CHECK(fields(1, 2, 3, kBlockBytes, kFramePayloadBytesMax));
  CHECK_FALSE(fields(3, 2, 3, 0, 0));
  CHECK_FALSE(fields(1, 4, 3, 0, 0));
  CHECK_FALSE(fields(1, 2, 3, 0, kBlockBytes));
  CHECK_FALSE(fields(1, 2, 3, sizeof(FrameFields) - 1, 0));
  CHECK_FALSE(fields(1, 2, 3, kBlockBytes + 1, 0));
  CHECK_FALSE(fields(1, 2, 3, kBlockBytes, 100));
  CHECK_FALSE(fields(1, 2, 3, kBlockBytes, kFramePayloadBytesMax + kBlockBytes));
  // A history out of order.
  Bytes bytes = encoded(SessionControl{ControlKind::kStart, Lsn(5), some_history(2)});
  std::swap_ranges(bytes.end() - 48, bytes.end() - 24, bytes.end() - 24);
  CHECK_FALSE(decode_session_control(bytes).has_value());
}

TEST_CASE("wire: decoders are total and what they accept encodes to the same bytes", "[repl]") {
  io::SimRandom random(3);
  const auto same = [](const auto& decoded, const Bytes& bytes) {
    if (decoded.has_value()) CHECK(encoded(decoded.value()) == bytes);
  };
  const std::vector<Bytes> seeds = {
      encoded(Hello{"vol0", "n1", "n2", Incarnation(9), 1u << 30}),
      encoded(Facts{"n2", true, Lsn(99), Lsn(98), 1u << 20, 1u << 23, some_history(3)}),
      encoded(Reject{Reason::kEpochMismatch, Epoch(4), "over"}),
      encoded(WalAck{Lsn(5), Lsn(4), Lsn(3)}),
      encoded(SessionControl{ControlKind::kStart, Lsn(5), some_history(2)}),
      encoded(SessionAck{SessionPhase::kFailed, Reason::kLocalWalCorrupt})};
  for (int round = 0; round < 20000; ++round) {
    Bytes bytes = seeds[random.below(seeds.size())];
    if (random.chance(1, 4)) bytes.resize(random.below(120));
    for (uint64_t i = random.below(4); i > 0 && !bytes.empty(); --i) {
      bytes[random.below(bytes.size())] = static_cast<std::byte>(random.next());
    }
    same(decode_hello(bytes), bytes);
    same(decode_facts(bytes), bytes);
    same(decode_reject(bytes), bytes);
    same(decode_wal_ack(bytes), bytes);
    same(decode_session_control(bytes), bytes);
    same(decode_session_ack(bytes), bytes);
    static_cast<void>(decode_fields(bytes));
    static_cast<void>(decode_header(bytes));
  }
}
