// What a benchmark has to do itself, in the middle of what is counted: the part of the kernel or of a device. Timed, it is just done.
#pragma once

#ifdef RINGBOLT_COUNTED
#include <valgrind/callgrind.h>
#endif

namespace ringbolt::bench {

/// While there is one, nothing is counted. Not within each other.
class Uncounted {
 public:
  Uncounted() { toggle(); }
  ~Uncounted() { toggle(); }
  Uncounted(const Uncounted&) = delete;
  Uncounted& operator=(const Uncounted&) = delete;

 private:
  static void toggle() {
#ifdef RINGBOLT_COUNTED
    CALLGRIND_TOGGLE_COLLECT;
#endif
  }
};

}  // namespace ringbolt::bench
