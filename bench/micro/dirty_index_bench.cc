// The dirty index at a size that fits the caches, one that does not, and one in between. Blocks are
// visited in random order, as small writes do.
#include "bench/micro/benchmark.h"

#include "bench/random_bytes.h"
#include "volume/dirty_index.h"

namespace ringbolt {
namespace {

/// A full index of state.range(0) entries.
struct IndexBed {
  explicit IndexBed(const benchmark::State& state)
      : lbas(bench::random_lbas(static_cast<size_t>(state.range(0)))),
        index(static_cast<uint32_t>(lbas.size())) {
    fill(Lsn(1));
  }
  void fill(Lsn lsn) {
    for (size_t i = 0; i < lbas.size(); ++i)
      index.put(Lba(lbas[i]), lsn, static_cast<uint32_t>(i), 7);
  }
  /// The next block of an endless walk.
  Lba next() {
    if (at == lbas.size()) at = 0;
    return Lba(lbas[at++]);
  }

  std::vector<uint64_t> lbas;
  DirtyIndex index;
  size_t at = 0;
};

void sizes(benchmark::internal::Benchmark* benchmark) {
  benchmark->Arg(1 << 10)->Arg(64 << 10)->Arg(1 << 20);
}

/// From empty to full, and the clearing.
void dirty_index_fill(benchmark::State& state) {
  IndexBed bed(state);
  for (auto _ : state) {
    bed.index.clear();
    bed.fill(Lsn(1));
    benchmark::ClobberMemory();
  }
  if (bed.index.size() != bed.lbas.size()) state.SkipWithError("entries are missing");
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(dirty_index_fill)->Apply(sizes)->Unit(benchmark::kMicrosecond);

/// A newer version of a block that is there.
void dirty_index_replace(benchmark::State& state) {
  IndexBed bed(state);
  Lsn lsn(2);
  for (auto _ : state) {
    bed.index.put(bed.next(), lsn, 3, 4);
    lsn = lsn.next();
  }
  benchmark::ClobberMemory();
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(dirty_index_replace)->Apply(sizes);

void dirty_index_find_hit(benchmark::State& state) {
  IndexBed bed(state);
  uint64_t found = 0;
  for (auto _ : state) found += bed.index.find(bed.next())->wal_block;
  benchmark::DoNotOptimize(found);
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(dirty_index_find_hit)->Apply(sizes);

void dirty_index_find_miss(benchmark::State& state) {
  IndexBed bed(state);
  const uint64_t beyond = uint64_t{bed.lbas.size()} * 16;
  uint64_t found = 0;
  for (auto _ : state) found += bed.index.find(Lba(bed.next().value() + beyond)) != nullptr ? 1 : 0;
  if (found != 0) state.SkipWithError("found a block that was never entered");
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(dirty_index_find_miss)->Apply(sizes);

/// A checkpoint takes a block out, a write enters it again: the index stays full.
void dirty_index_remove_and_put(benchmark::State& state) {
  IndexBed bed(state);
  const Lsn lsn(1);
  uint64_t removed = 0;
  for (auto _ : state) {
    const Lba lba = bed.next();
    removed += bed.index.remove_if(lba, short_lsn(lsn)) ? 1 : 0;
    bed.index.put(lba, lsn, 3, 4);
  }
  if (removed != static_cast<uint64_t>(state.iterations()))
    state.SkipWithError("an entry was not removed");
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(dirty_index_remove_and_put)->Apply(sizes);

/// The block was written again while its older version was copied: nothing is removed.
void dirty_index_remove_refused(benchmark::State& state) {
  IndexBed bed(state);
  uint64_t removed = 0;
  for (auto _ : state) removed += bed.index.remove_if(bed.next(), short_lsn(Lsn(9))) ? 1 : 0;
  if (removed != 0) state.SkipWithError("removed a newer version");
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(dirty_index_remove_refused)->Apply(sizes);

}  // namespace
}  // namespace ringbolt
