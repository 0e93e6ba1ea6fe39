// kill -9 and power loss of a pair at random moments: what was acknowledged (kill) or flushed
// (power loss) is there, nothing that was read is taken back, one history remains.
#include <algorithm>
#include <catch2/catch.hpp>

#include "cluster.h"

using namespace ringbolt;
using namespace ringbolt::sim;
using io::kMillisecond;
using io::kSecond;
using io::SimPowerLoss;

namespace {

/// Both up, in step and quiet: one history, equal images.
void check_converged(Cluster& c) {
  REQUIRE(c.wait_serving(0));
  REQUIRE(c.wait_in_sync(0, 1));
  c.read_back(0);
  const auto same_head = [&] {
    return c.status(0).wal_head == c.status(1).written_lsn &&
           c.status(0).written_lsn == c.status(0).wal_head;
  };
  REQUIRE(c.run_until(same_head, 10 * kSecond));
  c.check_logs();
  c.stop(0);
  c.stop(1);
  c.check_logs();
  c.check_images_equal(0, 1);
}

void run_some(Cluster& c) {
  c.run_for(static_cast<io::Nanos>(c.world.random().below(40 * kMillisecond)));
}

enum class Victim { kPrimary, kReplica, kBoth };

/// Rounds of load that end in a crash of somebody.
void crash_rounds(Cluster& c, int rounds, Victim only, bool random_victim) {
  for (int round = 0; round < rounds; ++round) {
    INFO("round " << round);
    REQUIRE(c.wait_serving(0));
    const bool wait = c.world.random().chance(1, 2);
    if (wait) REQUIRE(c.wait_in_sync(0, 1));
    c.begin_load(0);
    run_some(c);
    const Victim victim = random_victim ? static_cast<Victim>(c.world.random().below(3)) : only;
    if (victim != Victim::kReplica) {
      c.check_base_committed(0);
      c.check_base_committed(1);
      c.kill(0);
    }
    if (victim != Victim::kPrimary) c.kill(1);
    if (c.load.attached()) {
      run_some(c);
      c.abandon_load();  // its requests stay open; some are answered to nobody
      c.kill(0);
    }
    if (c.world.random().chance(1, 2)) run_some(c);
    if (c.up(1)) {
      c.start(0);
    } else {
      const bool primary_first = c.world.random().chance(1, 2);
      c.start(primary_first ? 0 : 1);
      c.start(primary_first ? 1 : 0);
    }
    REQUIRE(c.wait_serving(0));
    c.read_back(0);
  }
}

}  // namespace

TEST_CASE("sim_crash: kill -9 of primary, replica or both loses nothing acknowledged",
          "[sim][repl]") {
  for_seeds(1, 12, [](uint64_t seed) {
    const Durability modes[] = {Durability::kSyncAll, Durability::kSyncQuorum,
                                Durability::kBestEffort};
    Cluster c({.seed = seed, .durability = modes[seed % 3], .wal_bytes = 32u << 20});
    c.load.options().cells_max = 24;  // nobody is away for longer than the WAL lasts
    c.configure_pair();
    c.start_all();
    crash_rounds(c, 6, Victim::kBoth, true);
    check_converged(c);
  });
}

TEST_CASE("sim_crash: a primary that returns with a shorter WAL makes its replica cut its tail",
          "[sim][repl]") {
  int cuts = 0;
  const bool all = for_seeds(1, 8, [&](uint64_t seed) {
    Cluster c({.seed = seed});
    c.load.options().reads = 10;
    c.load.options().flushes = 0;
    c.load.options().fua_percent = 0;
    c.configure_pair();
    c.start_all();
    for (int round = 0; round < 4; ++round) {
      REQUIRE(c.wait_serving(0));
      REQUIRE(c.wait_in_sync(0, 1));
      c.begin_load(0);
      run_some(c);
      // The replica is ahead: the primary's own writes hang while it ships.
      const uint64_t hold = c.sim(0).disk().hold({.kind = io::SimOpKind::kWrite, .path = "/wal"});
      c.run_for(3 * kMillisecond);
      const uint64_t replica_had = *c.status(1).wal_head;
      c.kill(0);
      c.sim(0).disk().release(hold);
      c.start(0);
      if (*c.status(0).wal_tail + 1 < replica_had && c.copy(0).records.empty() == false &&
          c.copy(0).head() < Lsn(replica_had)) {
        ++cuts;
      }
      REQUIRE(c.wait_serving(0));
      c.read_back(0);
      REQUIRE(c.wait_in_sync(0, 1));
      // The same Lsn names one record on both.
      REQUIRE(c.run_until([&] { return c.status(1).written_lsn == c.status(0).wal_head; },
                          5 * kSecond));
      c.check_logs();
    }
    check_converged(c);
  });
  if (all) CHECK(cuts > 4);
}

TEST_CASE("sim_crash: what a FLUSH or FUA reply covered survives power loss of both",
          "[sim][repl]") {
  for_seeds(1, 12, [](uint64_t seed) {
    const Durability modes[] = {Durability::kSyncAll, Durability::kSyncQuorum,
                                Durability::kBestEffort};
    const SimPowerLoss losses[] = {SimPowerLoss::kDropAll, SimPowerLoss::kRandom,
                                   SimPowerLoss::kKeepAll};
    Cluster c({.seed = seed, .durability = modes[seed % 3]});
    c.load.options().cells_max = 24;
    c.load.options().flushes = 8;
    c.load.options().fua_percent = 15;
    c.configure_pair();
    c.start_all();
    for (int round = 0; round < 4; ++round) {
      INFO("round " << round);
      REQUIRE(c.wait_serving(0));
      if (c.world.random().chance(1, 2)) REQUIRE(c.wait_in_sync(0, 1));
      c.begin_load(0);
      run_some(c);
      c.power_loss(0, losses[c.world.random().below(3)]);
      if (c.world.random().chance(1, 2)) run_some(c);
      c.power_loss(1, losses[c.world.random().below(3)]);
      c.start_all();
      REQUIRE(c.wait_serving(0));
      c.read_recovered(0);
    }
    check_converged(c);
  });
}

TEST_CASE("sim_crash: power loss of the primary alone keeps what was flushed", "[sim][repl]") {
  for_seeds(1, 8, [](uint64_t seed) {
    Cluster c({.seed = seed});
    c.load.options().cells_max = 24;
    c.load.options().flushes = 8;
    c.load.options().fua_percent = 15;
    c.configure_pair();
    c.start_all();
    for (int round = 0; round < 4; ++round) {
      REQUIRE(c.wait_serving(0));
      REQUIRE(c.wait_in_sync(0, 1));
      c.begin_load(0);
      run_some(c);
      c.power_loss(0, round % 2 == 0 ? SimPowerLoss::kDropAll : SimPowerLoss::kRandom);
      c.start(0);
      REQUIRE(c.wait_serving(0));
      c.read_recovered(0);
    }
    check_converged(c);
  });
}

TEST_CASE("sim_crash: power loss of the replica alone takes nothing back from clients",
          "[sim][repl]") {
  for_seeds(1, 6, [](uint64_t seed) {
    Cluster c({.seed = seed,
               .durability = seed % 2 == 0 ? Durability::kSyncAll : Durability::kSyncQuorum});
    c.load.options().pause_max = kMillisecond;
    c.load.options().cells_max = 24;
    c.configure_pair();
    c.start_all();
    REQUIRE(c.wait_serving(0));
    c.begin_load(0);
    for (int round = 0; round < 4; ++round) {
      REQUIRE(c.wait_in_sync(0, 1));
      run_some(c);
      c.power_loss(1, round % 2 == 0 ? SimPowerLoss::kDropAll : SimPowerLoss::kRandom);
      run_some(c);
      c.start(1);
    }
    c.end_load();
    CHECK(c.load.failed() + c.load.refused() == 0);
    check_converged(c);
  });
}

TEST_CASE("sim_crash: a FUA or FLUSH reply waits for the device flush of both copies",
          "[sim][repl]") {
  for (const size_t slow : {size_t{0}, size_t{1}}) {
    for (const bool fua : {true, false}) {
      Cluster c({.seed = 5});
      c.configure_pair();
      c.start_all();
      REQUIRE(c.wait_serving(0));
      REQUIRE(c.wait_in_sync(0, 1));
      const uint64_t hold =
          c.sim(slow).disk().hold({.kind = io::SimOpKind::kFlush, .path = "/wal"});
      if (fua) {
        CHECK_FALSE(
            c.request(0, RequestKind::kWrite, 0, 4096, 5, true, 200 * kMillisecond).has_value());
      } else {
        CHECK(c.request(0, RequestKind::kWrite, 0, 4096, 5) == RequestError::kNone);
        CHECK_FALSE(
            c.request(0, RequestKind::kFlush, 0, 0, 0, false, 200 * kMillisecond).has_value());
      }
      // A plain write needs no flush.
      CHECK(c.request(0, RequestKind::kWrite, 8192, 4096, 6, false, 50 * kMillisecond) ==
            RequestError::kNone);
      c.sim(slow).disk().release(hold);
      CHECK(c.request(0, RequestKind::kFlush, 0, 0, 0) == RequestError::kNone);
      CHECK(c.read_cell(0, 0) == 5);
    }
  }
}

TEST_CASE("sim_crash: a read waits until what it saw is committed", "[sim][repl]") {
  Cluster c({.seed = 9});
  c.configure_pair();
  c.start_all();
  REQUIRE(c.wait_serving(0));
  REQUIRE(c.wait_in_sync(0, 1));
  const uint64_t hold = c.sim(1).disk().hold({.kind = io::SimOpKind::kWrite, .path = "/wal"});
  CHECK_FALSE(c.request(0, RequestKind::kWrite, 0, 4096, 5, false, 50 * kMillisecond).has_value());
  Request read;
  std::optional<RequestError> answer;
  read.length = 4096;
  read.buffer = c.pool(0).allocate(4096);
  read.owner = &answer;
  read.done = [](Request& r, RequestError e) {
    *static_cast<std::optional<RequestError>*>(r.owner) = e;
  };
  c.volume(0).submit(read);
  c.run_for(50 * kMillisecond);
  CHECK_FALSE(answer.has_value());
  CHECK(c.read_cell(0, 100) == 0);  // another block is not held up
  c.sim(1).disk().release(hold);
  REQUIRE(c.run_until([&] { return answer.has_value(); }, kSecond));
  CHECK(answer == RequestError::kNone);
  CHECK(cell_value(read.buffer.data) == 5);
  c.pool(0).release(read.buffer);
}

TEST_CASE("sim_crash: no base image holds what is not flushed on both copies", "[sim][repl]") {
  for_seeds(1, 2, [](uint64_t seed) {
    Cluster c({.seed = seed});
    c.load.options().reads = 5;
    c.load.options().zeros = 0;
    c.load.options().cells_max = 256;
    c.configure_pair();
    c.start_all();
    REQUIRE(c.wait_serving(0));
    REQUIRE(c.wait_in_sync(0, 1));
    c.sim(seed % 2).set_slow_factor(20);  // its flushes are far behind the other's
    c.begin_load(0);
    uint64_t checkpoint = 0;
    for (int i = 0; i < 15; ++i) {
      c.run_for(8 * kMillisecond);
      const Lsn stable(std::min(*c.status(0).durable_lsn, *c.status(1).durable_lsn));
      for (const size_t node : {size_t{0}, size_t{1}}) {
        const std::string found =
            find_uncommitted_in_base(c.sim(node), Cluster::directory(), stable);
        INFO(found);
        REQUIRE(found.empty());
        CHECK(Lsn(*c.status(node).checkpoint_lsn) <= stable);
        checkpoint = std::max(checkpoint, *c.status(node).checkpoint_lsn);
      }
    }
    CHECK(checkpoint > 0);
    c.end_load();
    c.read_back(0);
  });
}

TEST_CASE("sim_crash: what a recovery found is served once every copy that counts has it flushed", "[sim][repl]") {
  for_seeds(1, 5, [](uint64_t seed) {
    Cluster c({.seed = seed});
    c.configure_pair();
    c.start_all();
    REQUIRE(c.wait_serving(0));
    REQUIRE(c.wait_in_sync(0, 1));
    c.begin_load(0);
    run_some(c);
    c.end_load();  // the replica has nothing to cut, for which it would flush
    c.kill(0);
    // Written there in no time, and yet a power loss would take it back, after clients had read it.
    io::SimDisk& disk = c.sim(1).disk();
    const uint64_t held = disk.hold({.kind = io::SimOpKind::kFlush, .path = "/wal"});
    c.start(0);
    REQUIRE(c.run_until([&] { return c.status(0).role == "primary" && c.status(0).wal_head && c.status(1).written_lsn == c.status(0).wal_head; }, kSecond / 2));
    c.run_for(kSecond / 10);
    CHECK_FALSE(c.status(0).role_applied);
    disk.release(held);
    REQUIRE(c.wait_serving(0));
    c.read_back(0);
    check_converged(c);
  });
}
