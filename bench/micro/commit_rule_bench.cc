// The commit rule, run for every acknowledgement. Arguments: mode (0 best_effort, 1 sync_quorum,
// 2 sync_all) and replicas.
#include "bench/micro/benchmark.h"

#include <array>
#include <span>

#include "core/commit_rule.h"

namespace ringbolt::core {
namespace {

void commit_rule(benchmark::State& state) {
  const auto mode = static_cast<Durability>(state.range(0));
  const auto count = static_cast<size_t>(state.range(1));
  std::array<CopyPosition, kReplicasMax> copies{};
  for (CopyPosition& copy : copies) copy.required = true;
  Lsn local(1000);
  uint64_t sum = 0;
  size_t next = 0;
  for (auto _ : state) {
    // One copy acknowledges more, in turn.
    local = local.next();
    copies[next].position = local;
    next = next + 1 == count ? 0 : next + 1;
    sum += satisfied_prefix(mode, local, std::span(copies).first(count)).value();
  }
  benchmark::DoNotOptimize(sum);
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(commit_rule)
    ->ArgNames({"mode", "replicas"})
    ->ArgsProduct({{0, 1, 2}, {1, 2, kReplicasMax}});

}  // namespace
}  // namespace ringbolt::core
