// A volume that gets larger under load, and what ends in the middle of that: all copies agree on its size afterwards, and on what is in it.
#include <catch2/catch.hpp>
#include <cerrno>

#include "fake_peers.h"
#include "orders.h"
#include "rebuilds.h"

using namespace ringbolt;
using namespace ringbolt::sim;
using namespace ringbolt::repl;
using io::kMillisecond;
using io::kSecond;
using io::SimOpKind;
using io::SimPowerLoss;

namespace {

constexpr uint64_t kMade = 2u << 20, kGrown = 5u << 20;

Answer order_size(Cluster& c, size_t node, uint64_t bytes) {
  const auto answer = std::make_shared<std::optional<Status>>();
  c.volume(node).resize(bytes, [answer](const Status& status) { *answer = status; });
  return answer;
}

uint64_t size_on_disk(Cluster& c, size_t node) { return read_superblock(c.sim(node), Cluster::directory())->volume_bytes; }

bool has_size(Cluster& c, size_t node, uint64_t bytes) { return c.up(node) && c.status(node).size == bytes && size_on_disk(c, node) == bytes; }

void start_growing_pair(Cluster& c) {
  c.load.options().cells_max = 24;
  c.configure_pair();
  c.start_all();
  REQUIRE(c.wait_serving(0));
  REQUIRE(c.wait_in_sync(0, 1));
}

/// The last block can be written, and that block is on all copies, as is everything else.
void check_grown(Cluster& c, size_t primary, const std::vector<size_t>& replicas, uint64_t bytes) {
  c.note_size(bytes);
  const uint64_t value = c.model.new_value();
  const uint64_t begun = c.model.tick();
  for (uint64_t cell = (bytes - 4096) / 512; cell < bytes / 512; ++cell) c.model.write_begun(cell, value, false, begun);
  REQUIRE(c.request(primary, RequestKind::kWrite, bytes - 4096, 4096, value) == RequestError::kNone);
  for (uint64_t cell = (bytes - 4096) / 512; cell < bytes / 512; ++cell) c.model.write_acknowledged(cell, value, c.model.tick(), false);
  c.read_back(primary);
  for (const size_t replica : replicas) {
    REQUIRE(c.wait_in_sync(primary, replica));
    REQUIRE(c.run_until([&] { return c.status(replica).written_lsn == c.status(primary).wal_head; }, 5 * kSecond));
    CHECK(has_size(c, replica, bytes));
  }
  CHECK(has_size(c, primary, bytes));
  c.check_logs();
  c.stop(primary);
  for (const size_t replica : replicas) c.stop(replica);
  for (const size_t replica : replicas) c.check_images_equal(primary, replica);
}

}  // namespace

TEST_CASE("sim_resize: a volume gets larger under load, and is that after a restart", "[sim][repl][resize]") {
  for_seeds(1, 3, [](uint64_t seed) {
    const size_t nodes = seed % 2 == 0 ? 3 : 2;
    Cluster c({.seed = seed, .nodes = nodes, .durability = seed == 2 ? Durability::kSyncQuorum : Durability::kSyncAll});
    start_growing_pair(c);
    for (size_t i = 1; i < nodes; ++i) REQUIRE(c.wait_in_sync(0, i));
    c.begin_load(0);
    c.run_for(20 * kMillisecond);
    check_taken(c, order_size(c, 0, kGrown / 2 / 4096 * 4096));
    check_taken(c, order_size(c, 0, kGrown));
    for (size_t i = 0; i < nodes; ++i) CHECK(has_size(c, i, kGrown));
    // Nobody had to connect again.
    CHECK(c.session_kind(0, 1) == "keepup");
    CHECK(c.in_sync_on_disk(0).size() == nodes - 1);
    c.note_size(kGrown);
    c.run_for(50 * kMillisecond);
    c.end_load();
    c.read_back(0);
    for (size_t i = nodes; i > 0; --i) c.kill(i - 1);
    // The configuration says what it said before.
    for (size_t i = 0; i < nodes; ++i) c.start(i);
    REQUIRE(c.wait_serving(0));
    c.read_back(0);
    std::vector<size_t> replicas{1};
    if (nodes == 3) replicas.push_back(2);
    check_grown(c, 0, replicas, kGrown);
  });
}

TEST_CASE("sim_resize: the primary is the last that grows", "[sim][repl][resize]") {
  Cluster c({.seed = 5});
  start_growing_pair(c);
  const uint64_t hold = c.sim(1).disk().hold({.kind = SimOpKind::kFlush, .path = "superblock"});
  const Answer answer = order_size(c, 0, kGrown);
  c.run_for(200 * kMillisecond);
  CHECK(c.sim(1).disk().held(hold) > 0);
  CHECK_FALSE(answer->has_value());
  CHECK(c.status(0).size == kMade);
  CHECK(size_on_disk(c, 0) == kMade);
  CHECK(c.volume(0).size_bytes() == kMade);
  // One at a time.
  check_refused(c, order_size(c, 0, kGrown * 2), Errc::kBusy, "volume vol0 is being made larger already");
  c.sim(1).disk().release(hold);
  check_taken(c, answer);
  check_grown(c, 0, {1}, kGrown);
}

TEST_CASE("sim_resize: what cannot be is refused, and nothing has changed", "[sim][repl][resize]") {
  Cluster c({.seed = 6});
  start_growing_pair(c);
  check_refused(c, order_size(c, 0, kMade - 4096), Errc::kInvalid, "volume vol0 has 2097152 bytes and cannot be made smaller");
  check_refused(c, order_size(c, 1, kGrown), Errc::kNotPermitted, "volume vol0 is replica here; its primary makes it larger");
  check_taken(c, order_size(c, 0, kMade));  // what it has already
  // The primary has no room: its replica is not asked.
  c.sim(0).disk().add_fault({.match = {.kind = SimOpKind::kWrite, .path = "base"}, .error = ENOSPC});
  check_refused(c, order_size(c, 0, kGrown), Errc::kNoSpace, "the base image /data/vol0/base cannot have 5242880 bytes");
  CHECK(c.sim(1).disk().file_bytes(Cluster::directory() + "/base") == kMade);
  // Its replica has none.
  c.sim(1).disk().add_fault({.match = {.kind = SimOpKind::kZero, .path = "base"}, .error = ENOSPC});
  check_refused(c, order_size(c, 0, kGrown), Errc::kNotPermitted, "volume vol0 stays at 2097152 bytes: replica n2: volume vol0: zeroing the base image");
  for (const size_t node : {0u, 1u}) CHECK(has_size(c, node, kMade));
  CHECK(c.session_kind(0, 1) == "keepup");
  check_taken(c, order_size(c, 0, kGrown));
  check_grown(c, 0, {1}, kGrown);
}

TEST_CASE("sim_resize: a replica that is away and counts is waited for, one that does not follows when it is back", "[sim][repl][resize]") {
  for_seeds(1, 2, [](uint64_t seed) {
    Cluster c({.seed = seed});
    start_growing_pair(c);
    c.begin_load(0);
    c.run_for(20 * kMillisecond);
    c.kill(1);
    REQUIRE(c.run_until([&] { return !c.replica_status(0, 1).connected; }, 5 * kSecond));
    check_refused(c, order_size(c, 0, kGrown), Errc::kNotPermitted, "replica n2 of volume vol0 counts for durability and is not connected");
    REQUIRE(c.run_until([&] { return !c.replica_status(0, 1).in_sync; }, 10 * kSecond));
    check_taken(c, order_size(c, 0, kGrown));
    CHECK(size_on_disk(c, 1) == kMade);
    c.note_size(kGrown);
    c.run_for(30 * kMillisecond);
    c.start(1);
    REQUIRE(c.wait_in_sync(0, 1));
    CHECK(c.session_kind(0, 1) == "keepup");
    c.end_load();
    check_grown(c, 0, {1}, kGrown);
  });
}

TEST_CASE("sim_resize: a replica that cannot follow says why, and does when it can", "[sim][repl][resize]") {
  Cluster c({.seed = 9});
  start_growing_pair(c);
  c.kill(1);
  REQUIRE(c.request(0, RequestKind::kWrite, 0, 4096, c.model.new_value()) == RequestError::kNone);
  check_taken(c, order_size(c, 0, kGrown));
  const uint64_t fault = c.sim(1).disk().add_fault({.match = {.kind = SimOpKind::kWrite, .path = "base"}, .error = ENOSPC, .forever = true});
  c.start(1);
  c.run_for(3 * kSecond);
  CHECK_FALSE(c.replica_status(0, 1).in_sync);
  INFO(c.replica_status(0, 1).session->reason);
  CHECK(c.replica_status(0, 1).session->reason.find("the base image /data/vol0/base cannot have 5242880 bytes: No space left") != std::string::npos);
  CHECK(c.status(1).size == kMade);
  c.sim(1).disk().remove_fault(fault);
  REQUIRE(c.wait_in_sync(0, 1));
  CHECK(has_size(c, 1, kGrown));
}

TEST_CASE("sim_resize: a crash of the primary at any moment leaves a volume of one size", "[sim][repl][resize]") {
  uint64_t old_ones = 0, new_ones = 0;
  // Five operations of its own, and between the first three and the last two what the replica does.
  for (uint64_t at = 1; at <= 8; ++at) {
    INFO("at operation " << at);
    Cluster c({.seed = at});
    start_growing_pair(c);
    REQUIRE(c.request(0, RequestKind::kWrite, kMade - 4096, 4096, 1, true) == RequestError::kNone);
    bool fired = false;
    c.sim(0).disk().after_operations(at, [&] { fired = true; });
    const Answer answer = order_size(c, 0, kGrown);
    REQUIRE(c.run_until([&] { return fired || answer->has_value(); }, 20 * kSecond));
    c.sim(0).disk().after_operations(0, nullptr);
    const bool told = answer->has_value();
    if (at % 2 == 0) c.power_loss(0, SimPowerLoss::kDropAll); else c.kill(0);
    CHECK((size_on_disk(c, 1) == kMade || size_on_disk(c, 1) == kGrown));
    c.start(0);
    REQUIRE(c.wait_serving(0));
    REQUIRE(c.wait_in_sync(0, 1));
    const uint64_t size = c.status(0).size;
    CHECK((size == kMade || size == kGrown));
    if (told) CHECK(size == kGrown);
    ++(size == kMade ? old_ones : new_ones);
    // Also if the replica was ahead.
    REQUIRE(c.run_until([&] { return has_size(c, 1, size); }, kSecond));
    check_taken(c, order_size(c, 0, kGrown));
    for (const size_t node : {0u, 1u}) CHECK(has_size(c, node, kGrown));
    REQUIRE(c.request(0, RequestKind::kWrite, kGrown - 4096, 4096, 2) == RequestError::kNone);
    CHECK(c.read_cell(0, kGrown / 512 - 1) == 2);
    CHECK(c.read_cell(0, kMade / 512 - 1) == 1);
    CHECK(c.read_cell(0, kMade / 512) == 0);
  }
  CHECK(old_ones >= 3);
  CHECK(new_ones >= 1);
}

TEST_CASE("sim_resize: a crash of the replica at any moment costs an answer at most", "[sim][repl][resize]") {
  uint64_t refused = 0;
  for (uint64_t at = 1; at <= 8; ++at) {
    INFO("at operation " << at);
    Cluster c({.seed = at});
    start_growing_pair(c);
    bool fired = false;
    c.sim(1).disk().after_operations(at, [&] { fired = true; });
    const Answer answer = order_size(c, 0, kGrown);
    REQUIRE(c.run_until([&] { return fired || answer->has_value(); }, 20 * kSecond));
    c.sim(1).disk().after_operations(0, nullptr);
    if (at % 2 == 0) c.power_loss(1, SimPowerLoss::kDropAll); else c.kill(1);
    REQUIRE(c.run_until([&] { return answer->has_value(); }, 20 * kSecond));
    if (answer->value().has_error()) {
      ++refused;
      CHECK(answer->value().error().message.find("volume vol0 stays at 2097152 bytes: ") == 0);
      CHECK(has_size(c, 0, kMade));
    } else {
      CHECK(has_size(c, 0, kGrown));
    }
    c.start(1);
    REQUIRE(c.wait_in_sync(0, 1));
    check_taken(c, order_size(c, 0, kGrown));
    check_grown(c, 0, {1}, kGrown);
  }
  CHECK(refused >= 3);
}

TEST_CASE("sim_resize: a promoted replica has the size, and the old primary follows", "[sim][repl][resize]") {
  for (const bool answered : {true, false}) {
    INFO((answered ? "after the answer" : "before"));
    Cluster c({.seed = answered ? 3u : 4u});
    start_growing_pair(c);
    // What the primary has of it when it ends: all, or just the room.
    const uint64_t hold = answered ? 0 : c.sim(0).disk().hold({.kind = SimOpKind::kWrite, .path = "superblock"});
    const Answer answer = order_size(c, 0, kGrown);
    if (answered) {
      check_taken(c, answer);
      REQUIRE(c.request(0, RequestKind::kWrite, kGrown - 4096, 4096, 2) == RequestError::kNone);
    } else {
      REQUIRE(c.run_until([&] { return c.sim(0).disk().held(hold) > 0 && has_size(c, 1, kGrown); }, 5 * kSecond));
    }
    c.kill(0);
    c.kill(1);
    if (!answered) c.sim(0).disk().release(hold);
    c.assignment(1).role = Role::kPrimary;
    c.assignment(1).epoch = Epoch(2);
    c.assignment(1).replicas = {0};
    c.assignment(0).role = Role::kReplica;
    c.assignment(0).replicas = {};
    c.start(1);
    REQUIRE(c.wait_serving(1));
    CHECK(c.status(1).size == kGrown);
    CHECK(c.read_cell(1, kGrown / 512 - 1) == (answered ? 2 : 0));
    c.start(0);
    REQUIRE(c.wait_in_sync(1, 0));
    CHECK(has_size(c, 0, kGrown));
    CHECK(c.session_kind(1, 0) == "keepup");
  }
}

TEST_CASE("sim_resize: a volume does not grow while a replica is rebuilt", "[sim][repl][resize]") {
  Cluster c({.seed = 7});
  start_growing_pair(c);
  REQUIRE(c.request(0, RequestKind::kWrite, 0, 4096, 7) == RequestError::kNone);
  const uint64_t hold = c.sim(1).disk().hold({.kind = SimOpKind::kWrite, .path = "base"});
  std::optional<Status> ordered;
  c.volume(0).rebuild("n2", true, [&](const Status& status) { ordered = status; });
  REQUIRE(c.run_until([&] { return rebuilding(c) && c.sim(1).disk().held(hold) > 0; }, 20 * kSecond));
  check_refused(c, order_size(c, 0, kGrown), Errc::kNotPermitted, "replica n2 of volume vol0 is being rebuilt; wait for that, or cancel it");
  c.sim(1).disk().release(hold);
  REQUIRE(c.wait_in_sync(0, 1));
  check_taken(c, order_size(c, 0, kGrown));
  CHECK(has_size(c, 1, kGrown));
}

TEST_CASE("sim_resize: a rebuild that begins meanwhile begins again, of the larger volume", "[sim][repl][resize]") {
  Cluster c({.seed = 8, .nodes = 3, .replica_timeout = 5 * kSecond});
  c.configure_pair();
  c.start(0);
  c.start(1);
  REQUIRE(c.wait_serving(0));
  REQUIRE(c.wait_in_sync(0, 1));
  REQUIRE(c.run_until([&] { return !c.replica_status(0, 2).in_sync; }, 10 * kSecond));
  // The log does not reach back to what n3, which is blank, lacks.
  c.load.options().cells_max = 24;
  c.begin_load(0);
  REQUIRE(c.run_until([&] { return c.status(0).wal_tail > 100; }, 600 * kSecond));
  const uint64_t hold = c.sim(1).disk().hold({.kind = SimOpKind::kFlush, .path = "superblock"});
  const Answer answer = order_size(c, 0, kGrown);
  c.run_for(50 * kMillisecond);
  const uint64_t slow = c.sim(2).disk().hold({.kind = SimOpKind::kWrite, .path = "base"});
  c.start(2);
  REQUIRE(c.run_until([&] { return rebuilding(c, 2) && c.sim(2).disk().held(slow) > 0; }, 20 * kSecond));
  CHECK_FALSE(answer->has_value());
  c.sim(1).disk().release(hold);
  check_taken(c, answer);
  c.note_size(kGrown);
  c.run_for(20 * kMillisecond);
  c.sim(2).disk().release(slow);
  REQUIRE(c.wait_in_sync(0, 2));
  c.end_load();
  check_grown(c, 0, {1, 2}, kGrown);
}

TEST_CASE("sim_resize: a replica that was called before the volume grew is called again, and follows", "[sim][repl][resize]") {
  // The connection ends after the replica has grown, and is made anew before its primary has.
  Cluster c({.seed = 11});
  start_growing_pair(c);
  const uint64_t hold = c.sim(0).disk().hold({.kind = SimOpKind::kWrite, .path = "superblock"});
  const Answer answer = order_size(c, 0, kGrown);
  REQUIRE(c.run_until([&] { return c.sim(0).disk().held(hold) > 0 && has_size(c, 1, kGrown); }, 5 * kSecond));
  REQUIRE(c.volume(0).move_replica("n2", "n2:7999").has_value());
  c.run_for(20 * kMillisecond);
  REQUIRE(c.volume(0).move_replica("n2", c.address(1)).has_value());
  // It is told of the size that is decided, not of the one of now: it counts, and may be promoted.
  REQUIRE(c.run_until([&] { return c.status(1).size == kGrown && c.session_kind(0, 1) == "keepup"; }, 5 * kSecond));
  c.sim(0).disk().release(hold);
  check_taken(c, answer);
  REQUIRE(c.run_until([&] { return has_size(c, 1, kGrown); }, 5 * kSecond));
  check_grown(c, 0, {1}, kGrown);
}

TEST_CASE("sim_resize: a replica that counts and has come back meanwhile is asked again, or the order is refused", "[sim][repl][resize]") {
  Cluster c({.seed = 12, .nodes = 3});
  start_growing_pair(c);
  REQUIRE(c.wait_in_sync(0, 2));
  const uint64_t hold = c.sim(2).disk().hold({.kind = SimOpKind::kFlush, .path = "superblock"});
  const Answer answer = order_size(c, 0, kGrown);
  REQUIRE(c.run_until([&] { return c.sim(2).disk().held(hold) > 0 && has_size(c, 1, kGrown); }, 5 * kSecond));
  c.run_for(20 * kMillisecond);
  // It has said so. The other one is waited for still, so this one takes its growth back.
  REQUIRE(c.volume(0).move_replica("n2", "n2:7999").has_value());
  c.run_for(20 * kMillisecond);
  REQUIRE(c.volume(0).move_replica("n2", c.address(1)).has_value());
  REQUIRE(c.run_until([&] { return c.status(1).size == kMade && c.session_kind(0, 1) == "keepup"; }, 5 * kSecond));
  c.sim(2).disk().release(hold);
  check_refused(c, answer, Errc::kBusy, "volume vol0 stays at 2097152 bytes: the session with replica n2 has ended meanwhile; try again");
  // Nor does the other one keep it: it may be promoted, and not everybody may have room.
  REQUIRE(c.run_until([&] { return c.status(2).size == kMade && c.session_kind(0, 1) == "keepup" && c.session_kind(0, 2) == "keepup"; }, 5 * kSecond));
  check_taken(c, order_size(c, 0, kGrown));
  check_grown(c, 0, {1, 2}, kGrown);
}

TEST_CASE("sim_resize: what a replica that is there has no room for is refused, also while it does not count", "[sim][repl][resize]") {
  Cluster c({.seed = 15, .nodes = 3});
  start_growing_pair(c);
  REQUIRE(c.wait_in_sync(0, 2));
  c.kill(2);
  REQUIRE(c.run_until([&] { return !c.replica_status(0, 2).in_sync; }, 10 * kSecond));
  REQUIRE(c.request(0, RequestKind::kWrite, 0, 4096, 7) == RequestError::kNone);
  // It stays behind, connected, and does not count before it has everything.
  const uint64_t hold = c.sim(2).disk().hold({.kind = SimOpKind::kWrite, .path = "wal"});
  c.sim(2).disk().add_fault({.match = {.kind = SimOpKind::kZero, .path = "base"}, .error = ENOSPC});
  c.start(2);
  REQUIRE(c.run_until([&] { return c.sim(2).disk().held(hold) > 0; }, 10 * kSecond));
  REQUIRE_FALSE(c.replica_status(0, 2).in_sync);
  check_refused(c, order_size(c, 0, kGrown), Errc::kNotPermitted, "volume vol0 stays at 2097152 bytes: replica n3: volume vol0: zeroing the base image");
  c.sim(2).disk().release(hold);
  REQUIRE(c.wait_in_sync(0, 2));
  REQUIRE(c.run_until([&] { return has_size(c, 0, kMade) && has_size(c, 1, kMade) && has_size(c, 2, kMade); }, 5 * kSecond));
}

TEST_CASE("sim_resize: a primary that is fenced while its copy grows does not say that the volume did", "[sim][repl][resize]") {
  Cluster c({.seed = 16});
  start_growing_pair(c);
  const uint64_t hold = c.sim(0).disk().hold({.kind = SimOpKind::kWrite, .path = "superblock"});
  const Answer answer = order_size(c, 0, kGrown);
  REQUIRE(c.run_until([&] { return c.sim(0).disk().held(hold) > 0 && has_size(c, 1, kGrown); }, 5 * kSecond));
  const Answer promoted = give(c, 1, order(Role::kPrimary, 2, core::Authority::kForced, std::vector<core::ReplicaAddress>{{"n1", c.address(0)}}));
  REQUIRE(c.run_until([&] { return !c.volume(0).refusal().empty(); }, 5 * kSecond));
  CHECK_FALSE(answer->has_value());
  c.sim(0).disk().release(hold);
  check_refused(c, answer, Errc::kNotPermitted, "volume vol0 is not primary here any more");
  check_taken(c, promoted);
  REQUIRE(c.wait_in_sync(1, 0));
  for (const size_t node : {0u, 1u}) CHECK(has_size(c, node, kGrown));
}

TEST_CASE("sim_resize: where a majority is what writes need, a volume does not grow without one", "[sim][repl][resize]") {
  Cluster c({.seed = 14, .nodes = 3, .durability = Durability::kSyncQuorum});
  start_growing_pair(c);
  REQUIRE(c.wait_in_sync(0, 2));
  c.kill(1);
  c.kill(2);
  REQUIRE(c.run_until([&] { return !c.replica_status(0, 1).in_sync && !c.replica_status(0, 2).in_sync; }, 10 * kSecond));
  check_refused(c, order_size(c, 0, kGrown), Errc::kNotPermitted, "1 of 3 copies can become larger now, which is no majority");
  CHECK(c.status(0).size == kMade);
  c.start(1);
  REQUIRE(c.wait_in_sync(0, 1));
  check_taken(c, order_size(c, 0, kGrown));
  c.note_size(kGrown);
  c.start(2);
  REQUIRE(c.wait_in_sync(0, 2));
  check_grown(c, 0, {1, 2}, kGrown);
}

TEST_CASE("sim_resize: a replica that is ahead of its primary has its size after a rebuild, too", "[sim][repl][resize]") {
  Cluster c({.seed = 13});
  start_growing_pair(c);
  for (uint64_t i = 0; i < 20; ++i) REQUIRE(c.request(0, RequestKind::kWrite, i * kBlockBytes, kBlockBytes, c.model.new_value(), true) == RequestError::kNone);
  const uint64_t hold = c.sim(0).disk().hold({.kind = SimOpKind::kWrite, .path = "superblock"});
  static_cast<void>(order_size(c, 0, kGrown));
  REQUIRE(c.run_until([&] { return c.sim(0).disk().held(hold) > 0 && has_size(c, 1, kGrown); }, 5 * kSecond));
  c.power_loss(0, SimPowerLoss::kDropAll);
  c.sim(0).disk().release(hold);
  c.kill(1);
  // Only a rebuild helps a copy whose log is damaged.
  for (uint64_t block = 0; block < 6; ++block) c.sim(1).disk().flip_bit(Cluster::directory() + "/wal", block * kBlockBytes + 100, 3);
  c.start(1);
  CHECK(c.status(1).mode == "needs_rebuild");
  CHECK(c.status(1).size == kGrown);
  c.start(0);
  REQUIRE(c.wait_in_sync(0, 1));
  CHECK(c.status(0).size == kMade);
  CHECK(c.status(1).size == kMade);
  // Less than it has had.
  check_taken(c, order_size(c, 0, kGrown - kBlockBytes));
  for (const size_t node : {0u, 1u}) CHECK(has_size(c, node, kGrown - kBlockBytes));
  REQUIRE(c.request(0, RequestKind::kWrite, kGrown - 2 * kBlockBytes, kBlockBytes, 77) == RequestError::kNone);
  CHECK(c.read_cell(0, kGrown / kCellBytes - 9) == 77);
}

TEST_CASE("sim_resize: what a primary asks for holds for all sessions of its connection", "[sim][repl][resize]") {
  FakePrimary f(1);
  f.session_with(2);
  f.peer.send(MessageType::kGrow, Grow{kGrown});
  const auto message = f.peer.expect(MessageType::kGrowAck);
  REQUIRE(message.has_value());
  CHECK(decode_grow_ack(message->payload).value() == GrowAck{kGrown, ""});
  // In there is a record now.
  f.peer.send_record(f.term, Lsn(3), Lba(kGrown / 4096 - 1), 7, FakePrimary::at(3));
  REQUIRE(f.written(3));
  f.start(Lsn(3), f.one, SessionId(2));
  REQUIRE(f.peer.expect(MessageType::kSessionAck).has_value());
  CHECK(has_size(f.c, 1, kGrown));
  f.peer.send_record(f.term, Lsn(4), Lba(kGrown / 4096 - 1), 8, FakePrimary::at(4));
  REQUIRE(f.written(4));
}

TEST_CASE("sim_resize: a replica that is ahead of its primary comes back to its size; an older primary makes nothing larger", "[sim][repl][resize]") {
  FakePrimary f(2);
  f.session_with(2);
  f.peer.send(MessageType::kGrow, Grow{kGrown});
  REQUIRE(f.peer.expect(MessageType::kGrowAck).has_value());
  // The primary has not grown when it calls again.
  f.peer.hang_up();
  f.hello();
  CHECK(f.facts().durable == Lsn(2));
  f.start(Lsn(2), f.one);
  REQUIRE(f.peer.expect(MessageType::kSessionAck).has_value());
  CHECK(has_size(f.c, 1, kMade));
  // Never below what it was made with.
  f.peer.hang_up();
  f.hello(kMade / 2);
  const auto reject = f.peer.reject();
  REQUIRE(reject.has_value());
  CHECK(reject->text == "the copy here has 2097152 bytes, the volume 1048576");
  // Another one has its promise.
  f.peer.epoch = Epoch(2);
  f.hello();
  REQUIRE(f.peer.expect(MessageType::kWelcome).has_value());
  f.peer.hang_up();
  f.peer.epoch = Epoch(1);
  f.hello(kGrown);
  f.check_refused(Reason::kEpochMismatch, 2);
  f.c.run_for(kSecond);
  CHECK(has_size(f.c, 1, kMade));
  // Of this one it does.
  f.peer.epoch = Epoch(2);
  f.hello(kGrown);
  f.check_refused(Reason::kNotReady, 2);
  REQUIRE(f.c.run_until([&] { return has_size(f.c, 1, kGrown); }, kSecond));
}

TEST_CASE("sim_resize: a replica of an older version is told so", "[sim][repl][resize]") {
  FakeReplica f(3);
  f.facts();
  f.accept_session();
  REQUIRE(f.peer.expect(MessageType::kWalData).has_value());
  f.ack(1, 1);
  REQUIRE(f.c.wait_serving(0));
  CHECK(f.c.replica_status(0, 1).in_sync);
  check_refused(f.c, order_size(f.c, 0, kGrown), Errc::kNotPermitted, "replica n2: its daemon is of a version that cannot do it");
  CHECK(has_size(f.c, 0, kMade));
}
