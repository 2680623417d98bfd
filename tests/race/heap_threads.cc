// The heap and the collector under ThreadSanitizer, which owns malloc: four threads allocate, free
// each other's blocks, end and begin again, while one or all of them collect.
//
// Law: blocks in the table are reachable, so each has the contents it was given when it is taken out
// again; whoever takes it out frees it, resizes it, or loses it. Generations of threads end with
// blocks of theirs alive.
// heap_threads heap|one|all [SECONDS] [SEED]: nobody collects, one thread does, all do.
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <thread>
#include <vector>

#include "core/base/options.h"
#include "core/gc/collector.h"
#include "core/heap/heap.h"
#include "core/report/statistics.h"

namespace {

using gcm::heap;

constexpr unsigned kThreads = 4;
constexpr size_t kSlots = 4096;
constexpr unsigned kRounds = 3000;  // of one thread of one generation

enum class Mode { kHeap, kOne, kAll } g_mode;

struct Block {
  uint64_t size;
  uint64_t seed;
  Block* next;  // another block that only this one leads to, or none
};

// Filled by any thread, emptied by any other.
std::atomic<Block*> g_table[kSlots];
std::atomic<uint64_t> g_allocated{0}, g_remote{0}, g_lost{0}, g_collections{0}, g_refused{0};
std::atomic<bool> g_stop{false};

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15 + 1) {}
  uint64_t Next() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    return state_ ^= state_ << 17;
  }

 private:
  uint64_t state_;
};

[[noreturn]] void Fail(const char* what, uint64_t number) {
  printf("heap_threads: %s (%llu)\n", what, static_cast<unsigned long long>(number));
  fflush(stdout);
  _exit(1);
}

uint64_t* Tail(Block* block) { return reinterpret_cast<uint64_t*>(block + 1); }

// The first words, the last ones, and some between.
void Fill(Block* block) {
  size_t words = (block->size - sizeof(Block)) / 8;
  for (size_t i = 0; i < words; i += i < 8 ? 1 : 97) Tail(block)[i] = block->seed ^ i;
}
void Check(Block* block, size_t size) {
  size_t words = (size - sizeof(Block)) / 8;
  for (size_t i = 0; i < words; i += i < 8 ? 1 : 97) {
    if (Tail(block)[i] != (block->seed ^ i)) Fail("a block was overwritten", block->size);
  }
}

size_t Size(uint64_t r) {
  switch (r % 16) {
    case 0:
      return 40000 + (r >> 8) % 300000;
    case 1:
    case 2:
      return 1024 + (r >> 8) % 20000;
    default:
      return sizeof(Block) + (r >> 8) % 500;
  }
}

Block* New(Random& random, bool with_next) {
  size_t size = Size(random.Next()) / 8 * 8;
  bool zeroed = random.Next() % 8 == 0;
  void* place = zeroed ? heap().AllocateZeroed(size) : heap().Allocate(size);
  if (place == nullptr) Fail("no memory", size);
  auto* block = static_cast<Block*>(place);
  for (size_t i = 0; zeroed && i < size / 8; ++i) {
    if (static_cast<uint64_t*>(place)[i] != 0) Fail("zeroed memory is not zero", size);
  }
  block->size = size;
  block->seed = random.Next() | uint64_t{0xfedc} << 48;
  block->next = nullptr;
  Fill(block);
  g_allocated.fetch_add(1, std::memory_order_relaxed);
  if (with_next) block->next = New(random, false);
  return block;
}

Block* Resize(Random& random, Block* block) {
  size_t size = Size(random.Next()) / 8 * 8, old = block->size;
  auto* fresh = static_cast<Block*>(heap().Reallocate(block, size, "realloc"));
  if (fresh == nullptr) Fail("no memory to resize", size);
  Check(fresh, size < old ? size : old);
  fresh->size = size;
  Fill(fresh);
  return fresh;
}

void Drop(Block* block) {
  while (block != nullptr) {
    Block* next = block->next;
    Check(block, block->size);
    heap().Free(block, "free");
    block = next;
  }
}

void Step(Random& random) {
  uint64_t r = random.Next();
  std::atomic<Block*>& slot = g_table[r % kSlots];
  Block* block = slot.exchange(nullptr, std::memory_order_acq_rel);
  if (block == nullptr) {
    block = New(random, r >> 60 == 0);
  } else {
    Check(block, block->size);
    switch ((r >> 32) % 8) {
      case 0:
        block = Resize(random, block);
        break;
      case 1:  // lost, with what it leads to; it is not freed when nobody collects
        if (g_mode != Mode::kHeap) {
          g_lost.fetch_add(1, std::memory_order_relaxed);
          return;
        }
        [[fallthrough]];
      default:
        g_remote.fetch_add(1, std::memory_order_relaxed);
        Drop(block);
        return;
    }
  }
  // What was there meanwhile goes.
  Drop(slot.exchange(block, std::memory_order_acq_rel));
}

void Collect() {
  if (gcm::collector().Collect("forced")) {
    g_collections.fetch_add(1, std::memory_order_relaxed);
  } else {
    g_refused.fetch_add(1, std::memory_order_relaxed);
  }
}

void Worker(uint64_t seed) {
  Random random(seed);
  for (unsigned i = 0; i < kRounds && !g_stop.load(std::memory_order_relaxed); ++i) {
    Step(random);
    if (g_mode == Mode::kAll && random.Next() % 512 == 0) Collect();
    if (random.Next() % 1024 == 0) gcm::ledger().Collect();
  }
  // As at the end of any thread; its blocks in the table live on.
  if (gcm::t_cache != &gcm::g_empty_cache) heap().registry().Detach(gcm::t_cache);
}

void Generations(uint64_t seed) {
  for (uint64_t generation = 1; !g_stop.load(std::memory_order_relaxed); ++generation) {
    std::thread thread(Worker, seed + generation * kThreads);
    thread.join();
  }
}

void Collecting() {
  while (!g_stop.load(std::memory_order_relaxed)) {
    Collect();
    usleep(2000);
  }
}

double Now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

}  // namespace

int main(int argc, char** argv) {
  const char* name = argc > 1 ? argv[1] : "";
  const double seconds = argc > 2 ? atof(argv[2]) : 5;
  const uint64_t seed = argc > 3 ? strtoull(argv[3], nullptr, 0) : 1;
  if (strcmp(name, "heap") == 0) {
    g_mode = Mode::kHeap;
  } else if (strcmp(name, "one") == 0) {
    g_mode = Mode::kOne;
  } else if (strcmp(name, "all") == 0) {
    g_mode = Mode::kAll;
  } else {
    fprintf(stderr, "heap_threads heap|one|all [SECONDS] [SEED]\n");
    return 2;
  }
  // ThreadSanitizer does not know threads of our own, and its shadow is terabytes of private memory,
  // which arming would fill with page tables: cycles run in calls, in one stop.
  gcm::options().workers = 0;
  gcm::options().dirty = gcm::DirtySource::kNone;
  if (g_mode != Mode::kHeap) gcm::collector().Start();
  const double begin = Now();
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < kThreads; ++i) threads.emplace_back(Generations, seed * 1000003 + i);
  if (g_mode == Mode::kOne) threads.emplace_back(Collecting);
  while (Now() - begin < seconds) usleep(10000);
  g_stop.store(true);
  for (std::thread& t : threads) t.join();
  for (std::atomic<Block*>& slot : g_table) Drop(slot.exchange(nullptr, std::memory_order_acq_rel));
  gcm::Statistics s = gcm::ledger().Collect();
  printf("seed %llu: %llu allocated, %llu taken out, %llu lost; %llu collections (%llu refused), "
         "%llu reclaimed, longest pause %.1f ms\n",
         static_cast<unsigned long long>(seed), static_cast<unsigned long long>(g_allocated.load()),
         static_cast<unsigned long long>(g_remote.load()),
         static_cast<unsigned long long>(g_lost.load()),
         static_cast<unsigned long long>(g_collections.load()),
         static_cast<unsigned long long>(g_refused.load()),
         static_cast<unsigned long long>(s.reclaimed_objects),
         static_cast<double>(s.pause_max) * 1e-6);
  if (g_allocated.load() == 0) Fail("nothing was allocated", 0);
  if (g_mode != Mode::kHeap && g_collections.load() == 0) Fail("nothing was collected", 0);
  if (g_mode != Mode::kHeap && g_refused.load() > g_collections.load()) Fail("most collections were refused", 0);
  return 0;
}
