// Plans of the simulator: what is drawn can be printed, read and drawn again; what is wrong is named.
#include "../../simulator/plan.h"

#include <catch2/catch.hpp>
#include <set>

using namespace ringbolt;
using namespace ringbolt::sim;

TEST_CASE("plan: what a seed draws is the same each time, and is read back as it was printed", "[sim]") {
  for (const auto& [profile, purpose] : profiles()) {
    INFO(profile);
    for (uint64_t seed = 1; seed <= 200; ++seed) {
      INFO("seed " << seed);
      const Plan plan = draw_plan(profile, seed).value();
      CHECK(plan.profile == profile);
      const std::string text = print_plan(plan);
      CHECK(print_plan(draw_plan(profile, seed).value()) == text);
      const auto read = parse_plan(text);
      REQUIRE(read.has_value());
      CHECK(print_plan(read.value()) == text);
      CHECK(read.value().events == plan.events);
    }
  }
}

TEST_CASE("plan: seeds differ, and each kind of event comes up in some", "[sim]") {
  std::set<std::string> plans, acts;
  for (uint64_t seed = 1; seed <= 1000; ++seed) {
    const Plan plan = draw_plan("default", seed).value();
    plans.insert(print_plan(plan));
    for (const sim::Event& event : plan.events) {
      acts.insert(to_string(event.act));
      CHECK(event.node < plan.nodes);
      CHECK(event.other < plan.nodes);
      CHECK(event.at <= plan.duration + 20 * io::kMillisecond);
    }
  }
  CHECK(plans.size() == 1000);
  CHECK(acts.size() == kActs);
}

TEST_CASE("plan: an unknown profile is refused, and the known ones are named", "[sim]") {
  const auto plan = draw_plan("heavy", 1);
  REQUIRE_FALSE(plan.has_value());
  CHECK(plan.error().code == Errc::kNotFound);
  CHECK(plan.error().message.starts_with("no profile is called \"heavy\"; there are: default, calm, crash, "));
  for (const auto& [profile, purpose] : profiles()) CHECK(plan.error().message.find(profile) != std::string::npos);
}

TEST_CASE("plan: a text that is none is refused, with the line and the reason", "[sim]") {
  const std::vector<std::pair<std::string, std::string>> table = {
      {"nodes 9", "line 1: not a value of nodes: \"9\""},
      {"nodes", "line 1: not a value of nodes: \"\""},
      {"nodes 2 3", "line 1: too much: \"3\""},
      {"seed 1\nspeed 4", "line 2: no such setting: speed"},
      {"seed -1", "line 1: not a value of seed: \"-1\""},
      {"wal_bytes 4096", "line 1: not a value of wal_bytes: \"4096\""},
      {"durability always", "line 1: not a value of durability: \"always\""},
      {"event 1 kill n1 n1 0", "line 1: expected: event AT ACT NODE OTHER AMOUNT LASTING, times in nanoseconds"},
      {"event 1 murder n1 n1 0 0", "line 1: no such event: murder"},
      {"event 1 kill n4 n1 0 0", "line 1: no such node: n4"},
      {"nodes 2\nevent 1 kill n3 n1 0 0", "line 2: no such node: n3"},
      {"event -1 kill n1 n1 0 0", "line 1: expected: event AT ACT NODE OTHER AMOUNT LASTING, times in nanoseconds"},
  };
  for (const auto& [text, error] : table) {
    INFO(text);
    const auto plan = parse_plan(text);
    REQUIRE_FALSE(plan.has_value());
    CHECK(plan.error().message == error);
  }
  const auto plan = parse_plan("# a comment\n\nnodes 2\nevent 5 kill n2 n1 0 7\nevent 3 cut n1 n2 9 0\n");
  REQUIRE(plan.has_value());
  REQUIRE(plan.value().events.size() == 2);
  CHECK(plan.value().events[0].act == Act::kCut);
  CHECK(plan.value().events[1].node == 1);
}
