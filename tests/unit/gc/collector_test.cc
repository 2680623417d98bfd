#include "core/gc/collector.h"

#include <sys/mman.h>

#include <cstring>
#include <vector>

#include "platform/clock.h"
#include "tests/unit/support.h"

namespace gcm {
namespace {

constexpr int kBlocks = 5000;

bool IsBlock(uintptr_t address) {
  Range block;
  return heap().FindBlock(address, &block) && block.lo == address;
}
int CountBlocks(const std::vector<uintptr_t>& hidden) {
  int count = 0;
  for (uintptr_t h : hidden) count += IsBlock(test::Reveal(h));
  return count;
}

GCM_NOINLINE void AllocateAndForget(size_t size, int count, std::vector<uintptr_t>* hidden) {
  for (int i = 0; i < count; ++i) hidden->push_back(test::Hide(heap().Allocate(size)));
}

class CollectorTest : public testing::Test {
 protected:
  void SetUp() override { test::StartedCollector(); }
  void Collect() {
    test::ClearStack();
    ASSERT_TRUE(collector().Collect("forced"));
  }
};

TEST_F(CollectorTest, ReclaimsWhatNobodyPointsTo) {
  for (size_t size : {16, 100, 1000, 20000}) {
    std::vector<uintptr_t> hidden;
    int count = size > 10000 ? 500 : kBlocks;
    AllocateAndForget(size, count, &hidden);
    Collect();
    // Few large targets are hit by more stale words than many small ones.
    EXPECT_LE(CountBlocks(hidden), count < kBlocks ? count / 3 : count / 10) << size;
  }
}

TEST_F(CollectorTest, ReclaimsLargeBlocks) {
  std::vector<uintptr_t> hidden;
  AllocateAndForget(300 * kKiB, 100, &hidden);
  size_t before = heap().pages().in_use_pages();
  Collect();
  EXPECT_LE(CountBlocks(hidden), 50);
  EXPECT_LT(heap().pages().in_use_pages(), before - 50 * 300 * kKiB / kPageSize);
}

struct Node {
  Node* next;
  uint64_t cookie;
};

GCM_NOINLINE Node* MakeList(int length, std::vector<uintptr_t>* hidden) {
  Node* head = nullptr;
  for (int i = 0; i < length; ++i) {
    auto* node = static_cast<Node*>(heap().Allocate(sizeof(Node)));
    *node = {head, static_cast<uint64_t>(i) * 77};
    head = node;
    if (hidden != nullptr) hidden->push_back(test::Hide(node));
  }
  return head;
}
bool ListIsWhole(const Node* head, int length) {
  for (int i = length - 1; i >= 0; --i, head = head->next) {
    if (head == nullptr || head->cookie != static_cast<uint64_t>(i) * 77) return false;
  }
  return head == nullptr;
}

Node* g_list;
thread_local Node* t_list;

TEST_F(CollectorTest, KeepsWhatIsReachableFromEverywhere) {
  g_list = MakeList(kBlocks, nullptr);
  t_list = MakeList(kBlocks, nullptr);
  auto** elsewhere = new Node*(MakeList(kBlocks, nullptr));  // in the C library's heap
  auto map = [](int flags) {
    return static_cast<Node**>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0));
  };
  Node** privately = map(MAP_PRIVATE);
  Node** shared = map(MAP_SHARED);
  Node** constant = map(MAP_PRIVATE);
  privately[7] = MakeList(kBlocks, nullptr);
  shared[511] = MakeList(kBlocks, nullptr);
  constant[3] = MakeList(kBlocks, nullptr);
  mprotect(constant, 4096, PROT_READ);
  Collect();
  Collect();
  std::vector<uintptr_t> churn;  // what was reclaimed wrongly would be handed out again
  AllocateAndForget(sizeof(Node), kBlocks * 8, &churn);
  for (uintptr_t h : churn) memset(PointerTo(test::Reveal(h)), 0xee, sizeof(Node));
  EXPECT_TRUE(ListIsWhole(g_list, kBlocks));
  EXPECT_TRUE(ListIsWhole(t_list, kBlocks));
  EXPECT_TRUE(ListIsWhole(*elsewhere, kBlocks));
  EXPECT_TRUE(ListIsWhole(privately[7], kBlocks));
  EXPECT_TRUE(ListIsWhole(shared[511], kBlocks));
  EXPECT_TRUE(ListIsWhole(constant[3], kBlocks));
  g_list = t_list = nullptr;
  delete elsewhere;
  munmap(privately, 4096);
  munmap(shared, 4096);
  munmap(constant, 4096);
}

TEST_F(CollectorTest, KeepsByInteriorEndAndTaggedPointers) {
  constexpr int kEach = 200;
  static uintptr_t words[kEach * 4];
  std::vector<uintptr_t> hidden;
  for (int i = 0; i < kEach; ++i) {
    size_t size = static_cast<size_t>(i) * 24 + 8;
    for (int kind = 0; kind < 4; ++kind) {
      uintptr_t p = AddressOf(heap().Allocate(size));
      hidden.push_back(~p);
      words[i * 4 + kind] = kind == 0   ? p + size / 2
                            : kind == 1 ? p + size
                            : kind == 2 ? p + 1 + i % 7
                                        : (p + size) | 7;
    }
  }
  Collect();
  EXPECT_EQ(CountBlocks(hidden), kEach * 4);
  for (uintptr_t h : hidden) heap().Free(PointerTo(test::Reveal(h)), "test");
  memset(words, 0, sizeof(words));
}

TEST_F(CollectorTest, ReclaimsCycles) {
  std::vector<uintptr_t> hidden;
  for (int i = 0; i < 200; ++i) {  // small ones: a stale word on the stack keeps one of them
    Node* head = MakeList(kBlocks / 200, &hidden);
    Node* last = head;
    while (last->next != nullptr) last = last->next;
    last->next = head;
  }
  Collect();
  EXPECT_LE(CountBlocks(hidden), kBlocks / 10);
}

TEST_F(CollectorTest, KeepsWhatAnotherThreadHasOnItsStack) {
  std::atomic<int> phase{0};
  bool whole = false;
  std::thread other = test::HeapThread([&] {
    Node* volatile list = MakeList(kBlocks, nullptr);
    phase = 1;
    while (phase.load() == 1) std::this_thread::yield();
    whole = ListIsWhole(list, kBlocks);
  });
  while (phase.load() != 1) std::this_thread::yield();
  Collect();
  std::vector<uintptr_t> churn;
  AllocateAndForget(sizeof(Node), kBlocks * 2, &churn);
  for (uintptr_t h : churn) memset(PointerTo(test::Reveal(h)), 0xee, sizeof(Node));
  phase = 2;
  other.join();
  EXPECT_TRUE(whole);
}

TEST_F(CollectorTest, TakesBackTheCacheOfADeadThread) {
  // A thread that ends without giving back its cache, as one that was made by a raw clone.
  std::vector<uintptr_t> hidden;
  std::thread([&] { AllocateAndForget(100, kBlocks, &hidden); }).join();
  Collect();
  EXPECT_LE(CountBlocks(hidden), kBlocks / 10);
}

TEST_F(CollectorTest, ReclaimedMemoryIsCountedAndUsedAgain) {
  Statistics before = ledger().Collect();
  for (int round = 0; round < 20; ++round) {
    std::vector<uintptr_t> hidden;
    AllocateAndForget(1000, 2000, &hidden);
    Collect();
  }
  Statistics after = ledger().Collect();
  EXPECT_EQ(after.cycles, before.cycles + 20);
  EXPECT_GE(after.reclaimed_objects - before.reclaimed_objects, 36000u);
  EXPECT_LE(after.heap_used, before.heap_used + 6000 * 1040);
}

TEST_F(CollectorTest, DisableHoldsBackOnlyWhatNobodyAskedFor) {
  collector().Disable();
  EXPECT_TRUE(collector().Collect("forced"));
  collector().Enable();
}

// Threads build, check and drop lists while the world stops again and again.
bool Churn(unsigned milliseconds, bool short_lived) {
  test::StartedCollector();
  std::atomic<bool> stop{false}, broken{false};
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      test::Random random(t);
      while (!stop.load()) {
        auto work = [&, seed = random.Next()] {
          test::Random random(seed);
          for (int i = 0; i < 20; ++i) {
            int length = 1 + static_cast<int>(random.Below(300));
            Node* volatile head = MakeList(length, nullptr);
            void* volatile large = heap().Allocate(50 * kKiB + random.Below(100 * kKiB));
            if (!ListIsWhole(head, length)) broken = true;
            if (random.OneIn(2)) heap().Free(large, "test");
            head = nullptr;
            large = nullptr;
          }
        };
        if (!short_lived) {
          work();
        } else {
          std::thread a = test::HeapThread(work), b = test::HeapThread(work);
          a.join();
          b.join();
        }
      }
      test::EndHeapThread();
    });
  }
  uint64_t end = clock::Now() + milliseconds * clock::kMillisecond;
  bool collected = true;
  while (clock::Now() < end) collected = collector().Collect("forced") && collected;
  stop = true;
  for (std::thread& t : threads) t.join();
  if (!collected) fprintf(stderr, "a cycle did not run\n");
  if (broken.load()) fprintf(stderr, "a list that was in use was broken\n");
  return collected && !broken.load();
}

TEST_F(CollectorTest, ListsSurviveWhileTheWorldStopsAndGoes) {
  EXPECT_EQ(test::OutcomeInChild([] { return Churn(1500, false); }, 30), "ok");
}

TEST_F(CollectorTest, ThreadsComeAndGoWhileTheWorldStops) {
  EXPECT_EQ(test::OutcomeInChild([] { return Churn(1500, true); }, 30), "ok");
}

// Many threads get their first block at once: each needs a cache of its own, new memory for it,
// and may be stopped meanwhile.
bool FirstBlocksWhileCollecting() {
  test::StartedCollector();
  for (int round = 0; round < 12; ++round) {
    std::atomic<int> born{0};
    std::atomic<bool> leave{false};
    std::vector<std::thread> threads;
    std::thread maker([&] {
      for (int i = 0; i < 60; ++i) {
        threads.push_back(std::thread([&] {
          heap().Free(heap().Allocate(100), "test");
          ++born;
          while (!leave.load()) usleep(1000);
          test::EndHeapThread();
        }));
      }
    });
    while (born.load() < 60) {
      if (!collector().Collect("forced")) return false;
    }
    maker.join();
    leave = true;
    for (std::thread& t : threads) t.join();
  }
  return true;
}

TEST_F(CollectorTest, ThreadsGetTheirFirstBlockWhileTheWorldStops) {
  EXPECT_EQ(test::OutcomeInChild(FirstBlocksWhileCollecting, 40), "ok");
}

// Whoever holds a lock that the collector needs must not be stopped.
template <typename Fn>
bool WhileCollecting(Fn fn) {
  test::StartedCollector();
  std::vector<uintptr_t> hidden;
  for (int i = 0; i < 3000; ++i) hidden.push_back(AddressOf(heap().Allocate(2000)));
  std::atomic<bool> stop{false};
  std::thread other = test::HeapThread([&] {
    while (!stop.load()) fn();
  });
  uint64_t end = clock::Now() + 1000 * clock::kMillisecond;
  bool collected = true;
  while (clock::Now() < end) collected = collector().Collect("forced") && collected;
  stop = true;
  other.join();
  return collected;
}

TEST_F(CollectorTest, StatisticsMayBeReadWhileTheWorldStops) {
  EXPECT_EQ(test::OutcomeInChild([] { return WhileCollecting([] { ledger().Collect(); }); }, 10), "ok");
}

TEST_F(CollectorTest, PagesMayBeReleasedWhileTheWorldStops) {
  auto trim = [] {
    heap().Free(heap().Allocate(4 * kMiB), "test");
    Unstoppable unstoppable;
    heap().pages().Scavenge(UINT64_MAX, 0);
  };
  EXPECT_EQ(test::OutcomeInChild([&] { return WhileCollecting(trim); }, 10), "ok");
}

}  // namespace
}  // namespace gcm
