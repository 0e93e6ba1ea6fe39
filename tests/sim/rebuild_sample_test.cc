// What was rebuilt is compared, in part, before it counts.
#include <algorithm>
#include <catch2/catch.hpp>

#include "rebuilds.h"

using namespace ringbolt;
using namespace ringbolt::sim;
using io::kMillisecond;
using io::kSecond;
using io::SimOpKind;

namespace {

/// A pair with data in all of the volume, and nobody who writes; its replica is ordered to be rebuilt.
void order_quiet(Cluster& c) {
  c.configure_pair();
  c.start_all();
  REQUIRE(c.wait_serving(0));
  REQUIRE(c.wait_in_sync(0, 1));
  for (uint64_t at = 0; at < 2u << 20; at += 64u << 10) REQUIRE(c.request(0, RequestKind::kWrite, at, 64u << 10, at + 1) == RequestError::kNone);
  c.volume(0).rebuild("n2", true, [](const Status&) {});
  REQUIRE(c.run_until([&] { return marked(c, 1); }, 10 * kSecond));
}

/// The session ends for this reason, the mark is there all the time, and the next one makes a copy of it.
void expect_failed_and_again(Cluster& c, const std::string& words, const std::function<void()>& repair) {
  REQUIRE(c.run_until([&] { return rebuilding(c); }, kSecond));
  const auto first = c.replica_status(0, 1).session->id;
  std::string reason;
  REQUIRE(c.run_until(
      [&] {
        if (!marked(c, 1)) FAIL("the mark is gone");
        const auto session = c.replica_status(0, 1).session;
        if (session && session->phase == "failed" && session->id == first) reason = session->reason;
        return session && session->id && session->id != first && session->phase != "failed";
      },
      10 * kSecond));
  INFO(reason);
  CHECK(reason.find(words) != std::string::npos);
  CHECK_FALSE(c.replica_status(0, 1).in_sync);
  const auto failure = c.volume(0).engine().state().find("n2")->last_failure;
  REQUIRE(failure.has_value());
  CHECK(failure->reason == core::Reason::kLocalExtentCorrupt);
  repair();
  REQUIRE(c.wait_in_sync(0, 1));
  CHECK_FALSE(marked(c, 1));
  c.stop(0);
  c.stop(1);
  c.check_images_equal(0, 1);
}

}  // namespace

TEST_CASE("sim_rebuild_sample: a base image that changed behind the replica's back is not accepted", "[sim][repl][rebuild]") {
  for_seeds(1, 6, [](uint64_t seed) {
    Cluster c({.seed = seed});
    order_quiet(c);
    // All is written there when it is read there.
    const uint64_t reads = c.sim(1).disk().hold({.kind = SimOpKind::kRead, .path = "/base"});
    REQUIRE(c.run_until([&] { return c.sim(1).disk().held(reads) > 0; }, 10 * kSecond));
    const uint64_t block = seed * 83 % 512;
    c.sim(1).disk().flip_bit(Cluster::directory() + "/base", block * kBlockBytes + 17 * seed, 3);
    c.sim(1).disk().release(reads);
    expect_failed_and_again(c, "1 of 512 sampled blocks differ after the rebuild, the first of them block " + std::to_string(block), [] {});
  });
}

TEST_CASE("sim_rebuild_sample: a base image that cannot be read is not accepted", "[sim][repl][rebuild]") {
  for_seeds(1, 4, [](uint64_t seed) {
    Cluster c({.seed = seed});
    order_quiet(c);
    const uint64_t fault = c.sim(1).disk().add_fault({.match = {.kind = SimOpKind::kRead, .path = "/base", .from = 300 * kBlockBytes, .to = 301 * kBlockBytes}, .forever = true});
    expect_failed_and_again(c, "the replica cannot read its blocks 256 to 319", [&] { c.sim(1).disk().remove_fault(fault); });
  });
}

TEST_CASE("sim_rebuild_sample: no false alarm, however hot the blocks are while it is compared", "[sim][repl][rebuild]") {
  for_seeds(1, 12, [](uint64_t seed) {
    Cluster c({.seed = seed});
    c.load.options().cells = 64 + 64 * (seed % 3);
    c.load.options().cells_max = 16;
    c.load.options().depth = 16;
    c.load.options().pause_max = 20 * io::kMicrosecond;
    c.configure_pair();
    c.start_all();
    REQUIRE(c.wait_serving(0));
    REQUIRE(c.wait_in_sync(0, 1));
    c.begin_load(0);
    for (int round = 0; round < 2; ++round) {
      c.volume(0).rebuild("n2", true, [](const Status&) {});
      REQUIRE(c.run_until([&] { return marked(c, 1) && rebuilding(c); }, 10 * kSecond));
      const auto first = c.replica_status(0, 1).session->id;
      REQUIRE(c.wait_in_sync(0, 1));
      // The very session: none failed in between.
      CHECK(c.replica_status(0, 1).session->id == first);
    }
    c.end_load();
    c.read_back(0);
    REQUIRE(c.run_until([&] { return c.status(1).written_lsn == c.status(0).wal_head; }, 10 * kSecond));
    c.stop(0);
    c.stop(1);
    c.check_images_equal(0, 1);
  });
}
