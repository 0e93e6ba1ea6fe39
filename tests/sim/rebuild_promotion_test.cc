// A copy that is about to be made anew, and an order to be primary: whichever comes first, what is being given up is never served.
#include <catch2/catch.hpp>

#include "orders.h"
#include "rebuilds.h"

using namespace ringbolt;
using namespace ringbolt::sim;
using io::kMillisecond;
using io::kSecond;
using io::SimOpKind;

namespace {

void order_rebuild_of_n2(Cluster& c) {
  std::optional<Status> answer;
  c.volume(0).rebuild("n2", true, [&](const Status& status) { answer.emplace(status); });
  REQUIRE(c.run_until([&] { return answer.has_value(); }, kSecond));
  REQUIRE(answer->has_value());
}

void pair_under_load(Cluster& c, uint64_t seed) {
  c.configure_pair();
  c.start_all();
  REQUIRE(c.wait_serving(0));
  REQUIRE(c.wait_in_sync(0, 1));
  c.load.options().depth = 16;
  c.begin_load(0);
  c.run_for(static_cast<io::Nanos>(10 + seed) * kMillisecond);
}

repl::AssignmentRequest forced_without_replicas(uint64_t epoch) {
  return order(Role::kPrimary, epoch, core::Authority::kForced, std::vector<core::ReplicaAddress>{});
}

}  // namespace

TEST_CASE("sim_rebuild_promotion: a copy whose rebuild is just beginning does not become primary", "[sim][repl][rebuild]") {
  for_seeds(1, 6, [](uint64_t seed) {
    Cluster c({.seed = seed});
    pair_under_load(c, seed);
    // A checkpoint is not done, so the mark, which comes after it, is not there yet.
    io::SimDisk& disk = c.sim(1).disk();
    const uint64_t hold = disk.hold({.kind = SimOpKind::kWrite, .path = "/base"});
    c.end_load();
    // Checkpoints of an idle volume come after a second.
    REQUIRE(c.run_until([&] { return disk.in_flight() > 0; }, 10 * kSecond));
    c.run_for(20 * kMillisecond);
    REQUIRE(disk.in_flight() > 0);
    order_rebuild_of_n2(c);
    c.run_for(200 * kMillisecond);  // it has been told; that it had begun is seen below
    REQUIRE_FALSE(marked(c, 1));
    c.kill(0);
    const Answer answer = give(c, 1, forced_without_replicas(2));
    c.run_for(20 * kMillisecond);
    disk.release(hold);
    check_refused(c, answer, Errc::kNotPermitted, "base image is marked unusable");
    REQUIRE(c.run_until([&] { return marked(c, 1); }, kSecond));
    CHECK_FALSE(c.volume(1).refusal().empty());
    CHECK(c.request(1, RequestKind::kRead, 0, 4096, 0) == RequestError::kShutdown);
  });
}

TEST_CASE("sim_rebuild_promotion: no rebuild begins of a copy that is being made primary", "[sim][repl][rebuild]") {
  for_seeds(1, 6, [](uint64_t seed) {
    Cluster c({.seed = seed});
    pair_under_load(c, seed);
    c.end_load();
    c.run_for(3 * kSecond);  // no checkpoint is under way that a rebuild would wait for
    // The order cannot be recorded yet, and meanwhile the primary wants to make that copy anew.
    io::SimDisk& disk = c.sim(1).disk();
    const uint64_t hold = disk.hold({.kind = SimOpKind::kWrite, .path = "/superblock"});
    const Answer answer = give(c, 1, forced_without_replicas(2));
    std::optional<Status> ordered;
    c.volume(0).rebuild("n2", true, [&](const Status& status) { ordered.emplace(status); });
    c.run_for(300 * kMillisecond);
    CHECK_FALSE(rebuilding(c));
    disk.release(hold);
    check_taken(c, answer);
    CHECK_FALSE(marked(c, 1));
    REQUIRE(c.wait_serving(1));
    c.read_back(1);
  });
}
