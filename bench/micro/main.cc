// Entry point of ringbolt-bench: the micro benchmarks of the parts that every request passes.
// Numbers for comparing two builds on one machine, not for judging a machine; bench/compare measures
// the whole.
#include <benchmark/benchmark.h>

BENCHMARK_MAIN();
