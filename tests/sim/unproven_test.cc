// Orders that say who counts: answered when what was acknowledged before is as safe as they say, however often they are repeated;
// and another order need not wait for that.
#include <catch2/catch.hpp>
#include <string>
#include <utility>
#include <vector>

#include "orders.h"

using namespace ringbolt;
using namespace ringbolt::sim;
using io::kMillisecond;
using io::kSecond;

namespace {

core::ReplicaAddress found_right(const Cluster& c, size_t node) { return {c.name(node), c.address(node)}; }
core::ReplicaAddress found_nowhere(const Cluster& c, size_t node) { return {c.name(node), c.name(node) + ":7999"}; }

repl::AssignmentRequest with_replicas(uint64_t epoch, std::vector<core::ReplicaAddress> replicas, std::optional<Durability> durability = std::nullopt,
                                      core::Authority authority = core::Authority::kAssigned) {
  repl::AssignmentRequest request = order(Role::kPrimary, epoch, authority, std::move(replicas));
  request.durability = durability;
  return request;
}

/// It is not, and time does not help.
bool stays_unanswered(Cluster& c, const Answer& answer) { return !c.run_until([&] { return answer->has_value(); }, 3 * kSecond); }

Lsn acknowledged_at(const Cluster& c, size_t node) { return Lsn(*c.status(node).committed_lsn); }

/// Node 0 is primary, of `replicas`.
void start_with(Cluster& c, const std::vector<size_t>& replicas) {
  c.assignment(0).role = Role::kPrimary;
  c.assignment(0).replicas = replicas;
  c.start(0);
  for (const size_t replica : replicas) c.start(replica);
  REQUIRE(c.wait_serving(0));
  for (const size_t replica : replicas) REQUIRE(c.wait_in_sync(0, replica));
}

/// Acknowledges writes of which `replica` knows nothing.
Lsn write_without(Cluster& c, size_t replica) {
  c.begin_load(0);
  c.run_for(20 * kMillisecond);
  c.world.net().partition(c.name(0), c.name(replica));
  const uint64_t answered = c.load.writes_answered();
  REQUIRE(c.run_until([&] { return c.load.writes_answered() > answered + 20; }, 10 * kSecond));
  return acknowledged_at(c, 0);
}

}  // namespace

TEST_CASE("sim_unproven: an order that nobody can prove gives way to the one that puts it right", "[sim][repl]") {
  Cluster c({.seed = 1, .nodes = 3, .durability = Durability::kSyncQuorum});
  start_with(c, {1});
  CHECK(c.request(0, RequestKind::kWrite, 0, 4096, 5) == RequestError::kNone);
  c.kill(1);
  const Answer mistaken = give(c, 0, with_replicas(1, {found_nowhere(c, 2)}));
  CHECK(stays_unanswered(c, mistaken));
  CHECK_FALSE(c.request(0, RequestKind::kWrite, 0, 4096, 6, false, kSecond).has_value());
  CHECK(c.status(0).why.back().find("not as safe yet") != std::string::npos);
  // What is refused takes nobody's place.
  check_refused(c, give(c, 0, order(Role::kReplica, 1)), Errc::kNotPermitted, "higher epoch");
  CHECK_FALSE(mistaken->has_value());
  check_taken(c, give(c, 0, with_replicas(1, {}, Durability::kBestEffort)));
  check_refused(c, mistaken, Errc::kSuperseded, "took its place");
  CHECK(c.request(0, RequestKind::kWrite, 4096, 4096, 7) == RequestError::kNone);
  CHECK(c.status(0).why.back().find("not as safe yet") == std::string::npos);
  check_taken(c, give(c, 0, order(Role::kNone, 2)));
  CHECK(c.volume(0).use().empty());
}

TEST_CASE("sim_unproven: a role is taken away from a primary whose order nobody can prove", "[sim][repl]") {
  Cluster c({.seed = 2, .nodes = 3, .durability = Durability::kSyncQuorum});
  start_with(c, {1});
  c.kill(1);
  const Answer mistaken = give(c, 0, with_replicas(2, {found_nowhere(c, 2)}));
  CHECK(stays_unanswered(c, mistaken));
  check_taken(c, give(c, 0, order(Role::kNone, 3)));
  check_refused(c, mistaken, Errc::kSuperseded, "took its place");
  CHECK(c.volume(0).use().empty());
}

TEST_CASE("sim_unproven: orders with as many replicas as there may be follow each other before one is proven", "[sim][repl]") {
  Cluster c({.seed = 3, .nodes = 3, .durability = Durability::kSyncQuorum});
  start_with(c, {1, 2});
  CHECK(c.request(0, RequestKind::kWrite, 0, 4096, 5) == RequestError::kNone);
  std::vector<Answer> mistaken;
  for (int i = 0; i < 10; ++i) {
    std::vector<core::ReplicaAddress> replicas;
    for (size_t j = 0; j < kReplicasMax; ++j) replicas.push_back({"x" + std::to_string(i) + std::to_string(j), "n2:7999"});
    mistaken.push_back(give(c, 0, with_replicas(1, replicas)));
  }
  const Answer right = give(c, 0, with_replicas(1, {found_right(c, 1), found_right(c, 2)}));
  check_taken(c, right);
  for (const Answer& answer : mistaken) check_refused(c, answer, Errc::kSuperseded, "took its place");
  CHECK(c.request(0, RequestKind::kWrite, 0, 4096, 6) == RequestError::kNone);
}

TEST_CASE("sim_unproven: an order that is given again is answered when it is proven, and at once from then on", "[sim][repl]") {
  Cluster c({.seed = 4, .nodes = 3, .durability = Durability::kSyncQuorum});
  start_with(c, {1});
  CHECK(c.request(0, RequestKind::kWrite, 0, 4096, 5) == RequestError::kNone);
  const Lsn acknowledged = acknowledged_at(c, 0);
  const auto wanted = with_replicas(1, {found_right(c, 2)});
  const Answer first = give(c, 0, wanted);
  CHECK(stays_unanswered(c, first));
  const Answer again = give(c, 0, wanted);
  check_refused(c, first, Errc::kSuperseded, "took its place");
  CHECK(stays_unanswered(c, again));
  c.start(2);
  check_taken(c, again);
  CHECK(Lsn(*c.status(2).durable_lsn) >= acknowledged);
  c.kill(2);
  check_taken(c, give(c, 0, wanted), kSecond);
}

TEST_CASE("sim_unproven: a restart makes no order proven", "[sim][repl]") {
  for_seeds(1, 4, [](uint64_t seed) {
    const bool all = seed % 2 == 0;
    Cluster c({.seed = seed, .nodes = 3, .durability = Durability::kSyncQuorum, .replica_timeout = 60 * kSecond});
    start_with(c, {1, 2});
    const Lsn acknowledged = write_without(c, 2);
    // Also when all that count are to have it: the one that lags is among them.
    const auto wanted = with_replicas(1, {found_right(c, 2)}, all ? Durability::kSyncAll : Durability::kSyncQuorum);
    CHECK(stays_unanswered(c, give(c, 0, wanted)));
    c.kill(0);
    c.start(0);
    const Answer again = give(c, 0, wanted);
    CHECK(stays_unanswered(c, again));
    CHECK(c.status(0).replicas.size() == 1);
    c.world.net().heal_all();
    check_taken(c, again, 120 * kSecond);
    CHECK(Lsn(*c.status(2).written_lsn) >= acknowledged);
    REQUIRE(c.wait_serving(0));
    c.read_back(0);
  });
}

TEST_CASE("sim_unproven: a promotion is answered when its term is on a majority of the copies that it names", "[sim][repl]") {
  Cluster c({.seed = 6, .nodes = 3, .durability = Durability::kSyncQuorum});
  start_with(c, {1, 2});
  c.begin_load(0);
  c.run_for(20 * kMillisecond);
  c.kill(0);
  c.kill(2);
  const auto wanted = with_replicas(2, {found_right(c, 0), found_right(c, 2)}, Durability::kSyncQuorum, core::Authority::kForced);
  CHECK(stays_unanswered(c, give(c, 1, wanted)));
  const Answer again = give(c, 1, wanted);
  CHECK(stays_unanswered(c, again));
  const Lsn term(*c.status(1).wal_head);
  c.start(2);
  check_taken(c, again);
  CHECK(Lsn(*c.status(2).durable_lsn) >= term);
  REQUIRE(c.wait_serving(1));
  c.read_back(1);
}

TEST_CASE("sim_unproven: an order that all copies are to have everything is answered when they have", "[sim][repl]") {
  for_seeds(1, 4, [](uint64_t seed) {
    const Durability before = seed % 2 == 0 ? Durability::kSyncQuorum : Durability::kBestEffort;
    Cluster c({.seed = seed, .nodes = 3, .durability = before, .replica_timeout = 60 * kSecond});
    start_with(c, {1, 2});
    const Lsn acknowledged = write_without(c, 2);
    const Answer changed = give(c, 0, with_replicas(1, {found_right(c, 1), found_right(c, 2)}, Durability::kSyncAll));
    CHECK(stays_unanswered(c, changed));
    REQUIRE(c.replica_status(0, 2).in_sync);
    c.world.net().heal_all();
    check_taken(c, changed);
    CHECK(Lsn(*c.status(2).written_lsn) >= acknowledged);
    c.end_load();
    c.read_back(0);
  });
}

TEST_CASE("sim_unproven: who counted by sync_all need not prove it for another order by sync_all", "[sim][repl]") {
  Cluster c({.seed = 8, .nodes = 3, .replica_timeout = 3600 * kSecond});
  start_with(c, {1, 2});
  CHECK(c.request(0, RequestKind::kWrite, 0, 4096, 5) == RequestError::kNone);
  c.kill(1);
  check_taken(c, give(c, 0, with_replicas(1, {found_right(c, 1)})));
  CHECK(c.replica_status(0, 1).in_sync);
}

TEST_CASE("sim_unproven: what was flushed is flushed on a majority of the others before an order removes a replica", "[sim][repl]") {
  Cluster c({.seed = 9, .nodes = 3, .durability = Durability::kSyncQuorum, .replica_timeout = 3600 * kSecond});
  start_with(c, {1, 2});
  const uint64_t hold = c.sim(2).disk().hold({.kind = io::SimOpKind::kFlush, .path = "/wal"});
  CHECK(c.request(0, RequestKind::kWrite, 0, 4096, 5, true) == RequestError::kNone);
  const Lsn flushed = acknowledged_at(c, 0);
  REQUIRE(c.run_until([&] { return Lsn(*c.status(2).written_lsn) >= flushed; }, kSecond));
  const Answer removed = give(c, 0, with_replicas(1, {found_right(c, 2)}));
  CHECK(stays_unanswered(c, removed));
  c.sim(2).disk().release(hold);
  check_taken(c, removed);
  CHECK(Lsn(*c.status(2).durable_lsn) >= flushed);
}

TEST_CASE("sim_unproven: a replica that is found elsewhere has to say what it has", "[sim][repl]") {
  Cluster c({.seed = 10, .durability = Durability::kSyncQuorum});
  start_with(c, {1});
  CHECK(c.request(0, RequestKind::kWrite, 0, 4096, 5) == RequestError::kNone);
  const Answer elsewhere = give(c, 0, with_replicas(1, {found_nowhere(c, 1)}));
  CHECK(stays_unanswered(c, elsewhere));
  check_taken(c, give(c, 0, with_replicas(1, {found_right(c, 1)})));
  check_refused(c, elsewhere, Errc::kSuperseded, "took its place");
}

TEST_CASE("sim_unproven: of a volume that nobody has written to there is nothing to prove", "[sim][repl]") {
  Cluster c({.seed = 11, .nodes = 3});
  c.assignment(0).role = Role::kNone;
  c.start(0);
  check_taken(c, give(c, 0, with_replicas(2, {found_right(c, 1), found_right(c, 2)}, Durability::kSyncQuorum)), kSecond);
  check_taken(c, give(c, 0, with_replicas(2, {found_right(c, 2), found_nowhere(c, 1)}, Durability::kSyncQuorum)), kSecond);
}
