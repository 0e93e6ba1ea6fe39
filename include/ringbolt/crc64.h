// CRC64 (ECMA-182, reflected): what copies are compared by.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ringbolt {

/// CRC64 of `bytes` bytes at `data` (any alignment). `crc64("123456789", 9) == 0x995DC9BBDF1939FA`.
/// Thread: any. Cost: no allocation; ISA-L, several GB/s.
uint64_t crc64(const void* data, size_t bytes);

}  // namespace ringbolt
