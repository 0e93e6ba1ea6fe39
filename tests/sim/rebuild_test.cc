// Rebuilds: a replica that the log cannot bring back becomes a full copy again while clients write.
#include <algorithm>
#include <catch2/catch.hpp>

#include "rebuilds.h"

using namespace ringbolt;
using namespace ringbolt::sim;
using io::kMillisecond;
using io::kSecond;
using io::SimPowerLoss;

namespace {

/// n1 has written so much without n2 that its log cannot bring n2 back.
void outrun_replica(Cluster& c) {
  c.load.options().depth = 16;
  c.load.options().cells_max = 256;
  c.load.options().pause_max = 20 * io::kMicrosecond;
  c.configure_pair();
  c.start_all();
  REQUIRE(c.wait_serving(0));
  REQUIRE(c.wait_in_sync(0, 1));
  c.kill(1);
  c.begin_load(0);
  REQUIRE(c.run_until([&] { return c.status(0).wal_tail > 100; }, 20 * kSecond));
  c.load.options().pause_max = 2 * kMillisecond;
}

void order_rebuild(Cluster& c) {
  bool taken = false;
  c.volume(0).rebuild("n2", true, [&](const Status& status) { taken = status.has_value(); });
  REQUIRE(c.run_until([&] { return taken; }, kSecond));
}

void finish_equal(Cluster& c) {
  c.end_load();
  c.read_back(0);
  REQUIRE(c.run_until([&] { return c.status(1).written_lsn == c.status(0).wal_head; }, 10 * kSecond));
  c.check_logs();
  c.stop(0);
  c.stop(1);
  c.check_images_equal(0, 1);
}

}  // namespace

TEST_CASE("sim_rebuild: a replica that fell out of the log is rebuilt under load, and counts only then", "[sim][repl]") {
  for_seeds(1, 6, [](uint64_t seed) {
    Cluster c({.seed = seed});
    outrun_replica(c);
    c.start(1);
    REQUIRE(c.run_until([&] { return rebuilding(c); }, 10 * kSecond));
    CHECK_FALSE(c.replica_status(0, 1).in_sync);
    CHECK_FALSE(contains(c.in_sync_on_disk(0), "n2"));
    REQUIRE(c.wait_in_sync(0, 1));
    CHECK(contains(c.in_sync_on_disk(0), "n2"));
    CHECK(c.status(0).mode == "publish_healthy");
    finish_equal(c);
  });
}

TEST_CASE("sim_rebuild: idle, empty and smallest volumes are rebuilt, too", "[sim][repl]") {
  for_seeds(1, 12, [](uint64_t seed) {
    Cluster c({.seed = seed, .volume_bytes = seed % 2 == 0 ? kBlockBytes : 2u << 20});
    c.configure_pair();
    c.start_all();
    REQUIRE(c.wait_serving(0));
    REQUIRE(c.wait_in_sync(0, 1));
    const bool written = seed % 3 != 0;
    if (written) REQUIRE(c.request(0, RequestKind::kWrite, 0, kBlockBytes, seed) == RequestError::kNone);
    if (seed % 4 == 0) {
      // Its disks are other ones, blank.
      c.kill(1);
      wipe_disks(c, 1);
      c.start(1);
    }
    order_rebuild(c);
    REQUIRE(c.run_until([&] { return rebuilding(c); }, 10 * kSecond));
    REQUIRE(c.wait_in_sync(0, 1));
    if (written) CHECK(c.read_cell(0, 0) == seed);
    c.stop(0);
    c.stop(1);
    c.check_images_equal(0, 1);
  });
}

TEST_CASE("sim_rebuild: whoever dies whenever, the end is two equal copies", "[sim][repl]") {
  for_seeds(1, 8, [](uint64_t seed) {
    Cluster c({.seed = seed});
    outrun_replica(c);
    c.start(1);
    for (uint64_t round = 0; round < 4; ++round) {
      // At some moment between the first message and the acceptance.
      c.run_for(static_cast<io::Nanos>((seed * 7919 + round * 104729) % 60) * kMillisecond);
      const size_t victim = (seed + round) % 3 == 0 ? 0 : 1;
      const bool was_in = contains(c.in_sync_on_disk(0), "n2");
      if (victim == 0) c.abandon_load();
      if (round % 2 == 0 || victim == 0) {
        c.kill(victim);
      } else {
        c.power_loss(victim, SimPowerLoss::kDropAll);
      }
      if (victim == 1 && !was_in) {
        // In the middle of it: nothing but another rebuild may follow (or the first one had not begun).
        c.start(1);
        REQUIRE(c.run_until([&] { return c.replica_status(0, 1).session.has_value(); }, 10 * kSecond));
      } else {
        c.start(victim);
      }
      if (victim == 0) {
        REQUIRE(c.wait_serving(0));
        c.read_back(0);
        c.begin_load(0);
      }
    }
    REQUIRE(c.wait_in_sync(0, 1));
    finish_equal(c);
  });
}

TEST_CASE("sim_rebuild: a copy that was being rebuilt is never anything but rebuilt", "[sim][repl]") {
  for_seeds(1, 8, [](uint64_t seed) {
    Cluster c({.seed = seed});
    outrun_replica(c);
    c.start(1);
    REQUIRE(c.run_until([&] { return rebuilding(c); }, 10 * kSecond));
    c.run_for(static_cast<io::Nanos>(seed) * kMillisecond);
    if (!marked(c, 1)) return;  // it was quick
    c.kill(1);
    c.start(1);
    REQUIRE(c.run_until([&] { return rebuilding(c); }, 10 * kSecond));
    CHECK(c.session_kind(0, 1) == "rebuild");
    REQUIRE(c.wait_in_sync(0, 1));
    CHECK_FALSE(marked(c, 1));
    finish_equal(c);
  });
}

namespace {

/// Bits flip in the first frames of the WAL; later ones prove that these had been flushed.
void damage_log(Cluster& c, size_t node) {
  for (uint64_t block = 0; block < 6; ++block) c.sim(node).disk().flip_bit(Cluster::directory() + "/wal", block * kBlockBytes + 100, 3);
}

}  // namespace

TEST_CASE("sim_rebuild: a replica whose log is damaged is rebuilt; a primary's is left for a person", "[sim][repl]") {
  for_seeds(1, 6, [](uint64_t seed) {
    const size_t victim = seed % 2;
    Cluster c({.seed = seed});
    c.configure_pair();
    c.start_all();
    REQUIRE(c.wait_serving(0));
    REQUIRE(c.wait_in_sync(0, 1));
    for (uint64_t i = 0; i < 20; ++i) REQUIRE(c.request(0, RequestKind::kWrite, i * kBlockBytes, kBlockBytes, i + 1, true) == RequestError::kNone);
    c.kill(victim);
    damage_log(c, victim);
    c.start(victim);
    if (victim == 1) {
      CHECK(c.status(1).mode == "needs_rebuild");
      CHECK(c.status(1).reason.find("the WAL is damaged at byte") != std::string::npos);
      REQUIRE(c.run_until([&] { return rebuilding(c); }, 10 * kSecond));
      REQUIRE(c.wait_in_sync(0, 1));
      CHECK(c.status(1).mode == "replica_ready");
      c.stop(0);
      c.stop(1);
      return c.check_images_equal(0, 1);
    }
    c.run_for(2 * kSecond);
    CHECK_FALSE(c.volume(0).refusal().empty());
    CHECK_FALSE(c.status(0).healthy);
    CHECK(c.status(0).role == "primary");
    INFO(c.status(0).reason);
    CHECK(c.status(0).reason.find("WAL") != std::string::npos);
    // What it holds may go once somebody says so: another copy is primary, this one its replica.
    const auto assign = [&](size_t node, Role role, core::Authority authority) {
      repl::AssignmentRequest request;
      request.role = role;
      request.epoch = Epoch(2);
      request.authority = authority;
      if (role == Role::kPrimary) request.replicas = std::vector<core::ReplicaAddress>{{c.name(0), c.address(0)}};
      std::optional<Status> answer;
      c.volume(node).assign(request, [&](const Status& status) { answer.emplace(status); });
      REQUIRE(c.run_until([&] { return answer.has_value(); }, 10 * kSecond));
      return answer->has_value();
    };
    REQUIRE(assign(1, Role::kPrimary, core::Authority::kForced));
    REQUIRE(assign(0, Role::kReplica, core::Authority::kAssigned));
    REQUIRE(c.wait_serving(1));
    REQUIRE(c.wait_in_sync(1, 0));
    CHECK(c.read_cell(1, 3 * kBlockBytes / 512).has_value());
    c.stop(1);
    c.stop(0);
    c.check_images_equal(0, 1);
  });
}
