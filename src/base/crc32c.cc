#include "ringbolt/crc32c.h"

#include <isa-l/crc.h>

#include <algorithm>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace ringbolt {

namespace {

#if defined(__x86_64__)
const bool g_has_avx = __builtin_cpu_supports("avx") != 0;

__attribute__((target("avx"))) void zero_upper() { _mm256_zeroupper(); }

/// ISA-L's variant for AVX-512 leaves the upper halves of the vector registers in use, and until they
/// are cleared, the SSE instructions of whatever runs next may pay for keeping them.
void leave_vector_state_clean() {
  if (g_has_avx) zero_upper();
}
#else
void leave_vector_state_clean() {}
#endif

}  // namespace

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
