// A primary that leaves: who may be promoted after it without force, and that nothing acknowledged is lost then.
#include <catch2/catch.hpp>

#include "cluster.h"

using namespace ringbolt;
using namespace ringbolt::sim;
using io::kMillisecond;
using io::kSecond;

TEST_CASE("sim_handover: what is being sent to a replica that catches up stays until it is sent, also when the primary stops", "[sim][repl]") {
  for_seeds(1, 8, [](uint64_t seed) {
    Cluster c({.seed = seed, .wal_bytes = 32u << 20});
    c.load.options().cells_max = 256;
    c.load.options().reads = 0;
    c.load.options().pause_max = 4 * kMillisecond;
    c.configure_pair();
    c.start_all();
    REQUIRE(c.wait_serving(0));
    REQUIRE(c.wait_in_sync(0, 1));
    c.kill(1);
    c.begin_load(0);
    REQUIRE(c.run_until([&] { return !c.replica_status(0, 1).in_sync; }, 5 * kSecond));
    c.run_for(20 * kMillisecond);  // what is in memory only does not last that long
    c.end_load();
    c.start(1);
    REQUIRE(c.run_until([&] { return c.session_kind(0, 1) == "catchup"; }, 10 * kSecond));
    c.run_for(static_cast<io::Nanos>(c.world.random().below(2 * kMillisecond)));
    c.world.net().partition("n1", "n2");
    c.stop(0);
  });
}
