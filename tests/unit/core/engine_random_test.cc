// Facts that no adapter would tell: nothing that the engine is told makes it crash, grow, or contradict itself.
// (tests/fuzz/engine_fuzz.cc looks for them by coverage.)
#include <catch2/catch.hpp>
#include <random>

#include "engine_bytes.h"

using namespace ringbolt;
using namespace ringbolt::core;

TEST_CASE("core: an engine takes any facts in any order", "[core][engine][property]") {
  std::mt19937_64 random(815);
  size_t most = 0, commands = 0;
  for (int round = 0; round < 300; ++round) {
    Engine engine("vol0");
    std::vector<uint8_t> data(6000);
    for (uint8_t& byte : data) byte = static_cast<uint8_t>(random());
    Bytes bytes(data);
    INFO("round " << round);
    while (!bytes.empty()) REQUIRE_NOTHROW(tell_anything(engine, any_event(bytes)));
    most = std::max(most, engine.state().replicas.size());
    commands += engine.outstanding().size();
  }
  CHECK(most == size_t{4} * kReplicasMax);
  CHECK(commands > 300);
}

TEST_CASE("core: its limits hold whatever is assigned", "[core][engine]") {
  Engine engine("vol0");
  std::mt19937_64 random(42);
  for (uint64_t i = 0; i < 5000; ++i) {
    AssignmentDelivered event;
    event.assignment = {Epoch(i / 100 + 1), i, Role::kPrimary, Durability::kSyncAll, {}};
    for (uint64_t count = random() % 12; count > 0; --count) event.assignment.replicas.push_back(at("r" + std::to_string(random() % 1000)));
    REQUIRE_NOTHROW(tell_anything(engine, event));
    REQUIRE_NOTHROW(tell_anything(engine, connected("r" + std::to_string(random() % 1000), i)));
  }
}
