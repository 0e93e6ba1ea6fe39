#include "vector_state.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace ringbolt {

#if defined(__x86_64__)
namespace {

const bool g_has_avx = __builtin_cpu_supports("avx") != 0;

__attribute__((target("avx"))) void zero_upper() { _mm256_zeroupper(); }

}  // namespace

void leave_vector_state_clean() {
  if (g_has_avx) zero_upper();
}
#else
void leave_vector_state_clean() {}
#endif

}  // namespace ringbolt
