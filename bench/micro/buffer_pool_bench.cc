// The buffer pool in its steady state: memory is there, some of it is out.
#include "bench/micro/benchmark.h"

#include <array>
#include <random>

#include "io/buffer_pool.h"

namespace ringbolt::io {
namespace {

constexpr uint64_t kPoolBytes = 64u << 20;

/// One buffer out and back: the same block each time, with the split and merge that its size needs.
void buffer_pool_allocate_release(benchmark::State& state) {
  BufferPool pool(kPoolBytes);
  const auto bytes = static_cast<uint32_t>(state.range(0));
  for (auto _ : state) {
    const Buffer buffer = pool.allocate(bytes);
    if (!buffer) {
      state.SkipWithError("the pool is exhausted");
      break;
    }
    benchmark::DoNotOptimize(buffer.data);
    pool.release(buffer);
  }
  if (pool.used_bytes() != 0) state.SkipWithError("memory was lost");
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(buffer_pool_allocate_release)
    ->Arg(kBlockBytes)
    ->Arg(2 * kBlockBytes)
    ->Arg(kFrameBytesMax);

/// 64 buffers of mixed sizes are out; each step replaces a random one.
void buffer_pool_mixed(benchmark::State& state) {
  BufferPool pool(kPoolBytes);
  std::mt19937 random(1);
  struct Step {
    uint32_t slot;
    uint32_t bytes;
  };
  std::array<Step, 4096> steps;
  for (Step& step : steps)
    step = {static_cast<uint32_t>(random() % 64), kBlockBytes << (random() % 8)};
  std::array<Buffer, 64> out{};
  size_t at = 0;
  for (auto _ : state) {
    const Step& step = steps[at++ % steps.size()];
    if (out[step.slot]) pool.release(out[step.slot]);
    out[step.slot] = pool.allocate(step.bytes);
    if (!out[step.slot]) {
      state.SkipWithError("the pool is exhausted");
      break;
    }
  }
  for (const Buffer& buffer : out) {
    if (buffer) pool.release(buffer);
  }
  if (pool.used_bytes() != 0) state.SkipWithError("memory was lost");
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(buffer_pool_mixed);

}  // namespace
}  // namespace ringbolt::io
