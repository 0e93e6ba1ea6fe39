// Roles that move: promotion, fencing, the old primary's way back, and who is refused.
#include <catch2/catch.hpp>

#include "cluster.h"

using namespace ringbolt;
using namespace ringbolt::sim;
using io::kMillisecond;
using io::kSecond;
using io::SimPowerLoss;

namespace {

/// The configuration after `from` was replaced by `to` as primary, from their next starts on.
void swap_roles(Cluster& c, size_t from, size_t to, Epoch epoch) {
  c.assignment(to).role = Role::kPrimary;
  c.assignment(to).epoch = epoch;
  c.assignment(to).replicas = {from};
  c.assignment(from).role = Role::kReplica;
  c.assignment(from).replicas = {};
}

bool is_replica(const Cluster& c, size_t node) { return c.status(node).role == "replica"; }

void run_a_while(Cluster& c) {
  c.run_for(static_cast<io::Nanos>(c.world.random().below(30 * kMillisecond)));
}

}  // namespace

TEST_CASE(
    "sim_failover: a promoted replica has everything acknowledged, the killed primary follows it",
    "[sim][repl]") {
  for_seeds(1, 10, [](uint64_t seed) {
    Cluster c({.seed = seed});
    c.load.options().cells_max = 24;
    c.configure_pair();
    c.start_all();
    size_t primary = 0, replica = 1;
    for (uint64_t epoch = 2; epoch < 6; ++epoch) {
      INFO("epoch " << epoch);
      REQUIRE(c.wait_serving(primary));
      REQUIRE(c.wait_in_sync(primary, replica));
      c.begin_load(primary);
      run_a_while(c);
      c.kill(primary);
      c.kill(replica);
      swap_roles(c, primary, replica, Epoch(epoch));
      std::swap(primary, replica);
      c.start(primary);
      if (c.world.random().chance(1, 2)) {
        REQUIRE(c.wait_serving(primary));  // alone: it drops the other
        c.read_back(primary);
        c.begin_load(primary);
        run_a_while(c);
        c.end_load();
      }
      c.start(replica);
      REQUIRE(c.wait_serving(primary));
      c.read_back(primary);
    }
    REQUIRE(c.wait_in_sync(primary, replica));
    const auto same = [&] { return c.status(replica).written_lsn == c.status(primary).wal_head; };
    REQUIRE(c.run_until(same, 5 * kSecond));
    c.check_logs();
    c.stop(primary);
    c.stop(replica);
    c.check_images_equal(0, 1);
  });
}

TEST_CASE("sim_failover: a live old primary is fenced, acknowledges nothing more, and follows",
          "[sim][repl]") {
  for_seeds(1, 8, [](uint64_t seed) {
    Cluster c({.seed = seed});
    c.load.options().cells_max = 24;
    c.configure_pair();
    c.start_all();
    REQUIRE(c.wait_serving(0));
    REQUIRE(c.wait_in_sync(0, 1));
    c.begin_load(0);
    run_a_while(c);
    // The replica is taken over while the old primary cannot reach it and has not noticed yet.
    c.world.net().partition("n1", "n2");
    c.run_for(2 * kMillisecond);
    // Nothing of its is on the way to the disk (a checkpoint may be): its files would stay busy for longer than
    // the old primary takes to notice.
    REQUIRE(c.run_until([&] { return c.sim(1).disk().in_flight() == 0; }, 50 * kMillisecond));
    c.kill(1);
    const uint64_t acknowledged = c.load.writes_answered();
    c.assignment(1).role = Role::kPrimary;
    c.assignment(1).epoch = Epoch(2);
    c.assignment(1).replicas = {0};
    c.start(1);
    CHECK(c.load.writes_answered() == acknowledged);
    c.world.net().heal_all();
    REQUIRE(c.run_until([&] { return is_replica(c, 0); }, 10 * kSecond));
    // Whatever was open got an error, and nothing was acknowledged after the promise.
    CHECK(c.run_until([&] { return c.load.idle(); }, 5 * kSecond));
    CHECK(c.load.refused() > 0);
    c.abandon_load();
    CHECK(c.volume(0).refusal().find("epoch 2") != std::string::npos);
    CHECK(c.request(0, RequestKind::kRead, 0, 4096, 0) == RequestError::kShutdown);
    REQUIRE(c.wait_serving(1));
    c.read_back(1);
    REQUIRE(c.wait_in_sync(1, 0));
    c.begin_load(1);
    run_a_while(c);
    c.end_load();
    c.read_back(1);
    REQUIRE(
        c.run_until([&] { return c.status(0).written_lsn == c.status(1).wal_head; }, 5 * kSecond));
    c.check_logs();
    // Its configuration still says primary of epoch 1: it has promised to epoch 2.
    c.kill(0);
    c.start(0);
    CHECK(is_replica(c, 0));
    CHECK(c.volume(0).refusal().find("promised to epoch 2") != std::string::npos);
    REQUIRE(c.wait_in_sync(1, 0));
    c.stop(1);
    c.stop(0);
    c.check_images_equal(0, 1);
  });
}

TEST_CASE("sim_failover: of two primaries that both reach clients one acknowledges at a time",
          "[sim][repl]") {
  for_seeds(1, 6, [](uint64_t seed) {
    // n1 is primary of epoch 1 with n2 and n3; n2 is promoted while all are connected.
    Cluster c({.seed = seed, .nodes = 3, .durability = Durability::kSyncQuorum});
    c.load.options().cells_max = 24;
    c.configure_pair();
    c.start_all();
    REQUIRE(c.wait_serving(0));
    REQUIRE(c.wait_in_sync(0, 1));
    REQUIRE(c.wait_in_sync(0, 2));
    c.begin_load(0);
    run_a_while(c);
    c.end_load();
    c.read_back(0);
    const auto all_have_it = [&] {
      return c.status(1).written_lsn == c.status(0).wal_head &&
             c.status(2).written_lsn == c.status(0).wal_head;
    };
    REQUIRE(c.run_until(all_have_it, 5 * kSecond));
    c.kill(1);
    c.assignment(1).role = Role::kPrimary;
    c.assignment(1).epoch = Epoch(2);
    c.assignment(1).replicas = {0, 2};
    // n1 does not hear of it, n3 does: a write to n1 has only n1 itself.
    c.world.net().partition("n1", "n2");
    c.start(1);
    REQUIRE(c.wait_serving(1));
    CHECK_FALSE(c.request(0, RequestKind::kWrite, 0, 4096, 1ull << 40, false, 3 * kSecond) ==
                RequestError::kNone);
    CHECK(c.read_cell(1, 0) != (1ull << 40));
    CHECK(c.request(1, RequestKind::kWrite, 0, 4096, 1ull << 41) == RequestError::kNone);
    // n3 told n1 of epoch 2: it has stopped by itself.
    CHECK(is_replica(c, 0));
    c.world.net().heal_all();
    REQUIRE(c.wait_in_sync(1, 0));
    REQUIRE(c.wait_in_sync(1, 2));
    CHECK(c.read_cell(1, 0) == (1ull << 41));
    const auto same = [&] {
      return c.status(0).written_lsn == c.status(1).wal_head &&
             c.status(2).written_lsn == c.status(1).wal_head;
    };
    REQUIRE(c.run_until(same, 5 * kSecond));
    c.check_logs();
  });
}

TEST_CASE(
    "sim_failover: best_effort, the returned primary never mixes what was given up into its image",
    "[sim][repl]") {
  int rewound = 0, rebuild = 0;
  const bool all = for_seeds(1, 10, [&](uint64_t seed) {
    Cluster c({.seed = seed, .durability = Durability::kBestEffort});
    // With a lot to copy a checkpoint is under way soon, and then there is no way back but a rebuild.
    const bool little = seed % 3 == 0;
    c.load.options().cells_max = little ? 8 : 128;
    c.load.options().depth = little ? 2 : 16;
    if (little) c.load.options().pause_max = 5 * kMillisecond;
    c.configure_pair();
    c.start_all();
    REQUIRE(c.wait_serving(0));
    REQUIRE(c.wait_in_sync(0, 1));
    c.begin_load(0);
    run_a_while(c);
    // The replica stays behind by a little or a lot; checkpoints go on at the primary.
    c.world.net().partition("n1", "n2");
    c.run_for(static_cast<io::Nanos>(c.world.random().below(60 * kMillisecond)));
    if (seed % 2 == 0) {
      c.kill(0);
    } else {
      c.power_loss(0, SimPowerLoss::kRandom);
    }
    c.kill(1);
    c.world.net().heal_all();
    swap_roles(c, 0, 1, Epoch(2));
    c.start(1);
    REQUIRE(c.wait_serving(1));
    c.model = CellModel(c.model.cells());  // best_effort: acknowledged data may be given up
    for (uint64_t cell = 0; cell < c.model.cells(); cell += 8 * 16) {
      REQUIRE(c.request(1, RequestKind::kZero, cell * kCellBytes, 8 * 4096, 0) ==
              RequestError::kNone);
    }
    c.start(0);
    const auto decided = [&] {
      return c.session_kind(1, 0) == "rebuild" ||
             (c.session_kind(1, 0) == "keepup" && c.replica_status(1, 0).in_sync);
    };
    REQUIRE(c.run_until(decided, 20 * kSecond));
    if (c.session_kind(1, 0) == "rebuild") {
      ++rebuild;
      return;
    }
    ++rewound;
    c.stop(1);
    c.stop(0);
    c.check_logs();
    c.check_images_equal(0, 1);
  });
  if (!all) return;
  CHECK(rewound > 0);
  CHECK(rebuild > 0);
}

TEST_CASE("sim_failover: an epoch that was promised to one node is not taken by another",
          "[sim][repl]") {
  Cluster c({.seed = 7});
  c.configure_pair();
  c.start_all();
  REQUIRE(c.wait_serving(0));
  REQUIRE(c.wait_in_sync(0, 1));
  c.kill(1);
  swap_roles(c, 0, 1, Epoch(2));
  c.start(1);
  REQUIRE(c.run_until([&] { return is_replica(c, 0) && c.status(0).role_applied; }, 10 * kSecond));
  CHECK(read_superblock(c.sim(0), Cluster::directory())->epoch == Epoch(2));
  c.kill(0);
  c.kill(1);
  // The operator gives the same epoch to n1: its records could not be told from n2's.
  c.assignment(0).role = Role::kPrimary;
  c.assignment(0).epoch = Epoch(2);
  c.assignment(0).replicas = {1};
  c.start(0);
  CHECK(is_replica(c, 0));
  CHECK(c.volume(0).refusal().find("epoch 2") != std::string::npos);
  c.kill(0);
  c.assignment(0).epoch = Epoch(3);
  c.assignment(1).role = Role::kReplica;
  c.assignment(1).replicas = {};
  c.start_all();
  REQUIRE(c.wait_serving(0));
  REQUIRE(c.wait_in_sync(0, 1));
}

TEST_CASE("sim_failover: a promise is recorded even if the promised primary never ships",
          "[sim][repl]") {
  // Facts go out only when the epoch is durable: after a power loss right then the old epoch is
  // over.
  Cluster c({.seed = 8});
  c.configure_pair();
  c.start_all();
  REQUIRE(c.wait_serving(0));
  REQUIRE(c.wait_in_sync(0, 1));
  c.kill(1);
  swap_roles(c, 0, 1, Epoch(2));
  const uint64_t hold =
      c.sim(0).disk().hold({.kind = io::SimOpKind::kFlush, .path = "/superblock"});
  c.start(1);
  REQUIRE(c.run_until([&] { return c.sim(0).disk().held(hold) > 0 && is_replica(c, 0); },
                      10 * kSecond));
  c.run_for(300 * kMillisecond);
  CHECK(c.session_kind(1, 0).empty());
  c.sim(0).disk().release(hold);
  REQUIRE(c.run_until([&] { return !c.session_kind(1, 0).empty(); }, 10 * kSecond));
  c.power_loss(0, SimPowerLoss::kDropAll);
  CHECK(read_superblock(c.sim(0), Cluster::directory())->epoch == Epoch(2));
}

TEST_CASE("sim_failover: two nodes that are both primary of one epoch do not ship to each other",
          "[sim][repl]") {
  Cluster c({.seed = 9});
  c.configure_pair();
  c.start_all();
  REQUIRE(c.wait_serving(0));
  REQUIRE(c.wait_in_sync(0, 1));
  c.stop(0);
  c.stop(1);
  for (const size_t node : {size_t{0}, size_t{1}}) {
    c.assignment(node).role = Role::kPrimary;
    c.assignment(node).epoch = Epoch(2);
    c.assignment(node).replicas = {1 - node};
  }
  c.start(0);
  c.start(1);
  c.run_for(3 * kSecond);
  CHECK(c.session_kind(0, 1).empty());
  CHECK(c.session_kind(1, 0).empty());
  CHECK_FALSE(c.replica_status(0, 1).in_sync);
  CHECK_FALSE(c.replica_status(1, 0).in_sync);
}

TEST_CASE("sim_failover: a copy of another volume, size or node is refused", "[sim][repl]") {
  SECTION("another volume") {
    Cluster c({.seed = 1, .nodes = 3});
    c.assignment(0).role = Role::kPrimary;
    c.assignment(0).replicas = {1};
    c.start(1);
    c.start(0);
    REQUIRE(c.wait_serving(0));
    REQUIRE(c.wait_in_sync(0, 1));
    c.kill(0);
    // n3 made a volume of the same name of its own.
    c.assignment(2).role = Role::kPrimary;
    c.assignment(2).epoch = Epoch(9);
    c.assignment(2).replicas = {1};
    c.adjust_options = [](repl::VolumeOptions& o) { o.new_volume.bytes.fill(0xEE); };
    c.start(2);
    c.run_for(3 * kSecond);
    CHECK_FALSE(c.replica_status(2, 1).in_sync);
    CHECK(c.replica_status(2, 1).session->reason.find("wrong_volume") != std::string::npos);
    CHECK(c.status(1).epoch == 1);  // nor does it believe that volume's epoch
  }
  SECTION("another size") {
    Cluster c({.seed = 2});
    c.configure_pair();
    c.adjust_options = [](repl::VolumeOptions& o) {
      if (o.role == Role::kReplica) o.store.volume_bytes *= 2;
    };
    c.start_all();
    c.run_for(3 * kSecond);
    CHECK_FALSE(c.replica_status(0, 1).in_sync);
    CHECK(c.replica_status(0, 1).session->reason.find("bytes") != std::string::npos);
  }
  SECTION("another node") {
    Cluster c({.seed = 3});
    c.configure_pair();
    c.adjust_options = [](repl::VolumeOptions& o) {
      for (core::ReplicaAddress& peer : o.replicas) peer.id = "n7";
    };
    c.start_all();
    c.run_for(3 * kSecond);
    REQUIRE(c.status(0).replicas.size() == 1);
    CHECK_FALSE(c.status(0).replicas[0].in_sync);
    CHECK(c.status(0).replicas[0].session->reason.find("this node is n2, not n7") !=
          std::string::npos);
  }
}
