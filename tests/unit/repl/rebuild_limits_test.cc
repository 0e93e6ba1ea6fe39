// What all rebuilds of a node share: no more of them at a time than allowed, and a cap that they divide.
#include "repl/rebuild_limits.h"

#include <catch2/catch.hpp>
#include <thread>
#include <vector>

using namespace ringbolt;
using ringbolt::repl::RebuildLimits;
using ringbolt::repl::RebuildPlaces;

TEST_CASE("repl: as many rebuilds begin as may run, and another one when one has ended", "[repl][rebuild]") {
  RebuildPlaces places;
  CHECK(places.try_begin(2));
  CHECK(places.try_begin(2));
  CHECK_FALSE(places.try_begin(2));
  CHECK(places.running() == 2);  // who was refused has nothing to give back
  places.end();
  CHECK(places.try_begin(2));
  CHECK_FALSE(places.try_begin(2));
}

TEST_CASE("repl: how many rebuilds may run changes while they run", "[repl][rebuild][reload]") {
  RebuildPlaces places;
  CHECK(places.try_begin(2));
  CHECK(places.try_begin(2));
  places.end();
  CHECK_FALSE(places.try_begin(1));  // one runs still
  CHECK(places.try_begin(3));
  CHECK(places.try_begin(3));
  CHECK_FALSE(places.try_begin(3));
}

TEST_CASE("repl: rebuilds of many shards that begin at once never are more than may run", "[repl][rebuild]") {
  RebuildPlaces places;
  std::atomic<uint32_t> inside{0};
  std::atomic<uint32_t> most{0};
  std::atomic<uint64_t> begun{0};
  std::vector<std::thread> shards;
  for (int i = 0; i < 8; ++i) {
    shards.emplace_back([&] {
      for (int round = 0; round < 20000; ++round) {
        if (!places.try_begin(3)) continue;
        const uint32_t now = ++inside;
        uint32_t seen = most;
        while (seen < now && !most.compare_exchange_weak(seen, now)) {
        }
        ++begun;
        --inside;
        places.end();
      }
    });
  }
  for (std::thread& shard : shards) shard.join();
  CHECK(most <= 3);
  CHECK(begun > 0);
  CHECK(places.running() == 0);
}

TEST_CASE("repl: the cap on the rate is divided among the rebuilds that run", "[repl][rebuild]") {
  RebuildLimits limits;
  CHECK(limits.rate_per_lane() == 0);  // no cap
  limits.rate_max = 1000;
  CHECK(limits.rate_per_lane() == 1000);  // of one that is about to begin
  REQUIRE(limits.places.try_begin(4));
  CHECK(limits.rate_per_lane() == 1000);
  REQUIRE(limits.places.try_begin(4));
  CHECK(limits.rate_per_lane() == 500);
  limits.places.end();
  CHECK(limits.rate_per_lane() == 1000);
  // At run time; and a cap that does not divide is not none.
  REQUIRE(limits.places.try_begin(4));
  limits.rate_max = 1;
  CHECK(limits.rate_per_lane() == 1);
  limits.rate_max = 0;
  CHECK(limits.rate_per_lane() == 0);
}

TEST_CASE("repl: the longest of the pauses that lanes ask for is what all keep", "[repl][rebuild]") {
  RebuildLimits limits;
  CHECK(limits.quiet_until() == 0);
  limits.keep_quiet(100);
  limits.keep_quiet(50);
  CHECK(limits.quiet_until() == 100);
  limits.keep_quiet(120);
  CHECK(limits.quiet_until() == 120);
}

TEST_CASE("repl: what clients of a node ask is the sum of its volumes, and what a volume that goes had asked stays", "[repl][rebuild]") {
  ringbolt::repl::ClientLoads loads;
  ringbolt::repl::ClientLoad a, b;
  loads.add(a);
  loads.add(b);
  for (int i = 0; i < 3; ++i) a.begin();
  b.begin();
  a.end(10 * ringbolt::io::kMicrosecond);
  b.end(90 * ringbolt::io::kMicrosecond);
  CHECK(loads.total().open() == 2);
  CHECK(loads.total().latency.count() == 2);
  CHECK(loads.total().latency.percentile(990) >= 90 * ringbolt::io::kMicrosecond);
  const ringbolt::repl::ClientLoad before = loads.total();
  loads.remove(a);
  CHECK(loads.total().open() == 0);
  CHECK(loads.total().latency.since(before.latency).count() == 0);
  b.begin();
  b.end(10 * ringbolt::io::kMicrosecond);
  CHECK(loads.total().latency.since(before.latency).count() == 1);
}

TEST_CASE("repl: a shard counts its clients while another one adds up", "[repl][rebuild]") {
  ringbolt::repl::ClientLoads loads;
  ringbolt::repl::ClientLoad mine;
  loads.add(mine);
  std::atomic<bool> done{false};
  std::thread shard([&] {
    for (int i = 0; i < 50000; ++i) {
      mine.begin();
      mine.end((i % 100) * ringbolt::io::kMicrosecond);
    }
    done = true;
  });
  uint64_t last = 0;
  while (!done) {
    const uint64_t now = loads.total().latency.count();
    CHECK(now >= last);
    last = now;
  }
  shard.join();
  CHECK(loads.total().latency.count() == 50000);
  CHECK(loads.total().open() == 0);
}
