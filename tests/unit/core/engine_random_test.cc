// Facts that no adapter would tell: nothing that the engine is told makes it crash, grow, or contradict itself.
// (tests/fuzz/engine_fuzz.cc looks for them by coverage.)
#include <catch2/catch.hpp>
#include <map>
#include <random>

#include "engine_bytes.h"

using namespace ringbolt;
using namespace ringbolt::core;

TEST_CASE("core: an engine takes any facts in any order", "[core][engine][property]") {
  std::mt19937_64 random(815);
  size_t most = 0;
  std::map<std::string, size_t> wanted;
  for (size_t round = 0; round < 1000; ++round) {
    // Some short, so that what is decided early is seen; some long, for the limits.
    std::vector<uint8_t> data(round % 100 == 0 ? 20000 : 50 + round % 700);
    for (uint8_t& byte : data) byte = static_cast<uint8_t>(random());
    Bytes bytes(data);
    Engine engine = any_engine(bytes);
    INFO("round " << round);
    while (!bytes.empty()) {
      REQUIRE_NOTHROW(tell_anything(engine, any_event(bytes)));
      for (const Command& command : engine.outstanding()) {
        ++wanted[name_of(command)];
        if (const auto* task = std::get_if<StartRecoveryTask>(&command)) ++wanted[to_string(task->kind)];
      }
    }
    most = std::max(most, engine.state().replicas.size());
  }
  CHECK(most == size_t{4} * kReplicasMax);
  // It came far enough to be wrong anywhere.
  for (const char* name : {"apply_role", "start_receiver", "configure_shipper", "start_recovery_task", "drain_recovery_task", "start_catchup",
                           "start_rebuild", "invalidate_session", "keepup", "cut_tail", "probe_later"}) {
    INFO(name << ": " << wanted[name]);
    CHECK(wanted[name] >= 5);
  }
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
