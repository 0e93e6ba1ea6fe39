// Any facts, in any order, with any values: the engine must not crash, grow, or contradict itself.
#include <cstddef>
#include <cstdint>

#include "../unit/core/engine_bytes.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  ringbolt::core::Engine engine("vol0");
  ringbolt::core::Bytes bytes({data, size});
  while (!bytes.empty()) ringbolt::core::tell_anything(engine, ringbolt::core::any_event(bytes));
  return 0;
}
