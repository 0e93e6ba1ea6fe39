// Two and three copies without failures: keepup in every durability mode, clean stops, small WALs,
// requests that are not block-aligned.
#include <catch2/catch.hpp>
#include <cerrno>

#include "cluster.h"

using namespace ringbolt;
using namespace ringbolt::sim;
using io::kMillisecond;
using io::kSecond;

namespace {

/// Everything logged is in the base image of all copies, without stopping anything.
bool settled(const Cluster& c, size_t nodes) {
  const auto head = c.status(0).wal_head;
  for (size_t i = 0; i < nodes; ++i) {
    const VolumeStatus s = c.status(i);
    if (s.checkpoint_lsn != head || s.committed_lsn != head || s.wal_head != head) return false;
  }
  return true;
}

void large_fast_writes(Workload& load) {
  load.options().depth = 16;
  load.options().cells_max = 512;
  load.options().aligned_percent = 80;
  load.options().reads = 5;
  load.options().pause_max = 20 * io::kMicrosecond;
}

/// Writes until `bytes` were logged at n1; it must never be without an answer for long.
void write_bytes(Cluster& c, uint64_t bytes) {
  const uint64_t per_write = c.load.options().cells_max * kCellBytes / 2;
  const uint64_t goal = c.load.writes_answered() + bytes / per_write;
  while (c.load.writes_answered() < goal) {
    const uint64_t before = c.load.writes_answered();
    REQUIRE(c.run_until([&] { return c.load.writes_answered() > before; }, 5 * kSecond));
  }
}

}  // namespace

TEST_CASE("sim_pair: keepup serves correct reads in every durability mode, and all copies agree",
          "[sim][repl]") {
  for (const Durability durability :
       {Durability::kBestEffort, Durability::kSyncQuorum, Durability::kSyncAll}) {
    for_seeds(1, 3, [&](uint64_t seed) {
      const size_t nodes = 1 + seed % 3;
      Cluster c({.seed = seed, .nodes = nodes, .durability = durability, .wal_bytes = 32u << 20});
      // best_effort waits for nobody: leave the replicas the time to keep up.
      if (durability == Durability::kBestEffort) c.load.options().pause_max = 2 * kMillisecond;
      c.configure_pair();
      c.start_all();
      REQUIRE(c.wait_serving(0));
      c.begin_load(0);
      c.run_for(300 * kMillisecond);
      c.end_load();
      CHECK(c.load.answered() > 300);
      CHECK(c.load.refused() + c.load.failed() == 0);
      c.read_back(0);
      for (size_t i = 1; i < nodes; ++i) REQUIRE(c.wait_in_sync(0, i));
      CHECK(c.status(0).mode == "publish_healthy");
      REQUIRE(c.run_until([&] { return settled(c, nodes); }, 20 * kSecond));
      c.check_logs();
      for (size_t i = 1; i < nodes; ++i) c.check_images_equal(0, i);
      // What is in the images is what clients read.
      const auto image = c.image(0);
      for (uint64_t cell = 0; cell < c.model.cells(); ++cell) {
        const uint64_t now = c.model.tick();
        c.model.read(cell, cell_value(image.data() + cell * kCellBytes), now, c.model.tick());
      }
      c.check_history();
    });
  }
}

TEST_CASE("sim_pair: a clean stop in either order leaves equal images and one history",
          "[sim][repl]") {
  for (const Durability durability :
       {Durability::kBestEffort, Durability::kSyncQuorum, Durability::kSyncAll}) {
    for_seeds(1, 6, [&](uint64_t seed) {
      Cluster c({.seed = seed, .durability = durability});
      c.configure_pair();
      c.start_all();
      REQUIRE(c.wait_serving(0));
      REQUIRE(c.wait_in_sync(0, 1));
      c.begin_load(0);
      c.run_for(50 * kMillisecond);
      c.end_load();
      if (seed % 3 == 0) {
        c.stop(0);
        c.stop(1);
      } else if (seed % 3 == 1 && durability == Durability::kSyncAll) {
        c.stop(1);  // right after the last reply: it learns that all of it is stable before it goes
        c.stop(0);
      } else if (seed % 3 == 1) {
        c.stop(0);
        c.run_for(seed * kSecond);
        c.stop(1);
      } else {
        c.begin_stop(0);
        c.run_for(seed * 100 * io::kMicrosecond);
        c.begin_stop(1);
        REQUIRE(c.run_until([&] { return c.stop_done(0) && c.stop_done(1); }, 60 * kSecond));
        c.reap(0);
        c.reap(1);
        if (durability == Durability::kBestEffort) return;  // nothing binds it to the replica
      }
      c.check_logs();
      CHECK(c.copy(0).superblock.clean_shutdown);
      CHECK(c.copy(1).superblock.clean_shutdown);
      c.check_images_equal(0, 1);
      c.start_all();
      REQUIRE(c.wait_serving(0));
      c.read_back(0);
    });
  }
}

TEST_CASE("sim_pair: an idle volume's positions reach the replica and its base image",
          "[sim][repl]") {
  for_seeds(1, 4, [](uint64_t seed) {
    Cluster c({.seed = seed});
    c.configure_pair();
    c.start_all();
    REQUIRE(c.wait_serving(0));
    REQUIRE(c.request(0, RequestKind::kWrite, 4096 * seed, 8192, 7) == RequestError::kNone);
    REQUIRE(c.run_until([&] { return settled(c, 2); }, 10 * kSecond));
    c.check_images_equal(0, 1);
    CHECK(cell_value(c.image(1).data() + 4096 * seed) == 7);
  });
}

TEST_CASE("sim_pair: many laps of a small WAL at full speed never get stuck", "[sim][repl]") {
  for_seeds(1, 3, [](uint64_t seed) {
    const Durability modes[] = {Durability::kSyncAll, Durability::kBestEffort,
                                Durability::kSyncQuorum};
    Cluster c({.seed = seed, .durability = modes[seed % 3]});
    large_fast_writes(c.load);
    c.configure_pair();
    c.start_all();
    REQUIRE(c.wait_serving(0));
    c.begin_load(0);
    write_bytes(c, 60u << 20);
    c.end_load();
    c.read_back(0);
    CHECK(c.load.failed() + c.load.refused() == 0);
    REQUIRE(c.run_until([&] { return settled(c, 2); }, 20 * kSecond));
    c.check_logs();
    c.check_images_equal(0, 1);
  });
}

TEST_CASE("sim_pair: WALs of different sizes, also when the replica comes back under load",
          "[sim][repl]") {
  for_seeds(1, 4, [](uint64_t seed) {
    Cluster c({.seed = seed});
    large_fast_writes(c.load);
    c.configure_pair();
    c.assignment(seed % 2).wal_bytes = 48u << 20;
    c.start_all();
    REQUIRE(c.wait_serving(0));
    REQUIRE(c.wait_in_sync(0, 1));
    c.begin_load(0);
    write_bytes(c, 16u << 20);
    CHECK(c.replica_status(0, 1).in_sync);
    c.kill(1);
    write_bytes(c, 2u << 20);
    c.end_load();  // for its return only: what it misses must stay in the WAL
    c.start(1);
    const auto in_session = [&] {
      const ReplicaStatus r = c.replica_status(0, 1);
      return r.session && r.session->phase == "running";
    };
    REQUIRE(c.run_until(in_session, 20 * kSecond));
    // Clients are not slowed down for a copy that does not count: leave it some room to catch up.
    c.load.options().pause_max = 20 * kMillisecond;
    c.begin_load(0);
    REQUIRE(c.wait_in_sync(0, 1));
    c.load.options().pause_max = 20 * io::kMicrosecond;
    write_bytes(c, 16u << 20);
    c.end_load();
    CHECK(c.replica_status(0, 1).in_sync);
    REQUIRE(c.run_until([&] { return settled(c, 2); }, 20 * kSecond));
    c.check_logs();
    c.check_images_equal(0, 1);
    c.read_back(0);
  });
}

TEST_CASE("sim_pair: unaligned requests to the same few blocks keep every byte", "[sim][repl]") {
  for_seeds(1, 5, [](uint64_t seed) {
    Cluster c({.seed = seed});
    LoadOptions& o = c.load.options();
    o.depth = 24;
    o.first_cell = 13;
    o.cells = 60;
    o.cells_max = 21;
    o.aligned_percent = 10;
    o.zeros = 15;
    o.pause_max = 10 * io::kMicrosecond;
    c.configure_pair();
    c.start_all();
    REQUIRE(c.wait_serving(0));
    c.begin_load(0);
    c.run_for(300 * kMillisecond);
    c.end_load();
    CHECK(c.load.answered() > 1000);
    CHECK(c.load.failed() + c.load.refused() == 0);
    c.read_back(0);
    REQUIRE(c.run_until([&] { return settled(c, 2); }, 20 * kSecond));
    c.check_images_equal(0, 1);
  });
}

TEST_CASE("sim_pair: a copy whose base image has no space left says so while it has none", "[sim][repl]") {
  for (const size_t full : {size_t{0}, size_t{1}}) {
    Cluster c({.seed = 11 + full});
    c.configure_pair();
    c.start_all();
    REQUIRE(c.wait_serving(0));
    REQUIRE(c.wait_in_sync(0, 1));
    REQUIRE(c.run_until([&] { return c.status(0).healthy && c.status(1).healthy; }, 5 * kSecond));
    const uint64_t fault = c.sim(full).disk().add_fault(
        {.match = {.kind = io::SimOpKind::kWrite, .path = "/base"}, .error = ENOSPC, .forever = true});
    REQUIRE(c.request(0, RequestKind::kWrite, 0, 4096, 5, true) == RequestError::kNone);
    REQUIRE(c.run_until([&] { return !c.status(full).healthy; }, 20 * kSecond));
    const VolumeStatus s = c.status(full);
    CHECK(s.mode == (full == 0 ? "degraded" : "replica_ready"));
    CHECK_THAT(s.reason, Catch::Matchers::Contains("no space left for the base image"));
    CHECK(c.status(1 - full).healthy);
    c.sim(full).disk().remove_fault(fault);
    REQUIRE(c.run_until([&] { return c.status(full).healthy; }, 20 * kSecond));
    CHECK(c.read_cell(0, 0) == 5);
  }
}

TEST_CASE("sim_pair: a clean stop leaves equal copies, also where writes do not wait for the replica", "[sim][repl]") {
  const auto [durability, nodes] = GENERATE(table<Durability, size_t>({{Durability::kBestEffort, 2}, {Durability::kSyncQuorum, 3}}));
  for_seeds(1, 15, [=](uint64_t seed) {
    Cluster c({.seed = seed, .nodes = nodes, .durability = durability, .wal_bytes = 64u << 20, .replica_timeout = 2 * io::kSecond});
    c.load.options().depth = 16;
    c.load.options().pause_max = 0;
    c.configure_pair();
    c.start_all();
    REQUIRE(c.wait_serving(0));
    for (size_t node = 1; node < nodes; ++node) REQUIRE(c.wait_in_sync(0, node));
    c.sim(nodes - 1).disk().set_slow_factor(20);  // behind the others
    c.begin_load(0);
    c.run_for(static_cast<io::Nanos>(20 + seed * 3) * io::kMillisecond);
    c.end_load();
    for (size_t node = 0; node < nodes; ++node) c.stop(node);
    for (size_t node = 1; node < nodes; ++node) c.check_images_equal(0, node);
  });
}
