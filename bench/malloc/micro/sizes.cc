// One block at a time, of a size of each kind: what a thread's cache answers.
#include <benchmark/benchmark.h>

#include <cstdlib>

namespace {

void malloc_free(benchmark::State& state) {
  const size_t size = static_cast<size_t>(state.range(0));
  for (auto _ : state) {
    void* block = malloc(size);
    benchmark::DoNotOptimize(block);
    free(block);
  }
}
BENCHMARK(malloc_free)->Arg(8)->Arg(16)->Arg(48)->Arg(128)->Arg(512)->Arg(1024)->Arg(4096)->Arg(16384)->Iterations(3000000);

void new_delete(benchmark::State& state) {
  for (auto _ : state) {
    auto* block = new char[48];
    benchmark::DoNotOptimize(block);
    delete[] block;
  }
}
BENCHMARK(new_delete)->Iterations(3000000);

}  // namespace
