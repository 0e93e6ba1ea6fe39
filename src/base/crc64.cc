#include "ringbolt/crc64.h"

#include <isa-l/crc64.h>

#include "vector_state.h"

namespace ringbolt {

uint64_t crc64(const void* data, size_t bytes) {
  // Both inversions are ISA-L's own.
  const uint64_t crc = crc64_ecma_refl(0, static_cast<const unsigned char*>(data), bytes);
  leave_vector_state_clean();
  return crc;
}

}  // namespace ringbolt
