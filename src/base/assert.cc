#include "ringbolt/assert.h"

#include <cstdio>
#include <cstdlib>

namespace ringbolt {

void assertion_failed(const char* expression, const char* file, int line) {
  std::fprintf(stderr, "ringbolt: internal error: %s does not hold (%s:%d)\n", expression, file, line);
  std::abort();
}

}  // namespace ringbolt
