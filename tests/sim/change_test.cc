// What of the configuration changes while a volume runs: limits, and where replicas are found.
#include <algorithm>
#include <catch2/catch.hpp>

#include "orders.h"
#include "rebuilds.h"

using namespace ringbolt;
using namespace ringbolt::sim;
using io::kMillisecond;
using io::kSecond;

namespace {

constexpr io::Nanos kLostAfter = 400 * kMillisecond;
const std::string kNowhere = "n2:7999";

Status found_at(Cluster& c, const std::string& address) { return c.volume(0).move_replica("n2", address); }

}  // namespace

TEST_CASE("sim_change: a replica that is found elsewhere goes on from where it was", "[sim][repl][reload]") {
  for_seeds(1, 8, [](uint64_t seed) {
    Cluster c({.seed = seed});
    c.configure_pair();
    c.start_all();
    REQUIRE(c.wait_serving(0));
    REQUIRE(c.wait_in_sync(0, 1));
    c.begin_load(0);
    c.run_for(static_cast<io::Nanos>(seed) * 7 * kMillisecond);
    // In the middle of everything: also while it connects, greets, or waits to try again.
    REQUIRE(found_at(c, kNowhere).has_value());
    CHECK(c.replica_status(0, 1).address == kNowhere);
    c.run_for(static_cast<io::Nanos>(seed) * 13 * kMillisecond);
    REQUIRE(found_at(c, kNowhere).has_value());  // again changes nothing
    REQUIRE(found_at(c, c.address(1)).has_value());
    REQUIRE(c.wait_in_sync(0, 1));
    CHECK(c.session_kind(0, 1) != "rebuild");
    c.end_load();
    c.read_back(0);
    REQUIRE(c.run_until([&] { return c.status(1).written_lsn == c.status(0).wal_head; }, 5 * kSecond));
    c.check_logs();
    c.stop(0);
    c.stop(1);
    c.check_images_equal(0, 1);
  });
}

TEST_CASE("sim_change: a move within the timeout costs the replica nothing", "[sim][repl][reload]") {
  Cluster c({.seed = 2});
  c.configure_pair();
  c.start_all();
  REQUIRE(c.wait_serving(0));
  REQUIRE(c.wait_in_sync(0, 1));
  CHECK(c.request(0, RequestKind::kWrite, 0, 4096, 5) == RequestError::kNone);
  REQUIRE(found_at(c, kNowhere).has_value());
  c.run_for(50 * kMillisecond);
  REQUIRE(found_at(c, c.address(1)).has_value());
  CHECK(c.request(0, RequestKind::kWrite, 0, 4096, 6) == RequestError::kNone);
  REQUIRE(c.wait_in_sync(0, 1));
  CHECK(c.replica_status(0, 1).address == c.address(1));
  // It never left the set: it was waited for.
  CHECK(contains(c.in_sync_on_disk(0), "n2"));
}

TEST_CASE("sim_change: an address holds when the role is entered anew, and what is assigned at run time wins over it", "[sim][repl][reload]") {
  Cluster c({.seed = 3});
  c.configure_pair();
  c.start_all();
  REQUIRE(c.wait_serving(0));
  REQUIRE(c.wait_in_sync(0, 1));
  REQUIRE(found_at(c, kNowhere).has_value());
  CHECK(c.volume(0).move_replica("n9", kNowhere).error().code == Errc::kNotPermitted);
  // An order that does not mention replicas keeps them as they are, and that is where they are.
  check_taken(c, give(c, 0, order(Role::kPrimary, 2)));
  REQUIRE(c.wait_serving(0));
  CHECK(c.replica_status(0, 1).address == kNowhere);
  const Status refused = found_at(c, c.address(1));
  REQUIRE(refused.has_error());
  CHECK(refused.error().code == Errc::kNotPermitted);
  CHECK(refused.error().message == "the assignment given at run time (primary of epoch 2, change 1) is in force");
  CHECK(c.replica_status(0, 1).address == kNowhere);
  // Only another order moves it now.
  check_taken(c, give(c, 0, order(Role::kPrimary, 2, core::Authority::kAssigned, std::vector<core::ReplicaAddress>{{c.name(1), c.address(1)}})));
  REQUIRE(c.wait_in_sync(0, 1));
}

TEST_CASE("sim_change: another timeout holds for replicas that are lost from then on", "[sim][repl][reload]") {
  Cluster c({.seed = 4, .replica_timeout = 3600 * kSecond});
  c.configure_pair();
  c.start_all();
  REQUIRE(c.wait_serving(0));
  REQUIRE(c.wait_in_sync(0, 1));
  c.kill(1);
  CHECK_FALSE(c.request(0, RequestKind::kWrite, 0, 4096, 5, false, 5 * kSecond).has_value());
  CHECK(c.replica_status(0, 1).in_sync);
  c.volume(0).change(kLostAfter, false, 50);
  REQUIRE(c.run_until([&] { return !c.replica_status(0, 1).in_sync; }, 5 * kLostAfter));
  CHECK(c.request(0, RequestKind::kWrite, 0, 4096, 6) == RequestError::kNone);
}

TEST_CASE("sim_change: with another when_lost writes wait for a lost replica, or wait no more", "[sim][repl][reload]") {
  Cluster c({.seed = 5});
  c.configure_pair();
  c.start_all();
  REQUIRE(c.wait_serving(0));
  REQUIRE(c.wait_in_sync(0, 1));
  c.volume(0).change(kLostAfter, true, 50);
  c.kill(1);
  CHECK_FALSE(c.request(0, RequestKind::kWrite, 0, 4096, 5, false, 10 * kLostAfter).has_value());
  CHECK(c.replica_status(0, 1).in_sync);
  c.volume(0).change(kLostAfter, false, 50);
  REQUIRE(c.run_until([&] { return !c.replica_status(0, 1).in_sync; }, 5 * kLostAfter));
  CHECK(c.request(0, RequestKind::kWrite, 0, 4096, 6) == RequestError::kNone);
}

TEST_CASE("sim_change: a replica's own timeout changes, too", "[sim][repl][reload]") {
  Cluster c({.seed = 6, .replica_timeout = 3600 * kSecond});
  c.configure_pair();
  c.start_all();
  REQUIRE(c.wait_serving(0));
  REQUIRE(c.wait_in_sync(0, 1));
  c.world.net().partition("n1", "n2");
  c.run_for(10 * kSecond);
  CHECK(c.status(1).mode == "replica_ready");  // it has heard nothing, and waits
  c.volume(1).change(kLostAfter, false, 50);
  CHECK(c.run_until([&] { return c.status(1).mode != "replica_ready"; }, 10 * kLostAfter));
}
