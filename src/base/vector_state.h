// Internal to src/base: ISA-L's variants for AVX-512 leave the upper halves of the vector registers in use, and until they
// are cleared, the SSE instructions of whatever runs next may pay for keeping them.
#pragma once

namespace ringbolt {

void leave_vector_state_clean();

}  // namespace ringbolt
