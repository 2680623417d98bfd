// The micro benchmarks: one operation of malloc's family each. The number of iterations is fixed, so that all allocators
// do the same work; how long one takes, Google Benchmark says.
#include <benchmark/benchmark.h>

BENCHMARK_MAIN();
