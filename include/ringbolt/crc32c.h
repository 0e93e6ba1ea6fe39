// CRC32C (Castagnoli) as used by every disk and wire format of ringbolt.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ringbolt {

/// CRC32C of `bytes` bytes at `data` (any alignment). `crc32c("123456789", 9) == 0xE3069283`.
/// To continue over a second range pass the first range's result as `seed`.
/// Thread: any. Cost: no allocation; ISA-L, several GB/s.
uint32_t crc32c(const void* data, size_t bytes, uint32_t seed = 0);

}  // namespace ringbolt
