// What each replication message refuses, and in which words; its exact bytes; versions, texts, times.
#include <fmt/format.h>

#include <catch2/catch.hpp>

#include "repl/wire.h"
#include "wire_samples.h"

using namespace ringbolt;
using namespace ringbolt::repl;
using namespace ringbolt::repl::samples;

namespace {

core::TermHistory some_history(size_t terms = 2) {
  core::TermHistory history;
  for (size_t i = 1; i <= terms; ++i) history.open({Epoch(i), Incarnation(1)}, Lsn(10 * i));
  return history;
}

std::string hex(const Bytes& bytes) {
  std::string text;
  for (const std::byte b : bytes) text += fmt::format("{:02x}", static_cast<unsigned>(b));
  return text;
}

/// What the decoder says of a message; "" if it takes it. Without the words that all have in common.
template <class Decode>
std::string problem(const Decode& decode, const Bytes& bytes) {
  const auto decoded = decode(bytes);
  if (decoded.has_value()) return "";
  CHECK(decoded.error().code == Errc::kInvalid);
  const std::string& message = decoded.error().message;
  CHECK(message.rfind("malformed ", 0) == 0);
  const size_t colon = message.find(": ");
  REQUIRE(colon != std::string::npos);
  return message.substr(colon + 2);
}

/// Changes copies of a valid message and looks at what the decoder says.
template <class M>
struct Rules {
  using Decode = Result<M> (*)(std::span<const std::byte>);
  Rules(M message, Decode decoder) : valid(std::move(message)), decode(decoder) {
    CHECK(problem(decode, encoded(valid)).empty());
  }
  template <class Change>
  std::string operator()(const Change& change) const {
    M changed = valid;
    change(changed);
    return problem(decode, encoded(changed));
  }
  M valid;
  Decode decode;
};

template <class E>
E out_of_range(int value) {
  return static_cast<E>(value);
}

Hello some_hello() { return {"vol0", "n1", "n2", Incarnation(9), 1u << 30}; }

Welcome some_welcome() {
  Welcome m;
  m.node_id = "n2";
  m.blank = true;
  m.volume_bytes = 1u << 20;
  m.wal_bytes = 8u << 20;
  return m;
}

SyncAck some_sync_ack() {
  SyncAck m;
  m.sync_id = 3;
  m.epoch = Epoch(2);
  m.base_usable = true;
  m.written = Lsn(25);
  m.durable = Lsn(24);
  m.base_limit = Lsn(23);
  m.history = some_history();
  m.session = ActiveSession{SessionId(4), SessionKind::kKeepup, SessionPhase::kRunning};
  return m;
}

SessionControl some_start(ControlKind kind) {
  SessionControl m;
  m.kind = kind;
  if (kind == ControlKind::kStartRebuild) m.base_kind = BaseKind::kLive;
  m.base = Lsn(5);
  m.target = Lsn(9);
  m.deadline = Millis(1000);
  m.history = some_history();
  return m;
}

SessionControl some_cancel() {
  SessionControl m;
  m.kind = ControlKind::kCancelSession;
  m.reason = Reason::kSuperseded;
  return m;
}

SessionControl some_cut() {
  SessionControl m;
  m.kind = ControlKind::kCutTail;
  m.target = Lsn(9);
  m.history = some_history();
  return m;
}

SessionDataFields some_chunk() {
  SessionDataFields m;
  m.chunk = 7;
  m.first = Lba(1000);
  m.blocks = 64;
  m.read = Lsn(42);
  m.last = true;
  m.data_crc = 0xE3069283;
  return m;
}

}  // namespace

TEST_CASE("wire: every message's bytes are the documented ones", "[repl]") {
  CHECK(hex(encoded(Hello{"vol", "n1", "n2", Incarnation(9), 4096, 1, 3, 5, Channel::kBulk})) ==
        "0300" "766f6c" "0200" "6e31" "0200" "6e32" "0900000000000000" "0010000000000000"
        "0100" "0300" "0500000000000000" "02");
  CHECK(hex(encoded(some_welcome())) ==
        "0100" "0100" "0100" "0000000000000000" "0200" "6e32" "01" "0000100000000000" "0000800000000000");
  CHECK(hex(encoded(Reject{Reason::kEpochMismatch, Epoch(4), "over", SessionId(6)})) ==
        "0100" "0400000000000000" "0400" "6f766572" "01" "0600000000000000");
  CHECK(hex(encoded(Reject{Reason::kHandedOver, Epoch(4), "", {}})) == "0e00" "0400000000000000" "0000" "00");
  CHECK(hex(encoded(WalDataFields{Lsn(2), Lsn(1), Lsn(9), Lsn(3), 148, 4096})) ==
        "0200000000000000" "0100000000000000" "0900000000000000" "0300000000000000" "94000000" "00100000");
  CHECK(hex(encoded(WalAck{Lsn(3), Lsn(2), Lsn(1)})) == "0300000000000000" "0200000000000000" "0100000000000000");
  CHECK(hex(encoded(Sync{1, Lsn(258), Millis(500)})) == "0100000000000000" "01" "0201000000000000" "f4010000");
  CHECK(hex(encoded(Sync{1, {}, Millis()})) == "0100000000000000" "00" "00000000");
  CHECK(hex(encoded(some_sync_ack())) ==
        "0300000000000000" "01" "0200000000000000" "01" "01" "1900000000000000" "01" "1800000000000000"
        "01" "1700000000000000" "0200" "0100000000000000" "0100000000000000" "0a00000000000000"
        "0200000000000000" "0100000000000000" "1400000000000000" "01" "0400000000000000" "01" "02" "0000");
  CHECK(hex(encoded(some_start(ControlKind::kStartRebuild))) ==
        "02" "01" "01" "0500000000000000" "01" "0900000000000000" "0000000000000000" "e8030000" "0000"
        "0200" "0100000000000000" "0100000000000000" "0a00000000000000"
        "0200000000000000" "0100000000000000" "1400000000000000");
  CHECK(hex(encoded(some_cancel())) == "03" "00" "00" "00" "0000000000000000" "00000000" "0900" "0000");
  CHECK(hex(encoded(some_chunk())) ==
        "0700000000000000" "e803000000000000" "2a00000000000000" "40000000" "02000000" "839206e3");
  CHECK(hex(encoded(SessionDataAck{7, 65536})) == "0700000000000000" "0000010000000000");
  CHECK(hex(encoded(SessionAck{SessionPhase::kCompleted, Lsn(9), 5, 4, Lsn(8), Reason::kNone})) ==
        "04" "01" "0900000000000000" "0500000000000000" "0400000000000000" "01" "0800000000000000" "0000");
}

TEST_CASE("wire: hello and welcome refuse what cannot be, and take what a later version appends", "[repl]") {
  const Rules hello(some_hello(), decode_hello);
  CHECK(hello([](Hello& m) { m.volume_name.clear(); }) == "volume_name is empty");
  CHECK(hello([](Hello& m) { m.node_id.clear(); }) == "node_id is empty");
  CHECK(hello([](Hello& m) { m.replica_id.clear(); }) == "replica_id is empty");
  CHECK(hello([](Hello& m) { m.incarnation = {}; }) == "incarnation is 0");
  CHECK(hello([](Hello& m) { m.volume_bytes = 0; }) == "volume_bytes 0 is not a volume's size");
  CHECK(hello([](Hello& m) { m.volume_bytes = 4097; }) == "volume_bytes 4097 is not a volume's size");
  CHECK(hello([](Hello& m) { m.volume_bytes = kVolumeBytesMax; }) == "");
  CHECK(hello([](Hello& m) { m.volume_bytes = kVolumeBytesMax + 4096; }) == "volume_bytes 17592186048512 is not a volume's size");
  CHECK(hello([](Hello& m) { m.version_min = 0; }) == "version_min is 0");
  CHECK(hello([](Hello& m) { m.version_min = 2; }) == "version_min 2 > version_max 1");
  CHECK(hello([](Hello& m) { m.version_min = m.version_max = 9; }) == "");  // so that it can be answered
  CHECK(hello([](Hello& m) { m.features = UINT64_MAX; }) == "");
  CHECK(hello([](Hello& m) { m.channel = out_of_range<Channel>(0); }) == "unknown channel 0");
  CHECK(hello([](Hello& m) { m.channel = out_of_range<Channel>(3); }) == "unknown channel 3");

  const Rules welcome(some_welcome(), decode_welcome);
  CHECK(welcome([](Welcome& m) { m.version = 0; }) == "version 0 is not within 1");
  CHECK(welcome([](Welcome& m) { m.version = 3, m.version_max = 2; }) == "version 3 is not within 1 to 2");
  CHECK(welcome([](Welcome& m) { m.version = m.version_max = 2; }) == "version 2 was not offered");
  CHECK(welcome([](Welcome& m) { m.version_min = 0; }) == "version_min is 0");
  CHECK(welcome([](Welcome& m) { m.version_max = 0; }) == "version_min 1 > version_max 0");
  CHECK(welcome([](Welcome& m) { m.features = ~kFeatures & 0x10; }) == "features 0x10 were not offered");
  CHECK(welcome([](Welcome& m) { m.node_id.clear(); }) == "node_id is empty");
  CHECK(welcome([](Welcome& m) { m.volume_bytes = 512; }) == "volume_bytes 512 is not a volume's size");
  CHECK(welcome([](Welcome& m) { m.wal_bytes = 0; }) == "wal_bytes 0 is not a WAL's size");
  CHECK(welcome([](Welcome& m) { m.wal_bytes = kWalBytesMin + 1; }) == "wal_bytes 8388609 is not a WAL's size");
  CHECK(welcome([](Welcome& m) { m.wal_bytes = kWalBytesMax + 4096; }) == "wal_bytes 68719480832 is not a WAL's size");

  Hello later = some_hello();
  later.version_max = kVersionMax + 1;
  Bytes bytes = encoded(later);
  bytes.resize(bytes.size() + 100, std::byte{0xAA});
  const auto taken = decode_hello(bytes);
  REQUIRE(taken.has_value());
  CHECK(taken.value() == later);
  Welcome later_welcome = some_welcome();
  later_welcome.version_max = UINT16_MAX;
  bytes = encoded(later_welcome);
  bytes.resize(bytes.size() + 100, std::byte{0xAA});
  REQUIRE(decode_welcome(bytes).has_value());
  CHECK(decode_welcome(bytes).value() == later_welcome);
  // Of this version nothing may follow.
  bytes = encoded(some_hello());
  bytes.resize(bytes.size() + 3);
  CHECK(problem(decode_hello, bytes) == "3 bytes too many");
  bytes = encoded(some_welcome());
  bytes.resize(bytes.size() + 3);
  CHECK(problem(decode_welcome, bytes) == "3 bytes too many");
}

TEST_CASE("wire: the highest common version is chosen, or both ranges are named", "[repl]") {
  for (uint16_t a = 1; a <= 6; ++a) {
    for (uint16_t b = a; b <= 6; ++b) {
      for (uint16_t c = 1; c <= 6; ++c) {
        for (uint16_t d = c; d <= 6; ++d) {
          uint16_t best = 0;
          for (uint16_t v = 1; v <= 6; ++v) {
            if (a <= v && v <= b && c <= v && v <= d) best = v;
          }
          const auto chosen = choose_version({a, b}, {c, d});
          REQUIRE(chosen.has_value() == (best != 0));
          if (best != 0) REQUIRE(chosen.value() == best);
          if (best == 0) REQUIRE(chosen.error().code == Errc::kUnsupported);
        }
      }
    }
  }
  CHECK(choose_version(VersionRange{4, 6}, {1, 3}).error().message ==
        "no common protocol version: the peer speaks 4 to 6, this build 1 to 3");
  CHECK(choose_version(UINT16_MAX, UINT16_MAX).error().message ==
        "no common protocol version: the peer speaks 65535, this build 1");
  CHECK(choose_version(1, UINT16_MAX).value() == kVersionMax);
  CHECK_FALSE(choose_version(3, 1).has_value());
  CHECK_FALSE(choose_version(0, 0).has_value());
}

TEST_CASE("wire: a reject says why, and names the current session only if there is one", "[repl]") {
  const Rules reject(Reject{Reason::kSuperseded, Epoch(4), "over", SessionId(6)}, decode_reject);
  CHECK(reject([](Reject& m) { m.reason = Reason::kNone; }) == "it has no reason");
  CHECK(reject([](Reject& m) { m.reason = Reason::kHandedOver; }) == "");
  CHECK(reject([](Reject& m) { m.reason = out_of_range<Reason>(15); }) == "unknown reason 15");
  CHECK(reject([](Reject& m) { m.reason = out_of_range<Reason>(256); }) == "unknown reason 256");
  CHECK(reject([](Reject& m) { m.session.reset(); }) == "");
  CHECK(reject([](Reject& m) { m.session = SessionId{}; }) == "session is 0");
  CHECK(reject([](Reject& m) { m.epoch = kPeerEpochMax.next(); }) == "epoch 9223372036854775808 is one that nobody assigns");
  CHECK(reject([](Reject& m) { m.epoch = Epoch{}; }) == "");  // of a volume that is unknown there
  Bytes bytes = encoded(reject.valid);
  bytes[bytes.size() - 9] = std::byte{2};
  CHECK(problem(decode_reject, bytes) == "session has the flag byte 2");
}

TEST_CASE("wire: texts are cut to whole characters, and are printable UTF-8 or refused", "[repl]") {
  const auto sent = [](const std::string& text) {
    const auto decoded = decode_reject(encoded(Reject{Reason::kNotReady, Epoch(1), text, {}}));
    REQUIRE(decoded.has_value());
    return decoded.value().text;
  };
  CHECK(sent("plain ~") == "plain ~");
  CHECK(sent("\xc3\xa9\xe2\x82\xac\xf0\x9f\x94\xa9") == "\xc3\xa9\xe2\x82\xac\xf0\x9f\x94\xa9");
  // The first and last character of each length, and around the surrogates.
  for (const char* text : {" ", "~", "\xc2\xa0", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbf",
                           "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    CHECK(sent(text) == text);
  }
  CHECK(sent(std::string(300, 'x')) == std::string(255, 'x'));
  CHECK(sent(std::string(254, 'x') + "\xc3\xa9") == std::string(254, 'x'));
  CHECK(sent(std::string(253, 'x') + "\xc3\xa9") == std::string(253, 'x') + "\xc3\xa9");
  CHECK(sent("two\nlines\x7f\x1b") == "two?lines??");
  CHECK(sent(std::string("nul\0.", 5)) == "nul?.");
  // Cut off, continuation alone, overlong, surrogate, beyond Unicode, C1 control.
  const std::pair<std::string, std::string> not_text[] = {
      {"\xc3", "?"}, {"\xe2\x82", "??"}, {"\x80", "?"}, {"\xc0\xaf", "??"}, {"\xe0\x80\xaf", "???"},
      {"\xf0\x80\x80\xaf", "????"}, {"\xed\xa0\x80", "???"}, {"\xf4\x90\x80\x80", "????"},
      {"\xf5\x80\x80\x80", "????"}, {"\xff", "?"}, {"\xc2\x85", "??"}, {"\xc3(", "?("}};
  for (const auto& [text, replaced] : not_text) {
    CHECK(sent(text) == replaced);
    // The same bytes from a peer that does not replace them.
    Bytes bytes = encoded(Reject{Reason::kNotReady, Epoch(1), std::string(text.size(), 'x'), {}});
    std::memcpy(&bytes[12], text.data(), text.size());
    CHECK(problem(decode_reject, bytes).find("text has byte 0x") == 0);
  }
  Bytes bytes = encoded(Reject{Reason::kNotReady, Epoch(1), "abc", {}});
  bytes[14] = std::byte{'\n'};
  CHECK(problem(decode_reject, bytes) == "text has byte 0x0a at 2, which is not printable UTF-8");
  bytes[10] = std::byte{0}, bytes[11] = std::byte{1};  // 256 bytes
  CHECK(problem(decode_reject, bytes) == "text of 256 bytes, at most 255 are allowed");
  bytes[10] = std::byte{200}, bytes[11] = std::byte{0};
  CHECK(problem(decode_reject, bytes) == "it ends within text");

  Hello hello = some_hello();
  hello.node_id = std::string(63, 'n');
  bytes = encoded(hello);
  CHECK(problem(decode_hello, bytes).empty());
  bytes[6] = std::byte{64};
  CHECK(problem(decode_hello, bytes) == "node_id of 64 bytes, at most 63 are allowed");
}

TEST_CASE("wire: wal_data and wal_ack refuse positions and sizes that cannot be", "[repl]") {
  WalDataFields sample;
  sample.stable = Lsn(1);
  sample.committed = Lsn(2);
  sample.head = Lsn(3);
  const Rules fields(sample, decode_fields);
  const auto sized = [&](uint32_t header, uint32_t data) {
    return fields([&](WalDataFields& m) { m.frame_header_bytes = header, m.data_bytes = data; });
  };
  CHECK(sized(sizeof(FrameFields), 0) == "");
  CHECK(sized(kBlockBytes, kFramePayloadBytesMax) == "");
  CHECK(sized(0, kBlockBytes) == "data_bytes without a frame header");
  CHECK(sized(sizeof(FrameFields) - 1, 0) == "frame_header_bytes is too small");
  CHECK(sized(kBlockBytes + 1, 0) == "frame_header_bytes is more than a block");
  CHECK(sized(kBlockBytes, 100) == "data_bytes is not whole blocks");
  CHECK(sized(kBlockBytes, kFramePayloadBytesMax + kBlockBytes) == "data_bytes is more than a frame holds");
  CHECK(fields([](WalDataFields& m) { m.stable = Lsn(3); }) == "stable Lsn > committed Lsn");
  CHECK(fields([](WalDataFields& m) { m.committed = Lsn(4); }) == "committed Lsn > head Lsn");
  CHECK(fields([](WalDataFields& m) { m.flush_to = Lsn(9); }) == "");

  const Rules ack(WalAck{Lsn(5), Lsn(5), Lsn(0)}, decode_wal_ack);
  CHECK(ack([](WalAck& m) { m.durable = Lsn(6); }) == "durable Lsn 6 > written Lsn 5");
}

TEST_CASE("wire: a sync has an id, and a target that something can reach", "[repl]") {
  const Rules sync(Sync{1, Lsn(1), Millis(9)}, decode_sync);
  CHECK(sync([](Sync& m) { m.sync_id = 0; }) == "sync id is 0");
  CHECK(sync([](Sync& m) { m.target = Lsn{}; }) == "target Lsn is 0");
  CHECK(sync([](Sync& m) { m.target.reset(); }) == "");
  CHECK(sync([](Sync& m) { m.target = kLsnMax; }) == "");
  CHECK(sync([](Sync& m) { m.target = kLsnMax.next(); }) == "target Lsn 9223372036854775808 is beyond any log");
  Bytes bytes = encoded(sync.valid);
  bytes[8] = std::byte{2};
  CHECK(problem(decode_sync, bytes) == "target Lsn has the flag byte 2");
}

TEST_CASE("wire: a sync_ack's facts agree with each other", "[repl]") {
  const Rules ack(some_sync_ack(), decode_sync_ack);
  CHECK(ack([](SyncAck& m) { m.sync_id = 0; }) == "sync id is 0");
  CHECK(ack([](SyncAck& m) { m.kind = out_of_range<SyncAckKind>(0); }) == "unknown kind 0");
  CHECK(ack([](SyncAck& m) { m.kind = out_of_range<SyncAckKind>(5); }) == "unknown kind 5");
  CHECK(ack([](SyncAck& m) { m.epoch = Epoch{}; }) == "epoch is 0");
  CHECK(ack([](SyncAck& m) { m.epoch = kPeerEpochMax; }) == "");
  CHECK(ack([](SyncAck& m) { m.epoch = kPeerEpochMax.next(); }) == "epoch 9223372036854775808 is one that nobody assigns");
  CHECK(ack([](SyncAck& m) { m.durable = Lsn(26); }) == "durable Lsn 26 > written Lsn 25");
  CHECK(ack([](SyncAck& m) { m.base_limit = Lsn(25); }) == "base limit Lsn 25 > durable Lsn 24");
  CHECK(ack([](SyncAck& m) { m.written = Lsn(UINT64_MAX); }) == "written Lsn 18446744073709551615 is beyond any log");
  CHECK(ack([](SyncAck& m) { m.history = {}; }) == "written Lsn 25 without a term history");
  CHECK(ack([](SyncAck& m) {
          m.written = m.durable = m.base_limit = Lsn{};
          m.history = {};
        }) == "");  // a blank copy
  CHECK(ack([](SyncAck& m) { m.reason = out_of_range<Reason>(15); }) == "unknown reason 15");

  // Positions: all or none, none of an unusable base image, and all of a usable one that answers.
  CHECK(ack([](SyncAck& m) { m.base_usable = false; }) == "positions of a copy whose base image is unusable");
  for (int present = 0; present < 8; ++present) {
    for (const bool usable : {false, true}) {
      for (int kind = 1; kind <= 4; ++kind) {
        const std::string said = ack([&](SyncAck& m) {
          m.kind = static_cast<SyncAckKind>(kind);
          m.base_usable = usable;
          if ((present & 1) == 0) m.written.reset();
          if ((present & 2) == 0) m.durable.reset();
          if ((present & 4) == 0) m.base_limit.reset();
        });
        INFO(present << " " << usable << " " << kind << " " << said);
        const bool answers = kind <= 2;
        const bool right = present == 0 ? !(usable && answers) : present == 7 && usable;
        CHECK(said.empty() == right);
        if (usable && !right && (present & 1) == 0) CHECK(said == "written Lsn is missing");
        if (usable && !right && (present & 3) == 1) CHECK(said == "durable Lsn is missing");
        if (usable && !right && (present & 7) == 3) CHECK(said == "base limit Lsn is missing");
      }
    }
  }

  CHECK(ack([](SyncAck& m) { m.session.reset(); }) == "");
  CHECK(ack([](SyncAck& m) { m.session->id = SessionId{}; }) == "session id is 0");
  CHECK(ack([](SyncAck& m) { m.session->kind = out_of_range<SessionKind>(0); }) == "unknown session kind 0");
  CHECK(ack([](SyncAck& m) { m.session->kind = out_of_range<SessionKind>(4); }) == "unknown session kind 4");
  CHECK(ack([](SyncAck& m) { m.session->phase = out_of_range<SessionPhase>(0); }) == "unknown active session's phase 0");
  CHECK(ack([](SyncAck& m) { m.session->phase = SessionPhase::kFailed; }) == "unknown active session's phase 5");
  CHECK(ack([](SyncAck& m) { m.session->phase = SessionPhase::kBaseComplete; }) == "phase base_complete of a keepup session");
  CHECK(ack([](SyncAck& m) {
          m.session->kind = SessionKind::kRebuild;
          m.session->phase = SessionPhase::kBaseComplete;
        }) == "");
}

TEST_CASE("wire: a term history that is none is refused", "[repl]") {
  SessionControl control = some_cut();
  const size_t at = encoded(control).size() - 2 * 24;
  const auto with = [&](size_t offset, uint64_t value) {
    Bytes bytes = encoded(control);
    std::memcpy(&bytes[at + offset], &value, sizeof value);
    return problem(decode_session_control, bytes);
  };
  CHECK(with(0, 1) == "");
  CHECK(with(0, 0) == "epoch of term history is 0");
  CHECK(with(24, uint64_t{1} << 63) == "epoch of term history 9223372036854775808 is one that nobody assigns");
  CHECK(with(8, 0) == "incarnation of term history is 0");
  CHECK(with(16, 0) == "first Lsn of term history is 0");
  CHECK(with(40, uint64_t{1} << 63) == "first Lsn of term history 9223372036854775808 is beyond any log");
  CHECK(with(16, 20) == "term history is out of order at term 2");
  CHECK(with(0, 2) == "term history is out of order at term 2");
  CHECK(with(24, 1) == "term history is out of order at term 2");
  CHECK(with(0, 3) == "term history is out of order at term 2");
  // More terms than a history has, though the bytes are there.
  control.history = some_history(core::TermHistory::kTermsMax);
  Bytes bytes = encoded(control);
  CHECK(problem(decode_session_control, bytes).empty());
  const size_t count_at = bytes.size() - core::TermHistory::kTermsMax * 24 - 2;
  bytes[count_at] = std::byte{65};
  bytes.resize(bytes.size() + 24, std::byte{0x7f});
  CHECK(problem(decode_session_control, bytes) == "term history of 65 terms");
}

TEST_CASE("wire: a session_control has exactly the fields of its kind", "[repl]") {
  for (const ControlKind kind : {ControlKind::kStartCatchup, ControlKind::kStartRebuild}) {
    const std::string name = to_string(kind);
    const Rules start(some_start(kind), decode_session_control);
    CHECK(start([](SessionControl& m) { m.base.reset(); }) == name + " without base Lsn");
    CHECK(start([](SessionControl& m) { m.target.reset(); }) == name + " without target Lsn");
    CHECK(start([](SessionControl& m) { m.base = m.target = Lsn{}; }) == name + " with target Lsn 0");
    CHECK(start([](SessionControl& m) { m.base = Lsn{}; }) == "");
    CHECK(start([](SessionControl& m) { m.base = Lsn(9); }) == "");
    CHECK(start([](SessionControl& m) { m.base = Lsn(10); }) == "target Lsn 9 < base Lsn 10");
    CHECK(start([](SessionControl& m) { m.target = kLsnMax.next(); }) == "target Lsn 9223372036854775808 is beyond any log");
    CHECK(start([](SessionControl& m) { m.deadline = {}; }) == "");
    CHECK(start([](SessionControl& m) { m.reason = Reason::kCancelled; }) == name + " with reason");
    CHECK(start([](SessionControl& m) { m.reason = out_of_range<Reason>(15); }) == "unknown reason 15");
    CHECK(start([](SessionControl& m) { m.history = {}; }) == name + " without term history");
    CHECK(start([](SessionControl& m) { m.base_kind = out_of_range<BaseKind>(3); }) == "unknown base kind 3");
    CHECK(start([](SessionControl& m) { m.snapshot_id = 5; }) ==
          fmt::format("base kind {} with snapshot id 5", to_string(start.valid.base_kind)));
    CHECK(start([](SessionControl& m) { m.kind = out_of_range<ControlKind>(0); }) == "unknown kind 0");
    CHECK(start([](SessionControl& m) { m.kind = out_of_range<ControlKind>(6); }) == "unknown kind 6");
  }
  const Rules catchup(some_start(ControlKind::kStartCatchup), decode_session_control);
  CHECK(catchup([](SessionControl& m) { m.base_kind = BaseKind::kLive; }) == "start_catchup with base kind live");
  const Rules rebuild(some_start(ControlKind::kStartRebuild), decode_session_control);
  CHECK(rebuild([](SessionControl& m) { m.base_kind = BaseKind::kNone; }) == "start_rebuild with base kind none");
  CHECK(rebuild([](SessionControl& m) { m.base_kind = BaseKind::kSnapshot; }) == "base kind snapshot with snapshot id 0");
  CHECK(rebuild([](SessionControl& m) { m.base_kind = BaseKind::kSnapshot, m.snapshot_id = 5; }) == "");

  const Rules cancel(some_cancel(), decode_session_control);
  CHECK(cancel([](SessionControl& m) { m.base = Lsn(1); }) == "cancel_session with base Lsn");
  CHECK(cancel([](SessionControl& m) { m.target = Lsn(1); }) == "cancel_session with target Lsn");
  CHECK(cancel([](SessionControl& m) { m.reason = Reason::kNone; }) == "cancel_session without reason");
  CHECK(cancel([](SessionControl& m) { m.reason = Reason::kHandedOver; }) == "cancel_session without target Lsn");
  CHECK(cancel([](SessionControl& m) { m.reason = Reason::kHandedOver, m.target = Lsn{}; }) == "cancel_session with target Lsn 0");
  CHECK(cancel([](SessionControl& m) { m.reason = Reason::kHandedOver, m.target = Lsn(1); }) == "");
  CHECK(cancel([](SessionControl& m) { m.deadline = Millis(1); }) == "cancel_session with a deadline");
  CHECK(cancel([](SessionControl& m) { m.history = some_history(); }) == "cancel_session with term history");
  CHECK(cancel([](SessionControl& m) { m.base_kind = BaseKind::kLive; }) == "cancel_session with base kind live");
  CHECK(cancel([](SessionControl& m) { m.snapshot_id = 1; }) == "base kind none with snapshot id 1");

  const Rules cut(some_cut(), decode_session_control);
  CHECK(cut([](SessionControl& m) { m.target = Lsn{}; }) == "");  // nothing of the log is kept
  CHECK(cut([](SessionControl& m) { m.target.reset(); }) == "cut_tail without target Lsn");
  CHECK(cut([](SessionControl& m) { m.base = Lsn(1); }) == "cut_tail with base Lsn");
  CHECK(cut([](SessionControl& m) { m.reason = Reason::kSuperseded; }) == "cut_tail with reason");
  CHECK(cut([](SessionControl& m) { m.history = {}; }) == "cut_tail without term history");
  CHECK(cut([](SessionControl& m) { m.base_kind = BaseKind::kLive; }) == "cut_tail with base kind live");
}

TEST_CASE("wire: a chunk lies within a volume and says what follows", "[repl]") {
  const Rules chunk(some_chunk(), decode_session_data_fields);
  CHECK(chunk.valid.data_bytes() == 64 * kBlockBytes);
  CHECK(chunk([](SessionDataFields& m) { m.chunk = 0; }) == "chunk id is 0");
  CHECK(chunk([](SessionDataFields& m) { m.read = Lsn{}; }) == "read Lsn is 0");
  CHECK(chunk([](SessionDataFields& m) { m.read = kLsnMax.next(); }) == "read Lsn 9223372036854775808 is beyond any log");
  CHECK(chunk([](SessionDataFields& m) { m.blocks = 0; }) == "block count 0, 1 to 127 are allowed");
  CHECK(chunk([](SessionDataFields& m) { m.blocks = 127; }) == "");
  CHECK(chunk([](SessionDataFields& m) { m.blocks = 128; }) == "block count 128, 1 to 127 are allowed");
  constexpr uint64_t kVolumeBlocks = kVolumeBytesMax / kBlockBytes;
  CHECK(chunk([](SessionDataFields& m) { m.first = Lba(kVolumeBlocks - 64); }) == "");
  CHECK(chunk([](SessionDataFields& m) { m.first = Lba(kVolumeBlocks - 63); }) ==
        "first Lba 4294967233 with 64 blocks is beyond any volume");
  CHECK(chunk([](SessionDataFields& m) { m.first = Lba(UINT64_MAX); }) ==
        "first Lba 18446744073709551615 with 64 blocks is beyond any volume");
  const auto zeros = [&](uint32_t blocks, uint64_t first, uint32_t crc) {
    return chunk([&](SessionDataFields& m) {
      m.zeros = true;
      m.blocks = blocks;
      m.first = Lba(first);
      m.data_crc = crc;
      CHECK(m.data_bytes() == 0);
    });
  };
  CHECK(zeros(1u << 24, 0, 0) == "");
  CHECK(zeros((1u << 24) + 1, 0, 0) == "block count 16777217, 1 to 16777216 are allowed");
  CHECK(zeros(UINT32_MAX, UINT64_MAX - 5, 0) == "block count 4294967295, 1 to 16777216 are allowed");
  CHECK(zeros(0, 0, 0) == "block count 0, 1 to 16777216 are allowed");
  CHECK(zeros(1u << 24, kVolumeBlocks - 1, 0) == "first Lba 4294967295 with 16777216 blocks is beyond any volume");
  CHECK(zeros(1, 0, 1) == "data checksum 0x1 without data");
  for (const uint32_t flags : {4u, 8u, 0x80000000u}) {
    Bytes bytes = encoded(some_chunk());
    std::memcpy(&bytes[28], &flags, sizeof flags);
    CHECK(problem(decode_session_data_fields, bytes) == fmt::format("unknown flags {:#x}", flags));
  }
  // What follows is the caller's: the fields are taken from more than themselves.
  Bytes bytes = encoded(some_chunk());
  bytes.resize(bytes.size() + 64 * kBlockBytes);
  CHECK(problem(decode_session_data_fields, bytes).empty());

  const Rules ack(SessionDataAck{1, 0}, decode_session_data_ack);
  CHECK(ack([](SessionDataAck& m) { m.chunk = 0; }) == "chunk id is 0");
  CHECK(ack([](SessionDataAck& m) { m.bytes = kVolumeBytesMax; }) == "");
  CHECK(ack([](SessionDataAck& m) { m.bytes = kVolumeBytesMax + 1; }) == "bytes 17592186044417 are more than any volume has");
}

TEST_CASE("wire: a session_ack has achieved something exactly when completed, a reason exactly when failed", "[repl]") {
  for (int phase = 1; phase <= 5; ++phase) {
    for (const bool achieved : {false, true}) {
      for (const bool reason : {false, true}) {
        SessionAck m;
        m.phase = static_cast<SessionPhase>(phase);
        if (achieved) m.achieved = Lsn(8);
        if (reason) m.reason = Reason::kPinLost;
        const std::string said = problem(decode_session_ack, encoded(m));
        const bool completed = phase == 4, failed = phase == 5;
        const std::string name = fmt::format("phase {} ", to_string(m.phase));
        if (achieved != completed) {
          CHECK(said == name + (completed ? "without" : "with") + " achieved Lsn");
        } else if (reason != failed) {
          CHECK(said == name + (failed ? "without" : "with") + " reason");
        } else {
          CHECK(said.empty());
        }
      }
    }
  }
  const Rules ack(SessionAck{SessionPhase::kCompleted, Lsn(9), 5, 4, Lsn(9), Reason::kNone}, decode_session_ack);
  CHECK(ack([](SessionAck& m) { m.phase = out_of_range<SessionPhase>(0); }) == "unknown phase 0");
  CHECK(ack([](SessionAck& m) { m.phase = out_of_range<SessionPhase>(6); }) == "unknown phase 6");
  CHECK(ack([](SessionAck& m) { m.achieved = Lsn{}; }) == "achieved Lsn is 0");
  CHECK(ack([](SessionAck& m) { m.achieved = Lsn(10); }) == "achieved Lsn 10 > applied Lsn 9");
  CHECK(ack([](SessionAck& m) { m.applied.reset(); }) == "");
  CHECK(ack([](SessionAck& m) { m.applied = kLsnMax.next(); }) == "applied Lsn 9223372036854775808 is beyond any log");
  CHECK(ack([](SessionAck& m) { m.base_blocks_done = uint64_t{1} << 32; }) == "");
  CHECK(ack([](SessionAck& m) { m.base_blocks_done = (uint64_t{1} << 32) + 1; }) ==
        "base blocks done 4294967297 are more than any volume has");
  CHECK(ack([](SessionAck& m) { m.base_blocks_skipped = UINT64_MAX; }) ==
        "base blocks skipped 18446744073709551615 are more than any volume has");
  CHECK(ack([](SessionAck& m) { m.reason = out_of_range<Reason>(15); }) == "unknown reason 15");
}

TEST_CASE("wire: base_complete has a barrier and nothing else", "[repl]") {
  SessionControl valid;
  valid.kind = ControlKind::kBaseComplete;
  valid.target = Lsn(7);
  const Rules complete(valid, decode_session_control);
  CHECK(complete([](SessionControl&) {}).empty());
  CHECK(complete([](SessionControl& m) { m.target.reset(); }) == "base_complete without target Lsn");
  CHECK(complete([](SessionControl& m) { m.target = Lsn{}; }) == "base_complete with target Lsn 0");
  CHECK(complete([](SessionControl& m) { m.base = Lsn(3); }) == "base_complete with base Lsn");
  CHECK(complete([](SessionControl& m) { m.base_kind = BaseKind::kLive; }) == "base_complete with base kind live");
  CHECK(complete([](SessionControl& m) { m.deadline = Millis(1); }) == "base_complete with a deadline");
  CHECK(complete([](SessionControl& m) { m.reason = Reason::kCancelled; }) == "base_complete with reason");
  CHECK(complete([](SessionControl& m) { m.history.open(Term{Epoch(1), Incarnation(1)}, Lsn(1)); }) == "base_complete with term history");
}

TEST_CASE("wire: verify asks for blocks that there may be, and is answered by as many checksums as there may be", "[repl]") {
  const Rules verify(Verify{3, Lba(10), 64, Lsn(5)}, decode_verify);
  CHECK(verify([](Verify&) {}).empty());
  CHECK(verify([](Verify& m) { m.id = 0; }) == "id is 0");
  CHECK(verify([](Verify& m) { m.blocks = 0; }) == "block count 0, 1 to 64 are allowed");
  CHECK(verify([](Verify& m) { m.blocks = 65; }) == "block count 65, 1 to 64 are allowed");
  CHECK(verify([](Verify& m) { m.first = Lba(UINT64_MAX); }) == "first Lba 18446744073709551615 with 64 blocks is beyond any volume");
  CHECK(verify([](Verify& m) { m.after = Lsn(UINT64_MAX); }) == "after Lsn 18446744073709551615 is beyond any log");
  const Rules ack(VerifyAck{3, Lsn(9), Reason::kNone, {1, 2, 3}}, decode_verify_ack);
  CHECK(ack([](VerifyAck&) {}).empty());
  CHECK(ack([](VerifyAck& m) { m.id = 0; }) == "id is 0");
  CHECK(ack([](VerifyAck& m) { m.sums.resize(65); }) == "65 checksums, at most 64 are allowed");
  CHECK(ack([](VerifyAck& m) { m.sums.clear(); }) == "0 checksums with reason ");
  CHECK(ack([](VerifyAck& m) { m.reason = Reason::kLocalExtentCorrupt; }) == "3 checksums with reason local_extent_corrupt");
}

TEST_CASE("wire: what a grow and its answer must say", "[repl]") {
  const Rules grow(Grow{8192}, decode_grow);
  CHECK(grow([](Grow&) {}).empty());
  CHECK(grow([](Grow& m) { m.volume_bytes = 0; }) == "volume_bytes 0 is not a volume's size");
  CHECK(grow([](Grow& m) { m.volume_bytes = 4097; }) == "volume_bytes 4097 is not a volume's size");
  const Rules ack(GrowAck{8192, ""}, decode_grow_ack);
  CHECK(ack([](GrowAck&) {}).empty());
  CHECK(ack([](GrowAck& m) { m.problem = "no room"; }).empty());
  CHECK(ack([](GrowAck& m) { m.volume_bytes = 1; }) == "volume_bytes 1 is not a volume's size");
}

TEST_CASE("wire: names are those of logs and APIs", "[repl]") {
  const std::vector<std::string> reasons = {
      "", "epoch_mismatch", "transport_lost", "progress_stalled", "deadline_exceeded", "pin_lost", "snapshot_unavailable",
      "local_wal_corrupt", "local_extent_corrupt", "superseded", "cancelled", "wrong_volume", "protocol_violation",
      "not_ready", "handed_over", "unknown"};
  for (size_t i = 0; i < reasons.size(); ++i) CHECK(to_string(static_cast<Reason>(i)) == reasons[i]);
  const auto names = []<class E>(E, std::vector<std::string> expected) {
    expected.emplace_back("unknown");
    for (size_t i = 0; i < expected.size(); ++i) CHECK(to_string(static_cast<E>(i + 1)) == expected[i]);
  };
  names(MessageType{}, {"hello", "welcome", "reject", "wal_data", "wal_ack", "sync", "sync_ack", "session_control",
                        "session_data", "session_data_ack", "session_ack", "verify", "verify_ack", "measure", "measure_ack", "grow", "grow_ack"});
  names(Channel{}, {"log", "bulk"});
  names(SyncAckKind{}, {"quorum", "timed_out", "transport_lost", "epoch_mismatch"});
  names(SessionKind{}, {"keepup", "catchup", "rebuild"});
  names(SessionPhase{}, {"accepted", "running", "base_complete", "completed", "failed"});
  names(ControlKind{}, {"start_catchup", "start_rebuild", "cancel_session", "cut_tail", "base_complete"});
  CHECK(std::string(to_string(BaseKind::kNone)) == "none");
  CHECK(std::string(to_string(BaseKind::kLive)) == "live");
  CHECK(std::string(to_string(BaseKind::kSnapshot)) == "snapshot");
}

TEST_CASE("wire: a time is rounded up and never becomes none", "[repl]") {
  CHECK(Millis::from_nanos(0) == Millis());
  CHECK(Millis::from_nanos(-5) == Millis());
  CHECK(Millis::from_nanos(1) == Millis(1));
  CHECK(Millis::from_nanos(1'000'000) == Millis(1));
  CHECK(Millis::from_nanos(1'000'001) == Millis(2));
  CHECK(Millis::from_nanos(INT64_MAX) == Millis(UINT32_MAX));
  CHECK(Millis(UINT32_MAX).nanos() == int64_t{UINT32_MAX} * 1'000'000);
  CHECK(Millis::from_nanos(Millis(UINT32_MAX).nanos()) == Millis(UINT32_MAX));
  CHECK_FALSE(Millis().is_set());
  CHECK(Millis(1).is_set());
}
