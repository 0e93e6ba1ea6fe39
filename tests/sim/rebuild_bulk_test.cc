// The bulk connection of a rebuild, with peers that say what they must not: to a real replica as a primary, to a real
// primary as a replica.
#include <catch2/catch.hpp>

#include "fake_peers.h"
#include "ringbolt/crc64.h"

using namespace ringbolt;
using namespace ringbolt::sim;
using namespace ringbolt::repl;

namespace {

constexpr uint32_t kBlocks = (2u << 20) / kBlockBytes;

/// A fake primary that rebuilds a real replica: everything after Lsn 5 through the log, complete at Lsn 6.
struct FakeRebuild : FakePrimary {
  explicit FakeRebuild(uint64_t seed) : FakePrimary(seed), bulk(c.world, c.sim(0)) {}

  void begin(SessionId session = SessionId(1)) {
    if (peer.sequence == 0) {
      hello();
      static_cast<void>(facts());
    }
    peer.session = session;
    SessionControl control;
    control.kind = ControlKind::kStartRebuild;
    control.base_kind = BaseKind::kLive;
    control.base = Lsn(5);
    control.target = Lsn(6);
    control.history = one;
    peer.send(MessageType::kSessionControl, control);
    const auto ack = next_ack();
    REQUIRE(ack.has_value());
    CHECK(ack->phase == SessionPhase::kAccepted);
    CHECK(marked());
  }
  void call_bulk(RawPeer& caller, SessionId session = SessionId(1), const std::string& node = "n1", Incarnation opening = Incarnation(1),
                 Epoch epoch = Epoch(1)) {
    REQUIRE(caller.call(c.address(1)));
    caller.volume = some_volume();
    caller.epoch = epoch;
    caller.session = session;
    Hello hello{"vol0", node, "n2", opening, 2u << 20};
    hello.channel = Channel::kBulk;
    caller.send(MessageType::kHello, hello);
  }
  void begin_bulk(SessionId session = SessionId(1)) {
    call_bulk(bulk, session);
    REQUIRE(bulk.expect(MessageType::kWelcome).has_value());
  }
  static SessionDataFields fields(uint64_t chunk, uint64_t first, uint32_t blocks, bool zeros) {
    SessionDataFields f;
    f.chunk = chunk;
    f.first = Lba(first);
    f.blocks = blocks;
    f.read = Lsn(6);
    f.zeros = zeros;
    f.last = first + blocks == kBlocks;
    return f;
  }
  static std::vector<std::byte> data(uint32_t blocks, int fill) { return std::vector<std::byte>(size_t{blocks} * kBlockBytes, std::byte(fill)); }
  bool applied(uint64_t chunk) {
    while (const auto message = bulk.expect(MessageType::kSessionDataAck)) {
      if (decode_session_data_ack(message->payload).value().chunk >= chunk) return true;
    }
    return false;
  }
  /// Blocks 0 .. 15 of data, the rest zeros.
  void send_all() {
    bulk.send_chunk(fields(1, 0, 16, false), data(16, 0x11));
    bulk.send_chunk(fields(2, 16, kBlocks - 16, true), {});
    REQUIRE(applied(2));
  }
  void base_complete() {
    SessionControl control;
    control.kind = ControlKind::kBaseComplete;
    control.target = Lsn(6);
    peer.send(MessageType::kSessionControl, control);
  }
  std::optional<SessionAck> next_ack() {
    const auto message = peer.expect(MessageType::kSessionAck);
    if (!message) return std::nullopt;
    return decode_session_ack(message->payload).value();
  }
  std::optional<SessionAck> ack_of(SessionPhase phase) {
    while (const auto ack = next_ack()) {
      if (ack->phase == phase) return ack;
    }
    return std::nullopt;
  }
  [[nodiscard]] bool marked() { return read_superblock(c.sim(1), Cluster::directory())->rebuild_mark; }

  /// The session has failed for this reason, and the primary was told so; nothing trusts the copy. Another session, decided
  /// on fresh facts, goes through.
  void check_failed(Reason reason) {
    const auto ack = ack_of(SessionPhase::kFailed);
    REQUIRE(ack.has_value());
    CHECK(std::string(to_string(ack->reason)) == to_string(reason));
    CHECK(marked());
    if (!bulk.ended()) CHECK(bulk.wait_ended());
    const SyncAck known = facts();
    CHECK_FALSE(known.base_usable);
    CHECK_FALSE(known.durable.has_value());
    CHECK_FALSE(known.session.has_value());
    check_goes_through(SessionId(2));
  }
  void check_goes_through(SessionId session) {
    begin(session);
    begin_bulk(session);
    finish();
  }
  void finish() {
    send_all();
    peer.send_record(term, Lsn(6), Lba(3), 0x77, at(6));
    base_complete();
    const auto done = ack_of(SessionPhase::kCompleted);
    REQUIRE(done.has_value());
    CHECK(done->achieved == Lsn(6));
    CHECK_FALSE(marked());
    CHECK(c.status(1).wal_head == 6);
    const auto image = c.image(1);
    CHECK(image[0] == std::byte(0x11));
    CHECK(image[16 * kBlockBytes] == std::byte(0));
  }

  RawPeer bulk;
};

}  // namespace

TEST_CASE("sim_rebuild_bulk: a rebuild as it should be", "[sim][repl][rebuild]") {
  FakeRebuild f(1);
  f.begin();
  f.begin_bulk();
  f.finish();
  CHECK(f.bulk.wait_ended());
  // It is a replica like any other from here on.
  f.peer.send_record(f.term, Lsn(7), Lba(9), 1, f.at(7));
  CHECK(f.written(7));
}

TEST_CASE("sim_rebuild_bulk: who calls without being of the rebuild that runs is refused, and it goes on", "[sim][repl][rebuild]") {
  FakeRebuild f(2);
  RawPeer other(f.c.world, f.c.world.add_node("n9"));
  const auto refused = [&](Reason reason) {
    const auto reject = other.reject();
    REQUIRE(reject.has_value());
    INFO(reject->text);
    CHECK(std::string(to_string(reject->reason)) == to_string(reason));
    CHECK(other.wait_ended());
  };
  SECTION("no rebuild runs") {
    f.hello();
    static_cast<void>(f.facts());
    f.call_bulk(other);
    refused(Reason::kNotReady);
    f.begin();
    f.begin_bulk();
  }
  SECTION("a session that is not a rebuild runs") {
    f.session_with(3);
    f.call_bulk(other);
    refused(Reason::kNotReady);
    CHECK(f.written(3));
    return;
  }
  SECTION("before the session is running") {
    f.hello();
    static_cast<void>(f.facts());
    const uint64_t hold = f.c.sim(1).disk().hold({.kind = io::SimOpKind::kFlush, .path = "/superblock"});
    f.peer.session = SessionId(1);
    SessionControl control;
    control.kind = ControlKind::kStartRebuild;
    control.base_kind = BaseKind::kLive;
    control.base = Lsn(5);
    control.target = Lsn(6);
    control.history = f.one;
    f.peer.send(MessageType::kSessionControl, control);
    REQUIRE(f.c.run_until([&] { return f.c.sim(1).disk().held(hold) > 0; }, 5 * kSecond));
    f.call_bulk(other);
    refused(Reason::kNotReady);
    f.c.sim(1).disk().release(hold);
    REQUIRE(f.ack_of(SessionPhase::kAccepted).has_value());
    f.begin_bulk();
  }
  SECTION("another session") {
    f.begin();
    f.call_bulk(other, SessionId(2));
    refused(Reason::kNotReady);
    f.begin_bulk();
  }
  SECTION("another opening of the primary") {
    f.begin();
    f.call_bulk(other, SessionId(1), "n1", Incarnation(2));
    refused(Reason::kNotReady);
    f.begin_bulk();
  }
  SECTION("another node") {
    f.begin();
    f.call_bulk(other, SessionId(1), "n9");
    refused(Reason::kEpochMismatch);
    f.begin_bulk();
  }
  SECTION("a higher epoch: it promises nothing by this") {
    f.begin();
    f.call_bulk(other, SessionId(1), "n1", Incarnation(1), Epoch(2));
    refused(Reason::kNotReady);
    CHECK(f.c.status(1).epoch == 1);
    f.begin_bulk();
  }
  SECTION("a second one of the same session") {
    f.begin();
    f.begin_bulk();
    f.call_bulk(other);
    refused(Reason::kNotReady);
  }
  SECTION("one more after the first is gone: the session ended with it") {
    f.begin();
    f.begin_bulk();
    f.bulk.hang_up();
    const auto ack = f.ack_of(SessionPhase::kFailed);
    REQUIRE(ack.has_value());
    CHECK(ack->reason == Reason::kTransportLost);
    f.call_bulk(other);
    refused(Reason::kNotReady);
    f.check_goes_through(SessionId(2));
    return;
  }
  f.finish();
}

TEST_CASE("sim_rebuild_bulk: a chunk that breaks a rule ends the session by name, and another one follows", "[sim][repl][rebuild]") {
  FakeRebuild f(3);
  f.begin();
  f.begin_bulk();
  f.bulk.send_chunk(FakeRebuild::fields(1, 0, 16, false), FakeRebuild::data(16, 0x22));
  REQUIRE(f.applied(1));
  auto next = FakeRebuild::fields(2, 16, 16, false);
  auto data = FakeRebuild::data(16, 0x22);
  Reason reason = Reason::kProtocolViolation;
  bool damage = false;
  SECTION("another session") {
    f.bulk.session = SessionId(9);
    reason = Reason::kSuperseded;
  }
  SECTION("another epoch") {
    f.bulk.epoch = Epoch(2);
    reason = Reason::kEpochMismatch;
  }
  SECTION("another volume") {
    f.bulk.volume.bytes.fill(9);
    reason = Reason::kWrongVolume;
  }
  SECTION("left out") { next.chunk = 3; }
  SECTION("again") { next.chunk = 1; }
  SECTION("a gap") { next.first = Lba(17); }
  SECTION("an overlap") { next.first = Lba(15); }
  SECTION("beyond the end") {
    next = FakeRebuild::fields(2, 16, kBlocks, true);
    data.clear();
  }
  SECTION("called the last one") { next.last = true; }
  SECTION("damaged on the way") { damage = true; }
  f.bulk.send_chunk(next, data, damage);
  f.check_failed(reason);
}

TEST_CASE("sim_rebuild_bulk: what is no chunk ends the connection, and the session as transport_lost", "[sim][repl][rebuild]") {
  FakeRebuild f(4);
  f.begin();
  f.begin_bulk();
  f.bulk.send_chunk(FakeRebuild::fields(1, 0, 16, false), FakeRebuild::data(16, 0x22));
  REQUIRE(f.applied(1));
  const auto payload = RawPeer::chunk_payload(FakeRebuild::fields(2, 16, 16, false), FakeRebuild::data(16, 0x22));
  SECTION("garbage") { f.bulk.send_bytes(std::vector<std::byte>(1000, std::byte{0x5A})); }
  SECTION("a control message") { f.bulk.send(MessageType::kSync, Sync{1, std::nullopt, {}}); }
  SECTION("positions") { f.bulk.send_positions(FakeRebuild::at(6)); }
  SECTION("records") { f.bulk.send_record(f.term, Lsn(6), Lba(1), 1, FakeRebuild::at(6)); }
  SECTION("a chunk shorter than it says") {
    auto shorter = payload;
    shorter.resize(shorter.size() - 1);
    f.bulk.send_payload(MessageType::kSessionData, shorter);
  }
  SECTION("a chunk without its fields") { f.bulk.send_payload(MessageType::kSessionData, std::vector<std::byte>(20)); }
  SECTION("a damaged header of a chunk") {
    auto bytes = f.bulk.make_message(MessageType::kSessionData, payload);
    bytes[40] ^= std::byte{1};
    f.bulk.send_bytes(bytes);
  }
  SECTION("damaged fields of a chunk") {
    auto bytes = f.bulk.make_message(MessageType::kSessionData, payload);
    bytes[kHeaderBytes + 9] ^= std::byte{1};
    f.bulk.send_bytes(bytes);
  }
  SECTION("cut in the middle of a chunk's data") {
    auto bytes = f.bulk.make_message(MessageType::kSessionData, payload);
    bytes.resize(bytes.size() / 2);
    f.bulk.send_bytes(bytes);
    f.c.run_for(50 * kMillisecond);
    f.bulk.hang_up();
  }
  SECTION("cut in the middle of a header") {
    auto bytes = f.bulk.make_message(MessageType::kSessionData, payload);
    bytes.resize(kHeaderBytes / 2);
    f.bulk.send_bytes(bytes);
    f.c.run_for(50 * kMillisecond);
    f.bulk.hang_up();
  }
  SECTION("gone") { f.bulk.hang_up(); }
  f.check_failed(Reason::kTransportLost);
}

TEST_CASE("sim_rebuild_bulk: a chunk on the log connection, or an end that cannot be yet, ends that", "[sim][repl][rebuild]") {
  FakeRebuild f(5);
  f.begin();
  f.begin_bulk();
  SECTION("a chunk on the log connection") { f.peer.send_chunk(FakeRebuild::fields(1, 0, 16, false), FakeRebuild::data(16, 0x22)); }
  SECTION("complete before all was sent") {
    f.base_complete();
    const auto reject = f.peer.reject();
    REQUIRE(reject.has_value());
    CHECK(reject->reason == Reason::kProtocolViolation);
  }
  SECTION("complete before its target") {
    f.send_all();
    SessionControl control;
    control.kind = ControlKind::kBaseComplete;
    control.target = Lsn(5);
    f.peer.send(MessageType::kSessionControl, control);
    const auto reject = f.peer.reject();
    REQUIRE(reject.has_value());
    CHECK(reject->reason == Reason::kProtocolViolation);
  }
  SECTION("another kind of session") {
    f.start(Lsn(5), f.one, SessionId(2));
    const auto reject = f.peer.reject();
    REQUIRE(reject.has_value());
    CHECK(reject->reason == Reason::kProtocolViolation);
  }
  CHECK(f.peer.wait_ended());
  CHECK(f.bulk.wait_ended());  // the session is over
  CHECK(f.marked());
  f.peer.sequence = 0;
  f.check_goes_through(SessionId(3));
}

TEST_CASE("sim_rebuild_bulk: once the base is complete its connection is not needed", "[sim][repl][rebuild]") {
  FakeRebuild f(6);
  f.begin();
  f.begin_bulk();
  f.send_all();
  f.base_complete();
  REQUIRE(f.ack_of(SessionPhase::kBaseComplete).has_value());
  f.bulk.hang_up();
  f.c.run_for(200 * kMillisecond);
  CHECK(f.marked());  // the log is not there yet
  const SyncAck meanwhile = [&] {
    f.peer.send(MessageType::kSync, Sync{++f.syncs, std::nullopt, {}});
    return decode_sync_ack(f.peer.expect(MessageType::kSyncAck)->payload).value();
  }();
  CHECK_FALSE(meanwhile.base_usable);
  CHECK_FALSE(meanwhile.durable.has_value());  // no position: nothing can be decided from it
  REQUIRE(meanwhile.session.has_value());
  CHECK(meanwhile.session->kind == SessionKind::kRebuild);
  CHECK(meanwhile.session->phase == SessionPhase::kBaseComplete);
  f.peer.send_record(f.term, Lsn(6), Lba(3), 0x77, f.at(6));
  const auto done = f.ack_of(SessionPhase::kCompleted);
  REQUIRE(done.has_value());
  CHECK(done->achieved == Lsn(6));
  CHECK_FALSE(f.marked());
}

TEST_CASE("sim_rebuild_bulk: another session supersedes the one that runs, whatever its lanes do", "[sim][repl][rebuild]") {
  FakeRebuild f(7);
  f.begin();
  f.begin_bulk();
  f.bulk.send_chunk(FakeRebuild::fields(1, 0, 16, false), FakeRebuild::data(16, 0x22));
  f.peer.send_record(f.term, Lsn(6), Lba(1), 1, f.at(6));
  f.begin(SessionId(2));
  CHECK(f.bulk.wait_ended());
  CHECK(f.c.status(1).wal_head == 5);  // the log begins anew
  f.begin_bulk(SessionId(2));
  f.finish();
}

TEST_CASE("sim_rebuild_bulk: a higher epoch ends a rebuild, and the copy says what it is", "[sim][repl][rebuild]") {
  FakeRebuild f(8);
  f.begin();
  f.begin_bulk();
  f.send_all();
  RawPeer later(f.c.world, f.c.world.add_node("n9"));
  REQUIRE(later.call(f.c.address(1)));
  later.volume = some_volume();
  later.epoch = Epoch(2);
  later.send(MessageType::kHello, Hello{"vol0", "n9", "n2", Incarnation(1), 2u << 20});
  REQUIRE(later.expect(MessageType::kWelcome).has_value());
  CHECK(f.peer.wait_ended());
  CHECK(f.bulk.wait_ended());
  CHECK(f.marked());
  later.send(MessageType::kSync, Sync{1, std::nullopt, {}});
  const auto message = later.expect(MessageType::kSyncAck);
  REQUIRE(message.has_value());
  const SyncAck known = decode_sync_ack(message->payload).value();
  CHECK_FALSE(known.base_usable);
  CHECK(known.epoch == Epoch(2));
  // The one before is told which epoch it is now.
  REQUIRE(f.peer.call(f.c.address(1)));
  f.peer.session = SessionId{};
  f.peer.send(MessageType::kHello, Hello{"vol0", "n1", "n2", Incarnation(1), 2u << 20});
  const auto reject = f.peer.reject();
  REQUIRE(reject.has_value());
  CHECK(reject->reason == Reason::kEpochMismatch);
  CHECK(reject->epoch == Epoch(2));
}

TEST_CASE("sim_rebuild_bulk: messages of the old epoch are refused when a higher one was promised", "[sim][repl][rebuild]") {
  FakeRebuild f(9);
  f.begin();
  f.begin_bulk();
  f.peer.epoch = Epoch(2);  // on the connection of epoch 1
  SECTION("records") { f.peer.send_record(f.term, Lsn(6), Lba(1), 1, f.at(6)); }
  SECTION("the end") { f.base_complete(); }
  const auto reject = f.peer.reject();
  REQUIRE(reject.has_value());
  CHECK(reject->reason == Reason::kEpochMismatch);
  CHECK(f.peer.wait_ended());
  CHECK(f.marked());
  CHECK(f.c.status(1).wal_head == 5);
}

// --- a replica that says what it must not -----------------------------------------------------------------------

namespace {

/// A real primary that has to rebuild a fake replica.
struct RebuiltFake : FakeReplica {
  explicit RebuiltFake(uint64_t seed, Durability durability = Durability::kBestEffort) : FakeReplica(seed, durability), bulk(c.world, c.sim(1)) {
    welcome();
    tell_unusable();
  }
  void tell_unusable() {
    const auto sync = peer.expect(MessageType::kSync);
    REQUIRE(sync.has_value());
    SyncAck ack;
    ack.sync_id = decode_sync(sync->payload).value().sync_id;
    ack.epoch = peer.epoch;
    peer.send(MessageType::kSyncAck, ack);
  }
  void take_rebuild() {
    const auto message = peer.expect(MessageType::kSessionControl);
    REQUIRE(message.has_value());
    control = decode_session_control(message->payload).value();
    CHECK(control.kind == ControlKind::kStartRebuild);
    CHECK(control.snapshot_id == 0);
    CHECK(*control.target >= *control.base);
    session = message->header.session;
    peer.session = session;
    peer.send(MessageType::kSessionAck, SessionAck{});
    REQUIRE(bulk.answer_beside(peer));
    const auto hello = bulk.expect(MessageType::kHello);
    REQUIRE(hello.has_value());
    CHECK(decode_hello(hello->payload).value().channel == Channel::kBulk);
    CHECK(hello->header.session == session);
    bulk.volume = peer.volume;
    bulk.epoch = peer.epoch;
    bulk.session = session;
  }
  void welcome_bulk(const std::string& id = "n2") {
    Welcome message;
    message.node_id = id;
    message.volume_bytes = 2u << 20;
    message.wal_bytes = 8u << 20;
    bulk.send(MessageType::kWelcome, message);
  }
  void take_base() {
    uint64_t blocks = 0;
    while (blocks < kBlocks) {
      const auto message = bulk.expect(MessageType::kSessionData);
      REQUIRE(message.has_value());
      const auto fields = decode_session_data_fields(std::span(message->payload).first(SessionDataFields::kBytes)).value();
      blocks += fields.blocks;
      newest = std::max(newest, fields.read);
      bulk.send(MessageType::kSessionDataAck, SessionDataAck{fields.chunk, fields.data_bytes()});
    }
  }
  /// Answers the sample of a volume that is all zeros, until the base is called complete.
  Lsn answer_samples(bool differ = false) {
    for (;;) {
      const auto message = peer.expect_any({MessageType::kVerify, MessageType::kSessionControl});
      if (differ && !message) return Lsn{};  // the session ended
      REQUIRE(message.has_value());
      if (message->header.type == MessageType::kSessionControl) {
        const auto complete = decode_session_control(message->payload).value();
        CHECK(complete.kind == ControlKind::kBaseComplete);
        return *complete.target;
      }
      if (message->header.type != MessageType::kVerify) continue;
      CHECK(message->header.session == session);
      const Verify question = decode_verify(message->payload).value();
      const std::vector<std::byte> zeros(kBlockBytes);
      VerifyAck ack{question.id, question.after, Reason::kNone, {}};
      ack.sums.assign(question.blocks, crc64(zeros.data(), zeros.size()) ^ (differ ? 1u : 0u));
      peer.send(MessageType::kVerifyAck, ack);
    }
  }
  /// Time passes; the replica is not silent meanwhile.
  void talk(int rounds) {
    for (int i = 0; i < rounds; ++i) {
      ack(1, 1);
      c.run_for(50 * kMillisecond);
    }
  }
  void complete(Lsn achieved) {
    SessionAck done;
    done.phase = SessionPhase::kCompleted;
    done.applied = done.achieved = achieved;
    peer.send(MessageType::kSessionAck, done);
  }

  SessionControl control;
  SessionId session;
  Lsn newest;
  RawPeer bulk;
};

/// The connection ended, and the primary asks for facts again: another session is decided on those.
void expect_decided_anew(RebuiltFake& f) {
  REQUIRE(f.peer.wait_ended(2 * kSecond));
  CHECK(f.bulk.wait_ended(2 * kSecond));
  CHECK_FALSE(f.c.replica_status(0, 1).in_sync);
  const SessionId before = f.session;
  f.answer();
  f.welcome();
  f.tell_unusable();
  f.take_rebuild();
  CHECK(f.session != before);
  f.welcome_bulk();
  f.take_base();
  const Lsn barrier = f.answer_samples();
  f.ack(barrier.value(), barrier.value());
  f.complete(barrier);
  const auto sync = f.peer.expect(MessageType::kSync);
  REQUIRE(sync.has_value());
}

}  // namespace

TEST_CASE("sim_rebuild_bulk: completion restores nothing before the primary has proof", "[sim][repl][rebuild]") {
  RebuiltFake f(20, Durability::kSyncAll);
  f.take_rebuild();
  f.welcome_bulk();
  f.take_base();
  CHECK(f.newest >= *f.control.base);
  const Lsn barrier = f.answer_samples();
  CHECK(barrier >= f.newest);
  CHECK(barrier >= *f.control.target);
  f.ack(barrier.value(), barrier.value());
  const auto counts = [&] {
    const auto set = f.c.in_sync_on_disk(0);
    return f.c.replica_status(0, 1).in_sync || std::find(set.begin(), set.end(), "n2") != set.end();
  };
  f.c.run_for(100 * kMillisecond);
  CHECK_FALSE(counts());
  f.complete(barrier);
  const auto sync = f.peer.expect(MessageType::kSync);
  REQUIRE(sync.has_value());
  const Sync asked = decode_sync(sync->payload).value();
  REQUIRE(asked.target.has_value());
  CHECK(*asked.target >= barrier);
  f.c.run_for(100 * kMillisecond);
  CHECK_FALSE(counts());
  CHECK_FALSE(f.c.status(0).healthy);
  SyncAck ack;
  ack.sync_id = asked.sync_id;
  ack.epoch = f.peer.epoch;
  ack.base_usable = true;
  ack.written = ack.durable = *asked.target;
  ack.base_limit = barrier;
  ack.history = f.control.history;
  ack.session = core::ActiveSession{f.session, SessionKind::kRebuild, SessionPhase::kRunning};
  SECTION("answered in time: it counts") {
    f.peer.send(MessageType::kSyncAck, ack);
    REQUIRE(f.c.run_until([&] { return f.c.replica_status(0, 1).in_sync; }, kSecond));
    const auto set = f.c.in_sync_on_disk(0);
    CHECK(std::find(set.begin(), set.end(), "n2") != set.end());
    CHECK(f.c.session_kind(0, 1) == "keepup");
  }
  SECTION("answered that it was not in time: it does not") {
    ack.kind = SyncAckKind::kTimedOut;
    ack.durable = Lsn(asked.target->value() - 1);
    f.peer.send(MessageType::kSyncAck, ack);
    f.c.run_for(100 * kMillisecond);
    CHECK_FALSE(counts());
  }
  SECTION("not answered: the session ends") {
    REQUIRE(f.peer.wait_ended(5 * kSecond));
    CHECK_FALSE(counts());
  }
}

TEST_CASE("sim_rebuild_bulk: what a replica acknowledges while it is rebuilt makes no quorum", "[sim][repl][rebuild]") {
  RebuiltFake f(21, Durability::kSyncQuorum);
  f.take_rebuild();
  f.welcome_bulk();
  f.talk(6);
  CHECK_FALSE(f.c.status(0).role_applied);  // its first record is committed by two copies, or not at all
  f.take_base();
  const Lsn barrier = f.answer_samples();
  f.talk(6);
  CHECK_FALSE(f.c.status(0).role_applied);
  f.complete(barrier);
  CHECK(f.c.wait_serving(0, kSecond));
}

TEST_CASE("sim_rebuild_bulk: a primary believes no impossible word on the bulk connection", "[sim][repl][rebuild]") {
  RebuiltFake f(22, Durability::kSyncAll);
  f.take_rebuild();
  SECTION("another node") { f.welcome_bulk("n3"); }
  SECTION("refused") { f.bulk.send(MessageType::kReject, Reject{Reason::kNotReady, Epoch(1), "no such rebuild runs here"}); }
  SECTION("an acknowledgement before the welcome") { f.bulk.send(MessageType::kSessionDataAck, SessionDataAck{1, 4096}); }
  SECTION("gone before the welcome") { f.bulk.hang_up(); }
  SECTION("once it is welcome") {
    f.welcome_bulk();
    const auto chunk = f.bulk.expect(MessageType::kSessionData);
    REQUIRE(chunk.has_value());
    SECTION("a chunk that was not sent") { f.bulk.send(MessageType::kSessionDataAck, SessionDataAck{1000, 4096}); }
    SECTION("a chunk twice") {
      f.bulk.send(MessageType::kSessionDataAck, SessionDataAck{1, 4096});
      f.bulk.send(MessageType::kSessionDataAck, SessionDataAck{1, 4096});
    }
    SECTION("another session") {
      f.bulk.session = SessionId(99);
      f.bulk.send(MessageType::kSessionDataAck, SessionDataAck{1, 4096});
    }
    SECTION("welcome again") { f.welcome_bulk(); }
    SECTION("a message of the log") { f.bulk.send(MessageType::kWalAck, WalAck{Lsn(1), Lsn(1), Lsn{}}); }
    SECTION("positions") { f.bulk.send_positions({}); }
    SECTION("garbage") { f.bulk.send_bytes(std::vector<std::byte>(500, std::byte{0x33})); }
    SECTION("gone in the middle") { f.bulk.hang_up(); }
  }
  expect_decided_anew(f);
}

TEST_CASE("sim_rebuild_bulk: a primary believes no impossible end of a rebuild", "[sim][repl][rebuild]") {
  RebuiltFake f(23, Durability::kSyncAll);
  f.take_rebuild();
  // A record that leaves the volume all zeros.
  REQUIRE(f.c.request(0, RequestKind::kTrim, 0, kBlockBytes, 0) == RequestError::kNone);
  f.welcome_bulk();
  SECTION("complete before it was told that the base is") { f.complete(Lsn(1)); }
  SECTION("failed") {
    SessionAck failed;
    failed.phase = SessionPhase::kFailed;
    failed.reason = Reason::kTransportLost;
    f.peer.send(MessageType::kSessionAck, failed);
  }
  SECTION("samples that differ") {
    f.take_base();
    static_cast<void>(f.answer_samples(true));
    CHECK(f.c.run_until([&] { return f.c.replica_status(0, 1).session->reason.find("sampled blocks differ after the rebuild") != std::string::npos; }, kSecond));
  }
  SECTION("with the base") {
    f.take_base();
    const Lsn barrier = f.answer_samples();
    f.ack(barrier.value(), barrier.value());
    SECTION("beyond what was sent") { f.complete(Lsn(1000)); }
    SECTION("before the barrier") {
      REQUIRE(barrier > Lsn(1));
      f.complete(Lsn(barrier.value() - 1));
    }
  }
  expect_decided_anew(f);
}

TEST_CASE("sim_rebuild_bulk: a replica that takes nothing of the base image does not hold a rebuild for ever", "[sim][repl][rebuild]") {
  RebuiltFake f(24, Durability::kSyncAll);
  f.take_rebuild();
  f.welcome_bulk();
  bool ended = false;
  for (int i = 0; i < 40 && !ended; ++i) {
    f.ack(1, 1);  // its log goes on
    ended = f.peer.wait_ended(50 * kMillisecond);
  }
  CHECK(ended);
  CHECK(f.c.replica_status(0, 1).session->reason.find("takes nothing of the base image") != std::string::npos);
  expect_decided_anew(f);
}

TEST_CASE("sim_rebuild_bulk: a replica without memory for a rebuild keeps its connection, and is asked again", "[sim][repl][rebuild]") {
  FakeReplica f(12);
  f.welcome();
  const auto ask_for_rebuild = [&] {
    const auto sync = f.peer.expect(MessageType::kSync);
    REQUIRE(sync.has_value());
    SyncAck ack;
    ack.sync_id = decode_sync(sync->payload).value().sync_id;
    ack.epoch = f.peer.epoch;
    f.peer.send(MessageType::kSyncAck, ack);
    const auto control = f.peer.expect(MessageType::kSessionControl);
    REQUIRE(control.has_value());
    CHECK(decode_session_control(control->payload).value().kind == ControlKind::kStartRebuild);
    f.peer.session = control->header.session;
  };
  ask_for_rebuild();
  SessionAck failed;
  failed.phase = SessionPhase::kFailed;
  failed.reason = Reason::kNotReady;
  f.peer.send(MessageType::kSessionAck, failed);
  REQUIRE(f.c.run_until([&] { return f.c.status(0).reason.find("it waits: its node is not ready for it now") != std::string::npos; }, kSecond));
  CHECK(f.c.replica_status(0, 1).connected);
  // Not at once, and on the same connection.
  f.peer.session = SessionId{};
  ask_for_rebuild();
  f.peer.send(MessageType::kSessionAck, SessionAck{});
  REQUIRE(f.c.run_until([&] { return f.c.session_kind(0, 1) == "rebuild"; }, kSecond));
}
