// Large blocks, every page written: whether pages go back to the kernel at each free.
#include <benchmark/benchmark.h>

#include <cstdlib>

namespace {

void large(benchmark::State& state) {
  const size_t size = static_cast<size_t>(state.range(0)) << 10;
  for (auto _ : state) {
    char* block = static_cast<char*>(malloc(size));
    for (size_t at = 0; at < size; at += 4096) block[at] = 1;
    benchmark::DoNotOptimize(block);
    free(block);
  }
}
BENCHMARK(large)->ArgName("KiB")->Arg(64)->Arg(256)->Iterations(20000);
BENCHMARK(large)->ArgName("KiB")->Arg(1024)->Arg(4096)->Iterations(1000);
BENCHMARK(large)->ArgName("KiB")->Arg(65536)->Iterations(8);

}  // namespace
