// What clients ask of a primary, and how long it takes them.
#pragma once

#include <cstdint>

#include "repl/latency_histogram.h"

namespace ringbolt::repl {

struct ClientLoad {
  LatencyHistogram latency;  ///< of the requests that were answered
  uint64_t open = 0;         ///< not answered yet
};

}  // namespace ringbolt::repl
