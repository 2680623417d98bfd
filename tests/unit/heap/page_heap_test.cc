#include "core/heap/page_heap.h"

#include <sys/mman.h>

#include <algorithm>
#include <map>
#include <vector>

#include "tests/unit/support.h"

namespace gcm {
namespace {

PageHeap& NewPageHeap(size_t reservation = kMiB, uintptr_t hint = 0) {
  auto& heap = *new PageHeap;
  ArenaConfig config;
  config.first_reservation = reservation;
  config.hint = hint;
  EXPECT_TRUE(heap.Init(config));
  return heap;
}

void BlockTheWay(PageHeap& heap) {
  const Arena& arena = heap.arena();
  uintptr_t end = arena.extent(arena.extent_count() - 1).end;
  mmap(PointerTo(end), 64 * kKiB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
}

// Runs that are left when everything is free and released: one for each piece of address space
// that was grown without a gap.
size_t GrownPieces(const Arena& arena) {
  std::vector<Range> pieces;
  for (size_t i = 0; i < arena.extent_count(); ++i) {
    if (arena.extent(i).ready != arena.extent(i).start) {
      pieces.push_back({arena.extent(i).start, arena.extent(i).ready});
    }
  }
  std::sort(pieces.begin(), pieces.end(), [](Range a, Range b) { return a.lo < b.lo; });
  size_t count = 0;
  for (size_t i = 0; i < pieces.size(); ++i) count += i == 0 || pieces[i - 1].hi != pieces[i].lo;
  return count;
}

size_t GrownPages(PageHeap& heap) { return heap.arena().grown_bytes() / kPageSize; }

// The page heap and a model of it: what is in use, and what was written there.
class Model {
 public:
  Model(PageHeap& heap, uint64_t seed) : heap_(heap), random_(seed) {}

  void Allocate(size_t pages, size_t alignment, unsigned words) {
    Span* span = heap_.Allocate(pages, alignment, words);
    ASSERT_NE(span, nullptr);
    ASSERT_EQ(span->pages, pages);
    ASSERT_EQ(span->start % Max(alignment, kPageSize), 0u);
    ASSERT_GE(span->capacity, words);
    ASSERT_TRUE(span->InUse());
    span->size_class = kLargeClass;
    heap_.Publish(span);
    auto above = live_.lower_bound(span->start);
    ASSERT_TRUE(above == live_.end() || span->end() <= above->first) << "overlap";
    ASSERT_TRUE(above == live_.begin() || std::prev(above)->second.span->end() <= span->start) << "overlap";
    if (span->zero) {
      for (uintptr_t at = span->start; at < span->end(); at += 8) {
        ASSERT_EQ(*PointerTo<uint64_t>(at), 0u) << "said to be zero";
      }
    }
    Block block{span, random_.Next() | 1};
    live_[span->start] = block;
    pages_ += pages;
    Write(block, 0);
  }
  void FreeOne() {
    if (live_.empty()) return;
    auto it = Pick();
    ASSERT_NO_FATAL_FAILURE(Check(it->second));
    pages_ -= it->second.span->pages;
    heap_.Free(it->second.span);
    live_.erase(it);
  }
  void ExtendOne() {
    if (live_.empty()) return;
    Block& block = Pick()->second;
    size_t before = block.span->pages, extra = 1 + random_.Below(20);
    auto next = live_.upper_bound(block.span->start);
    bool done = heap_.Extend(block.span, extra);
    ASSERT_EQ(block.span->pages, before + (done ? extra : 0));
    if (!done) return;
    ASSERT_TRUE(next == live_.end() || block.span->end() <= next->first) << "extended into another";
    pages_ += extra;
    ASSERT_NO_FATAL_FAILURE(Check(block, before));
    Write(block, before);
    ++extended_;
  }
  void TrimOne() {
    if (live_.empty()) return;
    Block& block = Pick()->second;
    if (block.span->pages < 2) return;
    size_t keep = 1 + random_.Below(block.span->pages - 1);
    pages_ -= block.span->pages - keep;
    heap_.Trim(block.span, keep);
    ASSERT_EQ(block.span->pages, keep);
    ASSERT_NO_FATAL_FAILURE(Check(block));
  }
  void FreeAll() {
    while (!live_.empty()) ASSERT_NO_FATAL_FAILURE(FreeOne());
  }

  void CheckAll() {
    std::map<Span*, int> walked;
    heap_.ForEachSpan([&](Span* span) { ++walked[span]; });
    ASSERT_EQ(walked.size(), live_.size());
    for (auto& [start, block] : live_) {
      ASSERT_EQ(walked[block.span], 1) << "a walk shows each span once";
      ASSERT_NO_FATAL_FAILURE(Check(block));
    }
    PageHeap::Counters c = heap_.Count();
    ASSERT_EQ(c.in_use_pages, pages_);
    ASSERT_EQ(c.in_use_pages + c.resident_free_pages + c.released_free_pages, GrownPages(heap_));
  }
  void Step() {
    switch (random_.Below(16)) {
      case 0: case 1: case 2: case 3: case 4:
        Allocate(1 + random_.Below(random_.OneIn(20) ? 300 : 12), kPageSize, random_.Below(2) ? 0 : 2);
        break;
      case 5:
        Allocate(1 + random_.Below(8), kPageSize << random_.Below(7), 0);
        break;
      case 6: case 7: ExtendOne(); break;
      case 8: case 9: TrimOne(); break;
      case 10:
        if (random_.OneIn(8)) heap_.Scavenge(UINT64_MAX, 0);
        break;
      default: FreeOne(); break;
    }
  }
  size_t live() const { return live_.size(); }
  size_t extended() const { return extended_; }

 private:
  struct Block {
    Span* span;
    uint64_t tag;
  };
  std::map<uintptr_t, Block>::iterator Pick() {
    auto it = live_.lower_bound(live_.begin()->first +
                                random_.Below(live_.rbegin()->first - live_.begin()->first + 1));
    return it;
  }
  static void Write(const Block& b, size_t from) {
    for (size_t i = from; i < b.span->pages; ++i) {
      *PointerTo<uint64_t>(b.span->start + i * kPageSize) = b.tag + i;
      *PointerTo<uint64_t>(b.span->start + (i + 1) * kPageSize - 8) = b.tag + i;
    }
  }
  void Check(const Block& b, size_t written = SIZE_MAX) {
    for (size_t i = 0; i < b.span->pages; ++i) {
      uintptr_t page = b.span->start + i * kPageSize;
      ASSERT_EQ(heap_.arena().SpanAround(page + 100), b.span) << "page " << i;
      if (i >= written) continue;
      ASSERT_EQ(*PointerTo<uint64_t>(page), b.tag + i);
      ASSERT_EQ(*PointerTo<uint64_t>(page + kPageSize - 8), b.tag + i);
    }
  }

  PageHeap& heap_;
  test::Random random_;
  std::map<uintptr_t, Block> live_;
  size_t pages_ = 0;
  size_t extended_ = 0;
};

void RunModel(PageHeap& heap, uint64_t seed, int steps, bool foreign) {
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  Model model(heap, seed);
  for (int i = 0; i < steps; ++i) {
    ASSERT_NO_FATAL_FAILURE(model.Step()) << "step " << i;
    if (foreign && i % 50 == 0) BlockTheWay(heap);
    if (i % 200 != 0) continue;
    ASSERT_NO_FATAL_FAILURE(model.CheckAll()) << "step " << i;
  }
  ASSERT_NO_FATAL_FAILURE(model.CheckAll());
  EXPECT_GT(model.extended(), 0u);
  ASSERT_NO_FATAL_FAILURE(model.FreeAll());
  ASSERT_NO_FATAL_FAILURE(model.CheckAll());
  EXPECT_EQ(heap.in_use_pages(), 0u);
  heap.Scavenge(UINT64_MAX, 0);
  PageHeap::Counters c = heap.Count();
  EXPECT_EQ(c.resident_free_pages, 0u);
  EXPECT_EQ(c.released_free_pages, GrownPages(heap));
  EXPECT_EQ(c.runs, GrownPieces(heap.arena())) << "free neighbours were not joined";
}

TEST(PageHeap, FollowsTheModel) {
  for (uint64_t seed : {1, 2, 3}) {
    ASSERT_NO_FATAL_FAILURE(RunModel(NewPageHeap(64 * kMiB), seed, 4000, false));
  }
}

TEST(PageHeap, FollowsTheModelInSmallExtents) {
  for (uint64_t seed : {4, 5, 6}) {
    ASSERT_NO_FATAL_FAILURE(RunModel(NewPageHeap(), seed, 4000, false));
  }
}

TEST(PageHeap, FollowsTheModelAmongForeignMappings) {
  for (uint64_t seed : {7, 8, 9}) {
    ASSERT_NO_FATAL_FAILURE(RunModel(NewPageHeap(), seed, 4000, true));
  }
}

TEST(PageHeap, FollowsTheModelReleasingAtOnce) {
  PageHeap& heap = NewPageHeap(64 * kMiB);
  heap.SetScavengeDelay(0);
  ASSERT_NO_FATAL_FAILURE(RunModel(heap, 10, 3000, false));
}

TEST(PageHeap, FollowsTheModelPopulating) {
  PageHeap& heap = NewPageHeap(64 * kMiB);
  heap.SetPopulates(true);
  ASSERT_NO_FATAL_FAILURE(RunModel(heap, 11, 4000, false));
}

TEST(PageHeap, ReleasedMemoryReadsAsZero) {
  PageHeap& heap = NewPageHeap(16 * kMiB);
  Span* span = heap.Allocate(64, kPageSize, 0);
  ASSERT_NE(span, nullptr);
  EXPECT_TRUE(span->zero) << "fresh from the system";
  heap.Publish(span);
  uintptr_t start = span->start;
  for (size_t i = 0; i < 64; ++i) *PointerTo<char>(start + i * kPageSize + 77) = 1;
  heap.Free(span);
  span = heap.Allocate(64, kPageSize, 0);
  ASSERT_EQ(span->start, start) << "resident runs are used first";
  EXPECT_FALSE(span->zero);
  heap.Publish(span);
  heap.Free(span);
  EXPECT_GE(heap.Scavenge(UINT64_MAX, 0), 64 * kPageSize);
  EXPECT_GE(heap.Count().released_total_bytes, 64 * kPageSize);
  span = heap.Allocate(64, kPageSize, 0);
  EXPECT_TRUE(span->zero);
  for (size_t i = 0; i < 64; ++i) EXPECT_EQ(*PointerTo<char>(span->start + i * kPageSize + 77), 0);
  heap.Publish(span);
  heap.Free(span);
}

TEST(PageHeap, ScavengesByAge) {
  PageHeap& heap = NewPageHeap(16 * kMiB);
  heap.SetScavengeDelay(3600u * 1'000'000'000ull);
  Span* span = heap.Allocate(16, kPageSize, 0);
  heap.Publish(span);
  heap.Free(span);
  uint64_t freed_at = 0;
  {
    Span* run = heap.arena().SpanOf(heap.arena().extent(0).start);
    ASSERT_NE(run, nullptr);
    freed_at = run->freed_at;
  }
  EXPECT_EQ(heap.Scavenge(freed_at + 99, 100), 0u);
  EXPECT_EQ(heap.Count().resident_free_pages, 16u);
  EXPECT_EQ(heap.Scavenge(freed_at + 100, 100), 16 * kPageSize);
  EXPECT_EQ(heap.Count().resident_free_pages, 0u);
}

// A clock that was read before the run was freed is no reason to release it.
TEST(PageHeap, DoesNotScavengeWhatWasFreedSinceTheClockWasRead) {
  PageHeap& heap = NewPageHeap(16 * kMiB);
  heap.SetScavengeDelay(3600u * 1'000'000'000ull);
  Span* span = heap.Allocate(16, kPageSize, 0);
  heap.Publish(span);
  heap.Free(span);
  Span* run = heap.arena().SpanOf(heap.arena().extent(0).start);
  ASSERT_NE(run, nullptr);
  EXPECT_EQ(heap.Scavenge(run->freed_at - 1, 100), 0u);
}

TEST(PageHeap, BlocksLargerThanAChunkAreFoundEverywhere) {
  PageHeap& heap = NewPageHeap(kGiB);
  constexpr size_t kPages = 3 * kPagesPerChunk + 100;
  Span* span = heap.Allocate(kPages, kPageSize, 0);
  ASSERT_NE(span, nullptr);
  heap.Publish(span);
  auto found = [&](Span* expected, uintptr_t lo, uintptr_t hi) {
    for (uintptr_t at = lo; at < hi; at += 37 * kPageSize) {
      if (heap.arena().SpanAround(at) != expected) return false;
    }
    return heap.arena().SpanAround(hi - 1) == expected;
  };
  EXPECT_TRUE(found(span, span->start, span->end()));
  // Page by page over the borders of chunks, both ways.
  uintptr_t end = span->end();
  heap.Trim(span, kPagesPerChunk + 3);
  EXPECT_TRUE(found(span, span->start, span->end()));
  for (uintptr_t at = span->end() + kPageSize; at < end - kPageSize; at += kPageSize) {
    ASSERT_EQ(heap.arena().SpanAround(at), nullptr) << "a stale entry behind the block";
  }
  for (int i = 0; i < 30; ++i) {
    ASSERT_TRUE(heap.Extend(span, kPagesPerChunk / 16));
    ASSERT_TRUE(found(span, span->start, span->end())) << i;
  }
  while (span->pages > 1) {
    heap.Trim(span, Max<size_t>(1, span->pages - Min<size_t>(span->pages - 1, kPagesPerChunk / 3)));
    ASSERT_TRUE(found(span, span->start, span->end()));
    for (uintptr_t at = span->end() + kPageSize; at < end - kPageSize; at += 61 * kPageSize) {
      ASSERT_EQ(heap.arena().SpanAround(at), nullptr);
    }
  }
  heap.Free(span);
  EXPECT_EQ(heap.in_use_pages(), 0u);
}

void AllocateWithRefusals() {
  for (long n = 1; n < 60; ++n) {
    PageHeap& heap = NewPageHeap();
    std::vector<Span*> spans;
    {
      test::Refusal refusal(n, n % 2 == 0);
      for (int i = 0; i < 40; ++i) {
        Span* span = heap.Allocate(i % 5 == 0 ? 200 : 9, kPageSize, 0);
        if (span == nullptr) continue;
        heap.Publish(span);
        *PointerTo<uint64_t>(span->start) = AddressOf(span);
        spans.push_back(span);
      }
    }
    Span* after = heap.Allocate(600, kPageSize, 0);
    ASSERT_NE(after, nullptr) << "does not recover from refusal " << n;
    heap.Publish(after);
    spans.push_back(after);
    PageHeap::Counters c = heap.Count();
    ASSERT_EQ(c.in_use_pages + c.resident_free_pages + c.released_free_pages, GrownPages(heap));
    for (Span* span : spans) heap.Free(span);
    heap.Scavenge(UINT64_MAX, 0);
    ASSERT_EQ(heap.Count().runs, GrownPieces(heap.arena()));
    ASSERT_EQ(heap.in_use_pages(), 0u);
  }
}

TEST(PageHeap, RefusedMemoryLosesNothing) {
  EXPECT_EQ(test::OutcomeInChild([] {
              AllocateWithRefusals();
              return !testing::Test::HasFailure();
            }),
            "ok");
}

TEST(PageHeap, ThreadsShareIt) {
  PageHeap& heap = NewPageHeap(16 * kMiB);
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&heap, t] {
      test::Random random(t + 20);
      std::vector<Span*> mine;
      for (int i = 0; i < 2000; ++i) {
        if (mine.size() < 20 || random.OneIn(2)) {
          Span* span = heap.Allocate(1 + random.Below(9), kPageSize, 0);
          heap.Publish(span);
          *PointerTo<uint64_t>(span->start) = AddressOf(span);
          mine.push_back(span);
        } else {
          size_t i = random.Below(mine.size());
          if (*PointerTo<uint64_t>(mine[i]->start) != AddressOf(mine[i])) abort();
          heap.Free(mine[i]);
          mine[i] = mine.back();
          mine.pop_back();
        }
      }
      for (Span* span : mine) heap.Free(span);
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(heap.in_use_pages(), 0u);
  heap.Scavenge(UINT64_MAX, 0);
  EXPECT_EQ(heap.Count().runs, GrownPieces(heap.arena()));
}

}  // namespace
}  // namespace gcm
