// A primary that leaves: who may be promoted after it without force, and that nothing acknowledged is lost then.
#include <catch2/catch.hpp>

#include "fake_peers.h"
#include "orders.h"

using namespace ringbolt;
using namespace ringbolt::sim;
using namespace ringbolt::repl;

namespace {

/// The next session_control within `limit`, if one comes.
std::optional<SessionControl> next_control(RawPeer& peer, io::Nanos limit) {
  const auto message = peer.expect(MessageType::kSessionControl, limit);
  if (!message) return std::nullopt;
  const auto decoded = decode_session_control(message->payload);
  REQUIRE(decoded.has_value());
  return decoded.value();
}

/// A primary that serves, with a replica in the set that lags: told that all is stable, it has only `has` of `head` records.
void lag(FakeReplica& f, uint64_t has) {
  f.facts();
  f.accept_session();
  f.ack(1, 1);
  REQUIRE(f.c.wait_serving(0));
  for (uint64_t i = 0; i < 5; ++i) REQUIRE(f.c.request(0, RequestKind::kWrite, i * 4096, 4096, 7 + i, true) == RequestError::kNone);
  REQUIRE(f.c.status(0).wal_head == 6);
  f.ack(has, has, 6);
  f.c.run_for(10 * kMillisecond);
}

}  // namespace

TEST_CASE("sim_handover: everything is left only to a copy that acknowledged everything", "[sim][repl]") {
  FakeReplica f(1, Durability::kBestEffort);
  lag(f, 3);
  const auto answer = give(f.c, 0, order(Role::kReplica, 2));
  CHECK_FALSE(next_control(f.peer, 100 * kMillisecond).has_value());
  SECTION("it catches up") {
    f.ack(6, 5, 6);
    CHECK_FALSE(next_control(f.peer, 100 * kMillisecond).has_value());
    f.ack(6, 6, 6);
    const auto control = next_control(f.peer, kSecond);
    REQUIRE(control.has_value());
    CHECK(control->reason == Reason::kHandedOver);
    CHECK(control->target == Lsn(6));
    SessionAck ack;
    ack.phase = SessionPhase::kCompleted;
    ack.applied = ack.achieved = Lsn(6);
    f.peer.send(MessageType::kSessionAck, ack);
    check_taken(f.c, answer);
    check_refused(f.c, give(f.c, 0, order(Role::kPrimary, 3, core::Authority::kPromoted)), Errc::kNotPermitted, "may be stale");
  }
  SECTION("it does not: then nobody else is the heir") {
    check_taken(f.c, answer);
    check_taken(f.c, give(f.c, 0, order(Role::kPrimary, 3, core::Authority::kPromoted)));
  }
  SECTION("it goes away") {
    f.peer.hang_up();
    check_taken(f.c, answer, kSecond);
    check_taken(f.c, give(f.c, 0, order(Role::kPrimary, 3, core::Authority::kPromoted)));
  }
}

TEST_CASE("sim_handover: a replica that has less than the primary says is not its heir", "[sim][repl]") {
  for (const uint64_t head : {uint64_t{6}, uint64_t{5}, uint64_t{4}}) {
    INFO("handed over at " << head);
    FakePrimary f(2);
    f.session_with(5);
    WalDataFields all = f.at(5, 5);
    all.stable = Lsn(5);
    all.flush_to = Lsn(5);
    f.peer.send_positions(all);
    REQUIRE(f.c.run_until([&] { return f.c.status(1).durable_lsn == 5; }, 5 * kSecond));
    SessionControl control;
    control.kind = ControlKind::kCancelSession;
    control.reason = Reason::kHandedOver;
    control.target = Lsn(head);
    f.peer.send(MessageType::kSessionControl, control);
    const auto message = f.peer.expect(MessageType::kSessionAck);
    REQUIRE(message.has_value());
    const auto ack = decode_session_ack(message->payload);
    REQUIRE(ack.has_value());
    CHECK(ack.value().phase == (head == 5 ? SessionPhase::kCompleted : SessionPhase::kFailed));
    const auto promoted = give(f.c, 1, order(Role::kPrimary, 2, core::Authority::kPromoted));
    if (head == 5) {
      check_taken(f.c, promoted);
    } else {
      check_refused(f.c, promoted, Errc::kNotPermitted, "may be stale");
    }
  }
}

TEST_CASE("sim_handover: what is being sent to a replica that catches up stays until it is sent, also when the primary stops", "[sim][repl]") {
  for_seeds(1, 8, [](uint64_t seed) {
    Cluster c({.seed = seed, .wal_bytes = 32u << 20});
    c.load.options().cells_max = 256;
    c.load.options().reads = 0;
    c.load.options().pause_max = 4 * kMillisecond;
    c.configure_pair();
    c.start_all();
    REQUIRE(c.wait_serving(0));
    REQUIRE(c.wait_in_sync(0, 1));
    c.kill(1);
    c.begin_load(0);
    REQUIRE(c.run_until([&] { return !c.replica_status(0, 1).in_sync; }, 5 * kSecond));
    c.run_for(20 * kMillisecond);  // what is in memory only does not last that long
    c.end_load();
    c.start(1);
    REQUIRE(c.run_until([&] { return c.session_kind(0, 1) == "catchup"; }, 10 * kSecond));
    c.run_for(static_cast<io::Nanos>(c.world.random().below(2 * kMillisecond)));
    c.world.net().partition("n1", "n2");
    c.stop(0);
  });
}

TEST_CASE("sim_handover: whoever is promoted without force has everything, in every mode, with copies that lag", "[sim][repl]") {
  int moved = 0;
  const bool all = for_seeds(1, 12, [&](uint64_t seed) {
    const bool quorum = seed % 2 == 0;
    Cluster c({.seed = seed, .nodes = quorum ? size_t{3} : size_t{2}, .durability = quorum ? Durability::kSyncQuorum : Durability::kBestEffort,
               .wal_bytes = 32u << 20});
    c.load.options().depth = 16;
    c.load.options().cells_max = 256;
    c.configure_pair();
    c.start_all();
    REQUIRE(c.wait_serving(0));
    for (size_t i = 1; i < (quorum ? 3u : 2u); ++i) REQUIRE(c.wait_in_sync(0, i));
    c.begin_load(0);
    c.run_for(10 * kMillisecond);
    // The first one named falls behind, not long enough to leave the set.
    c.world.net().partition("n1", "n2");
    c.run_for(static_cast<io::Nanos>(20 * kMillisecond + c.world.random().below(100 * kMillisecond)));
    c.sim(1).disk().set_slow_factor(1 + static_cast<uint32_t>(c.world.random().below(20)));
    c.world.net().heal_all();
    c.run_for(static_cast<io::Nanos>(c.world.random().below(5 * kMillisecond)));
    const auto left = give(c, 0, order(Role::kReplica, 2));
    check_taken(c, left);
    c.abandon_load();
    for (size_t heir = 1; heir < (quorum ? 3u : 2u); ++heir) {
      const auto promoted = give(c, heir, order(Role::kPrimary, 2, core::Authority::kPromoted, std::vector<core::ReplicaAddress>{}));
      REQUIRE(c.run_until([&] { return promoted->has_value(); }, 20 * kSecond));
      if (!promoted->value().has_value()) continue;
      ++moved;
      REQUIRE(c.wait_serving(heir));
      c.read_back(heir);
      return;
    }
    // Nobody: then it has kept everything itself.
    check_taken(c, give(c, 0, order(Role::kPrimary, 3, core::Authority::kPromoted, std::vector<core::ReplicaAddress>{})));
    REQUIRE(c.wait_serving(0));
    c.read_back(0);
  });
  if (all) CHECK(moved > 0);
}
