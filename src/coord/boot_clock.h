// The clock that leases are judged by: it never goes back, no one can set it, and it counts the time in which the machine was
// suspended.
#pragma once

#include <time.h>

#include <chrono>

#include "ringbolt/assert.h"

namespace ringbolt::coord {

struct BootClock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<BootClock>;
  static constexpr bool is_steady = true;

  static time_point now() {
    timespec time{};
    const int result = ::clock_gettime(CLOCK_BOOTTIME, &time);
    RINGBOLT_ASSERT(result == 0);
    return time_point(std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec));
  }
};

using Instant = BootClock::time_point;
using Span = BootClock::duration;

}  // namespace ringbolt::coord
