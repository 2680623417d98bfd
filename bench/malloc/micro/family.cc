// The rest of the family: realloc, calloc, aligned blocks.
#include <benchmark/benchmark.h>

#include <cstdlib>

namespace {

// A buffer that grows byte by byte (as one read from a stream) in steps of an eighth.
void realloc_growth(benchmark::State& state) {
  const size_t most = static_cast<size_t>(state.range(0));
  for (auto _ : state) {
    char* buffer = nullptr;
    for (size_t size = 16; size <= most; size += size / 8 + 16) {
      buffer = static_cast<char*>(realloc(buffer, size));
      buffer[size - 1] = 1;
    }
    benchmark::DoNotOptimize(buffer);
    free(buffer);
  }
}
BENCHMARK(realloc_growth)->Arg(4 << 10)->Iterations(50000);
BENCHMARK(realloc_growth)->Arg(256 << 10)->Iterations(3000);
BENCHMARK(realloc_growth)->Arg(16 << 20)->Iterations(15);

void realloc_same(benchmark::State& state) {
  void* block = malloc(100);
  for (auto _ : state) {
    block = realloc(block, 104);
    benchmark::DoNotOptimize(block);
    block = realloc(block, 100);
  }
  free(block);
}
BENCHMARK(realloc_same)->Iterations(2000000);

void calloc_free(benchmark::State& state) {
  const size_t size = static_cast<size_t>(state.range(0));
  for (auto _ : state) {
    void* block = calloc(1, size);
    benchmark::DoNotOptimize(block);
    free(block);
  }
}
BENCHMARK(calloc_free)->Arg(32)->Arg(1024)->Iterations(2000000);
BENCHMARK(calloc_free)->Arg(64 << 10)->Iterations(50000);
BENCHMARK(calloc_free)->Arg(4 << 20)->Iterations(2000);

void aligned_free(benchmark::State& state) {
  const size_t alignment = static_cast<size_t>(state.range(0));
  for (auto _ : state) {
    void* block = nullptr;
    if (posix_memalign(&block, alignment, 200) != 0) state.SkipWithError("posix_memalign");
    benchmark::DoNotOptimize(block);
    free(block);
  }
}
BENCHMARK(aligned_free)->Arg(32)->Arg(64)->Iterations(2000000);
BENCHMARK(aligned_free)->Arg(4096)->Iterations(500000);

}  // namespace
