// CRC32C over the sizes that occur: a block, a large write, the largest payload of a frame.
#include "bench/micro/benchmark.h"

#include "bench/random_bytes.h"
#include "ringbolt/crc32c.h"
#include "ringbolt/types.h"

namespace ringbolt {
namespace {

void crc32c_range(benchmark::State& state) {
  const auto bytes = static_cast<size_t>(state.range(0));
  const std::vector<std::byte> data = bench::random_bytes(bytes);
  uint32_t crc = 0;
  for (auto _ : state) {
    // Chained, so that no pass can be left out or overlap with the next.
    crc = crc32c(data.data(), bytes, crc);
  }
  benchmark::DoNotOptimize(crc);
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(crc32c_range)->Arg(kBlockBytes)->Arg(64 << 10)->Arg(kFramePayloadBytesMax);

}  // namespace
}  // namespace ringbolt
