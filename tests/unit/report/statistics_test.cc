#include "core/report/statistics.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "tests/unit/support.h"

namespace gcm {
namespace {

TEST(PauseHistogram, IsEmptyAtFirst) {
  auto h = std::make_unique<PauseHistogram>();
  EXPECT_EQ(h->count(), 0u);
  EXPECT_EQ(h->Quantile(0), 0u);
  EXPECT_EQ(h->Quantile(0.5), 0u);
  EXPECT_EQ(h->Quantile(1), 0u);
  EXPECT_EQ(h->max(), 0u);
}

TEST(PauseHistogram, OneValueIsEveryQuantile) {
  for (uint64_t v : {uint64_t{0}, uint64_t{1}, uint64_t{7}, uint64_t{8}, uint64_t{1000}, uint64_t{1} << 40, UINT64_MAX}) {
    auto h = std::make_unique<PauseHistogram>();
    h->Add(v);
    for (double q : {0.0, 0.5, 0.999, 1.0}) EXPECT_EQ(h->Quantile(q), v);
    EXPECT_EQ(h->max(), v);
  }
}

TEST(PauseHistogram, QuantilesAreExactToAnEighth) {
  for (uint64_t seed : {1, 2, 3, 4}) {
    test::Random random(seed);
    auto h = std::make_unique<PauseHistogram>();
    std::vector<uint64_t> values;
    uint64_t sum = 0;
    for (int i = 0; i < 5000; ++i) {
      values.push_back(random.Next() >> (10 + random.Below(50)));
      h->Add(values.back());
      sum += values.back();
    }
    std::sort(values.begin(), values.end());
    EXPECT_EQ(h->count(), values.size());
    EXPECT_EQ(h->total(), sum);
    EXPECT_EQ(h->max(), values.back());
    for (double q : {0.0, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999}) {
      uint64_t exact = values[static_cast<size_t>(q * 5000)];
      EXPECT_GE(h->Quantile(q), exact) << q;
      EXPECT_LE(static_cast<double>(h->Quantile(q)), static_cast<double>(exact) * 1.125 + 1) << q;
    }
    EXPECT_EQ(h->Quantile(1.0), values.back());
  }
}

Statistics Now() { return ledger().Collect(); }

void ExpectIdentity(const Statistics& s) {
  EXPECT_EQ(s.allocated_bytes, s.heap_live + s.freed_bytes + s.reclaimed_bytes);
  EXPECT_LE(s.heap_live, s.heap_used);
  EXPECT_LE(s.heap_used, s.heap_mapped);
}

// The totals against what the test itself has done.
TEST(Statistics, CountsWhatWasAllocatedAndFreed) {
  Statistics before = Now();
  ExpectIdentity(before);
  std::vector<void*> blocks;
  uint64_t bytes = 0;
  for (size_t i = 0; i < 3000; ++i) {
    void* p = heap().Allocate(i % 100 == 0 ? 50000 + i : i);
    bytes += heap().UsableSize(p, "test") + 1;
    blocks.push_back(p);
  }
  Statistics full = Now();
  ExpectIdentity(full);
  EXPECT_EQ(full.allocated_objects - before.allocated_objects, 3000u);
  EXPECT_EQ(full.allocated_bytes - before.allocated_bytes, bytes);
  EXPECT_EQ(full.heap_live - before.heap_live, bytes);
  EXPECT_EQ(full.freed_objects, before.freed_objects);
  for (size_t i = 0; i < 1500; ++i) heap().Free(blocks[i], "test");
  test::HeapThread([&] {
    heap().Free(heap().Allocate(1), "test");  // so that the thread has a cache
    for (size_t i = 1500; i < 3000; ++i) heap().Free(blocks[i], "test");
  }).join();
  Statistics after = Now();
  std::fill(blocks.begin(), blocks.end(), nullptr);  // no stale addresses for other tests
  ExpectIdentity(after);
  EXPECT_EQ(after.allocated_objects - before.allocated_objects, 3001u);
  EXPECT_EQ(after.freed_objects - before.freed_objects, 3001u);
  EXPECT_EQ(after.freed_bytes - before.freed_bytes, bytes + 16);
  EXPECT_EQ(after.heap_live, before.heap_live);
}

TEST(Statistics, CountsWhatWasReclaimed) {
  test::StartedCollector();
  test::ClearStack();
  ASSERT_TRUE(collector().Collect("forced"));
  Statistics before = Now();
  // Zeroed: what other tests have left in the memory might chain the blocks together.
  for (int i = 0; i < 2000; ++i) heap().AllocateZeroed(200);
  for (int i = 0; i < 20; ++i) heap().AllocateZeroed(100 * kKiB);
  test::ClearStack();
  ASSERT_TRUE(collector().Collect("forced"));
  Statistics after = Now();
  ExpectIdentity(after);
  EXPECT_EQ(after.cycles, before.cycles + 1);
  EXPECT_EQ(after.allocated_objects - before.allocated_objects, 2020u);
  EXPECT_GE(after.reclaimed_objects - before.reclaimed_objects, 1800u);
  // Some of the few large ones may be kept by what dead threads have left on their stacks.
  EXPECT_GE(after.reclaimed_bytes - before.reclaimed_bytes, 1780u * 208);
  EXPECT_EQ(after.freed_objects, before.freed_objects);
  EXPECT_GT(after.pause_total, before.pause_total);
  EXPECT_GE(after.pause_max, after.pause_p50);
}

// A counter of what was ever allocated never falls.
TEST(Statistics, TotalsNeverFall) {
  void* p = heap().Allocate(10 * kMiB);
  Statistics before = Now();
  p = heap().Reallocate(p, 100 * kKiB, "test");
  Statistics shrunk = Now();
  EXPECT_GE(shrunk.allocated_bytes, before.allocated_bytes);
  p = heap().Reallocate(p, 5 * kMiB, "test");
  Statistics grown = Now();
  EXPECT_GE(grown.allocated_bytes, shrunk.allocated_bytes);
  heap().Free(p, "test");
  EXPECT_GE(Now().allocated_bytes, grown.allocated_bytes);
  ExpectIdentity(Now());
}

}  // namespace
}  // namespace gcm
