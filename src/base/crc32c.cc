#include "ringbolt/crc32c.h"

#include <isa-l/crc.h>

#include <algorithm>

#include "vector_state.h"

namespace ringbolt {

uint32_t crc32c(const void* data, size_t bytes, uint32_t seed) {
  // ISA-L's function takes an int length, a non-const pointer and leaves both inversions to us.
  auto* at = static_cast<unsigned char*>(const_cast<void*>(data));
  uint32_t crc = ~seed;
  while (bytes > 0) {
    const size_t part = std::min<size_t>(bytes, 1u << 30);
    crc = crc32_iscsi(at, static_cast<int>(part), crc);
    at += part;
    bytes -= part;
  }
  leave_vector_state_clean();
  return ~crc;
}

}  // namespace ringbolt
