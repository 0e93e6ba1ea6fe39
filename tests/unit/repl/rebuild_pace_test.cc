// How a base lane yields to clients, and how far it is said to be.
#include "repl/rebuild_pace.h"

#include <catch2/catch.hpp>

#include "repl/progress_meter.h"

using namespace ringbolt;
using namespace ringbolt::repl;
using io::kMicrosecond;
using io::kSecond;

namespace {

LatencyHistogram clients(int count, io::Nanos latency) {
  LatencyHistogram histogram;
  for (int i = 0; i < count; ++i) histogram.add(latency);
  return histogram;
}

/// A pace that knows what clients see alone.
RebuildPace informed(io::Nanos alone) {
  RebuildPace pace;
  pace.end_part(clients(100, alone));
  REQUIRE(pace.pausing());
  pace.end_part(clients(100, alone));
  REQUIRE_FALSE(pace.pausing());
  return pace;
}

}  // namespace

TEST_CASE("pace: without clients it gets faster and faster, without ever pausing", "[repl][rebuild]") {
  RebuildPace pace;
  uint64_t before = pace.rate();
  for (int i = 0; i < 40; ++i) {
    CHECK_FALSE(pace.pausing());
    pace.end_part({});
    CHECK(pace.rate() >= before);
    CHECK((pace.rate() > before || pace.rate() == RebuildPace::kRateMax));
    before = pace.rate();
  }
  CHECK(pace.rate() == RebuildPace::kRateMax);
  CHECK(pace.alone() == 0);
}

TEST_CASE("pace: the first clients make it pause at once, to learn what they see alone", "[repl][rebuild]") {
  RebuildPace pace;
  const uint64_t rate = pace.rate();
  pace.end_part(clients(RebuildPace::kRequestsMin, 900 * kMicrosecond));
  CHECK(pace.pausing());
  CHECK(pace.rate() == rate);  // nothing to compare with yet
  CHECK(pace.part() < RebuildPace::kSlice);
  pace.end_part(clients(100, 100 * kMicrosecond));
  CHECK_FALSE(pace.pausing());
  CHECK(pace.alone() > 0);
  CHECK(pace.alone() <= 130 * kMicrosecond);
}

TEST_CASE("pace: too few clients say nothing", "[repl][rebuild]") {
  RebuildPace pace;
  pace.end_part(clients(RebuildPace::kRequestsMin - 1, 900 * kMicrosecond));
  CHECK_FALSE(pace.pausing());
  RebuildPace second;
  second.end_part(clients(100, 900 * kMicrosecond));
  second.end_part(clients(3, 100 * kMicrosecond));
  CHECK(second.alone() == 0);
  CHECK_FALSE(second.pausing());
  second.end_part(clients(100, 900 * kMicrosecond));
  CHECK(second.pausing());  // it tries again
}

TEST_CASE("pace: yields by much when clients' p99 is more than twice what they see alone, and recovers by little", "[repl][rebuild]") {
  RebuildPace pace = informed(100 * kMicrosecond);
  const uint64_t fast = pace.rate();
  pace.end_part(clients(100, 1000 * kMicrosecond));
  const uint64_t slow = pace.rate();
  CHECK(slow <= fast * 2 / 3);
  if (pace.pausing()) pace.end_part(clients(100, 100 * kMicrosecond));
  pace.end_part(clients(100, 110 * kMicrosecond));
  CHECK(pace.rate() > slow);
  CHECK(pace.rate() < fast);
}

TEST_CASE("pace: never slower than its floor, so that an end is in sight", "[repl][rebuild]") {
  RebuildPace pace = informed(100 * kMicrosecond);
  for (int i = 0; i < 200; ++i) {
    const io::Nanos latency = pace.pausing() ? 100 * kMicrosecond : 50 * io::kMillisecond;
    pace.end_part(clients(100, latency));
    CHECK(pace.rate() >= RebuildPace::kRateMin);
  }
  CHECK(pace.rate() == RebuildPace::kRateMin);
  // And when clients stop, it is soon fast again.
  for (int i = 0; i < 12; ++i) pace.end_part({});
  CHECK(pace.rate() > RebuildPace::kRateStart);
}

TEST_CASE("pace: pauses now and then, and follows what clients see alone", "[repl][rebuild]") {
  RebuildPace pace = informed(100 * kMicrosecond);
  const io::Nanos before = pace.alone();
  int pauses = 0, parts = 0;
  for (; parts < 200; ++parts) {
    if (pace.pausing()) ++pauses;
    // Their own load has grown: what they see alone, too.
    pace.end_part(clients(100, pace.pausing() ? 1000 * kMicrosecond : 1100 * kMicrosecond));
  }
  CHECK(pauses >= parts / 20);
  CHECK(pauses <= parts / 5);
  CHECK(pace.alone() > 5 * before);
  CHECK(pace.rate() > RebuildPace::kRateStart);  // it does not yield to what it does not cause
}

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
