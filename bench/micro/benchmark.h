// What the micro benchmarks are written against: Google Benchmark, which times them (ringbolt-bench), or as much of it as they
// use, to have their instructions counted (ringbolt-count).
#pragma once

#ifdef RINGBOLT_COUNTED
#include "bench/counted/benchmark.h"
#else
#include <benchmark/benchmark.h>
#endif
