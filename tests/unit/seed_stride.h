// Tests that take many seeds.
#pragma once

#include <cstdint>

namespace ringbolt::test {

/// From one seed to the next. A sanitizer makes each several times as slow, and the mistakes that it alone finds are seldom in a
/// seed's details; so there it is every fifth, of all kinds that tests tell by a seed's remainders.
#ifdef __SANITIZE_ADDRESS__
inline constexpr uint64_t kSeedStride = 5;
#else
inline constexpr uint64_t kSeedStride = 1;
#endif

}  // namespace ringbolt::test
