// The rebuild bitmap of a volume of 1 TiB (32 MiB of bits), and of 1 GiB, which fits the caches.
#include "bench/micro/benchmark.h"

#include "bench/random_bytes.h"
#include "volume/rebuild_bitmap.h"

namespace ringbolt {
namespace {

constexpr uint64_t kGiB = uint64_t{1} << 30;

void sizes(benchmark::internal::Benchmark* benchmark) { benchmark->Arg(1)->Arg(1024); }

struct BitmapBed {
  explicit BitmapBed(const benchmark::State& state)
      : bitmap(static_cast<uint64_t>(state.range(0)) * kGiB / kBlockBytes), lbas(bench::random_lbas(1u << 16)) {
    for (uint64_t& lba : lbas) lba = lba * 0x9E3779B97F4A7C15ull % (bitmap.total() - 256);
  }
  Lba next() {
    if (at == lbas.size()) at = 0;
    return Lba(lbas[at++]);
  }

  RebuildBitmap bitmap;
  std::vector<uint64_t> lbas;
  size_t at = 0;
};

/// One record of one block, anywhere, as random writes bring them; after a while most are marked already.
void rebuild_bitmap_mark_block(benchmark::State& state) {
  BitmapBed bed(state);
  for (auto _ : state) bed.bitmap.mark_applied(bed.next(), 1);
  if (bed.bitmap.applied_count() == 0) state.SkipWithError("nothing was marked");
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(rebuild_bitmap_mark_block)->Apply(sizes);

/// A record of 128 blocks.
void rebuild_bitmap_mark_range(benchmark::State& state) {
  BitmapBed bed(state);
  for (auto _ : state) bed.bitmap.mark_applied(bed.next(), 128);
  if (bed.bitmap.applied_count() == 0) state.SkipWithError("nothing was marked");
  state.SetItemsProcessed(state.iterations() * 128);
}
BENCHMARK(rebuild_bitmap_mark_range)->Apply(sizes);

/// A base chunk of 128 blocks, none of them marked: one run.
void rebuild_bitmap_chunk_clear(benchmark::State& state) {
  BitmapBed bed(state);
  uint64_t blocks = 0;
  for (auto _ : state) {
    const Lba first = bed.next();
    blocks += bed.bitmap.next_clear(first, first.plus(128))->blocks;
  }
  if (blocks != static_cast<uint64_t>(state.iterations()) * 128) state.SkipWithError("a run is too short");
  state.SetItemsProcessed(state.iterations() * 128);
}
BENCHMARK(rebuild_bitmap_chunk_clear)->Apply(sizes);

/// A base chunk of 128 blocks of which every other one is marked: 64 runs, the worst there is.
void rebuild_bitmap_chunk_fragmented(benchmark::State& state) {
  BitmapBed bed(state);
  for (uint64_t lba = 0; lba < bed.bitmap.total(); lba += 2) bed.bitmap.mark_applied(Lba(lba), 1);
  uint64_t blocks = 0;
  for (auto _ : state) {
    Lba at = bed.next();
    const Lba end = at.plus(128);
    while (const auto run = bed.bitmap.next_clear(at, end)) {
      blocks += run->blocks;
      at = run->first.plus(run->blocks);
    }
  }
  if (blocks != static_cast<uint64_t>(state.iterations()) * 64) state.SkipWithError("a run is missing");
  state.SetItemsProcessed(state.iterations() * 128);
}
BENCHMARK(rebuild_bitmap_chunk_fragmented)->Apply(sizes);

/// All blocks marked but the last: how fast what is done is passed over.
void rebuild_bitmap_scan(benchmark::State& state) {
  BitmapBed bed(state);
  const uint64_t total = bed.bitmap.total();
  bed.bitmap.mark_applied(Lba(0), total - 1);
  for (auto _ : state) {
    const auto run = bed.bitmap.next_clear(Lba(0), Lba(total));
    if (!run || run->first != Lba(total - 1)) state.SkipWithError("the clear block is not found");
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(bed.bitmap.bytes()));
}
BENCHMARK(rebuild_bitmap_scan)->Apply(sizes)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace ringbolt
