// The in-sync set: who counts when, in which order the set changes, replicas that hang, fall
// behind, come back, or cannot.
#include <algorithm>
#include <catch2/catch.hpp>

#include "orders.h"
#include "rebuilds.h"

using namespace ringbolt;
using namespace ringbolt::sim;
using io::kMillisecond;
using io::kSecond;
using io::SimPowerLoss;

namespace {

bool out_of_sync(const Cluster& c, size_t replica) { return !c.replica_status(0, replica).in_sync; }

}  // namespace

TEST_CASE("sim_members: a replica that was away is brought back from the WAL and counts only then",
          "[sim][repl]") {
  for_seeds(1, 6, [](uint64_t seed) {
    Cluster c({.seed = seed, .wal_bytes = 32u << 20});
    c.load.options().cells_max = 24;
    c.load.options().pause_max = 20 * kMillisecond;
    c.configure_pair();
    c.start_all();
    REQUIRE(c.wait_serving(0));
    REQUIRE(c.wait_in_sync(0, 1));
    c.begin_load(0);
    c.run_for(10 * kMillisecond);
    c.kill(1);
    REQUIRE(c.run_until([&] { return out_of_sync(c, 1); }, 5 * kSecond));
    CHECK_FALSE(contains(c.in_sync_on_disk(0), "n2"));
    c.run_for(20 * kMillisecond);
    c.start(1);
    // On its way back it is in the set only once it has flushed everything up to a barrier.
    const bool back = c.run_until(
        [&] {
          const ReplicaStatus r = c.replica_status(0, 1);
          if (!r.in_sync) return false;
          return contains(c.in_sync_on_disk(0), "n2");
        },
        20 * kSecond);
    REQUIRE(back);
    // Power loss of both right now: whatever n1 acknowledged, n2 has, written at least.
    c.run_for(20 * kMillisecond);
    c.end_load();
    c.read_back(0);
    REQUIRE(
        c.run_until([&] { return c.status(1).written_lsn == c.status(0).wal_head; }, 5 * kSecond));
    c.check_logs();
    c.stop(0);
    c.stop(1);
    c.check_images_equal(0, 1);
  });
}

TEST_CASE(
    "sim_members: a replica away for longer than the WAL lasts needs a rebuild and never counts",
    "[sim][repl]") {
  for_seeds(1, 2, [](uint64_t seed) {
    Cluster c({.seed = seed});
    // As many rebuilds as may run on this node do: this one waits.
    c.adjust_options = [](repl::VolumeOptions& options) {
      while (options.rebuild->places.try_begin(options.rebuild->parallel)) {
      }
    };
    c.load.options().depth = 16;
    c.load.options().cells_max = 256;
    c.load.options().pause_max = 20 * io::kMicrosecond;
    c.configure_pair();
    c.start_all();
    REQUIRE(c.wait_serving(0));
    REQUIRE(c.wait_in_sync(0, 1));
    c.kill(1);
    c.begin_load(0);
    // Its absence shows within the timeout, then writes go on without it through laps of the WAL.
    REQUIRE(c.run_until([&] { return c.status(0).wal_tail > 1; }, 20 * kSecond));
    c.run_for(200 * kMillisecond);
    c.start(1);
    const auto reported = [&] { return c.status(0).mode == "needs_rebuild"; };
    REQUIRE(c.run_until(reported, 10 * kSecond));
    CHECK(c.session_kind(0, 1) == "rebuild");
    for (int i = 0; i < 10; ++i) {
      c.run_for(100 * kMillisecond);
      CHECK(out_of_sync(c, 1));
      CHECK_FALSE(contains(c.in_sync_on_disk(0), "n2"));
    }
    const uint64_t answered = c.load.answered();
    c.run_for(50 * kMillisecond);
    CHECK(c.load.answered() > answered);
    c.end_load();
    c.read_back(0);
    // Neither a restart of the one nor of the other changes that.
    c.kill(1);
    c.start(1);
    c.stop(0);
    c.start(0);
    REQUIRE(c.wait_serving(0));
    REQUIRE(c.run_until(reported, 10 * kSecond));
    CHECK(out_of_sync(c, 1));
  });
}

TEST_CASE("sim_members: a hung replica is back-pressure, then leaves once and durably",
          "[sim][repl]") {
  for_seeds(1, 6, [](uint64_t seed) {
    Cluster c({.seed = seed, .wal_bytes = 32u << 20});
    c.load.options().reads = 0;
    c.load.options().pause_max = 20 * kMillisecond;
    c.load.options().cells_max = 24;
    c.configure_pair();
    c.start_all();
    REQUIRE(c.wait_serving(0));
    REQUIRE(c.wait_in_sync(0, 1));
    c.begin_load(0);
    c.run_for(20 * kMillisecond);
    c.world.net().partition("n1", "n2");
    c.run_for(5 * kMillisecond);  // what was on its way
    const uint64_t before = c.load.writes_answered();
    c.run_for(300 * kMillisecond);
    CHECK(c.load.writes_answered() == before);  // sync_all: nothing is acknowledged without it
    CHECK(c.replica_status(0, 1).in_sync);
    CHECK(c.pool(0).used_bytes() <= c.pool(0).limit_bytes());
    // The first reply without it: the set without it must be on the disk, whatever power loss does.
    bool answered = false;
    c.load.on_write_answered = [&answered] { answered = true; };
    REQUIRE(c.run_until([&] { return answered; }, 2 * kSecond));
    c.load.on_write_answered = nullptr;
    if (seed % 2 == 0) {
      c.power_loss(0, SimPowerLoss::kDropAll);
      CHECK_FALSE(contains(c.in_sync_on_disk(0), "n2"));
      c.start(0);
      REQUIRE(c.wait_serving(0));
      CHECK(out_of_sync(c, 1));
      c.read_recovered(0);
      c.begin_load(0);
    }
    CHECK_FALSE(contains(c.in_sync_on_disk(0), "n2"));
    // It left once: from now on nobody waits for it.
    for (int i = 0; i < 20; ++i) {
      const uint64_t now = c.load.writes_answered();
      c.run_for(50 * kMillisecond);
      REQUIRE(c.load.writes_answered() > now);
    }
    c.world.net().heal_all();
    REQUIRE(c.wait_in_sync(0, 1));
    c.end_load();
    c.read_back(0);
  });
}

TEST_CASE("sim_members: a primary that did not run itself blames no replica for it", "[sim][repl]") {
  for_seeds(1, 12, [](uint64_t seed) {
    Cluster c({.seed = seed, .wal_bytes = 32u << 20});
    c.load.options().reads = 0;
    c.load.options().fua_percent = seed % 2 == 0 ? 100 : 5;
    c.load.options().cells_max = 24;
    c.configure_pair();
    c.start_all();
    REQUIRE(c.wait_serving(0));
    REQUIRE(c.wait_in_sync(0, 1));
    c.begin_load(0);
    // Shorter and longer than the replica bears the silence: then it is another session that goes on.
    for (const io::Nanos pause : {350 * kMillisecond, 450 * kMillisecond, 3 * kSecond}) {
      c.run_for(100 * kMillisecond);
      c.sim(0).pause();
      c.run_for(pause);
      const uint64_t before = c.load.writes_answered();
      c.sim(0).resume();
      for (int i = 0; i < 20; ++i) {
        c.run_for(10 * kMillisecond);
        REQUIRE(c.replica_status(0, 1).in_sync);
        REQUIRE(contains(c.in_sync_on_disk(0), "n2"));
      }
      CHECK(c.load.writes_answered() > before);
    }
    // And a replica that hangs after such a pause leaves all the same.
    c.sim(0).pause();
    c.run_for(2 * kSecond);
    c.sim(1).pause();
    c.sim(0).resume();
    REQUIRE(c.run_until([&] { return out_of_sync(c, 1); }, 2 * kSecond));
    c.sim(1).resume();
    REQUIRE(c.wait_in_sync(0, 1));
    c.end_load();
    c.read_back(0);
  });
}

TEST_CASE("sim_members: a replica whose disk hangs while it answers leaves once, too",
          "[sim][repl]") {
  for_seeds(1, 6, [](uint64_t seed) {
    Cluster c({.seed = seed, .wal_bytes = 32u << 20});
    c.load.options().cells_max = 16;
    c.load.options().depth = 3;
    c.load.options().reads = 0;
    c.load.options().pause_max = 20 * kMillisecond;
    c.load.options().fua_percent = 100;
    c.configure_pair();
    c.start_all();
    REQUIRE(c.wait_serving(0));
    REQUIRE(c.wait_in_sync(0, 1));
    c.begin_load(0);
    c.run_for(20 * kMillisecond);
    io::SimOpMatch match{.kind = {}, .path = "/wal"};
    if (seed % 3 == 1) match.kind = io::SimOpKind::kWrite;
    if (seed % 3 == 2) match.kind = io::SimOpKind::kFlush;
    const uint64_t hold = c.sim(1).disk().hold(match);
    REQUIRE(c.run_until([&] { return out_of_sync(c, 1); }, 5 * kSecond));
    c.run_for(20 * kMillisecond);
    // 3 s are many timeouts of 400 ms: each would show as a stall if it were counted again.
    for (int i = 0; i < 30; ++i) {
      const uint64_t now = c.load.writes_answered();
      c.run_for(100 * kMillisecond);
      REQUIRE(c.load.writes_answered() > now);
      CHECK(out_of_sync(c, 1));
    }
    c.sim(1).disk().release(hold);
    REQUIRE(c.wait_in_sync(0, 1));
    c.end_load();
    c.read_back(0);
  });
}

TEST_CASE("sim_members: best_effort and sync_quorum do not wait for a hung replica",
          "[sim][repl]") {
  for_seeds(1, 4, [](uint64_t seed) {
    const bool quorum = seed % 2 == 0;
    Cluster c({.seed = seed,
               .nodes = quorum ? size_t{3} : size_t{2},
               .durability = quorum ? Durability::kSyncQuorum : Durability::kBestEffort});
    c.load.options().cells_max = 24;
    c.configure_pair();
    c.start_all();
    REQUIRE(c.wait_serving(0));
    for (size_t i = 1; i < (quorum ? 3u : 2u); ++i) REQUIRE(c.wait_in_sync(0, i));
    c.begin_load(0);
    c.run_for(20 * kMillisecond);
    c.world.net().partition("n1", "n2");
    // From the first moment on: neither what is stuck in the socket nor the decision to drop it.
    for (int i = 0; i < 70; ++i) {
      const uint64_t now = c.load.writes_answered();
      c.run_for(20 * kMillisecond);
      REQUIRE(c.load.writes_answered() > now);
    }
    CHECK(out_of_sync(c, 1));
    c.end_load();
    c.read_back(0);
  });
}

TEST_CASE("sim_members: three copies of sync_quorum go on with one dead and stop with two",
          "[sim][repl]") {
  for_seeds(1, 3, [](uint64_t seed) {
    Cluster c({.seed = seed, .nodes = 3, .durability = Durability::kSyncQuorum});
    c.load.options().cells_max = 24;
    c.configure_pair();
    c.start_all();
    REQUIRE(c.wait_serving(0));
    REQUIRE(c.wait_in_sync(0, 1));
    REQUIRE(c.wait_in_sync(0, 2));
    c.begin_load(0);
    c.run_for(20 * kMillisecond);
    c.kill(1);
    const uint64_t before = c.load.writes_answered();
    c.run_for(20 * kMillisecond);
    CHECK(c.load.writes_answered() > before);
    c.end_load();
    c.kill(2);
    CHECK_FALSE(
        c.request(0, RequestKind::kWrite, 0, 4096, 1ull << 40, false, 3 * kSecond).has_value());
    c.start(2);
    REQUIRE(c.wait_in_sync(0, 2));
    CHECK(c.request(0, RequestKind::kWrite, 8192, 4096, 1ull << 41) == RequestError::kNone);
    c.start(1);
    REQUIRE(c.wait_in_sync(0, 1));
  });
}

TEST_CASE("sim_members: a member that is to be removed counts until the set without it is durable",
          "[sim][repl]") {
  Cluster c({.seed = 3});
  c.configure_pair();
  c.start_all();
  REQUIRE(c.wait_serving(0));
  REQUIRE(c.wait_in_sync(0, 1));
  const uint64_t hold =
      c.sim(0).disk().hold({.kind = io::SimOpKind::kFlush, .path = "/superblock"});
  c.kill(1);
  CHECK_FALSE(c.request(0, RequestKind::kWrite, 0, 4096, 5, false, 5 * kSecond).has_value());
  CHECK(c.sim(0).disk().held(hold) > 0);
  c.sim(0).disk().release(hold);
  CHECK(c.request(0, RequestKind::kWrite, 4096, 4096, 6) == RequestError::kNone);
  CHECK_FALSE(contains(c.in_sync_on_disk(0), "n2"));
}

TEST_CASE("sim_members: a new member counts for commits before it is in the set", "[sim][repl]") {
  Cluster c({.seed = 4});
  c.configure_pair();
  c.start_all();
  REQUIRE(c.wait_serving(0));
  REQUIRE(c.wait_in_sync(0, 1));
  c.kill(1);
  CHECK(c.request(0, RequestKind::kWrite, 0, 4096, 5) == RequestError::kNone);  // after the timeout
  c.start(1);
  const uint64_t set = c.sim(0).disk().hold({.kind = io::SimOpKind::kFlush, .path = "/superblock"});
  const auto recording = [&] {
    return c.session_kind(0, 1) == "catchup" && c.sim(0).disk().held(set) > 0;
  };
  REQUIRE(c.run_until(recording, 10 * kSecond));
  CHECK_FALSE(c.replica_status(0, 1).in_sync);
  // The set with it is being recorded: a power loss may keep that write, so it has to count
  // already.
  const uint64_t writes = c.sim(1).disk().hold({.kind = io::SimOpKind::kWrite, .path = "/wal"});
  CHECK_FALSE(
      c.request(0, RequestKind::kWrite, 4096, 4096, 6, false, 200 * kMillisecond).has_value());
  c.sim(1).disk().release(writes);
  c.sim(0).disk().release(set);
  REQUIRE(c.wait_in_sync(0, 1));
}

TEST_CASE("sim_members: who has written everything but flushed nothing is not added",
          "[sim][repl]") {
  Cluster c({.seed = 5, .replica_timeout = 60 * kSecond});
  c.configure_pair();
  c.start_all();
  REQUIRE(c.wait_serving(0));
  REQUIRE(c.wait_in_sync(0, 1));
  c.kill(1);
  CHECK(c.request(0, RequestKind::kWrite, 0, 4096, 5, false, 90 * kSecond) == RequestError::kNone);
  c.start(1);
  const auto in_session = [&] { return c.session_kind(0, 1) != ""; };
  REQUIRE(c.run_until(in_session, 30 * kSecond));
  const uint64_t hold = c.sim(1).disk().hold({.kind = io::SimOpKind::kFlush, .path = "/wal"});
  c.run_for(5 * kSecond);
  REQUIRE(c.session_kind(0, 1) == "catchup");  // until it has proven itself
  CHECK(c.status(1).written_lsn == c.status(0).wal_head);
  CHECK_FALSE(c.replica_status(0, 1).in_sync);
  CHECK_FALSE(contains(c.in_sync_on_disk(0), "n2"));
  c.sim(1).disk().release(hold);
  REQUIRE(c.wait_in_sync(0, 1));
}

TEST_CASE("sim_members: a primary without its in-sync replica serves only after dropping it",
          "[sim][repl]") {
  Cluster c({.seed = 6});
  c.configure_pair();
  c.start_all();
  REQUIRE(c.wait_serving(0));
  REQUIRE(c.wait_in_sync(0, 1));
  CHECK(c.request(0, RequestKind::kWrite, 0, 4096, 5) == RequestError::kNone);
  c.kill(0);
  c.kill(1);
  c.start(0);
  // The term record is not committed by the set: no answer, not even to a read.
  CHECK_FALSE(c.request(0, RequestKind::kWrite, 0, 4096, 6, false, 200 * kMillisecond).has_value());
  CHECK(c.status(0).mode == "bootstrap_pending");
  REQUIRE(c.wait_serving(0));
  CHECK_FALSE(contains(c.in_sync_on_disk(0), "n2"));
  CHECK(c.read_cell(0, 0) == 6);
}

TEST_CASE("sim_members: a blank copy that came after more terms than the history keeps needs a rebuild, and says so", "[sim][repl]") {
  Cluster c({.seed = 7});
  c.assignment(0).role = Role::kPrimary;
  c.start(0);
  REQUIRE(c.wait_serving(0));
  for (uint64_t epoch = 2; epoch < 70; ++epoch) {
    check_taken(c, give(c, 0, order(Role::kPrimary, epoch)));
    REQUIRE(c.wait_serving(0));
  }
  REQUIRE(c.status(0).wal_tail == 1);
  c.start(1);
  check_taken(c, give(c, 0, order(Role::kPrimary, 70, core::Authority::kAssigned, std::vector<core::ReplicaAddress>{{c.name(1), c.address(1)}})));
  // It is not sent what it cannot take, again and again.
  REQUIRE(c.run_until([&] { return c.status(0).mode == "needs_rebuild" || c.replica_status(0, 1).in_sync; }, 10 * kSecond));
}

TEST_CASE("sim_members: the order to remove a replica is answered when a majority of the others has what was acknowledged with it", "[sim][repl]") {
  for_seeds(1, 6, [](uint64_t seed) {
    Cluster c({.seed = seed, .nodes = 3, .durability = Durability::kSyncQuorum});
    c.configure_pair();
    c.start_all();
    REQUIRE(c.wait_serving(0));
    REQUIRE(c.wait_in_sync(0, 1));
    REQUIRE(c.wait_in_sync(0, 2));
    c.begin_load(0);
    c.run_for(20 * kMillisecond);
    // n2 does not hear anything more; n1 and n3 are a majority.
    c.world.net().partition("n1", "n2");
    const uint64_t answered = c.load.writes_answered();
    REQUIRE(c.run_until([&] { return c.load.writes_answered() > answered + 20; }, 10 * kSecond));
    const Lsn acknowledged(*c.status(0).committed_lsn);
    const Answer removed = give(c, 0, order(Role::kPrimary, 1, core::Authority::kAssigned, std::vector<core::ReplicaAddress>{{"n2", c.address(1)}}));
    c.run_for(kSecond);
    // With n3 gone nobody but n1 has it: whoever looked at n1's last orders alone would take n2 for an heir.
    CHECK_FALSE(removed->has_value());
    CHECK(c.status(0).replicas.size() == 1);
    c.world.net().heal_all();
    check_taken(c, removed);
    CHECK(Lsn(*c.status(1).written_lsn) >= acknowledged);
    c.end_load();
    c.read_back(0);
  });
}

TEST_CASE("sim_members: a weaker promise is answered at once, whoever is away", "[sim][repl]") {
  for_seeds(1, 4, [](uint64_t seed) {
    Cluster c({.seed = seed, .nodes = 3, .durability = Durability::kSyncQuorum});
    c.configure_pair();
    c.start_all();
    REQUIRE(c.wait_serving(0));
    c.kill(1);
    c.kill(2);
    repl::AssignmentRequest request = order(Role::kPrimary, 1, core::Authority::kAssigned, std::vector<core::ReplicaAddress>{});
    request.durability = Durability::kBestEffort;
    check_taken(c, give(c, 0, request));
    CHECK(c.request(0, RequestKind::kWrite, 0, 4096, 7) == RequestError::kNone);
  });
}
