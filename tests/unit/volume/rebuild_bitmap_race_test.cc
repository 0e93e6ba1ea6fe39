// The rebuild bitmap from several threads at once. Part of the ordinary unit tests, and of a
// program of its own that is always built with ThreadSanitizer.
#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <random>
#include <thread>
#include <vector>

#include "volume/rebuild_bitmap.h"

using namespace ringbolt;

namespace {

constexpr uint64_t kBlocks = 200'000;
constexpr uint32_t kMarkers = 2;

struct Race {
  RebuildBitmap bitmap{kBlocks};
  std::atomic<uint32_t> starting{kMarkers + 1};
  std::atomic<uint32_t> marking{kMarkers};
  std::atomic<uint64_t> frontier{0};
  std::atomic<uint64_t> wrong{0};

  /// All begin at once.
  void meet() {
    --starting;
    while (starting > 0) std::this_thread::yield();
  }
};

/// Goes from the first block to the last, as the other markers do, so that they meet in the same
/// words all the time, and in each of them twice: the ranges of one marker leave gaps that others
/// fill.
void mark(Race& race, uint64_t seed, std::vector<bool>& marked) {
  std::mt19937_64 random(seed);
  race.meet();
  for (uint64_t at = 0; at < kBlocks; at += 1 + random() % 12) {
    const uint64_t blocks = std::min(kBlocks - at, random() % 10);
    race.bitmap.mark_applied(Lba(at), blocks);
    race.frontier.store(at, std::memory_order_relaxed);
    for (uint64_t b = at; b < at + blocks; ++b) {
      marked[b] = true;
      // Who marked a block sees it marked.
      if (!race.bitmap.is_applied(Lba(b))) ++race.wrong;
    }
    if (race.bitmap.next_clear(Lba(at), Lba(at + blocks)).has_value()) ++race.wrong;
  }
  --race.marking;
}

/// As the base lane does, goes over the clear runs, where they are being marked. Bits are only ever
/// set: what it has seen set stays.
void look(Race& race) {
  std::vector<bool> seen(kBlocks);
  uint64_t count = 0;
  race.meet();
  while (race.marking > 0) {
    const uint64_t around = race.frontier.load(std::memory_order_relaxed);
    uint64_t at = around - std::min<uint64_t>(around, 40);
    const uint64_t end = std::min(kBlocks, around + 90);
    while (const auto run = race.bitmap.next_clear(Lba(at), Lba(end))) {
      const uint64_t first = run->first.value();
      const uint64_t last = first + run->blocks;
      if (run->blocks == 0 || first < at || last > end) {
        ++race.wrong;
        break;
      }
      for (uint64_t b = at; b < first; ++b) {
        if (race.bitmap.should_apply_base(Lba(b))) ++race.wrong;
        seen[b] = true;
      }
      for (uint64_t b = first; b < last; ++b) {
        if (seen[b]) ++race.wrong;
      }
      at = last;
    }
    const uint64_t now = race.bitmap.applied_count();
    if (now < count) ++race.wrong;
    count = now;
  }
}

}  // namespace

TEST_CASE("rebuild bitmap: marking, testing and counting at the same time", "[volume][rebuild]") {
  for (uint64_t round = 0; round < 10; ++round) {
    Race race;
    std::vector<std::vector<bool>> marked(kMarkers, std::vector<bool>(kBlocks));
    std::vector<std::thread> threads;
    for (uint32_t i = 0; i < kMarkers; ++i) {
      threads.emplace_back([&, i] { mark(race, round * kMarkers + i, marked[i]); });
    }
    threads.emplace_back([&] { look(race); });
    for (std::thread& thread : threads) thread.join();
    CHECK(race.wrong == 0);
    uint64_t expected = 0;
    uint64_t differ = 0;
    for (uint64_t b = 0; b < kBlocks; ++b) {
      const bool any = marked[0][b] || marked[1][b];
      expected += any ? 1 : 0;
      differ += race.bitmap.is_applied(Lba(b)) == any ? 0 : 1;
    }
    CHECK(differ == 0);
    CHECK(race.bitmap.applied_count() == expected);
  }
}
