#include "core/heap/run_index.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "tests/unit/support.h"

namespace gcm {
namespace {

Span* NewRun(size_t pages) {
  Span* run = NewSpan(0);
  run->pages = pages;
  return run;
}

TEST(RunIndex, IsEmptyAtFirst) {
  RunIndex index;
  EXPECT_EQ(index.pages(), 0u);
  for (size_t n : {1, 63, 64, 65, 1000, 1 << 30}) EXPECT_EQ(index.Find(n), nullptr);
}

TEST(RunIndex, FindsEachLengthExactly) {
  for (size_t pages = 1; pages < 5000; pages += pages < 300 ? 1 : 7) {
    RunIndex index;
    Span* run = NewRun(pages);
    index.Add(run);
    ASSERT_EQ(index.Find(pages), run) << pages;
    ASSERT_EQ(index.Find(1), run) << pages;
    ASSERT_EQ(index.Find(pages + 1), nullptr) << pages;
    ASSERT_EQ(index.pages(), pages);
    index.Remove(run);
    ASSERT_EQ(index.Find(1), nullptr) << pages;
    ASSERT_EQ(index.pages(), 0u);
    DeleteSpan(run);
  }
}

TEST(RunIndex, TakesHugeRuns) {
  for (unsigned log = 20; log < 48; ++log) {
    RunIndex index;
    Span* run = NewRun(size_t{1} << log);
    Span* longer = NewRun((size_t{1} << log) + 1);
    index.Add(longer);
    index.Add(run);
    EXPECT_EQ(index.Find(size_t{1} << log)->pages, size_t{1} << log);
    EXPECT_EQ(index.Find((size_t{1} << log) + 1), longer) << log;
    EXPECT_EQ(index.Find((size_t{1} << log) + 2), nullptr) << log;
    index.Remove(run);
    index.Remove(longer);
    DeleteSpan(run);
    DeleteSpan(longer);
  }
}

TEST(RunIndex, FindsIfAndOnlyIfThereIsOne) {
  test::Random random(11);
  RunIndex index;
  std::multiset<size_t> model;
  std::vector<Span*> runs;
  for (int i = 0; i < 20000; ++i) {
    if (runs.empty() || random.Below(100) < 52) {
      size_t pages = 1 + random.Below(random.OneIn(4) ? 100'000 : 200);
      Span* run = NewRun(pages);
      index.Add(run);
      runs.push_back(run);
      model.insert(pages);
    } else {
      size_t k = random.Below(runs.size());
      index.Remove(runs[k]);
      model.erase(model.find(runs[k]->pages));
      DeleteSpan(runs[k]);
      runs[k] = runs.back();
      runs.pop_back();
    }
    size_t wanted = 1 + random.Below(random.OneIn(4) ? 120'000 : 220);
    Span* found = index.Find(wanted);
    auto best = model.lower_bound(wanted);
    ASSERT_EQ(found != nullptr, best != model.end()) << wanted;
    if (found == nullptr) continue;
    ASSERT_GE(found->pages, wanted);
    // Short runs exactly the best, long ones nearly.
    if (wanted < 64 && *best < 64) {
      ASSERT_EQ(found->pages, *best);
    } else {
      ASSERT_LE(found->pages, *best + *best / 2);
    }
  }
  size_t sum = 0, count = 0;
  index.ForEach([&](Span* run) {
    sum += run->pages;
    ++count;
  });
  EXPECT_EQ(sum, index.pages());
  EXPECT_EQ(count, runs.size());
  for (Span* run : runs) {
    index.Remove(run);
    DeleteSpan(run);
  }
  EXPECT_EQ(index.pages(), 0u);
}

TEST(RunIndex, WalksWhileRunsAreTakenOut) {
  RunIndex index;
  for (size_t i = 0; i < 100; ++i) index.Add(NewRun(1 + i % 70));
  size_t count = 0;
  index.ForEach([&](Span* run) {
    index.Remove(run);
    DeleteSpan(run);
    ++count;
  });
  EXPECT_EQ(count, 100u);
  EXPECT_EQ(index.pages(), 0u);
}

}  // namespace
}  // namespace gcm
