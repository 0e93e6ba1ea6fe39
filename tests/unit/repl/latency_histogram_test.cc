#include "repl/latency_histogram.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <vector>

#include "io/sim_world.h"

using namespace ringbolt;
using ringbolt::repl::LatencyHistogram;
using io::kMicrosecond;
using io::Nanos;

namespace {
Nanos reported(Nanos latency) {
  LatencyHistogram one;
  one.add(latency);
  return one.percentile(500);
}
}  // namespace

TEST_CASE("latency: what is reported is never less, and at most a fifth of it more", "[repl]") {
  for (uint64_t micros = 4; micros < uint64_t{1} << 31; micros += 1 + micros / 97) {
    const Nanos latency = static_cast<Nanos>(micros) * kMicrosecond;
    const Nanos said = reported(latency);
    INFO(micros);
    REQUIRE(said >= latency);
    REQUIRE(said - latency <= said / 5);
  }
  for (Nanos micros = 0; micros < 4; ++micros) CHECK(reported(micros * kMicrosecond) == (micros + 1) * kMicrosecond);
}

TEST_CASE("latency: buckets follow each other without a gap, at every power of two, too", "[repl]") {
  Nanos before = 0;
  for (uint64_t micros = 0; micros < uint64_t{1} << 16; ++micros) {
    const Nanos latency = static_cast<Nanos>(micros) * kMicrosecond;
    const Nanos end = reported(latency);
    INFO(micros);
    REQUIRE(end >= before);
    // A bucket ends where the next one begins.
    if (end != before) REQUIRE(latency == before);
    before = end;
  }
  for (uint32_t power = 2; power < 32; ++power) {
    const Nanos border = (Nanos{1} << power) * kMicrosecond;
    INFO(power);
    CHECK(reported(border - kMicrosecond) == border);
    CHECK(reported(border) > border);
  }
}

TEST_CASE("latency: what is out of range counts as the least or the most", "[repl]") {
  CHECK(reported(-5) == kMicrosecond);
  CHECK(reported(0) == kMicrosecond);
  const Nanos most = reported(INT64_MAX);
  CHECK(most > 3600 * io::kSecond);
  CHECK(reported(INT64_MAX / 2) == most);
}

TEST_CASE("latency: percentiles of many, and of a window of them", "[repl]") {
  LatencyHistogram all;
  CHECK(all.count() == 0);
  CHECK(all.percentile(990) == 0);
  for (int i = 0; i < 990; ++i) all.add(100 * kMicrosecond);
  for (int i = 0; i < 10; ++i) all.add(5000 * kMicrosecond);
  CHECK(all.count() == 1000);
  CHECK(all.percentile(990) == reported(100 * kMicrosecond));
  CHECK(all.percentile(991) == reported(5000 * kMicrosecond));
  CHECK(all.percentile(1) == reported(100 * kMicrosecond));
  CHECK(all.percentile(1000) == reported(5000 * kMicrosecond));
  const LatencyHistogram before = all;
  CHECK(all.since(before).count() == 0);
  for (int i = 0; i < 50; ++i) all.add(700 * kMicrosecond);
  CHECK(all.since(before).count() == 50);
  CHECK(all.since(before).percentile(10) == reported(700 * kMicrosecond));
  CHECK(all.count() == 1050);
}

TEST_CASE("latency: a percentile is right within a fifth, whatever the values are", "[repl]") {
  io::SimRandom random(7);
  for (int round = 0; round < 20; ++round) {
    LatencyHistogram histogram;
    std::vector<Nanos> values;
    const uint64_t spread = uint64_t{1} << (8 + round);
    for (int i = 0; i < 2000; ++i) {
      values.push_back(static_cast<Nanos>(10 + random.below(spread)) * kMicrosecond);
      histogram.add(values.back());
    }
    std::sort(values.begin(), values.end());
    for (const uint32_t per_mille : {500u, 900u, 990u, 999u, 1000u}) {
      const Nanos exact = values[(values.size() * per_mille + 999) / 1000 - 1];
      const Nanos said = histogram.percentile(per_mille);
      INFO(round << " " << per_mille);
      CHECK(said >= exact);
      CHECK(said - exact <= said / 5);
    }
  }
}
