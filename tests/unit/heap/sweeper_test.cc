// A sweep, with what a collector would do before it done by hand: all blocks are marked but those
// that a test has lost.
#include "core/heap/sweeper.h"

#include <cstring>
#include <memory>
#include <vector>

#include "core/gc/world.h"
#include "platform/clock.h"
#include "tests/unit/support.h"

namespace gcm {
namespace {

bool IsBlock(const void* p) {
  Range block;
  return heap().FindBlock(AddressOf(p), &block) && block.lo == AddressOf(p);
}
Span* SpanOf(const void* p) { return heap().pages().arena().SpanAround(AddressOf(p)); }

// With the world stopped, or while one thread runs: all blocks are marked, and nothing that is free.
void MarkAll() {
  heap().pages().ForEachSpan([](Span* span) {
    std::atomic<uint64_t>* marks = heap().pages().arena().tables().MarkBits(span->start);
    if (span->large()) marks[0].store(1, std::memory_order_relaxed);
    for (unsigned w = 0; w < span->words(); ++w) {
      const uint64_t free = LoadRelaxed(&span->free_bits()[w]) |
                            span->remote_bits()[w].load(std::memory_order_relaxed);
      marks[w].store(~free, std::memory_order_relaxed);
    }
  });
}
void Unmark(const void* p) {
  Span* span = SpanOf(p);
  const unsigned index = span->large() ? 0 : span->IndexOf(AddressOf(p) - span->start);
  heap().pages().arena().tables().MarkBits(span->start)[index / 64].fetch_and(
      ~(uint64_t{1} << index % 64), std::memory_order_relaxed);
}

ProtectedRanges g_protected;

void BeginSweep() {
  heap().sweeper().Begin(&g_protected);
  heap().SetPhase(Phase::kSweeping);
}
void FinishSweep(bool stopped) {
  while (!heap().sweeper().Step(stopped ? UINT64_MAX : clock::Now() + 50'000, stopped)) {
  }
  heap().SetPhase(Phase::kIdle);
}

// Blocks of one size, of which some are lost, each with contents of its own.
struct Some {
  Some(size_t size, size_t count, bool (*lost)(size_t i)) : size(size) {
    for (size_t i = 0; i < count; ++i) {
      auto* p = static_cast<unsigned char*>(heap().Allocate(size));
      memset(p, static_cast<int>(1 + i % 251), size);
      (lost(i) ? gone : kept).push_back(p);
      if (!lost(i)) tags.push_back(static_cast<unsigned char>(1 + i % 251));
    }
    block = heap().UsableSize(kept.empty() ? gone[0] : kept[0], "test") + 1;
  }
  bool Intact() const {
    for (size_t i = 0; i < kept.size(); ++i) {
      if (!IsBlock(kept[i])) return false;
      for (size_t k = 0; k < size; ++k) {
        if (kept[i][k] != tags[i]) return false;
      }
    }
    return true;
  }
  void Lose() const {
    for (unsigned char* p : gone) Unmark(p);
  }
  bool Gone() const {
    for (unsigned char* p : gone) {
      if (IsBlock(p)) return false;
    }
    return true;
  }
  void Free() {
    for (unsigned char* p : kept) heap().Free(p, "test");
    kept.clear();
  }
  size_t size, block;
  std::vector<unsigned char*> kept, gone;
  std::vector<unsigned char> tags;
};
bool EverySecond(size_t i) { return i % 2 == 0; }
bool All(size_t) { return true; }
bool None(size_t) { return false; }

class SweeperTest : public testing::TestWithParam<bool> {
 protected:
  bool stopped() const { return GetParam(); }
};

TEST_P(SweeperTest, ReclaimsWhatIsNotMarked) {
  for (size_t size : {1, 16, 100, 1000, 20000, 100000}) {
    Some some(size, size > 10000 ? 200 : 5000, EverySecond);
    MarkAll();
    some.Lose();
    BeginSweep();
    FinishSweep(stopped());
    EXPECT_EQ(heap().sweeper().result().objects, some.gone.size()) << size;
    EXPECT_EQ(heap().sweeper().result().bytes, some.gone.size() * some.block) << size;
    EXPECT_TRUE(some.Gone()) << size;
    EXPECT_TRUE(some.Intact()) << size;
    some.Free();
  }
}

TEST_P(SweeperTest, FindsNothingTwice) {
  Some some(100, 3000, EverySecond);
  for (uint64_t expected : {uint64_t{1500}, uint64_t{0}}) {
    MarkAll();
    if (expected != 0) some.Lose();
    BeginSweep();
    FinishSweep(stopped());
    EXPECT_EQ(heap().sweeper().result().objects, expected);
  }
  EXPECT_TRUE(some.Intact());
  some.Free();
}

TEST_P(SweeperTest, EmptySpansGoBack) {
  for (size_t size : {100, 5000, 60000}) {
    const size_t before = heap().pages().in_use_pages();
    Some some(size, 10 * kMiB / size, All);
    ASSERT_GT(heap().pages().in_use_pages(), before + 9 * kMiB / kPageSize);
    MarkAll();
    some.Lose();
    BeginSweep();
    FinishSweep(stopped());
    EXPECT_LE(heap().pages().in_use_pages(), before + 16) << size;
  }
}

TEST_P(SweeperTest, FullSpansBecomePartial) {
  Some some(500, 20000, EverySecond);
  MarkAll();
  some.Lose();
  BeginSweep();
  FinishSweep(stopped());
  const size_t pages = heap().pages().in_use_pages();
  Some more(500, 9000, None);
  EXPECT_LE(heap().pages().in_use_pages(), pages + 4) << "what was reclaimed was not used again";
  EXPECT_TRUE(some.Intact());
  EXPECT_TRUE(more.Intact());
  some.Free();
  more.Free();
}

TEST_P(SweeperTest, SpansOfNobodyAreSweptAndUsedAgain) {
  std::unique_ptr<Some> half, whole;
  const size_t before = heap().pages().in_use_pages();
  test::HeapThread([&] {
    half = std::make_unique<Some>(400, 8000, EverySecond);
    whole = std::make_unique<Some>(700, 8000, All);
  }).join();
  MarkAll();
  half->Lose();
  whole->Lose();
  BeginSweep();
  FinishSweep(stopped());
  EXPECT_EQ(heap().sweeper().result().objects, 12000u);
  EXPECT_TRUE(half->Gone());
  EXPECT_TRUE(half->Intact());
  const size_t pages = heap().pages().in_use_pages();
  EXPECT_LE(pages, before + 8000 * 432 / kPageSize + 32) << "empty spans stay";
  Some more(400, 3500, None);
  EXPECT_LE(heap().pages().in_use_pages(), pages + 4);
  EXPECT_TRUE(half->Intact());
  half->Free();
  more.Free();
}

TEST_P(SweeperTest, ReclaimedSlotsKeepNoContents) {
  Some some(100, 2000, EverySecond);
  MarkAll();
  some.Lose();
  BeginSweep();
  FinishSweep(stopped());
  for (const unsigned char* p : some.gone) {
    for (size_t i = 0; i < 100; ++i) ASSERT_EQ(p[i], 0);
  }
  some.Free();
}

TEST_P(SweeperTest, ProtectedMemoryStays) {
  for (size_t size : {3000, 100000}) {
    Some some(size, 400, EverySecond);
    const void* protege = some.gone[100];
    g_protected.Clear();
    g_protected.Add({AddressOf(protege), AddressOf(protege) + 1});
    for (bool guarded : {true, false}) {
      MarkAll();
      for (const void* p : some.gone) {
        if (IsBlock(p)) Unmark(p);
      }
      BeginSweep();
      FinishSweep(stopped());
      EXPECT_EQ(IsBlock(protege), guarded) << size;
      g_protected.Clear();
    }
    EXPECT_TRUE(some.Gone());
    EXPECT_TRUE(some.Intact());
    some.Free();
  }
}

INSTANTIATE_TEST_SUITE_P(Sweeper, SweeperTest, testing::Bool(),
                         [](const auto& info) { return info.param ? "Stopped" : "Running"; });

TEST(Sweeper, WhatIsAllocatedAfterTheStopStays) {
  for (size_t size : {1, 100, 3000, 100000}) {
    Some some(size, size > 10000 ? 200 : 4000, EverySecond);
    MarkAll();
    some.Lose();
    BeginSweep();
    // From the current span, from those that have free slots, and from new ones; some of it beside
    // the sweep, which takes a span at a time.
    std::vector<std::unique_ptr<Some>> later;
    for (int i = 0; i < 40; ++i) {
      later.push_back(std::make_unique<Some>(size, size > 10000 ? 10 : 200, None));
      if (i >= 20) heap().sweeper().Step(0, false);
    }
    FinishSweep(false);
    EXPECT_EQ(heap().sweeper().result().objects, some.gone.size()) << size;
    EXPECT_TRUE(some.Intact()) << size;
    for (auto& s : later) {
      EXPECT_TRUE(s->Intact()) << size;
      s->Free();
    }
    some.Free();
  }
}

TEST(Sweeper, WhatIsFreedAndAllocatedAgainAfterTheStopStays) {
  Some some(100, 4000, None);
  MarkAll();
  BeginSweep();
  for (size_t i = 0; i < some.kept.size(); i += 3) {
    heap().Free(some.kept[i], "test");
    some.kept[i] = static_cast<unsigned char*>(heap().Allocate(100));
    memset(some.kept[i], some.tags[i], 100);
    if (i % 100 == 0) heap().sweeper().Step(0, false);
  }
  FinishSweep(false);
  EXPECT_EQ(heap().sweeper().result().objects, 0u);
  EXPECT_TRUE(some.Intact());
  some.Free();
}

TEST(Sweeper, ASpanIsSweptBeforeItIsUsed) {
  Some some(100, 4000, [](size_t i) { return i % 4 == 0; });
  for (size_t i = 0; i < some.kept.size(); i += 3) {  // so that many have free slots
    heap().Free(some.kept[i], "test");
    some.kept[i] = nullptr;
  }
  MarkAll();
  some.Lose();
  BeginSweep();
  const size_t spans_before = heap().sweeper().result().objects;
  EXPECT_EQ(spans_before, 0u);
  std::vector<void*> fresh;
  for (int i = 0; i < 1500; ++i) fresh.push_back(heap().Allocate(100));
  EXPECT_GT(heap().sweeper().result().objects, 0u) << "nothing was swept on the way";
  size_t swept = 0;
  for (void* p : fresh) swept += heap().sweeper().IsSwept(SpanOf(p));
  // The span that was in use at the stop need not be.
  const unsigned slots = SpanOf(fresh[0])->slots;
  EXPECT_GE(swept + slots, fresh.size());
  FinishSweep(false);
  EXPECT_EQ(heap().sweeper().result().objects, some.gone.size());
  for (void* p : fresh) EXPECT_TRUE(IsBlock(p));
  for (void* p : fresh) heap().Free(p, "test");
  for (unsigned char* p : some.kept) {
    if (p == nullptr) continue;
    EXPECT_TRUE(IsBlock(p));
    heap().Free(p, "test");
  }
}

TEST(Sweeper, NewbornSpansCountAsSwept) {
  MarkAll();
  BeginSweep();
  Some large(50000, 20, None);
  std::unique_ptr<Some> small;
  test::HeapThread([&] { small = std::make_unique<Some>(30000, 100, None); }).join();
  for (unsigned char* p : large.kept) EXPECT_TRUE(heap().sweeper().IsSwept(SpanOf(p)));
  for (unsigned char* p : small->kept) EXPECT_TRUE(heap().sweeper().IsSwept(SpanOf(p)));
  FinishSweep(false);
  EXPECT_TRUE(large.Intact());
  EXPECT_TRUE(small->Intact());
  large.Free();
  small->Free();
}

// Threads allocate, hand blocks to each other, free and lose them, while the world stops and what
// they have lost is swept beside them.
struct Mutators {
  static constexpr unsigned kThreads = 3;
  static constexpr size_t kSlots = 512, kMostLost = 1 << 20;
  struct Block {
    uint64_t words, seed;
    uint64_t* tail() { return reinterpret_cast<uint64_t*>(this + 1); }
  };

  static Block* New(test::Random& random) {
    const uint64_t words = random.OneIn(100) ? 8000 + random.Below(8000) : random.Below(100);
    auto* block = static_cast<Block*>(heap().Allocate(sizeof(Block) + words * 8));
    *block = {words, random.Next()};
    for (uint64_t i = 0; i < words; ++i) block->tail()[i] = block->seed ^ i;
    return block;
  }
  void Check(Block* block) {
    for (uint64_t i = 0; i < block->words; ++i) {
      if (block->tail()[i] != (block->seed ^ i)) broken = true;
    }
  }
  void Work(unsigned number) {
    test::Random random(number + 11);
    while (!stop.load(std::memory_order_relaxed)) {
      Block* block = table[random.Below(kSlots)].exchange(New(random));
      if (block == nullptr) continue;
      Check(block);
      if (random.OneIn(3)) {
        // Noted before it is lost: a stop in between finds it in the list, or the list shorter.
        const size_t n = lost_count[number].load(std::memory_order_relaxed);
        if (n == kMostLost) continue;
        lost[number][n].store(block, std::memory_order_relaxed);
        lost_count[number].store(n + 1, std::memory_order_release);
      } else {
        heap().Free(block, "test");
      }
    }
    test::EndHeapThread();
  }

  std::atomic<Block*> table[kSlots] = {};
  std::unique_ptr<std::atomic<Block*>[]> lost[kThreads];
  std::atomic<size_t> lost_count[kThreads] = {};
  std::atomic<bool> stop{false}, broken{false};
};

bool SweepBesideMutators() {
  auto m = std::make_unique<Mutators>();
  for (auto& list : m->lost) list.reset(new std::atomic<Mutators::Block*>[Mutators::kMostLost]);
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < Mutators::kThreads; ++t) threads.emplace_back([&, t] { m->Work(t); });
  size_t done[Mutators::kThreads] = {};
  uint64_t total = 0;
  bool good = true;
  const char* wrong = nullptr;
  const uint64_t end = clock::Now() + 1500 * clock::kMillisecond;
  for (unsigned cycle = 0; clock::Now() < end && good; ++cycle) {
    if (!world().Stop(&wrong)) continue;
    MarkAll();
    uint64_t expected = 0;
    for (unsigned t = 0; t < Mutators::kThreads; ++t) {
      const size_t count = m->lost_count[t].load(std::memory_order_acquire);
      for (; done[t] < count; ++done[t], ++expected)
        Unmark(m->lost[t][done[t]].load(std::memory_order_relaxed));
    }
    BeginSweep();
    const bool stopped = cycle % 8 == 7;
    if (stopped) FinishSweep(true);
    world().Start();
    if (!stopped) FinishSweep(false);
    good = heap().sweeper().result().objects == expected && !m->broken.load();
    if (!good) {
      fprintf(stderr, "cycle %u: %lu reclaimed, %lu lost, blocks are %s\n", cycle,
              heap().sweeper().result().objects, expected, m->broken.load() ? "broken" : "whole");
    }
    total += expected;
    usleep(500);
  }
  m->stop = true;
  for (std::thread& t : threads) t.join();
  for (auto& slot : m->table) {
    if (Mutators::Block* block = slot.load()) {
      m->Check(block);
      heap().Free(block, "test");
    }
  }
  if (wrong != nullptr) fprintf(stderr, "a stop failed: %s\n", wrong);
  return good && !m->broken.load() && total > 100;
}

TEST(Sweeper, ReclaimsExactlyWhatIsLostBesideThreadsThatAllocate) {
  EXPECT_EQ(test::OutcomeInChild(SweepBesideMutators, 60), "ok");
}

// Pages that a sweep has emptied hold what looks like pointers, until somebody gets them.
TEST(Sweeper, WhatItEmptiesIsScrubbedWhenItIsHandedOut) {
  constexpr size_t kSize = 3000, kCount = 3000;
  constexpr uint64_t kContents = 0xC0FFEE00C0FFEE;
  for (bool stopped : {false, true}) {
    std::vector<void*> lost;
    for (size_t i = 0; i < kCount; ++i) {
      auto* p = static_cast<uint64_t*>(heap().Allocate(kSize));
      for (size_t k = 0; k < kSize / 8; ++k) p[k] = kContents;
      lost.push_back(p);
    }
    heap().FlushCache();
    MarkAll();
    for (void* p : lost) Unmark(p);
    BeginSweep();
    FinishSweep(stopped);
    for (size_t size : {size_t{48}, kSize, 100 * kKiB}) {
      std::vector<uint64_t*> fresh;
      for (size_t i = 0; i < 3 * kMiB / size; ++i) {
        fresh.push_back(static_cast<uint64_t*>(heap().Allocate(size)));
        for (size_t k = 0; k < size / 8; ++k) ASSERT_NE(fresh.back()[k], kContents) << size << " at " << k;
      }
      for (uint64_t* p : fresh) heap().Free(p, "test");
      heap().FlushCache();
    }
  }
}

}  // namespace
}  // namespace gcm
