// Rebuilds under load while either side dies, loses power or is cut off at random moments.
#include <algorithm>
#include <catch2/catch.hpp>

#include "rebuilds.h"

using namespace ringbolt;
using namespace ringbolt::sim;
using io::kMillisecond;
using io::kSecond;
using io::SimPowerLoss;

namespace {

/// A copy that is marked is never recorded as one that counts (without "wait").
void check_mark(Cluster& c) {
  if (marked(c, 1) && contains(c.in_sync_on_disk(0), "n2")) FAIL("the replica is recorded as in sync, and its copy as unusable");
}

struct Chaos {
  explicit Chaos(uint64_t seed, Durability durability) : c({.seed = seed, .durability = durability}), random(seed * 7919) {
    c.load.options().cells_max = 128;
    c.load.options().pause_max = kMillisecond;
    if (seed % 2 == 0) {
      // A small window and chunks: the base lane takes longer, so more can happen in it.
      c.adjust_options = [](repl::VolumeOptions& options) {
        options.rebuild->chunk_bytes = 32u << 10;
        options.rebuild->in_flight = 2;
      };
    }
    c.configure_pair();
    c.start_all();
    REQUIRE(c.wait_serving(0));
    REQUIRE(c.wait_in_sync(0, 1));
    c.begin_load(0);
    c.run_for(100 * kMillisecond);
  }

  void wait(io::Nanos limit) {
    const auto until = static_cast<io::Nanos>(random.below(static_cast<uint64_t>(limit)));
    static_cast<void>(c.run_until(
        [&] {
          check_mark(c);
          return false;
        },
        until));
  }

  /// In whatever phase it is.
  void strike() {
    const bool primary = random.chance(1, 3);
    const uint64_t how = random.below(3);
    INFO((primary ? "primary, " : "replica, ") << how);
    if (how == 2) {
      if (random.chance(1, 2)) {
        c.world.net().partition("n1", "n2");
      } else if (random.chance(1, 2)) {
        c.world.net().partition_one_way("n1", "n2");
      } else {
        c.world.net().partition_one_way("n2", "n1");
      }
      wait(900 * kMillisecond);
      c.world.net().heal_all();
      return;
    }
    const size_t victim = primary ? 0 : 1;
    const auto loss = static_cast<SimPowerLoss>(random.below(3));
    if (primary) c.abandon_load();
    if (how == 0) {
      c.kill(victim);
    } else {
      c.power_loss(victim, loss);
    }
    if (random.chance(1, 2)) wait(200 * kMillisecond);
    c.start(victim);
    if (!primary) return;
    REQUIRE(c.wait_serving(0));
    if (how == 0) {
      c.read_back(0);
    } else {
      c.read_recovered(0);
    }
    c.begin_load(0);
  }

  void finish() {
    c.world.net().heal_all();
    REQUIRE(c.wait_in_sync(0, 1, 40 * kSecond));
    CHECK_FALSE(marked(c, 1));
    CHECK(contains(c.in_sync_on_disk(0), "n2"));
    c.end_load();
    c.read_back(0);
    REQUIRE(c.run_until([&] { return c.status(1).written_lsn == c.status(0).wal_head; }, 10 * kSecond));
    c.check_logs();
    c.stop(0);
    c.stop(1);
    c.check_images_equal(0, 1);
  }

  Cluster c;
  io::SimRandom random;
};

}  // namespace

TEST_CASE("sim_rebuild_chaos: whatever happens to either side whenever, the end is two equal copies and no write is lost", "[sim][repl][rebuild]") {
  for_seeds(1, 12, [](uint64_t seed) {
    Chaos chaos(seed, Durability::kSyncAll);
    Cluster& c = chaos.c;
    for (uint64_t round = 0; round < 3; ++round) {
      if (c.replica_status(0, 1).in_sync || chaos.random.chance(1, 4)) c.volume(0).rebuild("n2", true, [](const Status&) {});
      chaos.wait(60 * kMillisecond);
      chaos.strike();
    }
    chaos.finish();
  });
}

TEST_CASE("sim_rebuild_chaos: the same with a quorum, for which every write waits", "[sim][repl][rebuild]") {
  for_seeds(1, 12, [](uint64_t seed) {
    Chaos chaos(seed, Durability::kSyncQuorum);
    Cluster& c = chaos.c;
    for (uint64_t round = 0; round < 2; ++round) {
      if (c.replica_status(0, 1).in_sync) c.volume(0).rebuild("n2", true, [](const Status&) {});
      chaos.wait(60 * kMillisecond);
      chaos.strike();
    }
    chaos.finish();
  });
}
