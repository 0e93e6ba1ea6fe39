// Assignments at run time, under load, on whole clusters.
#include <catch2/catch.hpp>

#include "cluster.h"

using namespace ringbolt;
using namespace ringbolt::sim;
using io::kMillisecond;
using io::kSecond;

namespace {

/// The answer to an assignment; empty if none came within `limit`.
std::optional<Status> assign(Cluster& c, size_t node, const repl::AssignmentRequest& request, io::Nanos limit = 20 * kSecond) {
  const auto answer = std::make_shared<std::optional<Status>>();
  c.volume(node).assign(request, [answer](const Status& status) { *answer = status; });
  static_cast<void>(c.run_until([&] { return answer->has_value(); }, limit));
  return *answer;
}

repl::AssignmentRequest request(Role role, uint64_t epoch) {
  repl::AssignmentRequest r;
  r.role = role;
  r.epoch = Epoch(epoch);
  return r;
}

repl::AssignmentRequest primary(const Cluster& c, uint64_t epoch, const std::vector<size_t>& replicas,
                                core::Authority authority = core::Authority::kAssigned) {
  repl::AssignmentRequest r = request(Role::kPrimary, epoch);
  r.replicas.emplace();
  for (const size_t replica : replicas) r.replicas->push_back({c.name(replica), c.address(replica)});
  r.authority = authority;
  return r;
}

void check_taken(const std::optional<Status>& answer) {
  REQUIRE(answer.has_value());
  INFO((answer->has_value() ? "" : answer->error().message));
  REQUIRE(answer->has_value());
}

void check_refused(const std::optional<Status>& answer, Errc code, const std::string& words) {
  REQUIRE(answer.has_value());
  REQUIRE_FALSE(answer->has_value());
  INFO(answer->error().message);
  CHECK(answer->error().code == code);
  CHECK(answer->error().message.find(words) != std::string::npos);
}

}  // namespace

TEST_CASE("sim_assign: replicas come, go and come again under load, and the epoch is raised", "[sim][repl]") {
  for_seeds(1, 6, [](uint64_t seed) {
    Cluster c({.seed = seed, .nodes = 3, .wal_bytes = 32u << 20});
    c.load.options().cells_max = 24;
    c.assignment(0).role = Role::kPrimary;
    c.assignment(0).replicas = {1};
    c.start_all();
    REQUIRE(c.wait_serving(0));
    REQUIRE(c.wait_in_sync(0, 1));
    c.begin_load(0);
    check_taken(assign(c, 0, primary(c, 1, {1, 2})));
    REQUIRE(c.wait_in_sync(0, 2));
    check_taken(assign(c, 0, primary(c, 1, {2})));
    CHECK(c.status(0).replicas.size() == 1);
    CHECK(c.in_sync_on_disk(0) == std::vector<std::string>{"n3"});
    check_taken(assign(c, 0, primary(c, 1, {2, 1})));
    REQUIRE(c.wait_in_sync(0, 1));
    const uint64_t before = c.load.writes_answered();
    check_taken(assign(c, 0, request(Role::kPrimary, 5)));
    CHECK(c.status(0).epoch == 5);
    REQUIRE(c.wait_in_sync(0, 1));
    REQUIRE(c.wait_in_sync(0, 2));
    c.run_for(20 * kMillisecond);
    CHECK(c.load.writes_answered() > before);
    // The same again changes nothing: the sessions go on.
    const auto session = c.replica_status(0, 1).session->id;
    check_taken(assign(c, 0, primary(c, 5, {2, 1})));
    CHECK(c.replica_status(0, 1).session->id == session);
    check_refused(assign(c, 0, primary(c, 4, {1})), Errc::kStaleEpoch, "5");
    c.end_load();
    c.read_back(0);
    c.stop(0);
    c.stop(1);
    c.stop(2);
    c.check_logs();
    c.check_images_equal(0, 1);
    c.check_images_equal(0, 2);
  });
}

TEST_CASE("sim_assign: an epoch raised while connections end and begin leaves no session of the old one behind", "[sim][repl]") {
  for_seeds(1, 12, [](uint64_t seed) {
    Cluster c({.seed = seed, .wal_bytes = 32u << 20});
    c.load.options().cells_max = 24;
    c.configure_pair();
    c.start_all();
    REQUIRE(c.wait_serving(0));
    REQUIRE(c.wait_in_sync(0, 1));
    c.begin_load(0);
    for (uint64_t epoch = 2; epoch < 10; ++epoch) {
      INFO("epoch " << epoch);
      // For less than the replica's timeout: at this load a replica outside the set would soon need a rebuild.
      c.world.net().partition("n1", "n2");
      c.run_for(static_cast<io::Nanos>(c.world.random().below(300 * kMillisecond)));
      c.world.net().heal_all();
      c.run_for(static_cast<io::Nanos>(c.world.random().below(40 * kMillisecond)));
      check_taken(assign(c, 0, request(Role::kPrimary, epoch)));
      if (epoch % 3 == 0) REQUIRE(c.wait_in_sync(0, 1));
    }
    REQUIRE(c.wait_in_sync(0, 1));
    CHECK(c.status(0).healthy);
    c.end_load();
    c.read_back(0);
    c.stop(0);
    c.stop(1);
    c.check_logs();
    c.check_images_equal(0, 1);
  });
}

TEST_CASE("sim_assign: a hand-over leaves one heir, who needs no force, and nothing is lost", "[sim][repl]") {
  for_seeds(1, 6, [](uint64_t seed) {
    Cluster c({.seed = seed});
    c.load.options().cells_max = 24;
    c.configure_pair();
    c.start_all();
    REQUIRE(c.wait_serving(0));
    REQUIRE(c.wait_in_sync(0, 1));
    size_t from = 0, to = 1;
    for (uint64_t epoch = 2; epoch < 6; ++epoch) {
      INFO("epoch " << epoch);
      c.begin_load(from);
      c.run_for(20 * kMillisecond);
      check_refused(assign(c, to, primary(c, epoch, {from}, core::Authority::kPromoted)), Errc::kNotPermitted, "may be stale");
      check_taken(assign(c, from, request(Role::kReplica, epoch)));
      c.abandon_load();
      CHECK(c.status(from).role == "replica");
      // It has given it away.
      check_refused(assign(c, from, primary(c, epoch + 1, {to}, core::Authority::kPromoted)), Errc::kNotPermitted, "may be stale");
      check_taken(assign(c, to, primary(c, epoch, {from}, core::Authority::kPromoted)));
      REQUIRE(c.wait_serving(to));
      c.read_back(to);
      REQUIRE(c.wait_in_sync(to, from));
      std::swap(from, to);
    }
  });
}

TEST_CASE("sim_assign: a copy whose primary died is promoted by force only, and the old one gives way", "[sim][repl]") {
  Cluster c({.seed = 3});
  c.load.options().cells_max = 24;
  c.configure_pair();
  c.start_all();
  REQUIRE(c.wait_serving(0));
  REQUIRE(c.wait_in_sync(0, 1));
  c.begin_load(0);
  c.run_for(20 * kMillisecond);
  c.kill(0);
  check_refused(assign(c, 1, primary(c, 2, {0}, core::Authority::kPromoted)), Errc::kNotPermitted, "may be stale");
  check_taken(assign(c, 1, primary(c, 2, {0}, core::Authority::kForced)));
  c.start(0);
  REQUIRE(c.wait_serving(1));
  c.read_back(1);
  REQUIRE(c.wait_in_sync(1, 0));
  CHECK(c.status(0).role == "replica");
  // It is recorded: it wins over what the configuration says.
  c.stop(0);
  c.stop(1);
  c.start(1);
  CHECK(c.status(1).role == "primary");
  CHECK(c.status(1).epoch == 2);
}

TEST_CASE("sim_assign: an old primary that gave way answers orders for the role that it has already, and later ones", "[sim][repl]") {
  for_seeds(1, 6, [](uint64_t seed) {
    Cluster c({.seed = seed});
    c.configure_pair();
    c.start_all();
    REQUIRE(c.wait_in_sync(0, 1));
    c.kill(0);
    check_taken(assign(c, 1, primary(c, 2, {}, core::Authority::kForced)));
    REQUIRE(c.wait_serving(1));
    c.start(0);
    REQUIRE(c.run_until([&] { return c.status(0).role == "replica"; }, 10 * kSecond));
    CHECK(c.status(0).epoch == 2);
    check_taken(assign(c, 0, request(Role::kReplica, 2)));
    check_taken(assign(c, 1, primary(c, 2, {0})));
    REQUIRE(c.wait_in_sync(1, 0));
    check_taken(assign(c, 0, request(Role::kNone, 3)));
    CHECK(c.status(0).role == "none");
  });
}

TEST_CASE("sim_assign: an assignment is durable before it takes effect", "[sim][repl]") {
  Cluster c({.seed = 4});
  c.configure_pair();
  c.start_all();
  REQUIRE(c.wait_serving(0));
  REQUIRE(c.wait_in_sync(0, 1));
  const uint64_t hold = c.sim(0).disk().hold({.kind = io::SimOpKind::kFlush, .path = "/superblock"});
  CHECK_FALSE(assign(c, 0, request(Role::kPrimary, 7), kSecond).has_value());
  CHECK(c.status(0).epoch == 1);
  c.sim(0).disk().release(hold);
  REQUIRE(c.run_until([&] { return c.status(0).epoch == 7; }, 10 * kSecond));
  c.power_loss(0, io::SimPowerLoss::kDropAll);
  c.start(0);
  CHECK(c.status(0).epoch == 7);
  REQUIRE(c.wait_serving(0));
}
