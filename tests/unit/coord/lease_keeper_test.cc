// Until when a lease surely holds.
#include "coord/lease_keeper.h"

#include <catch2/catch.hpp>

namespace ringbolt::coord {
namespace {

using namespace std::chrono_literals;
using Request = LeaseKeeper::Request;

const Instant kStart(1h);
constexpr Stamp kStamp{1, 2, 7};

struct Held {
  LeaseKeeper keeper{10s};
  Instant now = kStart;

  /// The lease was asked for at the start, and is proven 3 s later.
  Held() {
    CHECK(keeper.next(now) == Request::kGrant);
    CHECK_FALSE(keeper.next(now));  // one at a time
    keeper.on_granted({kStamp, 5, 10});
    CHECK_FALSE(keeper.surely_valid(now));  // nothing is under it yet
    CHECK(keeper.next(now) == Request::kProve);
    now += 3s;
    keeper.on_proven(now, {3, 9, 8});  // a majority has committed the grant: by whom does not matter
  }
  void renew(const Stamp& renewed, const Stamp& proven) {
    now = std::max(now, keeper.wake());
    CHECK(keeper.next(now) == Request::kRenew);
    keeper.on_renewed(renewed);
    CHECK(keeper.next(now) == Request::kProve);
    keeper.on_proven(now, proven);
  }
};

TEST_CASE("lease: it counts from when it was asked for, less a tenth", "[coord]") {
  Held held;
  CHECK(held.keeper.valid_until() == kStart + 9s);
  CHECK(held.keeper.surely_valid(kStart + 9s - 1ns));
  CHECK_FALSE(held.keeper.surely_valid(kStart + 9s));  // also if nobody has looked meanwhile
  CHECK(held.keeper.wake() == kStart + Span(10s) / 3);
}

TEST_CASE("lease: a renewal counts from when it was sent, however late its answer is", "[coord]") {
  Held held;
  held.now = held.keeper.wake();
  CHECK(held.keeper.next(held.now) == Request::kRenew);
  const Instant sent = held.now;
  held.now += 2s;
  held.keeper.on_renewed(kStamp);
  CHECK(held.keeper.valid_until() == kStart + 9s);  // not before it is proven
  CHECK(held.keeper.next(held.now) == Request::kProve);
  held.now += 20s;
  held.keeper.on_proven(held.now, kStamp);
  CHECK(held.keeper.valid_until() == sent + 9s);
  CHECK_FALSE(held.keeper.surely_valid(held.now));
  CHECK(held.keeper.next(held.now) == Request::kRenew);  // at once
}

TEST_CASE("lease: a renewal by a member that may not lead any more does not count", "[coord]") {
  for (const Stamp& proven : {Stamp{1, 3, 7}, Stamp{2, 2, 7}}) {
    Held held;
    held.renew(kStamp, proven);
    CHECK(held.keeper.valid_until() == kStart + 9s);
    held.renew({proven.member, proven.term, 7}, proven);
    CHECK(held.keeper.valid_until() > kStart + 9s);
  }
}

TEST_CASE("lease: more time than was asked for is not counted on, less is", "[coord]") {
  for (const auto& [granted, valid] : {std::pair{1000, 9s}, std::pair{10, 9s}, std::pair{5, 4s}, std::pair{-3, 0s}}) {
    LeaseKeeper keeper(10s);
    CHECK(keeper.next(kStart) == Request::kGrant);
    keeper.on_granted({kStamp, 5, granted});
    CHECK(keeper.next(kStart) == Request::kProve);
    keeper.on_proven(kStart, kStamp);
    CHECK(keeper.valid_until() <= kStart + granted * 1s - granted * 100ms + (granted < 0 ? 10s : 0s));
    CHECK(keeper.valid_until() >= kStart + valid);
    CHECK(keeper.valid_until() <= kStart + 9s);
  }
}

TEST_CASE("lease: what fails is repeated, and the time runs on", "[coord]") {
  Held held;
  held.now = held.keeper.wake();
  CHECK(held.keeper.next(held.now) == Request::kRenew);
  held.keeper.on_failure(held.now);
  CHECK_FALSE(held.keeper.next(held.now));
  held.now = held.keeper.wake();
  CHECK(held.now <= kStart + 5s);
  CHECK(held.keeper.next(held.now) == Request::kRenew);
  held.keeper.on_renewed(kStamp);
  CHECK(held.keeper.next(held.now) == Request::kProve);
  held.keeper.on_failure(held.now);  // the proof: the renewal is done again, not proven later
  held.now = held.keeper.wake();
  CHECK(held.keeper.next(held.now) == Request::kRenew);
  CHECK(held.keeper.valid_until() == kStart + 9s);
}

TEST_CASE("lease: one that is gone is not valid for a moment more, and another one is granted", "[coord]") {
  Held held;
  held.now = held.keeper.wake();
  CHECK(held.keeper.next(held.now) == Request::kRenew);
  held.keeper.on_lost(held.now);
  CHECK_FALSE(held.keeper.surely_valid(held.now));
  CHECK(held.keeper.id() == 0);
  CHECK(held.keeper.next(held.now) == Request::kGrant);
}

}  // namespace
}  // namespace ringbolt::coord
