// NBD requests and replies as bytes: the codecs that every request passes twice.
#include "bench/micro/benchmark.h"

#include <vector>

#include "bench/random_bytes.h"
#include "nbd/protocol.h"

namespace ringbolt::nbd {
namespace {

void nbd_request_decode(benchmark::State& state) {
  constexpr size_t kRequests = 512;
  const std::vector<uint64_t> lbas = bench::random_lbas(kRequests);
  std::vector<std::byte> stream(kRequests * kRequestBytes);
  for (size_t i = 0; i < kRequests; ++i) {
    encode_request(&stream[i * kRequestBytes],
                   {0, static_cast<uint16_t>(i % 7), i, lbas[i] * 4096, 4096});
  }
  uint64_t sum = 0;
  for (auto _ : state) {
    for (size_t i = 0; i < kRequests; ++i) {
      const auto request = decode_request(&stream[i * kRequestBytes]);
      if (!request) {
        state.SkipWithError("not decoded");
        break;
      }
      sum +=
          request->offset + request->length + request->command + request->flags + request->cookie;
    }
    benchmark::DoNotOptimize(sum);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kRequests));
}
BENCHMARK(nbd_request_decode);

void nbd_reply_encode(benchmark::State& state) {
  std::array<std::byte, kSimpleReplyBytes + kChunkHeaderBytes> bytes;
  uint64_t cookie = 0;
  for (auto _ : state) {
    ++cookie;
    std::byte* at = encode_simple_reply(bytes.data(), kErrorNone, cookie);
    benchmark::DoNotOptimize(encode_chunk(at, true, kChunkOffsetData, cookie, 4096));
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(2 * state.iterations());
}
BENCHMARK(nbd_reply_encode);

}  // namespace
}  // namespace ringbolt::nbd
