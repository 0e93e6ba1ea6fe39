// The rebuild bitmap against a plain vector of bools, at every boundary of its words.
#include "volume/rebuild_bitmap.h"

#include <catch2/catch.hpp>
#include <random>
#include <vector>

using namespace ringbolt;

namespace {

struct BitModel {
  explicit BitModel(uint64_t blocks) : bits(blocks) {}
  void mark(uint64_t first, uint64_t blocks) {
    for (uint64_t i = first; i < first + blocks; ++i) bits[i] = true;
  }
  [[nodiscard]] uint64_t count() const {
    uint64_t count = 0;
    for (const bool bit : bits) count += bit ? 1 : 0;
    return count;
  }
  std::vector<bool> bits;
};

/// All that can be asked, in the ranges that begin at `from`.
void check_runs(const RebuildBitmap& bitmap, const BitModel& model, uint64_t from, uint64_t end) {
  uint64_t first = from;
  while (first < end && model.bits[first]) ++first;
  uint64_t last = first;
  while (last < end && !model.bits[last]) ++last;
  const auto run = bitmap.next_clear(Lba(from), Lba(end));
  INFO("from " << from << " to " << end);
  REQUIRE(run.has_value() == (first < end));
  if (!run) return;
  REQUIRE(run->first == Lba(first));
  REQUIRE(run->blocks == last - first);
}

}  // namespace

TEST_CASE("rebuild bitmap: it agrees with a plain list of bits", "[volume][rebuild]") {
  std::mt19937_64 random(7);
  for (const uint64_t blocks : {1, 2, 63, 64, 65, 127, 128, 129, 200, 256, 1000}) {
    for (int round = 0; round < 20; ++round) {
      RebuildBitmap bitmap(blocks);
      BitModel model(blocks);
      REQUIRE(bitmap.has_memory());
      CHECK(bitmap.total() == blocks);
      CHECK(bitmap.applied_count() == 0);
      for (int i = 0; i < 8; ++i) {
        const uint64_t first = random() % blocks;
        const uint64_t most = random() % 3 == 0 ? blocks : 70;
        const uint64_t count = random() % (std::min(most, blocks - first) + 1);
        bitmap.mark_applied(Lba(first), count);
        model.mark(first, count);
        REQUIRE(bitmap.applied_count() == model.count());
        for (uint64_t lba = 0; lba < blocks; ++lba) {
          REQUIRE(bitmap.is_applied(Lba(lba)) == model.bits[lba]);
          REQUIRE(bitmap.should_apply_base(Lba(lba)) == !model.bits[lba]);
        }
        for (uint64_t from = 0; from <= blocks; from += 1 + random() % 9) {
          check_runs(bitmap, model, from, from + random() % (blocks - from + 1));
          check_runs(bitmap, model, from, blocks);
        }
      }
    }
  }
}

TEST_CASE("rebuild bitmap: every range around the boundaries of words", "[volume][rebuild]") {
  constexpr uint64_t kBlocks = 200;
  for (uint64_t first = 0; first < kBlocks; ++first) {
    for (uint64_t end = first; end <= kBlocks; ++end) {
      RebuildBitmap bitmap(kBlocks);
      bitmap.mark_applied(Lba(first), end - first);
      REQUIRE(bitmap.applied_count() == end - first);
      // What is outside of the range is the whole rest.
      const auto before = bitmap.next_clear(Lba(0), Lba(first));
      REQUIRE(before.has_value() == (first > 0));
      if (before) REQUIRE(before->blocks == first);
      REQUIRE_FALSE(bitmap.next_clear(Lba(first), Lba(end)).has_value());
      const auto after = bitmap.next_clear(Lba(first), Lba(kBlocks));
      REQUIRE(after.has_value() == (end < kBlocks));
      if (after) REQUIRE(after->first == Lba(end));
      if (after) REQUIRE(after->blocks == kBlocks - end);
    }
  }
}

TEST_CASE("rebuild bitmap: a block counts once, however often it is marked", "[volume][rebuild]") {
  RebuildBitmap bitmap(300);
  bitmap.mark_applied(Lba(10), 100);
  bitmap.mark_applied(Lba(10), 100);
  bitmap.mark_applied(Lba(50), 100);
  bitmap.mark_applied(Lba(150), 0);
  CHECK(bitmap.applied_count() == 140);
  bitmap.mark_applied(Lba(0), 300);
  CHECK(bitmap.applied_count() == 300);
  CHECK_FALSE(bitmap.next_clear(Lba(0), Lba(300)).has_value());
}

TEST_CASE("rebuild bitmap: one bit per block, also of the largest volume", "[volume][rebuild]") {
  CHECK(RebuildBitmap::bytes_for((uint64_t{1} << 40) / kBlockBytes) == 32u << 20);
  constexpr uint64_t kLargest = kVolumeBytesMax / kBlockBytes;
  RebuildBitmap bitmap(kLargest);
  REQUIRE(bitmap.has_memory());
  CHECK(bitmap.bytes() == kLargest / 8);
  bitmap.mark_applied(Lba(kLargest - 1), 1);
  CHECK(bitmap.is_applied(Lba(kLargest - 1)));
  CHECK_FALSE(bitmap.is_applied(Lba(kLargest - 2)));
  CHECK(bitmap.applied_count() == 1);
  // A run is as long as its count can say.
  const auto near_the_end = bitmap.next_clear(Lba(kLargest - 100), Lba(kLargest));
  REQUIRE(near_the_end.has_value());
  CHECK(near_the_end->blocks == 99);
}
