#include "repl/round_trips.h"

#include <catch2/catch.hpp>

namespace ringbolt::repl {
namespace {

using io::kMillisecond;

TEST_CASE("round_trips: one acknowledgement may answer several sends, each by its own time") {
  RoundTrips trips;
  trips.sent(Lsn(5), 10 * kMillisecond);
  trips.sent(Lsn(9), 20 * kMillisecond);
  trips.acknowledged(Lsn(4), 25 * kMillisecond);  // a part of the first send
  CHECK(trips.times().count() == 0);
  trips.acknowledged(Lsn(9), 30 * kMillisecond);
  CHECK(trips.times().count() == 2);
  CHECK(trips.times().sum_ns() == static_cast<uint64_t>(30 * kMillisecond));
  trips.acknowledged(Lsn(9), 99 * kMillisecond);
  CHECK(trips.times().count() == 2);
}

TEST_CASE("round_trips: of more sends than there is room for the oldest are timed, and later ones again") {
  RoundTrips trips;
  for (uint64_t i = 1; i <= 1000; ++i) trips.sent(Lsn(i), 0);
  trips.acknowledged(Lsn(1000), kMillisecond);
  const uint64_t timed = trips.times().count();
  CHECK(timed >= 16);
  CHECK(timed < 1000);
  trips.sent(Lsn(1001), 0);
  trips.acknowledged(Lsn(1001), kMillisecond);
  CHECK(trips.times().count() == timed + 1);
}

TEST_CASE("round_trips: what was under way when a connection ended is not timed by the next one") {
  RoundTrips trips;
  trips.sent(Lsn(5), 0);
  trips.forget();
  trips.sent(Lsn(5), 1000 * kMillisecond);
  trips.acknowledged(Lsn(5), 1001 * kMillisecond);
  CHECK(trips.times().count() == 1);
  CHECK(trips.times().sum_ns() == static_cast<uint64_t>(kMillisecond));
}

}  // namespace
}  // namespace ringbolt::repl
