// Many blocks, then their free: what lies behind the cache. An iteration is a batch of a thousand.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <cstdlib>
#include <numeric>
#include <utility>
#include <vector>

namespace {

constexpr size_t kBatch = 1000;

// The order in which blocks are freed.
std::vector<size_t> order(bool shuffled, bool backwards) {
  std::vector<size_t> indices(kBatch);
  std::iota(indices.begin(), indices.end(), size_t{0});
  uint64_t state = 88172645463325252u;
  for (size_t i = kBatch; shuffled && i-- > 1;) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    std::swap(indices[i], indices[(state >> 33) % (i + 1)]);
  }
  if (backwards) return {indices.rbegin(), indices.rend()};
  return indices;
}

void batch(benchmark::State& state, bool shuffled, bool backwards) {
  const size_t size = static_cast<size_t>(state.range(0));
  const std::vector<size_t> indices = order(shuffled, backwards);
  void* blocks[kBatch];
  for (auto _ : state) {
    for (void*& block : blocks) {
      block = malloc(size);
      *static_cast<volatile char*>(block) = 1;
    }
    for (size_t i : indices) free(blocks[i]);
  }
}
BENCHMARK_CAPTURE(batch, first_in_first_out, false, false)->Arg(16)->Arg(64)->Arg(256)->Arg(2048)->Iterations(1000);
BENCHMARK_CAPTURE(batch, last_in_first_out, false, true)->Arg(64)->Iterations(1000);
BENCHMARK_CAPTURE(batch, shuffled, true, false)->Arg(16)->Arg(64)->Arg(256)->Arg(2048)->Iterations(1000);

}  // namespace
