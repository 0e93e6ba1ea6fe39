#include "ringbolt/duration_histogram.h"

#include <catch2/catch.hpp>
#include <limits>

namespace ringbolt {
namespace {

/// The bucket that one duration is counted in.
size_t bucket_with(int64_t nanoseconds) {
  DurationHistogram histogram;
  histogram.add(nanoseconds);
  REQUIRE(histogram.count() == 1);
  size_t found = 0;
  while (histogram.count_in(found) == 0) ++found;
  return found;
}

TEST_CASE("duration_histogram: bounds double from 8 us on, and a bound belongs to its bucket") {
  CHECK(DurationHistogram::upper_ns(0) == 8'000);
  for (size_t i = 0; i < DurationHistogram::kBounds; ++i) {
    const auto bound = static_cast<int64_t>(DurationHistogram::upper_ns(i));
    CAPTURE(i, bound);
    if (i > 0) CHECK(DurationHistogram::upper_ns(i) == 2 * DurationHistogram::upper_ns(i - 1));
    CHECK(bucket_with(bound) == i);
    CHECK(bucket_with(bound - 1) == i);
    CHECK(bucket_with(bound + 1) == i + 1);
  }
  CHECK(DurationHistogram::upper_ns(DurationHistogram::kBounds - 1) == 16'777'216'000);
}

TEST_CASE("duration_histogram: nothing is too short or too long to be counted") {
  CHECK(bucket_with(0) == 0);
  CHECK(bucket_with(-5) == 0);  // a clock that stood still between two readings of another kind
  CHECK(bucket_with(std::numeric_limits<int64_t>::max()) == DurationHistogram::kBounds);
  DurationHistogram histogram;
  histogram.add(-5);
  CHECK(histogram.sum_ns() == 0);
}

TEST_CASE("duration_histogram: the sum is exact, and merging adds count by count") {
  DurationHistogram a, b;
  a.add(8'001);
  a.add(100);
  b.add(12'345);
  b.add(std::numeric_limits<int32_t>::max() * int64_t{100});
  DurationHistogram both = a;
  both.add(b);
  CHECK(both.count() == 4);
  CHECK(both.sum_ns() == a.sum_ns() + b.sum_ns());
  CHECK(a.sum_ns() == 8'101);
  CHECK(both.count_in(0) == 1);
  CHECK(both.count_in(1) == 2);
  CHECK(both.count_in(DurationHistogram::kBounds) == 1);
  DurationHistogram other_way = b;
  other_way.add(a);
  CHECK(other_way == both);
}

}  // namespace
}  // namespace ringbolt
