// Single calls of the malloc family, measured by Google Benchmark. Each counts its operations as items; what is
// allocated is freed in the same benchmark, so that a pair is one item unless the name says otherwise.
#include <benchmark/benchmark.h>
#include <spawn.h>
#include <sys/wait.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

extern char** environ;

namespace {

void Pair(benchmark::State& state) {
  const auto size = static_cast<size_t>(state.range(0));
  for (auto _ : state) {
    void* p = malloc(size);
    benchmark::DoNotOptimize(p);
    free(p);
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(Pair)->Arg(1)->Arg(16)->Arg(24)->Arg(48)->Arg(100)->Arg(250)->Arg(500)->Arg(1000)->Arg(4000)->Arg(15000)->Arg(60000);

// What is freed last is not what is allocated next.
enum Order { kFirstInFirstOut, kLastInFirstOut, kShuffled };
template <Order order>
void Batch(benchmark::State& state) {
  const auto count = static_cast<size_t>(state.range(0));
  const size_t size = 64;
  std::vector<void*> blocks(count);
  std::vector<uint32_t> places(count);
  for (size_t i = 0; i < count; ++i) places[i] = static_cast<uint32_t>(order == kLastInFirstOut ? count - 1 - i : i);
  if (order == kShuffled) {
    uint64_t x = 88172645463325252u;
    for (size_t i = count; i-- > 1;) {
      x ^= x << 13, x ^= x >> 7, x ^= x << 17;
      std::swap(places[i], places[x % (i + 1)]);
    }
  }
  for (auto _ : state) {
    for (void*& p : blocks) benchmark::DoNotOptimize(p = malloc(size));
    for (uint32_t place : places) free(blocks[place]);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(count));
}
BENCHMARK(Batch<kFirstInFirstOut>)->Name("BatchFirstInFirstOut")->Arg(100)->Arg(10000)->Arg(1000000);
BENCHMARK(Batch<kLastInFirstOut>)->Name("BatchLastInFirstOut")->Arg(100)->Arg(10000)->Arg(1000000);
BENCHMARK(Batch<kShuffled>)->Name("BatchShuffled")->Arg(100)->Arg(10000)->Arg(1000000);

// An array that grows by half, from 16 bytes to the given size; an item is a call.
void ReallocGrowth(benchmark::State& state) {
  const auto limit = static_cast<size_t>(state.range(0));
  int64_t calls = 0;
  for (auto _ : state) {
    void* p = nullptr;
    for (size_t size = 16; size < limit; size += size / 2, ++calls) benchmark::DoNotOptimize(p = realloc(p, size));
    free(p);
  }
  state.SetItemsProcessed(calls);
}
BENCHMARK(ReallocGrowth)->Arg(1000)->Arg(100000)->Arg(10000000);

void Calloc(benchmark::State& state) {
  const auto size = static_cast<size_t>(state.range(0));
  for (auto _ : state) {
    void* p = calloc(1, size);
    benchmark::DoNotOptimize(p);
    free(p);
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(Calloc)->Arg(16)->Arg(200)->Arg(2000)->Arg(100000)->Arg(1000000);

void Aligned(benchmark::State& state) {
  const auto alignment = static_cast<size_t>(state.range(0));
  for (auto _ : state) {
    void* p = aligned_alloc(alignment, 2 * alignment);
    benchmark::DoNotOptimize(p);
    free(p);
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(Aligned)->Arg(32)->Arg(64)->Arg(256)->Arg(4096);

// With a page in four written to.
void Large(benchmark::State& state) {
  const auto size = static_cast<size_t>(state.range(0));
  for (auto _ : state) {
    auto* p = static_cast<volatile char*>(malloc(size));
    for (size_t at = 0; at < size; at += 4 * 4096) p[at] = 1;
    free(const_cast<char*>(p));
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(Large)->Arg(100 << 10)->Arg(1 << 20)->Arg(16 << 20);

// Blocks that another thread has allocated; an item is one block's malloc and free.
void CrossThread(benchmark::State& state) {
  constexpr size_t kCount = 1000;
  std::vector<void*> blocks(kCount);
  std::atomic<int> turn{0};  // 0: the other thread fills, 1: this one frees, 2: the end
  std::thread other([&] {
    for (;;) {
      int now;
      while ((now = turn.load(std::memory_order_acquire)) == 1) std::this_thread::yield();
      if (now == 2) return;
      for (void*& p : blocks) p = malloc(64);
      turn.store(1, std::memory_order_release);
    }
  });
  for (auto _ : state) {
    while (turn.load(std::memory_order_acquire) != 1) std::this_thread::yield();
    for (void* p : blocks) free(p);
    turn.store(0, std::memory_order_release);
  }
  while (turn.load(std::memory_order_acquire) != 1) std::this_thread::yield();
  turn.store(2, std::memory_order_release);
  other.join();
  for (void* p : blocks) free(p);
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kCount));
}
BENCHMARK(CrossThread)->UseRealTime();

// A thread that allocates a little and ends.
void ThreadLife(benchmark::State& state) {
  for (auto _ : state) {
    std::thread([] {
      for (size_t size = 16; size < 1000; size *= 2) {
        void* p = malloc(size);
        benchmark::DoNotOptimize(p);
        free(p);
      }
    }).join();
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(ThreadLife)->UseRealTime();

// A process that ends at once: start-up and first allocations.
void ProcessLife(benchmark::State& state) {
  char name[] = "/bin/true";
  char* arguments[] = {name, nullptr};
  for (auto _ : state) {
    pid_t child;
    int status;
    if (posix_spawn(&child, name, nullptr, nullptr, arguments, environ) != 0 || waitpid(child, &status, 0) != child)
      state.SkipWithError("no process");
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(ProcessLife)->UseRealTime();

}  // namespace

BENCHMARK_MAIN();
