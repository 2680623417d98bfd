// Out of memory, under RLIMIT_AS.
//
// Law: a request that cannot be met gives NULL and ENOMEM after one collection was tried; every block handed out
// before is whole; what is freed can be allocated again. Each case runs in a process of its own.
#include <malloc.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "support.h"

namespace {

using namespace gcm::test;

struct Link {
  Link* next;
  std::uint64_t cookie;
};

Link* chain = nullptr;  // static: in plain sight of the collector

std::size_t fill_memory(std::size_t size, std::size_t bound) {
  std::size_t blocks = 0;
  while (blocks * size < bound) {
    errno = 0;
    auto* link = static_cast<Link*>(malloc(opaque(size)));
    if (link == nullptr) break;
    link->next = chain;
    link->cookie = 0xF1F2F3F400000000ULL + size;
    chain = link;
    ++blocks;
  }
  return blocks;
}

std::size_t free_chain(std::size_t every) {
  Link* kept = nullptr;
  std::size_t freed = 0;
  std::size_t n = 0;
  while (chain != nullptr) {
    Link* link = chain;
    chain = link->next;
    if ((link->cookie & 0xFFFFFFFF00000000ULL) != 0xF1F2F3F400000000ULL) return 0;
    if (n++ % every == 0) {
      free(link);
      ++freed;
    } else {
      link->next = kept;
      kept = link;
    }
  }
  chain = kept;
  return freed;
}

int exhaust(std::size_t size, std::size_t at_least) {
  const std::size_t blocks = fill_memory(size, 4 * kGiB);
  GCM_REQUIRE(errno == ENOMEM);
  GCM_REQUIRE(blocks * size >= at_least);
  // Refused requests harm nothing, of whatever form.
  errno = 0;
  GCM_REQUIRE(malloc(opaque(2 * kGiB)) == nullptr && errno == ENOMEM);
  errno = 0;
  GCM_REQUIRE(calloc(opaque(2 * kGiB), 1) == nullptr && errno == ENOMEM);
  errno = 0;
  GCM_REQUIRE(realloc(opaque(chain), opaque(2 * kGiB)) == nullptr && errno == ENOMEM);
  void* p = nullptr;
  GCM_REQUIRE(posix_memalign(&p, 4096, opaque(2 * kGiB)) == ENOMEM && p == nullptr);
  errno = 4711;
  const std::size_t freed = free_chain(2);
  GCM_REQUIRE(errno == 4711);
  GCM_REQUIRE(freed == (blocks + 1) / 2);
  // What was freed is there again: of the same size at least half of it.
  const std::size_t again = fill_memory(size, freed * size / 2);
  GCM_REQUIRE(again >= freed / 2);
  GCM_REQUIRE(free_chain(1) == blocks - freed + again);
  p = malloc(opaque(at_least / 4));
  GCM_REQUIRE(p != nullptr);
  memset(p, 1, 100);
  free(p);
  return 0;
}

GCM_ROUTINE(oom_small_blocks) { return exhaust(48, 24 * kMiB); }
GCM_ROUTINE(oom_middle_blocks) { return exhaust(3000, 96 * kMiB); }
GCM_ROUTINE(oom_large_blocks) { return exhaust(3 * kMiB, 128 * kMiB); }

// A limit set while the program runs: memory that was reserved before may still be handed out, so only the
// outcome is prescribed, not the moment.
GCM_ROUTINE(oom_limit_set_later) {
  void* early = malloc(opaque(10 * kMiB));
  fill(early, 10 * kMiB, 3);
  struct rlimit limit = {};
  getrlimit(RLIMIT_AS, &limit);
  limit.rlim_cur = 64 * kMiB;
  GCM_REQUIRE(setrlimit(RLIMIT_AS, &limit) == 0);
  const std::size_t blocks = fill_memory(kMiB, kGiB);
  GCM_REQUIRE(blocks * kMiB >= kGiB || errno == ENOMEM);
  GCM_REQUIRE(holds(early, 10 * kMiB, 3));
  GCM_REQUIRE(free_chain(1) == blocks);
  limit.rlim_cur = limit.rlim_max;
  GCM_REQUIRE(setrlimit(RLIMIT_AS, &limit) == 0);
  GCM_REQUIRE(fill_memory(kMiB, 256 * kMiB) == 256);
  free(early);
  return 0;
}

// Garbage is collected before a request is refused.
__attribute__((noinline)) bool leak_one() {
  auto* p = static_cast<char*>(malloc(opaque(kMiB)));
  if (p == nullptr) return false;
  p[0] = 1;
  return true;
}

GCM_ROUTINE(oom_garbage_is_collected_first) {
  for (int i = 0; i < 3000; ++i) GCM_REQUIRE(leak_one());
  return 0;
}

std::atomic<Link*> stacks[4];

GCM_ROUTINE(oom_in_four_threads) {
  std::atomic<int> good{0};
  std::thread threads[4];
  for (int t = 0; t < 4; ++t) {
    threads[t] = std::thread([t, &good] {
      const std::size_t size = std::size_t{100} << (3 * t);
      std::size_t blocks = 0;
      for (;;) {
        auto* link = static_cast<Link*>(malloc(opaque(size)));
        if (link == nullptr) break;
        link->cookie = size;
        link->next = stacks[t];
        stacks[t] = link;
        ++blocks;
      }
      if (errno != ENOMEM) return;
      while (stacks[t] != nullptr) {
        Link* link = stacks[t];
        if (link->cookie != size) return;
        stacks[t] = link->next;
        free(link);
        --blocks;
      }
      if (blocks == 0) ++good;
    });
  }
  for (auto& thread : threads) thread.join();
  GCM_REQUIRE(good == 4);
  void* p = malloc(opaque(64 * kMiB));
  GCM_REQUIRE(p != nullptr);
  free(p);
  return 0;
}

GCM_ROUTINE(starts_in_little_address_space) {
  for (int i = 0; i < 1000; ++i) {
    void* p = malloc(opaque<std::size_t>(1000));
    GCM_REQUIRE(p != nullptr);
    memset(p, 1, 1000);
    free(p);
  }
  return 0;
}

TEST(OutOfMemory, SmallBlocks) { EXPECT_EQ(in_new_process("oom_small_blocks", 128 * kMiB), 0); }
TEST(OutOfMemory, MiddleBlocks) { EXPECT_EQ(in_new_process("oom_middle_blocks", 256 * kMiB), 0); }
TEST(OutOfMemory, LargeBlocks) { EXPECT_EQ(in_new_process("oom_large_blocks", 400 * kMiB), 0); }
TEST(OutOfMemory, LimitSetLater) { EXPECT_EQ(in_new_process("oom_limit_set_later", 0), 0); }
TEST(OutOfMemory, FourThreads) { EXPECT_EQ(in_new_process("oom_in_four_threads", 400 * kMiB), 0); }
TEST(OutOfMemory, LittleAddressSpace) { EXPECT_EQ(in_new_process("starts_in_little_address_space", 96 * kMiB), 0); }

TEST(OutOfMemory, GarbageIsCollectedFirst) {
  GCM_ONLY_OURS("it does not collect");
  EXPECT_EQ(in_new_process("oom_garbage_is_collected_first", kGiB), 0);
}

}  // namespace
