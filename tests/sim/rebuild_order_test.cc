// An operator's orders for rebuilds, as a volume takes them.
#include <catch2/catch.hpp>

#include "cluster.h"

using namespace ringbolt;
using namespace ringbolt::sim;
using io::kMillisecond;
using io::kSecond;

namespace {

/// What becomes of the order; it is answered before anything else of it is seen.
Status order(Cluster& c, size_t node, const std::string& replica, bool wanted) {
  std::optional<Status> answer;
  c.volume(node).rebuild(replica, wanted, [&](const Status& status) { answer.emplace(status); });
  REQUIRE(c.run_until([&] { return answer.has_value(); }, kSecond));
  return *answer;
}

std::unique_ptr<Cluster> healthy_pair(uint64_t seed) {
  auto c = std::make_unique<Cluster>(ClusterOptions{.seed = seed});
  c->configure_pair();
  c->start_all();
  REQUIRE(c->wait_serving(0));
  REQUIRE(c->wait_in_sync(0, 1));
  return c;
}

bool is_ordered(const Cluster& c) { return c.replica_status(0, 1).rebuild_order == RebuildOrderStatus::kOrdered; }

}  // namespace

TEST_CASE("sim_rebuild: an order is refused where there is no such replica, or no primary", "[sim][repl][rebuild]") {
  for_seeds(1, 2, [](uint64_t seed) {
    const auto c = healthy_pair(seed);
    for (const bool wanted : {true, false}) {
      const Status nobody = order(*c, 0, "n9", wanted);
      REQUIRE(nobody.has_error());
      CHECK(nobody.error().code == Errc::kNotFound);
      CHECK(nobody.error().message == "volume vol0 has no replica \"n9\"");
      const Status replica = order(*c, 1, "n2", wanted);
      REQUIRE(replica.has_error());
      CHECK(replica.error().code == Errc::kNotPermitted);
      CHECK(replica.error().message == "volume vol0 is replica here; its primary decides on rebuilds");
    }
    CHECK(c->replica_status(0, 1).rebuild_order == RebuildOrderStatus::kNone);
    CHECK(c->status(0).healthy);
  });
}

TEST_CASE("sim_rebuild: an order ends the session that goes on, and a rebuild is what follows", "[sim][repl][rebuild]") {
  for_seeds(1, 4, [](uint64_t seed) {
    const auto c = healthy_pair(seed);
    const auto before = c->replica_status(0, 1).session->id;
    REQUIRE(order(*c, 0, "n2", true).has_value());
    CHECK(is_ordered(*c));  // already: nobody mistakes the state before for the one after
    REQUIRE(c->run_until([&] { return c->session_kind(0, 1) == "rebuild"; }, 20 * kSecond));
    const auto session = c->replica_status(0, 1).session;
    CHECK(session->id != before);
  });
}

TEST_CASE("sim_rebuild: an order that is cancelled before it was begun leaves a replica that keeps up", "[sim][repl][rebuild]") {
  for_seeds(1, 4, [](uint64_t seed) {
    const auto c = healthy_pair(seed);
    Status last = make_error(Errc::kBusy, "");
    c->volume(0).rebuild("n2", true, [](const Status&) {});
    c->volume(0).rebuild("n2", false, [&](const Status& status) { last = status; });
    REQUIRE(c->run_until([&] { return last.has_value(); }, kSecond));
    CHECK(c->replica_status(0, 1).rebuild_order == RebuildOrderStatus::kCancelled);
    REQUIRE(c->wait_in_sync(0, 1));
    c->run_for(3 * kSecond);
    CHECK(c->session_kind(0, 1) == "keepup");
    CHECK(c->status(0).healthy);
  });
}

TEST_CASE("sim_rebuild: a replica whose rebuild was cancelled says so, and is asked now and then", "[sim][repl][rebuild]") {
  for_seeds(1, 4, [](uint64_t seed) {
    const auto c = healthy_pair(seed);
    REQUIRE(order(*c, 0, "n2", false).has_value());
    CHECK(c->status(0).healthy);  // nothing to end
    // The replica's copy is gone, and the primary's log does not reach back: only a rebuild would help.
    c->kill(1);
    REQUIRE(c->run_until([&] { return !c->replica_status(0, 1).connected; }, 5 * kSecond));
    c->load.options().cells_max = 24;
    c->begin_load(0);
    REQUIRE(c->run_until([&] { return c->status(0).wal_tail > 1000; }, 600 * kSecond));
    c->end_load();
    c->start(1);
    const auto waits = [&] { return c->status(0).mode == "needs_rebuild"; };
    REQUIRE(c->run_until(waits, 20 * kSecond));
    CHECK(c->status(0).reason == "needs_rebuild: replica n2 (a rebuild was cancelled; `ringboltctl rebuild vol0 n2` begins one)");
    const uint64_t asked = c->volume(0).engine().state().find("n2")->facts->sync;
    c->run_for(10 * kSecond);
    CHECK(waits());
    const uint64_t asked_again = c->volume(0).engine().state().find("n2")->facts->sync - asked;
    CHECK(asked_again >= 3);
    CHECK(asked_again <= 10);
    REQUIRE(order(*c, 0, "n2", true).has_value());
    REQUIRE(c->run_until([&] { return c->volume(0).engine().state().find("n2")->facts->sync > asked + asked_again; }, 20 * kSecond));
    CHECK(c->status(0).reason.find("cancelled") == std::string::npos);
  });
}
