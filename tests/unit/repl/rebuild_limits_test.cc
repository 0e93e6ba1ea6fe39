// What all rebuilds of a node share: no more of them at a time than allowed, and a cap that they divide.
#include "repl/rebuild_limits.h"

#include <catch2/catch.hpp>
#include <thread>
#include <vector>

using namespace ringbolt;
using ringbolt::repl::RebuildLimits;

TEST_CASE("repl: as many rebuilds begin as may run, and another one when one has ended", "[repl][rebuild]") {
  RebuildLimits limits;
  limits.parallel = 2;
  CHECK(limits.try_begin());
  CHECK(limits.try_begin());
  CHECK_FALSE(limits.try_begin());
  CHECK(limits.running == 2);  // who was refused has nothing to give back
  limits.end();
  CHECK(limits.try_begin());
  CHECK_FALSE(limits.try_begin());
}

TEST_CASE("repl: how many rebuilds may run changes while they run", "[repl][rebuild][reload]") {
  RebuildLimits limits;
  limits.parallel = 2;
  CHECK(limits.try_begin());
  CHECK(limits.try_begin());
  limits.parallel = 1;
  limits.end();
  CHECK_FALSE(limits.try_begin());  // one runs still
  limits.parallel = 3;
  CHECK(limits.try_begin());
  CHECK(limits.try_begin());
  CHECK_FALSE(limits.try_begin());
}

TEST_CASE("repl: rebuilds of many shards that begin at once never are more than may run", "[repl][rebuild]") {
  RebuildLimits limits;
  limits.parallel = 3;
  std::atomic<uint32_t> inside{0};
  std::atomic<uint32_t> most{0};
  std::atomic<uint64_t> begun{0};
  std::vector<std::thread> shards;
  for (int i = 0; i < 8; ++i) {
    shards.emplace_back([&] {
      for (int round = 0; round < 20000; ++round) {
        if (!limits.try_begin()) continue;
        const uint32_t now = ++inside;
        uint32_t seen = most;
        while (seen < now && !most.compare_exchange_weak(seen, now)) {
        }
        ++begun;
        --inside;
        limits.end();
      }
    });
  }
  for (std::thread& shard : shards) shard.join();
  CHECK(most <= 3);
  CHECK(begun > 0);
  CHECK(limits.running == 0);
}

TEST_CASE("repl: the cap on the rate is divided among the rebuilds that run", "[repl][rebuild]") {
  RebuildLimits limits;
  limits.parallel = 4;
  CHECK(limits.rate_per_lane() == 0);  // no cap
  limits.rate_max = 1000;
  CHECK(limits.rate_per_lane() == 1000);  // of one that is about to begin
  REQUIRE(limits.try_begin());
  CHECK(limits.rate_per_lane() == 1000);
  REQUIRE(limits.try_begin());
  CHECK(limits.rate_per_lane() == 500);
  limits.end();
  CHECK(limits.rate_per_lane() == 1000);
  // At run time; and a cap that does not divide is not none.
  REQUIRE(limits.try_begin());
  limits.rate_max = 1;
  CHECK(limits.rate_per_lane() == 1);
  limits.rate_max = 0;
  CHECK(limits.rate_per_lane() == 0);
}
