#include "core/heap/span_walk.h"

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "core/gc/marker.h"
#include "tests/unit/support.h"

namespace gcm {
namespace {

struct Blocks {
  Blocks() {
    test::Random random(7);
    for (int i = 0; i < 3000; ++i) {
      all.push_back(heap().Allocate(random.OneIn(30) ? random.Below(500000) : random.Below(3000)));
    }
    // With gaps.
    for (size_t i = 0; i < all.size(); ++i) {
      if (random.OneIn(3)) {
        heap().Free(all[i], "test");
        all[i] = all.back();
        all.pop_back();
      }
    }
  }
  ~Blocks() {
    for (void* p : all) heap().Free(p, "test");
  }
  std::vector<void*> all;
};

std::vector<SpanWalk::Seen> WalkAll(size_t capacity) {
  std::vector<SpanWalk::Seen> seen;
  std::vector<SpanWalk::Seen> batch(capacity);
  SpanWalk walk;
  walk.Begin();
  for (bool over = false; !over;) {
    const size_t n = walk.Take(batch.data(), capacity, &over);
    EXPECT_LE(n, capacity);
    EXPECT_TRUE(!over || n == 0);
    seen.insert(seen.end(), batch.begin(), batch.begin() + static_cast<ptrdiff_t>(n));
  }
  bool over = false;
  EXPECT_EQ(walk.Take(batch.data(), capacity, &over), 0u);
  EXPECT_TRUE(over) << "the end stays the end";
  return seen;
}

TEST(SpanWalk, ShowsEachSpanOnceInOrder) {
  Blocks blocks;
  std::vector<Span*> spans;
  heap().pages().ForEachSpan([&](Span* span) { spans.push_back(span); });
  ASSERT_GT(spans.size(), 100u);
  for (size_t capacity : {1, 3, 64, 100000}) {
    std::vector<SpanWalk::Seen> seen = WalkAll(capacity);
    ASSERT_EQ(seen.size(), spans.size());
    for (size_t i = 0; i < seen.size(); ++i) {
      ASSERT_EQ(seen[i].span, spans[i]);
      ASSERT_EQ(seen[i].start, spans[i]->start);
      ASSERT_EQ(seen[i].size, spans[i]->pages * kPageSize);
      ASSERT_EQ(seen[i].size_class, spans[i]->size_class);
    }
  }
}

TEST(SpanWalk, ThreadsShareIt) {
  Blocks blocks;
  size_t spans = 0;
  heap().pages().ForEachSpan([&](Span*) { ++spans; });
  for (int round = 0; round < 20; ++round) {
    SpanWalk walk;
    walk.Begin();
    std::mutex lock;
    std::map<Span*, int> seen;
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t) {
      threads.push_back(test::HeapThread([&] {
        SpanWalk::Seen batch[8];
        for (bool over = false; !over;) {
          const size_t n = walk.Take(batch, 8, &over);
          std::lock_guard guard(lock);
          for (size_t i = 0; i < n; ++i) ++seen[batch[i].span];
        }
      }));
    }
    for (std::thread& t : threads) t.join();
    ASSERT_EQ(seen.size(), spans);
    for (auto& [span, times] : seen) ASSERT_EQ(times, 1);
  }
}

// What is there all the time is seen once, whatever comes and goes beside it.
TEST(SpanWalk, ShowsWhatStaysWhileOthersComeAndGo) {
  Blocks blocks;
  std::vector<Span*> stays;
  for (void* p : blocks.all) stays.push_back(heap().pages().arena().SpanAround(AddressOf(p)));
  std::sort(stays.begin(), stays.end());
  stays.erase(std::unique(stays.begin(), stays.end()), stays.end());
  std::atomic<bool> stop{false};
  std::thread other = test::HeapThread([&] {
    test::Random random(1);
    std::vector<void*> live;
    while (!stop.load()) {
      live.push_back(heap().Allocate(random.OneIn(8) ? random.Below(2 * kMiB) : random.Below(9000)));
      if (live.size() < 200) continue;
      std::swap(live[random.Below(live.size())], live.back());
      heap().Free(live.back(), "test");
      live.pop_back();
    }
    for (void* p : live) heap().Free(p, "test");
  });
  for (int round = 0; round < 100; ++round) {
    std::map<Span*, int> seen;
    for (const SpanWalk::Seen& s : WalkAll(16)) ++seen[s.span];
    for (Span* span : stays) ASSERT_EQ(seen[span], 1);
  }
  stop = true;
  other.join();
}

TEST(SpanWalk, ResetSetsTheBitsOfWhatIsFree) {
  Blocks blocks;
  const SideTables& tables = heap().pages().arena().tables();
  auto each = [&](auto fn) {
    heap().pages().ForEachSpan([&](Span* span) {
      for (unsigned i = 0; i < (span->large() ? 1u : span->slots); ++i) fn(span, i);
    });
  };
  for (bool before : {false, true}) {
    each([&](Span* span, unsigned i) {
      std::atomic<uint64_t>& word = tables.MarkBits(span->start)[i / 64];
      const uint64_t bit = uint64_t{1} << i % 64;
      word.store(before ? word.load() | bit : word.load() & ~bit);
      if (i == 0 && !span->large()) tables.Info(span->start).fetch_or(PageInfo::kQueued);
    });
    test::ResetMarks();
    size_t live = 0;
    each([&](Span* span, unsigned i) {
      Range block;
      const uintptr_t address = span->start + i * span->BlockSize();
      const bool is_block = heap().FindBlock(address, &block);
      ASSERT_EQ(Marker::IsMarked(span, i), !is_block);
      live += is_block;
      if (!span->large()) {
        ASSERT_EQ(tables.Info(span->start).load() & PageInfo::kQueued, 0u);
      }
    });
    EXPECT_GE(live, blocks.all.size());
  }
}

}  // namespace
}  // namespace gcm
