// Rebuilds in all modes of durability, with more copies, with orders and cancels, and what must hold on disk meanwhile.
#include <algorithm>
#include <catch2/catch.hpp>

#include "rebuilds.h"

using namespace ringbolt;
using namespace ringbolt::sim;
using io::kMillisecond;
using io::kSecond;
using io::SimOpKind;
using io::SimPowerLoss;

namespace {

Status order(Cluster& c, const std::string& replica, bool wanted = true) {
  std::optional<Status> answer;
  c.volume(0).rebuild(replica, wanted, [&](const Status& status) { answer.emplace(status); });
  REQUIRE(c.run_until([&] { return answer.has_value(); }, kSecond));
  return *answer;
}

void healthy(Cluster& c, size_t replicas = 1) {
  c.configure_pair();
  c.start_all();
  REQUIRE(c.wait_serving(0));
  for (size_t i = 1; i <= replicas; ++i) REQUIRE(c.wait_in_sync(0, i));
}

void finish_equal(Cluster& c, size_t nodes = 2) {
  c.end_load();
  c.read_back(0);
  for (size_t i = 1; i < nodes; ++i) REQUIRE(c.run_until([&] { return c.status(i).written_lsn == c.status(0).wal_head; }, 10 * kSecond));
  c.check_logs();
  for (size_t i = 0; i < nodes; ++i) c.stop(i);
  for (size_t i = 1; i < nodes; ++i) c.check_images_equal(0, i);
}

/// So that something can happen meanwhile: the replica's base writes wait until release(). To be made when its mark is
/// written: before that, a checkpoint that is held would hold the beginning, too.
struct HeldBase {
  HeldBase(Cluster& cluster, size_t replica) : disk(cluster.sim(replica).disk()) {
    write = disk.hold({.kind = SimOpKind::kWrite, .path = "/base"});
    zero = disk.hold({.kind = SimOpKind::kZero, .path = "/base"});
  }
  void release() {
    disk.release(write);
    disk.release(zero);
  }
  io::SimDisk& disk;
  uint64_t write, zero;
};

}  // namespace

TEST_CASE("sim_rebuild_modes: a rebuild ends in every mode, and what the replica says meanwhile counts for nothing", "[sim][repl][rebuild]") {
  const auto mode = GENERATE(Durability::kBestEffort, Durability::kSyncAll, Durability::kSyncQuorum);
  const bool wait = GENERATE(false, true);
  INFO(to_string(mode) << (wait ? ", wait" : ""));
  for_seeds(1, 4, [&](uint64_t seed) {
    Cluster c({.seed = seed, .durability = mode});
    c.adjust_options = [&](repl::VolumeOptions& options) { options.wait_for_lost_replicas = wait; };
    healthy(c);
    c.begin_load(0);
    c.run_for(50 * kMillisecond);
    REQUIRE(order(c, "n2").has_value());
    REQUIRE(c.run_until([&] { return marked(c, 1); }, 10 * kSecond));
    HeldBase held(c, 1);
    c.run_for(100 * kMillisecond);
    REQUIRE(rebuilding(c));
    // Without it a quorum of two copies is none, and "wait" means that writes wait for it: also now.
    const bool writes_wait = mode == Durability::kSyncQuorum || (mode == Durability::kSyncAll && wait);
    const uint64_t answered = c.load.writes_answered();
    c.run_for(200 * kMillisecond);
    CHECK((c.load.writes_answered() == answered) == writes_wait);
    // Its log goes on all the same.
    const auto replica = c.replica_status(0, 1);
    CHECK(replica.written_lsn == c.status(1).written_lsn);
    if (!writes_wait) CHECK(*replica.written_lsn > *replica.session->base_lsn);
    if (writes_wait) CHECK(*c.status(0).committed_lsn < c.status(0).wal_head);
    CHECK(replica.in_sync == wait);
    CHECK(marked(c, 1));
    held.release();
    REQUIRE(c.wait_in_sync(0, 1));
    CHECK_FALSE(marked(c, 1));
    const uint64_t before = c.load.writes_answered();
    REQUIRE(c.run_until([&] { return c.load.writes_answered() > before + 20; }, 10 * kSecond));
    finish_equal(c);
  });
}

TEST_CASE("sim_rebuild_modes: a rebuild that runs has the replica timeout that is put in", "[sim][repl][rebuild][reload]") {
  for_seeds(1, 2, [&](uint64_t seed) {
    Cluster c({.seed = seed, .replica_timeout = 2 * kSecond});
    healthy(c);
    c.begin_load(0);
    c.run_for(50 * kMillisecond);
    REQUIRE(order(c, "n2").has_value());
    REQUIRE(c.run_until([&] { return marked(c, 1); }, 10 * kSecond));
    HeldBase held(c, 1);
    c.run_for(100 * kMillisecond);
    REQUIRE(rebuilding(c));
    const auto session = c.replica_status(0, 1).session->id;
    c.volume(0).change(60 * kSecond, false, 50);
    c.run_for(20 * kSecond);
    CHECK(rebuilding(c));
    CHECK(c.replica_status(0, 1).session->id == session);
    held.release();
    REQUIRE(c.wait_in_sync(0, 1));
    finish_equal(c);
  });
}

TEST_CASE("sim_rebuild_modes: writes that wait for a replica that is rebuilt go on once lost ones are not waited for", "[sim][repl][rebuild][reload]") {
  for_seeds(1, 4, [&](uint64_t seed) {
    Cluster c({.seed = seed});
    c.adjust_options = [&](repl::VolumeOptions& options) { options.wait_for_lost_replicas = true; };
    healthy(c);
    c.begin_load(0);
    c.run_for(50 * kMillisecond);
    REQUIRE(order(c, "n2").has_value());
    REQUIRE(c.run_until([&] { return marked(c, 1); }, 10 * kSecond));
    HeldBase held(c, 1);
    c.run_for(100 * kMillisecond);
    REQUIRE(rebuilding(c));
    REQUIRE(c.replica_status(0, 1).in_sync);
    const auto session = c.replica_status(0, 1).session->id;
    const uint64_t answered = c.load.writes_answered();
    c.volume(0).change(c.volume_options(0).replica_timeout, false, 50);
    REQUIRE(c.run_until([&] { return c.load.writes_answered() > answered + 20; }, 10 * kSecond));
    CHECK_FALSE(c.replica_status(0, 1).in_sync);
    CHECK_FALSE(contains(c.in_sync_on_disk(0), "n2"));
    // The rebuild itself goes on.
    CHECK(rebuilding(c));
    CHECK(c.replica_status(0, 1).session->id == session);
    held.release();
    REQUIRE(c.wait_in_sync(0, 1));
    CHECK_FALSE(marked(c, 1));
    finish_equal(c);
  });
}

TEST_CASE("sim_rebuild_modes: a blank replica is made a copy in every mode, and the first write waits for it where it must", "[sim][repl][rebuild]") {
  const auto mode = GENERATE(Durability::kSyncAll, Durability::kSyncQuorum);
  const bool wait = GENERATE(false, true);
  INFO(to_string(mode) << (wait ? ", wait" : ""));
  for_seeds(1, 4, [&](uint64_t seed) {
    Cluster c({.seed = seed, .durability = mode});
    c.adjust_options = [&](repl::VolumeOptions& options) { options.wait_for_lost_replicas = wait; };
    healthy(c);
    c.begin_load(0);
    c.run_for(50 * kMillisecond);
    c.end_load();
    c.kill(1);
    c.run_for(3 * kSecond);  // its last writes land
    wipe_disks(c, 1);
    c.start(1);
    c.begin_load(0);
    REQUIRE(order(c, "n2").has_value());
    REQUIRE(c.wait_in_sync(0, 1));
    const uint64_t before = c.load.writes_answered();
    REQUIRE(c.run_until([&] { return c.load.writes_answered() > before + 20; }, 10 * kSecond));
    finish_equal(c);
  });
}

TEST_CASE("sim_rebuild_modes: two of three copies are rebuilt at once, never more than may run on the node", "[sim][repl][rebuild]") {
  const uint32_t parallel = GENERATE(1u, 2u);
  INFO("parallel " << parallel);
  for_seeds(1, 2, [&](uint64_t seed) {
    Cluster c({.seed = seed, .nodes = 3});
    const auto limits = std::make_shared<repl::RebuildLimits>();
    limits->parallel = parallel;
    c.adjust_options = [&](repl::VolumeOptions& options) { options.rebuild = limits; };
    healthy(c, 2);
    c.begin_load(0);
    c.run_for(50 * kMillisecond);
    limits->rate_max = 256u << 10;
    REQUIRE(order(c, "n2").has_value());
    REQUIRE(order(c, "n3").has_value());
    REQUIRE(c.run_until([&] { return limits->places.running() == parallel; }, 10 * kSecond));
    c.run_for(300 * kMillisecond);
    uint32_t most = 0;
    const auto look = [&] {
      most = std::max(most, limits->places.running());
      return false;
    };
    static_cast<void>(c.run_until(look, 100 * kMillisecond));
    CHECK(most == parallel);
    const bool both = marked(c, 1) && marked(c, 2);
    CHECK(both == (parallel == 2));
    if (!both) {
      const size_t waiting = marked(c, 1) ? 2 : 1;
      CHECK(c.replica_status(0, waiting).rebuild_order == RebuildOrderStatus::kOrdered);
      CHECK(c.replica_status(0, waiting).in_sync);
      CHECK_FALSE(rebuilding(c, waiting));
    }
    limits->rate_max = 0;
    REQUIRE(c.run_until(
        [&, looks = 0]() mutable {
          look();
          // To ask for everything at each step takes most of the test's time.
          return ++looks % 16 == 0 && c.replica_status(0, 1).in_sync && c.replica_status(0, 2).in_sync && c.session_kind(0, 1) == "keepup" && c.session_kind(0, 2) == "keepup";
        },
        30 * kSecond));
    CHECK(most == parallel);
    CHECK(limits->places.running() == 0);  // every place was given back
    finish_equal(c, 3);
  });
}

TEST_CASE("sim_rebuild_modes: a failed rebuild gives its place back, however it ends", "[sim][repl][rebuild]") {
  for_seeds(1, 6, [&](uint64_t seed) {
    Cluster c({.seed = seed});
    const auto limits = std::make_shared<repl::RebuildLimits>();
    limits->parallel = 1;
    c.adjust_options = [&](repl::VolumeOptions& options) { options.rebuild = limits; };
    healthy(c);
    c.begin_load(0);
    REQUIRE(order(c, "n2").has_value());
    REQUIRE(c.run_until([&] { return marked(c, 1); }, 10 * kSecond));
    HeldBase held(c, 1);
    CHECK(limits->places.running() == 1);
    if (seed % 3 == 0) c.kill(1);
    if (seed % 3 == 1) REQUIRE(order(c, "n2", false).has_value());
    if (seed % 3 == 2) c.world.net().cut_between("n1", "n2");
    REQUIRE(c.run_until([&] { return limits->places.running() == 0; }, 10 * kSecond));
    held.release();
    if (seed % 3 == 0) c.start(1);
    if (seed % 3 == 1) REQUIRE(order(c, "n2").has_value());
    REQUIRE(c.wait_in_sync(0, 1));
    CHECK(limits->places.running() == 0);
    finish_equal(c);
  });
}

TEST_CASE("sim_rebuild_modes: a copy that is to be rebuilt goes on counting until there is a place for it", "[sim][repl][rebuild]") {
  for_seeds(1, 3, [&](uint64_t seed) {
    Cluster c({.seed = seed});
    const auto limits = std::make_shared<repl::RebuildLimits>();
    limits->parallel = 1;
    c.adjust_options = [&](repl::VolumeOptions& options) { options.rebuild = limits; };
    healthy(c);
    c.begin_load(0);
    c.run_for(50 * kMillisecond);
    REQUIRE(limits->places.try_begin(1));  // another volume's
    c.load.options().pause_max = 10 * kMillisecond;
    const auto session = c.replica_status(0, 1).session->id;
    REQUIRE(order(c, "n2").has_value());
    CHECK(c.replica_status(0, 1).rebuild_order == RebuildOrderStatus::kOrdered);
    const uint64_t answered = c.load.writes_answered();
    c.run_for(3 * kSecond);
    CHECK(c.replica_status(0, 1).session->id == session);
    CHECK(c.replica_status(0, 1).rebuild_order == RebuildOrderStatus::kOrdered);
    CHECK(c.replica_status(0, 1).in_sync);
    CHECK(contains(c.in_sync_on_disk(0), "n2"));
    CHECK_FALSE(marked(c, 1));
    // What is acknowledged meanwhile is on both.
    CHECK(c.load.writes_answered() > answered);
    CHECK(*c.status(1).written_lsn >= *c.status(0).committed_lsn);
    if (seed == 2) {
      // An order that waits can be taken back.
      REQUIRE(order(c, "n2", false).has_value());
      limits->places.end();
      c.run_for(2 * kSecond);
      CHECK(c.replica_status(0, 1).in_sync);
      CHECK_FALSE(marked(c, 1));
      REQUIRE(order(c, "n2").has_value());
    } else {
      limits->places.end();
    }
    REQUIRE(c.run_until([&] { return marked(c, 1); }, 10 * kSecond));
    REQUIRE(c.wait_in_sync(0, 1));
    CHECK_FALSE(marked(c, 1));
    CHECK(limits->places.running() == 0);
    finish_equal(c);
  });
}

TEST_CASE("sim_rebuild_modes: an order that waits, and is fulfilled by a rebuild that was needed anyway, takes no place", "[sim][repl][rebuild]") {
  for_seeds(1, 3, [&](uint64_t seed) {
    Cluster c({.seed = seed});
    const auto limits = std::make_shared<repl::RebuildLimits>();
    limits->parallel = 1;
    c.adjust_options = [&](repl::VolumeOptions& options) { options.rebuild = limits; };
    healthy(c);
    for (uint64_t i = 0; i < 20; ++i) REQUIRE(c.request(0, RequestKind::kWrite, i * kBlockBytes, kBlockBytes, i + 1, true) == RequestError::kNone);
    REQUIRE(limits->places.try_begin(1));  // another volume's
    REQUIRE(order(c, "n2").has_value());
    const io::Nanos ordered = c.world.now();
    limits->places.end();
    // Before the order asks for a place again the replica comes back with a damaged log, is rebuilt for that, and counts.
    c.kill(1);
    for (uint64_t block = 0; block < 6; ++block) c.sim(1).disk().flip_bit(Cluster::directory() + "/wal", block * kBlockBytes + 100, 3);
    c.start(1);
    REQUIRE(c.run_until([&] { return rebuilding(c); }, 2 * kSecond));
    REQUIRE(c.wait_in_sync(0, 1, 2 * kSecond));
    const auto session = c.replica_status(0, 1).session->id;
    REQUIRE(c.world.now() < ordered + 2900 * kMillisecond);
    c.run_for(5 * kSecond);
    CHECK(limits->places.running() == 0);
    CHECK(c.replica_status(0, 1).session->id == session);
    CHECK(c.replica_status(0, 1).rebuild_order != RebuildOrderStatus::kOrdered);
    c.stop(0);
    c.stop(1);
    c.check_images_equal(0, 1);
  });
}

TEST_CASE("sim_rebuild_modes: a replica whose disk hangs at the end of its rebuild keeps no place that others wait for", "[sim][repl][rebuild]") {
  for_seeds(1, 3, [&](uint64_t seed) {
    Cluster c({.seed = seed});
    const auto limits = std::make_shared<repl::RebuildLimits>();
    c.adjust_options = [&](repl::VolumeOptions& options) { options.rebuild = limits; };
    healthy(c);
    c.begin_load(0);
    c.run_for(50 * kMillisecond);
    REQUIRE(order(c, "n2").has_value());
    REQUIRE(c.run_until([&] { return marked(c, 1); }, 10 * kSecond));
    CHECK(limits->places.running() == 1);
    const uint64_t hold = c.sim(1).disk().hold({.kind = SimOpKind::kFlush, .path = "/base"});
    REQUIRE(c.run_until([&] { return c.sim(1).disk().held(hold) > 0 && c.replica_status(0, 1).session->phase == "base_complete"; }, 20 * kSecond));
    CHECK(rebuilding(c));
    CHECK(limits->places.running() == 0);
    c.sim(1).disk().release(hold);
    REQUIRE(c.wait_in_sync(0, 1));
    finish_equal(c);
  });
}

TEST_CASE("sim_rebuild_modes: a primary whose own copy has failed touches no other one, whatever waits", "[sim][repl][rebuild]") {
  for_seeds(1, 3, [&](uint64_t seed) {
    Cluster c({.seed = seed});
    const auto limits = std::make_shared<repl::RebuildLimits>();
    limits->parallel = 1;
    c.adjust_options = [&](repl::VolumeOptions& options) { options.rebuild = limits; };
    healthy(c);
    c.begin_load(0);
    c.run_for(50 * kMillisecond);
    REQUIRE(limits->places.try_begin(1));  // another volume's
    REQUIRE(order(c, "n2").has_value());
    c.sim(0).disk().add_fault({.match = {.kind = SimOpKind::kWrite, .path = "/wal"}, .forever = true});
    REQUIRE(c.run_until([&] { return c.status(0).reason.find("writing the WAL") != std::string::npos || c.status(0).mode == "degraded"; }, 10 * kSecond));
    limits->places.end();
    c.run_for(10 * kSecond);
    // It is perhaps the only good one.
    CHECK_FALSE(marked(c, 1));
    CHECK(limits->places.running() == 0);
    CHECK(c.status(1).written_lsn >= c.status(0).committed_lsn);
    c.abandon_load();
  });
}

TEST_CASE("sim_rebuild_modes: a rebuild that waits for a place does not begin once the primary's own copy has failed", "[sim][repl][rebuild]") {
  for_seeds(1, 3, [&](uint64_t seed) {
    Cluster c({.seed = seed});
    const auto limits = std::make_shared<repl::RebuildLimits>();
    limits->parallel = 1;
    c.adjust_options = [&](repl::VolumeOptions& options) { options.rebuild = limits; };
    healthy(c);
    REQUIRE(c.request(0, RequestKind::kWrite, 0, kBlockBytes, 1, true) == RequestError::kNone);
    REQUIRE(limits->places.try_begin(1));  // another volume's
    c.kill(1);
    REQUIRE(c.request(0, RequestKind::kWrite, kBlockBytes, kBlockBytes, 2) == RequestError::kNone);
    REQUIRE_FALSE(c.replica_status(0, 1).in_sync);
    // It does not count, so the order does not wait: the rebuild is decided on, and waits.
    REQUIRE(order(c, "n2").has_value());
    c.start(1);
    REQUIRE(c.run_until([&] { return c.status(0).reason.find("it waits: 1 rebuilds run on this node") != std::string::npos; }, 10 * kSecond));
    c.sim(0).disk().add_fault({.match = {.kind = SimOpKind::kWrite, .path = "/wal"}, .forever = true});
    CHECK(c.request(0, RequestKind::kWrite, 0, kBlockBytes, 3) != RequestError::kNone);
    REQUIRE(c.volume(0).refusal().find("has failed") != std::string::npos);
    limits->places.end();
    c.run_for(10 * kSecond);
    // Now it is the best copy that there is.
    CHECK_FALSE(marked(c, 1));
    CHECK(limits->places.running() == 0);
    c.abandon_load();
  });
}

TEST_CASE("sim_rebuild_modes: a place for a rebuild that was ordered is given back if the replica does not come back", "[sim][repl][rebuild]") {
  for_seeds(1, 3, [&](uint64_t seed) {
    Cluster c({.seed = seed});
    const auto limits = std::make_shared<repl::RebuildLimits>();
    limits->parallel = 1;
    c.adjust_options = [&](repl::VolumeOptions& options) { options.rebuild = limits; };
    healthy(c);
    REQUIRE(order(c, "n2").has_value());
    // The order ends the session; it hangs before it can be reached again.
    c.world.net().partition("n1", "n2");
    CHECK(limits->places.running() == 1);
    REQUIRE(c.run_until([&] { return limits->places.running() == 0; }, 20 * kSecond));
    CHECK_FALSE(marked(c, 1));
    c.world.net().heal("n1", "n2");
    REQUIRE(c.run_until([&] { return marked(c, 1); }, 20 * kSecond));
    REQUIRE(c.wait_in_sync(0, 1));
    CHECK(limits->places.running() == 0);
    finish_equal(c);
  });
}

TEST_CASE("sim_rebuild_modes: a lane that finds another one quiet pauses, too, and says so", "[sim][repl][rebuild]") {
  for_seeds(1, 2, [&](uint64_t seed) {
    Cluster c({.seed = seed});
    const auto limits = std::make_shared<repl::RebuildLimits>();
    limits->chunk_bytes = 64u << 10;
    limits->rate_max = 256u << 10;
    c.adjust_options = [&](repl::VolumeOptions& options) { options.rebuild = limits; };
    healthy(c);
    REQUIRE(order(c, "n2").has_value());
    REQUIRE(c.run_until([&] { return marked(c, 1); }, 10 * kSecond));
    c.run_for(500 * kMillisecond);
    REQUIRE(limits->quiet_until() == 0);  // without clients it has nothing to look at
    const io::Nanos other = c.world.now() + 50 * kMillisecond;
    limits->keep_quiet(other);
    // Its own pause is longer than what is left of that one.
    CHECK(c.run_until([&] { return limits->quiet_until() > other; }, 200 * kMillisecond));
    limits->rate_max = 0;
    REQUIRE(c.wait_in_sync(0, 1));
    finish_equal(c);
  });
}

TEST_CASE("sim_rebuild_modes: a rate that is raised takes effect at once, and while one lane is quiet all are", "[sim][repl][rebuild]") {
  for_seeds(1, 2, [&](uint64_t seed) {
    Cluster c({.seed = seed});
    const auto limits = std::make_shared<repl::RebuildLimits>();
    limits->chunk_bytes = 64u << 10;
    limits->rate_max = 1;  // the first piece would be followed by the next one after a day
    c.adjust_options = [&](repl::VolumeOptions& options) { options.rebuild = limits; };
    healthy(c);
    REQUIRE(order(c, "n2").has_value());
    REQUIRE(c.run_until([&] { return marked(c, 1); }, 10 * kSecond));
    c.run_for(2 * kSecond);
    const auto done = [&] {
      const auto session = c.replica_status(0, 1).session;
      return session->base_bytes_done + session->base_bytes_skipped;
    };
    CHECK(done() <= 64u << 10);
    limits->rate_max = 256u << 10;
    REQUIRE(c.run_until([&] { return done() >= 256u << 10; }, 2 * kSecond));
    // Another lane shows what clients are without any.
    limits->keep_quiet(c.world.now() + 2 * kSecond);
    c.run_for(kSecond);  // what was under way ends, and is told
    const uint64_t before = done();
    c.run_for(900 * kMillisecond);
    CHECK(done() == before);
    REQUIRE(c.run_until([&] { return done() > before; }, kSecond));
    limits->rate_max = 0;
    REQUIRE(c.wait_in_sync(0, 1));
    finish_equal(c);
  });
}

TEST_CASE("sim_rebuild_modes: the set without a replica is recorded before its mark is written, and with it after the mark is gone", "[sim][repl][rebuild]") {
  for_seeds(1, 6, [](uint64_t seed) {
    Cluster c({.seed = seed});
    healthy(c);
    c.begin_load(0);
    c.run_for(50 * kMillisecond);
    REQUIRE(contains(c.in_sync_on_disk(0), "n2"));
    bool was_marked = false;
    const auto never_both = [&] {
      const bool is_marked = marked(c, 1);
      was_marked = was_marked || is_marked;
      if (is_marked && contains(c.in_sync_on_disk(0), "n2")) FAIL("recorded as in sync while it is marked");
      return was_marked && !is_marked && c.replica_status(0, 1).in_sync;
    };
    c.volume(0).rebuild("n2", true, [](const Status&) {});
    REQUIRE(c.run_until(never_both, 20 * kSecond));
    CHECK(contains(c.in_sync_on_disk(0), "n2"));
    // The primary dies at the worst moment: the set is not recorded yet, or just so.
    c.volume(0).rebuild("n2", true, [](const Status&) {});
    const uint64_t hold = c.sim(0).disk().hold({.kind = SimOpKind::kFlush, .path = "/superblock"});
    REQUIRE(c.run_until([&] { return c.sim(0).disk().held(hold) > 0; }, 10 * kSecond));
    c.run_for(200 * kMillisecond);
    CHECK_FALSE(marked(c, 1));
    c.sim(0).disk().release(hold);
    was_marked = false;
    REQUIRE(c.run_until(never_both, 20 * kSecond));
    REQUIRE(c.wait_in_sync(0, 1));
    finish_equal(c);
  });
}

TEST_CASE("sim_rebuild_modes: cancelled at any moment, it stays a copy that says what it is, until it is wanted", "[sim][repl][rebuild]") {
  for_seeds(1, 6, [](uint64_t seed) {
    Cluster c({.seed = seed});
    healthy(c);
    c.begin_load(0);
    c.run_for(20 * kMillisecond);
    std::optional<HeldBase> held;
    c.volume(0).rebuild("n2", true, [](const Status&) {});
    if (seed % 2 == 0) {
      REQUIRE(c.run_until([&] { return marked(c, 1); }, 10 * kSecond));
      held.emplace(c, 1);
    }
    c.run_for(static_cast<io::Nanos>(seed * 7919 % 60) * kMillisecond);
    REQUIRE(order(c, "n2", false).has_value());
    if (held) held->release();
    c.end_load();
    c.run_for(3 * kSecond);
    CHECK_FALSE(rebuilding(c));
    // It was complete already, or is marked and counts for nothing.
    CHECK(marked(c, 1) == !c.replica_status(0, 1).in_sync);
    CHECK(contains(c.in_sync_on_disk(0), "n2") == !marked(c, 1));
    if (marked(c, 1)) CHECK(c.status(0).mode == "needs_rebuild");
    c.begin_load(0);
    REQUIRE(order(c, "n2").has_value());
    REQUIRE(c.run_until([&] { return rebuilding(c); }, 10 * kSecond));
    REQUIRE(c.wait_in_sync(0, 1));
    CHECK_FALSE(marked(c, 1));
    finish_equal(c);
  });
}

TEST_CASE("sim_rebuild_modes: a log that cannot hold what the replica lacks ends the session as pin_lost, and another one begins later", "[sim][repl][rebuild]") {
  for_seeds(1, 3, [](uint64_t seed) {
    Cluster c({.seed = seed, .replica_timeout = 30 * kSecond});  // it is slow, not gone
    c.load.options().depth = 16;
    c.load.options().cells_max = 256;
    c.load.options().pause_max = 20 * io::kMicrosecond;
    const auto limits = std::make_shared<repl::RebuildLimits>();
    limits->rate_max = 100u << 10;
    c.adjust_options = [&](repl::VolumeOptions& options) { options.rebuild = limits; };
    healthy(c);
    c.begin_load(0);
    c.run_for(20 * kMillisecond);
    // The replica stores nothing of the log for a while, but is there.
    REQUIRE(order(c, "n2").has_value());
    REQUIRE(c.run_until([&] { return marked(c, 1) && rebuilding(c); }, 10 * kSecond));
    const uint64_t wal = c.sim(1).disk().hold({.kind = SimOpKind::kWrite, .path = "/wal"});
    const auto first = c.replica_status(0, 1).session->id;
    const uint64_t answered = c.load.writes_answered();
    bool pin_lost = false;
    // Far beyond what is on the way to it, or in its memory.
    const uint64_t needed = *c.replica_status(0, 1).written_lsn;
    REQUIRE(c.run_until([&] { return c.status(0).wal_tail > needed + 1000; }, 60 * kSecond));
    CHECK(c.load.writes_answered() > answered + 500);  // clients did not wait
    c.load.options().pause_max = 2 * kMillisecond;
    c.sim(1).disk().release(wal);
    limits->rate_max = 0;
    const auto lost = [&] {
      const auto session = c.replica_status(0, 1).session;
      pin_lost = pin_lost || (session && session->reason.find("pin_lost") != std::string::npos);
      return pin_lost;
    };
    REQUIRE(c.run_until(lost, 20 * kSecond));
    CHECK(marked(c, 1));
    REQUIRE(c.wait_in_sync(0, 1, 60 * kSecond));
    CHECK(c.replica_status(0, 1).session->id != first);
    finish_equal(c);
  });
}

TEST_CASE("sim_rebuild_modes: a bulk connection that is cut ends the session as transport_lost, and another one is decided", "[sim][repl][rebuild]") {
  for_seeds(1, 8, [](uint64_t seed) {
    Cluster c({.seed = seed});
    c.adjust_options = [&](repl::VolumeOptions& options) {
      options.rebuild->chunk_bytes = 64u << 10;
      options.rebuild->in_flight = 2;
    };
    healthy(c);
    c.begin_load(0);
    REQUIRE(c.run_until([&] { return c.load.writes_answered() > 300; }, 10 * kSecond));
    c.end_load();
    REQUIRE(order(c, "n2").has_value());
    REQUIRE(c.run_until([&] { return marked(c, 1); }, 10 * kSecond));
    HeldBase held(c, 1);
    c.run_for(50 * kMillisecond);
    REQUIRE(rebuilding(c));
    const auto first = c.replica_status(0, 1).session->id;
    // Without a load only the bulk connection carries so much.
    c.world.net().cut(c.address(1), 1000 + seed * 37'000);
    held.release();
    REQUIRE(c.run_until([&] { return !rebuilding(c) || c.replica_status(0, 1).session->id != first || c.replica_status(0, 1).in_sync; }, 10 * kSecond));
    CHECK_FALSE(c.replica_status(0, 1).in_sync);
    CHECK(marked(c, 1));
    c.begin_load(0);
    REQUIRE(c.wait_in_sync(0, 1));
    CHECK(c.replica_status(0, 1).session->id != first);
    finish_equal(c);
  });
}

TEST_CASE("sim_rebuild_modes: the primary loses power in the middle of a rebuild", "[sim][repl][rebuild]") {
  for_seeds(1, 12, [](uint64_t seed) {
    Cluster c({.seed = seed});
    healthy(c);
    c.begin_load(0);
    c.run_for(50 * kMillisecond);
    c.volume(0).rebuild("n2", true, [](const Status&) {});
    REQUIRE(c.run_until([&] { return marked(c, 1); }, 10 * kSecond));
    c.run_for(static_cast<io::Nanos>(seed * 3) * kMillisecond);
    // Nothing in the copy may be newer than what the primary still has: unflushed records are gone with the power.
    c.abandon_load();
    c.power_loss(0, seed % 2 == 0 ? SimPowerLoss::kDropAll : SimPowerLoss::kRandom);
    const bool complete = !marked(c, 1);
    c.start(0);
    REQUIRE(c.wait_serving(0));
    c.read_recovered(0);
    c.begin_load(0);
    if (!complete) CHECK_FALSE(contains(c.in_sync_on_disk(0), "n2"));
    REQUIRE(c.wait_in_sync(0, 1));
    CHECK_FALSE(marked(c, 1));
    finish_equal(c);
  });
}

TEST_CASE("sim_rebuild_modes: a higher epoch ends a rebuild, and the next primary begins its own", "[sim][repl][rebuild]") {
  for_seeds(1, 4, [](uint64_t seed) {
    Cluster c({.seed = seed, .nodes = 3});
    healthy(c, 2);
    c.begin_load(0);
    c.run_for(50 * kMillisecond);
    REQUIRE(order(c, "n2").has_value());
    REQUIRE(c.run_until([&] { return marked(c, 1); }, 10 * kSecond));
    HeldBase held(c, 1);
    c.end_load();
    REQUIRE(c.run_until([&] { return c.status(2).durable_lsn == c.status(0).wal_head; }, 10 * kSecond));
    c.stop(0);
    c.kill(2);
    c.assignment(2).role = Role::kPrimary;
    c.assignment(2).epoch = Epoch(2);
    c.assignment(2).replicas = {1};
    c.start(2);
    REQUIRE(c.wait_serving(2));
    held.release();
    REQUIRE(c.run_until([&] { return marked(c, 1) && c.replica_status(2, 1).session && c.session_kind(2, 1) == "rebuild"; }, 20 * kSecond));
    REQUIRE(c.wait_in_sync(2, 1));
    CHECK_FALSE(marked(c, 1));
    CHECK(c.status(1).epoch == 2);
    c.read_back(2);
    c.stop(2);
    c.stop(1);
    c.check_images_equal(2, 1);
  });
}
