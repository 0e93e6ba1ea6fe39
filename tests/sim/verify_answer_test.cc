// A real replica that is asked for checksums by a fake primary.
#include <catch2/catch.hpp>

#include "fake_peers.h"
#include "ringbolt/crc64.h"

using namespace ringbolt;
using namespace ringbolt::sim;
using namespace ringbolt::repl;

namespace {

/// Records 1 .. 5 wrote block n with bytes 7.
struct Asked : FakePrimary {
  explicit Asked(uint64_t seed) : FakePrimary(seed) { session_with(5); }
  void ask(uint64_t id, uint64_t first, uint32_t blocks, uint64_t after) { peer.send(MessageType::kVerify, Verify{id, Lba(first), blocks, Lsn(after)}); }
  std::optional<VerifyAck> answer(io::Nanos limit = 5 * kSecond) {
    const auto message = peer.expect(MessageType::kVerifyAck, limit);
    if (!message) return std::nullopt;
    return decode_verify_ack(message->payload).value();
  }
  static uint64_t sum(int fill) {
    const std::vector<std::byte> block(kBlockBytes, std::byte(fill));
    return crc64(block.data(), block.size());
  }
  void refused(Reason reason) {
    const auto reject = peer.reject();
    REQUIRE(reject.has_value());
    INFO(reject->text);
    CHECK(std::string(to_string(reject->reason)) == to_string(reason));
    CHECK(peer.wait_ended());
  }
};

}  // namespace

TEST_CASE("sim_verify: answers with the checksums of the blocks, also of those that only the log has", "[sim][repl][verify]") {
  Asked f(1);
  f.ask(1, 0, 8, 5);
  const auto ack = f.answer();
  REQUIRE(ack.has_value());
  CHECK(ack->id == 1);
  CHECK(ack->head == Lsn(5));
  CHECK(ack->reason == Reason::kNone);
  REQUIRE(ack->sums.size() == 8);
  for (uint64_t i = 0; i < 8; ++i) CHECK(ack->sums[i] == Asked::sum(i >= 1 && i <= 5 ? 7 : 0));
}

TEST_CASE("sim_verify: answers when it has the records that the question is about, in order", "[sim][repl][verify]") {
  Asked f(2);
  f.ask(1, 6, 1, 6);
  f.ask(2, 1, 1, 5);  // could be answered now, but not before the first
  CHECK_FALSE(f.answer(200 * kMillisecond).has_value());
  f.peer.send_record(f.term, Lsn(6), Lba(6), 9, f.at(6));
  const auto one = f.answer(), two = f.answer();
  REQUIRE(one.has_value());
  REQUIRE(two.has_value());
  CHECK(one->id == 1);
  CHECK(one->head == Lsn(6));
  CHECK(one->sums == std::vector{Asked::sum(9)});
  CHECK(two->id == 2);
  CHECK(two->sums == std::vector{Asked::sum(7)});
}

TEST_CASE("sim_verify: what cannot be asked is refused", "[sim][repl][verify]") {
  Asked f(3);
  SECTION("beyond the end") {
    f.ask(1, 500, 13, 5);
    f.refused(Reason::kProtocolViolation);
  }
  SECTION("of another session") {
    f.peer.session = SessionId(9);
    f.ask(1, 0, 1, 5);
    f.refused(Reason::kSuperseded);
  }
  SECTION("too much at once") {
    for (uint64_t id = 1; id <= VerifyResponder::kQuestionsMax; ++id) f.ask(id, 0, 1, 6);
    f.c.run_for(50 * kMillisecond);
    CHECK_FALSE(f.peer.ended());
    f.ask(99, 0, 1, 6);
    f.refused(Reason::kProtocolViolation);
  }
  // It lives, and serves on.
  if (!f.peer.ended()) f.peer.hang_up();
  f.hello();
  CHECK(f.facts().durable == Lsn(5));
}

TEST_CASE("sim_verify: a block that cannot be read is said to be one", "[sim][repl][verify]") {
  Asked f(4);
  f.c.sim(1).disk().add_fault({.match = {.kind = io::SimOpKind::kRead, .path = "/base", .from = 100 * kBlockBytes, .to = 101 * kBlockBytes}});
  f.ask(1, 96, 16, 5);
  f.ask(2, 0, 2, 5);
  const auto one = f.answer(), two = f.answer();
  REQUIRE(one.has_value());
  CHECK(one->reason == Reason::kLocalExtentCorrupt);
  CHECK(one->sums.empty());
  REQUIRE(two.has_value());
  CHECK(two->reason == Reason::kNone);
}

TEST_CASE("sim_verify: a connection that ends while blocks are read leaves nothing behind", "[sim][repl][verify]") {
  Asked f(5);
  const uint64_t reads = f.c.sim(1).disk().hold({.kind = io::SimOpKind::kRead, .path = "/base"});
  f.ask(1, 100, 64, 5);
  f.ask(2, 200, 64, 5);
  REQUIRE(f.c.run_until([&] { return f.c.sim(1).disk().held(reads) > 0; }, 5 * kSecond));
  f.peer.hang_up();
  // The next caller waits for the read's end, for it may change what is read.
  REQUIRE(f.peer.call(f.c.address(1)));
  f.peer.session = SessionId{};
  f.peer.send(MessageType::kHello, Hello{"vol0", "n1", "n2", f.incarnation, 2u << 20});
  CHECK_FALSE(f.peer.expect(MessageType::kWelcome, 300 * kMillisecond).has_value());
  f.c.sim(1).disk().release(reads);
  CHECK(f.peer.expect(MessageType::kWelcome).has_value());
  f.welcomed = true;
  CHECK(f.facts().durable == Lsn(5));
  CHECK_FALSE(f.answer(100 * kMillisecond).has_value());
}

TEST_CASE("sim_verify: a primary that leaves hands over also while its replica is being compared", "[sim][repl][verify]") {
  Asked f(6);
  WalDataFields all = f.at(5, 5);
  all.stable = all.flush_to = Lsn(5);
  f.peer.send_positions(all);
  REQUIRE(f.c.run_until([&] { return f.c.status(1).durable_lsn == 5; }, 5 * kSecond));
  const uint64_t reads = f.c.sim(1).disk().hold({.kind = io::SimOpKind::kRead, .path = "/base"});
  f.ask(1, 100, 64, 5);
  REQUIRE(f.c.run_until([&] { return f.c.sim(1).disk().held(reads) > 0; }, 5 * kSecond));
  SessionControl control;
  control.kind = ControlKind::kCancelSession;
  control.reason = Reason::kHandedOver;
  control.target = Lsn(5);
  f.peer.send(MessageType::kSessionControl, control);
  const auto message = f.peer.expect(MessageType::kSessionAck);
  REQUIRE(message.has_value());
  const SessionAck ack = decode_session_ack(message->payload).value();
  CHECK(ack.phase == SessionPhase::kCompleted);
  CHECK(ack.achieved == Lsn(5));
  CHECK(read_superblock(f.c.sim(1), Cluster::directory())->handed_over == Lsn(5));
  f.c.sim(1).disk().release(reads);
}

TEST_CASE("sim_verify: what would change the blocks that are being read is refused", "[sim][repl][verify]") {
  Asked f(7);
  const uint64_t reads = f.c.sim(1).disk().hold({.kind = io::SimOpKind::kRead, .path = "/base"});
  f.ask(1, 100, 64, 5);
  REQUIRE(f.c.run_until([&] { return f.c.sim(1).disk().held(reads) > 0; }, 5 * kSecond));
  SessionControl control = FakePrimary::start_control(Lsn(5), f.one);
  control.kind = ControlKind::kStartRebuild;
  control.base_kind = BaseKind::kLive;
  f.peer.session = SessionId(2);
  f.peer.send(MessageType::kSessionControl, control);
  f.refused(Reason::kProtocolViolation);
  CHECK_FALSE(read_superblock(f.c.sim(1), Cluster::directory())->rebuild_mark);
  f.c.sim(1).disk().release(reads);
}
