// How far something is said to be, and how fast it gets on.
#include "repl/progress_meter.h"

#include <catch2/catch.hpp>

using namespace ringbolt;
using namespace ringbolt::repl;
using io::kSecond;

TEST_CASE("progress: a rate and a time left, once enough is known", "[repl][rebuild]") {
  ProgressMeter meter;
  meter.begin(10 * kSecond);
  CHECK_FALSE(meter.rate().has_value());
  CHECK_FALSE(meter.seconds_for(1000).has_value());
  meter.add(10 * kSecond + kSecond / 4, 1000, 0);  // too soon after the one before
  CHECK_FALSE(meter.rate().has_value());
  for (int i = 1; i <= 6; ++i) meter.add((10 + i) * kSecond, static_cast<uint64_t>(i) * 1000, 0);
  CHECK(meter.rate() == 1000);
  CHECK(meter.seconds_for(10'000) == 10);
  CHECK(meter.seconds_for(10'001) == 11);
  CHECK(meter.seconds_for(0) == 0);
}

TEST_CASE("progress: the last seconds count, not what was before", "[repl][rebuild]") {
  ProgressMeter meter;
  meter.begin(kSecond);
  uint64_t done = 0;
  for (int i = 1; i <= 30; ++i) meter.add((1 + i) * kSecond, done += 1000, 0);
  for (int i = 31; i <= 50; ++i) meter.add((1 + i) * kSecond, done += 10, 0);
  CHECK(meter.rate() == 10);
  for (int i = 51; i <= 70; ++i) meter.add((1 + i) * kSecond, done, 0);
  CHECK(meter.rate() == 0);
  CHECK_FALSE(meter.seconds_for(5).has_value());  // nothing moves
}

TEST_CASE("progress: losing ground is said when the log it lacks keeps growing, and only then", "[repl][rebuild]") {
  const auto after = [](uint64_t first, uint64_t step, int samples) {
    ProgressMeter meter;
    meter.begin(kSecond);
    for (int i = 1; i <= samples; ++i) meter.add((1 + i) * kSecond, static_cast<uint64_t>(i), first + step * static_cast<uint64_t>(i));
    return meter.losing_ground();
  };
  constexpr uint64_t kMib = uint64_t{1} << 20;
  CHECK(after(0, 4 * kMib, 20));
  CHECK_FALSE(after(0, 4 * kMib, 5));   // too early to say
  CHECK_FALSE(after(0, kMib / 8, 20));  // it is hardly behind
  CHECK_FALSE(after(500 * kMib, 0, 20));          // behind, and keeps it
  CHECK_FALSE(after(500 * kMib, kMib, 20));       // grows by less than a quarter
  ProgressMeter meter;
  meter.begin(kSecond);
  for (int i = 1; i <= 20; ++i) meter.add((1 + i) * kSecond, static_cast<uint64_t>(i), static_cast<uint64_t>(i) * 8 * kMib);
  CHECK(meter.losing_ground());
  for (int i = 21; i <= 40; ++i) meter.add((1 + i) * kSecond, static_cast<uint64_t>(i), static_cast<uint64_t>(41 - i) * 8 * kMib);
  CHECK_FALSE(meter.losing_ground());
}
