// An operator's comparisons of copies, as a volume carries them out.
#include <catch2/catch.hpp>

#include "cluster.h"

using namespace ringbolt;
using namespace ringbolt::sim;
using io::kMillisecond;
using io::kSecond;

namespace {

Status verify(Cluster& c, size_t node, const std::optional<std::string>& replica) {
  std::optional<Status> answer;
  c.volume(node).verify(replica, [&](const Status& status) { answer.emplace(status); });
  REQUIRE(answer.has_value());
  return *answer;
}

Errc code(const Status& status) {
  REQUIRE(status.has_error());
  return status.error().code;
}

std::unique_ptr<Cluster> healthy_pair(uint64_t seed) {
  auto c = std::make_unique<Cluster>(ClusterOptions{.seed = seed});
  c->configure_pair();
  c->start_all();
  REQUIRE(c->wait_serving(0));
  REQUIRE(c->wait_in_sync(0, 1));
  return c;
}

VerifyStatus finished(Cluster& c) {
  REQUIRE(c.run_until([&] { return c.status(0).verifications.at(0).state != "running"; }, 60 * kSecond));
  return c.status(0).verifications.at(0);
}

}  // namespace

TEST_CASE("sim_verify: equal copies are equal, whatever is written meanwhile", "[sim][repl][verify]") {
  for_seeds(1, 20, [](uint64_t seed) {
    const auto c = healthy_pair(seed);
    c->load.options().depth = 16;
    c->load.options().pause_max = (seed % 3) * 500 * io::kMicrosecond;
    c->begin_load(0);
    for (int round = 0; round < 5; ++round) {
      c->run_for(20 * kMillisecond);
      REQUIRE(verify(*c, 0, std::nullopt).has_value());
      const VerifyStatus result = finished(*c);
      INFO(result.problem);
      CHECK(result.state == "completed");
      CHECK(result.bytes_differing == 0);
      CHECK(result.bytes_compared + result.bytes_in_log == result.bytes_total);
      CHECK(*result.last_lsn >= *result.first_lsn);
    }
    c->end_load();
    c->check_history();
  });
}

TEST_CASE("sim_verify: what was changed behind a replica's back is found, and a rebuild repairs it", "[sim][repl][verify]") {
  for_seeds(1, 8, [](uint64_t seed) {
    const auto c = healthy_pair(seed);
    c->begin_load(0);
    c->run_for(500 * kMillisecond);
    c->end_load();
    c->stop(1);
    const uint64_t block = seed * 37 % (c->volume(0).size_bytes() / kBlockBytes);
    c->sim(1).disk().flip_bit(Cluster::directory() + "/base", block * kBlockBytes + 100 * seed, 3);
    c->start(1);
    REQUIRE(c->wait_in_sync(0, 1));
    REQUIRE(verify(*c, 0, "n2").has_value());
    const VerifyStatus found = finished(*c);
    CHECK(found.state == "completed");
    CHECK(found.bytes_differing == kBlockBytes);
    REQUIRE(found.differing.size() == 1);
    CHECK(found.differing[0].offset == block * kBlockBytes);
    CHECK(found.differing[0].length == kBlockBytes);
    bool taken = false;
    c->volume(0).rebuild("n2", true, [&](const Status& status) { taken = status.has_value(); });
    REQUIRE(c->run_until([&] { return taken && c->session_kind(0, 1) == "rebuild"; }, 20 * kSecond));
    REQUIRE(c->wait_in_sync(0, 1));
    REQUIRE(verify(*c, 0, "n2").has_value());
    CHECK(finished(*c).bytes_differing == 0);
  });
}

TEST_CASE("sim_verify: a comparison is refused where it cannot be, and one at a time runs", "[sim][repl][verify]") {
  for_seeds(1, 2, [](uint64_t seed) {
    const auto c = healthy_pair(seed);
    CHECK(code(verify(*c, 0, "n9")) == Errc::kNotFound);
    CHECK(code(verify(*c, 1, std::nullopt)) == Errc::kNotPermitted);
    REQUIRE(verify(*c, 0, "n2").has_value());
    CHECK(code(verify(*c, 0, std::nullopt)) == Errc::kBusy);
    CHECK(code(verify(*c, 0, "n2")) == Errc::kBusy);
    CHECK(finished(*c).state == "completed");
    c->kill(1);
    REQUIRE(c->run_until([&] { return !c->replica_status(0, 1).connected; }, 10 * kSecond));
    CHECK(code(verify(*c, 0, "n2")) == Errc::kNotPermitted);
    CHECK(c->status(0).verifications.at(0).state == "completed");  // the last one that there was
  });
}

TEST_CASE("sim_verify: one of a primary without replicas has nothing to compare with", "[sim][repl][verify]") {
  Cluster c({.nodes = 1});
  c.configure_pair();
  c.start(0);
  REQUIRE(c.wait_serving(0));
  CHECK(code(verify(c, 0, std::nullopt)) == Errc::kNotFound);
}

TEST_CASE("sim_verify: whoever ends in the middle of it, it ends and says why", "[sim][repl][verify]") {
  for_seeds(1, 12, [](uint64_t seed) {
    const auto c = healthy_pair(seed);
    c->begin_load(0);
    c->run_for(100 * kMillisecond);
    REQUIRE(verify(*c, 0, "n2").has_value());
    c->run_for(static_cast<io::Nanos>(seed) * 100 * io::kMicrosecond);
    const bool running = c->status(0).verifications.at(0).state == "running";
    c->end_load();
    if (seed % 2 == 0) {
      c->kill(1);
      const VerifyStatus result = finished(*c);
      if (running && result.state == "failed") CHECK_FALSE(result.problem.empty());
      CHECK(result.bytes_differing == 0);
      c->start(1);
      REQUIRE(c->wait_in_sync(0, 1));
      REQUIRE(verify(*c, 0, "n2").has_value());
      CHECK(finished(*c).state == "completed");
    } else {
      c->stop(0);  // comes to its end with the comparison under way
    }
  });
}
