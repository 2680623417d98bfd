#include "core/base/own_ranges.h"

#include <algorithm>
#include <vector>

#include "tests/unit/support.h"

namespace gcm {
namespace {

constexpr uintptr_t kBase = 0x100000;  // nobody maps anything so low
constexpr uintptr_t kEnd = 0x2800000;

std::vector<Range> Snapshot() {
  std::vector<Range> list(OwnRanges::Count() + 10);
  list.resize(OwnRanges::Snapshot(list.data(), list.size()));
  return list;
}
// Those that the tests have added.
std::vector<Range> Ours() {
  std::vector<Range> ours;
  for (Range r : Snapshot()) {
    if (r.lo >= kBase && r.hi <= kEnd) ours.push_back(r);
  }
  return ours;
}
bool operator==(Range a, Range b) { return a.lo == b.lo && a.hi == b.hi; }

class OwnRangesTest : public testing::Test {
 protected:
  void TearDown() override {
    for (Range r : Ours()) OwnRanges::Remove(r);
    EXPECT_TRUE(Ours().empty());
  }
};

TEST_F(OwnRangesTest, JoinsNeighbours) {
  ASSERT_TRUE(OwnRanges::Add({kBase + 0x1000, kBase + 0x2000}));
  ASSERT_TRUE(OwnRanges::Add({kBase + 0x3000, kBase + 0x4000}));
  EXPECT_EQ(Ours().size(), 2u);
  ASSERT_TRUE(OwnRanges::Add({kBase + 0x2000, kBase + 0x3000}));
  ASSERT_EQ(Ours().size(), 1u);
  EXPECT_TRUE(Ours()[0] == (Range{kBase + 0x1000, kBase + 0x4000}));
  ASSERT_TRUE(OwnRanges::Add({kBase, kBase + 0x8000}));
  ASSERT_EQ(Ours().size(), 1u) << "swallowed by a wider one";
  EXPECT_TRUE(Ours()[0] == (Range{kBase, kBase + 0x8000}));
}

TEST_F(OwnRangesTest, RemovesFromTheMiddleAndTheEnds) {
  ASSERT_TRUE(OwnRanges::Add({kBase, kBase + 0x10000}));
  OwnRanges::Remove({kBase + 0x4000, kBase + 0x5000});
  ASSERT_EQ(Ours().size(), 2u);
  EXPECT_TRUE(Ours()[0] == (Range{kBase, kBase + 0x4000}));
  EXPECT_TRUE(Ours()[1] == (Range{kBase + 0x5000, kBase + 0x10000}));
  OwnRanges::Remove({kBase, kBase + 0x1000});
  OwnRanges::Remove({kBase + 0xf000, kBase + 0x10000});
  ASSERT_EQ(Ours().size(), 2u);
  EXPECT_TRUE(Ours()[0] == (Range{kBase + 0x1000, kBase + 0x4000}));
  EXPECT_TRUE(Ours()[1] == (Range{kBase + 0x5000, kBase + 0xf000}));
  OwnRanges::Remove({kBase + 0x1000, kBase + 0x4000});
  EXPECT_EQ(Ours().size(), 1u);
  OwnRanges::Remove({kBase + 0x20000, kBase + 0x21000});  // not there
  EXPECT_EQ(Ours().size(), 1u);
}

TEST_F(OwnRangesTest, StaysSortedThroughGrowth) {
  std::vector<uintptr_t> starts;
  for (uintptr_t i = 0; i < 1500; ++i) starts.push_back(kBase + i * 0x3000);
  test::Random random(2);
  for (size_t i = starts.size(); i > 1; --i) std::swap(starts[i - 1], starts[random.Below(i)]);
  for (uintptr_t s : starts) ASSERT_TRUE(OwnRanges::Add({s, s + 0x1000}));
  EXPECT_EQ(Ours().size(), starts.size());
  std::vector<Range> all = Snapshot();
  for (size_t i = 1; i < all.size(); ++i) ASSERT_LT(all[i - 1].hi, all[i].lo) << "sorted, with gaps";
}

TEST_F(OwnRangesTest, SnapshotKeepsToItsCapacity) {
  ASSERT_TRUE(OwnRanges::Add({kBase, kBase + 1}));
  ASSERT_TRUE(OwnRanges::Add({kBase + 2, kBase + 3}));
  Range out[2] = {{7, 7}, {7, 7}};
  EXPECT_EQ(OwnRanges::Snapshot(out, 1), OwnRanges::Count());
  EXPECT_EQ(out[1].lo, 7u);
}

TEST_F(OwnRangesTest, ContainsTheArena) {
  void* p = heap().Allocate(100);
  bool inside = false;
  for (Range r : Snapshot()) inside = inside || r.Contains(AddressOf(p));
  EXPECT_TRUE(inside);
  heap().Free(p, "test");
}

TEST_F(OwnRangesTest, ThreadsMayAddAndRemove) {
  std::vector<std::thread> threads;
  for (uintptr_t t = 0; t < 4; ++t) {
    threads.emplace_back([t] {
      for (uintptr_t i = 0; i < 500; ++i) {
        Range r{kBase + t * 0x800000 + i * 0x2000, kBase + t * 0x800000 + i * 0x2000 + 0x1000};
        OwnRanges::Add(r);
        if (i % 2 == 0) OwnRanges::Remove(r);
      }
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(Ours().size(), 4u * 250);
}

}  // namespace
}  // namespace gcm
