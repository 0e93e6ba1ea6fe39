#include "repl/logged_times.h"

#include <catch2/catch.hpp>

namespace ringbolt::repl {
namespace {

using io::kMillisecond;
using io::kSecond;

TEST_CASE("logged_times: nothing is known before the first record, and later at least the oldest time") {
  LoggedTimes times;
  CHECK_FALSE(times.time_of(Lsn(1)));
  times.note(Lsn(100), 7 * kSecond);
  CHECK(times.time_of(Lsn(100)) == 7 * kSecond);
  CHECK(times.time_of(Lsn(3)) == 7 * kSecond);
}

TEST_CASE("logged_times: a record that came after a pause is as old as it is, not as the pause") {
  LoggedTimes times;
  times.note(Lsn(1), kSecond);
  times.note(Lsn(2), 100 * kSecond);
  CHECK(times.time_of(Lsn(2)) == 100 * kSecond);
  // So soon after the mark that it got none of its own.
  times.note(Lsn(3), 100 * kSecond + kMillisecond);
  CHECK(times.time_of(Lsn(3)) == 100 * kSecond);
  times.note(Lsn(4), 200 * kSecond);
  CHECK(times.time_of(Lsn(4)) == 200 * kSecond);
}

TEST_CASE("logged_times: what is older is known less exactly, within an eighth of its age") {
  // A record a millisecond, so that record n was logged at n milliseconds.
  LoggedTimes times;
  constexpr io::Nanos kEnd = 3 * 3600 * kSecond;
  for (io::Nanos now = kMillisecond; now <= kEnd; now += kMillisecond) times.note(Lsn(static_cast<uint64_t>(now / kMillisecond)), now);
  for (const io::Nanos age : {kMillisecond, 50 * kMillisecond, kSecond, 3 * kSecond, 10 * kSecond, 60 * kSecond, 600 * kSecond, 3600 * kSecond, 10000 * kSecond}) {
    CAPTURE(age);
    const auto told = times.time_of(Lsn(static_cast<uint64_t>((kEnd - age) / kMillisecond)));
    REQUIRE(told);
    const io::Nanos told_age = kEnd - *told;
    CHECK(told_age <= age + 100 * kMillisecond);
    CHECK(told_age >= age - age / 8 - 100 * kMillisecond);
  }
}

TEST_CASE("logged_times: hours of one record now and then end in nothing unknown") {
  LoggedTimes times;
  for (uint64_t i = 1; i <= 10'000; ++i) times.note(Lsn(i), static_cast<io::Nanos>(i) * 60 * kSecond);
  CHECK(times.time_of(Lsn(10'000)) == 600'000 * kSecond);
  REQUIRE(times.time_of(Lsn(1)));
  CHECK(*times.time_of(Lsn(1)) <= 600'000 * kSecond - 3600 * kSecond);  // as old as is known, and that is hours
}

}  // namespace
}  // namespace ringbolt::repl
