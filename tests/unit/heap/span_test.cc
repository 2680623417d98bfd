#include "core/heap/span.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <thread>
#include <vector>

#include "core/heap/heap.h"
#include "tests/unit/support.h"

namespace gcm {
namespace {

TEST(Span, DescriptorsHaveRoomForTheirBitmaps) {
  std::vector<Span*> spans;
  std::set<Span*> distinct;
  for (int round = 0; round < 200; ++round) {
    for (unsigned words : {0u, 1u, 2u, 3u, kMostWords}) {
      Span* span = NewSpan(words);
      ASSERT_NE(span, nullptr);
      ASSERT_GE(span->capacity, words);
      ASSERT_EQ(AddressOf(span) % 64, 0u);
      ASSERT_TRUE(distinct.insert(span).second);
      for (unsigned w = 0; w < words; ++w) {
        ASSERT_EQ(span->free_bits()[w], 0u);
        ASSERT_EQ(span->live_bits()[w], 0u);
        ASSERT_EQ(span->remote_bits()[w].load(), 0u);
      }
      // All that belongs to it is written: a neighbour would notice below.
      for (unsigned w = 0; w < words; ++w) {
        span->free_bits()[w] = AddressOf(span) + w;
        span->live_bits()[w] = AddressOf(span) + 10 + w;
        span->remote_bits()[w].store(~AddressOf(span) - w);
      }
      span->slots = static_cast<uint16_t>(words * 64);
      spans.push_back(span);
    }
  }
  for (Span* span : spans) {
    for (unsigned w = 0; w < span->words(); ++w) {
      ASSERT_EQ(span->free_bits()[w], AddressOf(span) + w);
      ASSERT_EQ(span->live_bits()[w], AddressOf(span) + 10 + w);
      ASSERT_EQ(span->remote_bits()[w].load(), ~AddressOf(span) - w);
    }
    DeleteSpan(span);
  }
}

TEST(Span, DescriptorsAreUsedAgainAsDescriptors) {
  Span* span = NewSpan(4);
  span->state.store(SpanState::kInUse);
  span->owner.store(12345);
  span->slots = 77;
  span->free_bits()[3] = ~0ull;
  span->remote_bits()[3].store(~0ull);
  DeleteSpan(span);
  EXPECT_EQ(span->state.load(), SpanState::kUnused);
  Span* again = NewSpan(4);
  ASSERT_EQ(again, span);
  EXPECT_EQ(again->slots, 0u);
  EXPECT_EQ(again->owner.load(), kOwnerNone);
  EXPECT_EQ(again->free_bits()[3], 0u);
  EXPECT_EQ(again->remote_bits()[3].load(), 0u);
  EXPECT_FALSE(again->InUse());
  DeleteSpan(again);
}

TEST(Span, ValidBitsCoverTheSlots) {
  Span* span = NewSpan(kMostWords);
  for (unsigned slots = 1; slots <= kMaxObjectsPerSpan; ++slots) {
    span->slots = static_cast<uint16_t>(slots);
    unsigned count = 0;
    for (unsigned w = 0; w < span->words(); ++w) {
      count += static_cast<unsigned>(__builtin_popcountll(span->ValidBits(w)));
      span->free_bits()[w] = span->ValidBits(w);
    }
    ASSERT_EQ(count, slots);
    ASSERT_EQ(span->CountFree(), slots);
  }
  DeleteSpan(span);
}

TEST(Span, ThreadsGetDifferentDescriptors) {
  std::vector<std::vector<Span*>> got(4);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < got.size(); ++t) {
    threads.emplace_back([&mine = got[t]] {
      for (int i = 0; i < 2000; ++i) {
        mine.push_back(NewSpan(i % 3));
        if (i % 3 == 0) {
          DeleteSpan(mine.back());
          mine.pop_back();
        }
      }
    });
  }
  for (std::thread& t : threads) t.join();
  std::set<Span*> distinct;
  for (auto& mine : got) {
    for (Span* span : mine) {
      ASSERT_TRUE(distinct.insert(span).second);
    }
  }
  for (Span* span : distinct) DeleteSpan(span);
}

// What one thread writes all the time must not lie where the processor of another fetches.
TEST(Span, DescriptorsOfThreadsLieApart) {
  std::vector<std::vector<Span*>> got(3);
  std::vector<std::thread> threads;
  std::atomic<size_t> ready{0}, turn{0};
  for (size_t t = 0; t < got.size(); ++t) {
    threads.push_back(test::HeapThread([&, t] {
      heap().Free(heap().Allocate(8), "test");  // gets it a cache
      ++ready;
      while (ready < got.size()) std::this_thread::yield();
      for (size_t i = 0; i < 40; ++i) {
        while (turn != i * got.size() + t) std::this_thread::yield();
        got[t].push_back(NewSpan(i % 2 == 0 ? 1 : kMostWords));
        ++turn;
      }
    }));
  }
  for (std::thread& t : threads) t.join();
  std::vector<std::pair<uintptr_t, size_t>> all;
  for (size_t t = 0; t < got.size(); ++t)
    for (Span* span : got[t]) all.push_back({AddressOf(span), t});
  std::sort(all.begin(), all.end());
  size_t neighbours = 0;  // of another thread, in less than a quarter of a page
  for (size_t i = 1; i < all.size(); ++i)
    neighbours += all[i].second != all[i - 1].second && all[i].first - all[i - 1].first < 1024;
  EXPECT_LE(neighbours, 2 * got.size()) << "where batches adjoin, there may be some";
  for (auto& mine : got)
    for (Span* span : mine) DeleteSpan(span);
}

TEST(SpanQueue, KeepsOrderThroughAllOperations) {
  std::vector<Span*> s;
  for (int i = 0; i < 5; ++i) s.push_back(NewSpan(0));
  SpanQueue queue;
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.PopFront(), nullptr);
  queue.PushFront(s[2]);
  queue.PushFront(s[1]);
  queue.PushFront(s[0]);
  EXPECT_EQ(queue.head(), s[0]);
  queue.Remove(s[1]);
  EXPECT_EQ(s[1]->next, nullptr);
  EXPECT_EQ(s[1]->previous, nullptr);
  EXPECT_EQ(s[0]->next, s[2]);
  EXPECT_EQ(s[2]->previous, s[0]);
  queue.PushFront(s[3]);
  queue.Remove(s[2]);
  EXPECT_EQ(queue.PopFront(), s[3]);
  EXPECT_EQ(queue.PopFront(), s[0]);
  EXPECT_TRUE(queue.empty());
  queue.PushFront(s[4]);
  EXPECT_EQ(queue.head(), s[4]);
  queue.Remove(s[4]);
  EXPECT_TRUE(queue.empty());
  for (Span* span : s) DeleteSpan(span);
}

}  // namespace
}  // namespace gcm
