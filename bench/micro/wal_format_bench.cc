// WAL frames: what sealing one costs, and what checking a received or recovered one costs.
// Arguments: records of the frame, and blocks of each.
#include "bench/micro/benchmark.h"

#include <algorithm>

#include "bench/random_bytes.h"
#include "ringbolt/crc32c.h"
#include "volume/wal_format.h"

namespace ringbolt {
namespace {

constexpr uint64_t kVolumeBlocks = 1u << 20;
const Uuid kVolume{{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};

/// A frame under construction with its payload.
struct FrameBed {
  explicit FrameBed(const benchmark::State& state)
      : records(static_cast<uint32_t>(state.range(0))),
        blocks_each(static_cast<uint32_t>(state.range(1))),
        payload(bench::random_bytes(size_t{blocks()} * kBlockBytes)),
        header_block(kBlockBytes),
        crcs(blocks()),
        lbas(bench::random_lbas(records)) {
    compute_crcs();
  }
  [[nodiscard]] uint32_t blocks() const { return records * blocks_each; }

  void compute_crcs() {
    for (uint32_t i = 0; i < blocks(); ++i)
      crcs[i] = crc32c(&payload[size_t{i} * kBlockBytes], kBlockBytes);
  }
  /// The header of a frame that begins with `first`; returns its checksum.
  uint32_t encode_header(Lsn first, uint32_t previous_checksum) {
    FrameHeader header(header_block.data());
    header.begin(kVolume, Term{Epoch(1), Incarnation(1)}, first);
    for (uint32_t i = 0; i < records; ++i)
      header.add_record(RecordKind::kWrite, Lba(lbas[i]), blocks_each);
    header.place_block_crcs(crcs);
    header.seal(previous_checksum, first);
    return header.checksum();
  }

  uint32_t records;
  uint32_t blocks_each;
  std::vector<std::byte> payload;
  std::vector<std::byte> header_block;
  std::vector<uint32_t> crcs;
  std::vector<uint64_t> lbas;
};

void shapes(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgNames({"records", "blocks"});
  benchmark->Args({1, 1})->Args({1, kFramePayloadBlocksMax})->Args({kFramePayloadBlocksMax, 1});
}

/// The header alone: the block CRCs are there already.
void wal_frame_encode_header(benchmark::State& state) {
  FrameBed bed(state);
  Lsn first(1);
  uint32_t chain = 0;
  for (auto _ : state) {
    chain = bed.encode_header(first, chain);
    first = first.plus(bed.records);
    benchmark::ClobberMemory();
  }
  benchmark::DoNotOptimize(chain);
  state.SetItemsProcessed(state.iterations() * bed.records);
}
BENCHMARK(wal_frame_encode_header)->Apply(shapes);

/// Header and block CRCs: all that is computed for a frame before it is written.
void wal_frame_encode(benchmark::State& state) {
  FrameBed bed(state);
  Lsn first(1);
  uint32_t chain = 0;
  for (auto _ : state) {
    bed.compute_crcs();
    chain = bed.encode_header(first, chain);
    first = first.plus(bed.records);
    benchmark::ClobberMemory();
  }
  benchmark::DoNotOptimize(chain);
  state.SetItemsProcessed(state.iterations() * bed.records);
  state.SetBytesProcessed(state.iterations() * bed.blocks() * kBlockBytes);
}
BENCHMARK(wal_frame_encode)->Apply(shapes);

/// What a replica does with a received frame, and recovery with one that it read.
void wal_frame_check(benchmark::State& state) {
  FrameBed bed(state);
  bed.encode_header(Lsn(1), 0);
  const FrameHeader header(bed.header_block.data());
  for (auto _ : state) {
    benchmark::DoNotOptimize(bed.header_block.data());
    benchmark::ClobberMemory();
    if (const char* wrong = header.check(kVolume, kVolumeBlocks)) {
      state.SkipWithError(wrong);
      break;
    }
    if (header.check_payload(bed.payload.data())) {
      state.SkipWithError("payload checksum mismatch");
      break;
    }
  }
  state.SetItemsProcessed(state.iterations() * bed.records);
  state.SetBytesProcessed(state.iterations() * (bed.blocks() + 1) * kBlockBytes);
}
BENCHMARK(wal_frame_check)->Apply(shapes);

}  // namespace
}  // namespace ringbolt
