// From wherever faults left it, the engine and its adapters alone bring a volume to rest where its assignment wants it;
// and at every moment each outstanding command has an answer coming.
#include <catch2/catch.hpp>

#include "../seed_stride.h"
#include "engine_model.h"

using namespace ringbolt;
using namespace ringbolt::core;

namespace {

/// Steps that the model may take to come to rest, each replica needs about a dozen.
constexpr int kStepsMax = 120;

void come_to_rest(Model& model) {
  int steps = 0;
  for (; !model.is_quiet() && steps < kStepsMax; ++steps) model.step();
  CHECK(steps < kStepsMax);
}

/// Who waits for a rebuild is asked again, until nothing more comes of that.
void come_to_rest_with_rebuilds(Model& model) {
  come_to_rest(model);
  for (int again = 0; again < 3 && model.is_obstructed(); ++again) {
    model.ask_obstructed();
    come_to_rest(model);
  }
}

}  // namespace

TEST_CASE("core: every state leads to rest, and every outstanding command is answered", "[core][engine][property]") {
  std::map<std::string, int> modes;
  for (uint64_t seed = 1; seed <= 3000; seed += test::kSeedStride) {
    INFO("seed " << seed);
    Model model({.seed = seed, .replicas = 1 + seed % 3, .rebuilds = seed % 4 != 0});
    const uint64_t length = 10 + seed % 120;
    for (uint64_t i = 0; i < length && model.problem().empty(); ++i) model.step();
    model.stop_faults();
    come_to_rest_with_rebuilds(model);
    INFO(model.problem() << " " << model.problem_at_rest());
    REQUIRE(model.problem().empty());
    REQUIRE(model.problem_at_rest().empty());
    ++modes[model.engine().projection().mode];
  }
  // Each kind of rest was seen.
  for (const char* mode : {"publish_healthy", "replica_ready", "allocated_only", "needs_rebuild"}) {
    INFO(mode);
    CHECK(modes[mode] >= 10);
  }
}
