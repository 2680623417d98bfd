#include "core/gc/work_list.h"

#include <deque>
#include <memory>
#include <vector>

#include "tests/unit/support.h"

namespace gcm {
namespace {

// Long ways up and down, over the borders of segments.
template <typename List, typename Take>
void FollowTheModel(List& list, SegmentPool& pool, Take take) {
  uintptr_t entry = 0;
  ASSERT_TRUE(list.empty());
  ASSERT_FALSE(list.Pop(&entry, &pool));
  test::Random random(4);
  std::deque<uintptr_t> model;
  for (int i = 0; i < 200000; ++i) {
    if (model.empty() || random.Below(100) < (i / 40000 % 2 == 0 ? 70u : 30u)) {
      model.push_back(random.Next());
      ASSERT_TRUE(list.Push(model.back(), &pool));
    } else {
      ASSERT_TRUE(list.Pop(&entry, &pool));
      ASSERT_EQ(entry, take(model));
    }
    ASSERT_EQ(list.empty(), model.empty());
  }
  while (!model.empty()) {
    ASSERT_TRUE(list.Pop(&entry, &pool));
    ASSERT_EQ(entry, take(model));
  }
  ASSERT_FALSE(list.Pop(&entry, &pool));
  ASSERT_TRUE(list.empty());
}
uintptr_t First(std::deque<uintptr_t>& model) {
  uintptr_t entry = model.front();
  model.pop_front();
  return entry;
}
uintptr_t Last(std::deque<uintptr_t>& model) {
  uintptr_t entry = model.back();
  model.pop_back();
  return entry;
}

TEST(WorkList, QueueGivesTheOldestFirst) {
  SegmentPool pool;
  WorkQueue queue;
  ASSERT_NO_FATAL_FAILURE(FollowTheModel(queue, pool, First));
  queue.Clear(&pool);
  pool.Trim();
  ASSERT_NO_FATAL_FAILURE(FollowTheModel(queue, pool, First)) << "after the memory went back";
  queue.Clear(&pool);
  pool.Trim();
}

TEST(WorkList, StackGivesTheNewestFirst) {
  SegmentPool pool;
  WorkStack stack;
  ASSERT_NO_FATAL_FAILURE(FollowTheModel(stack, pool, Last));
  stack.Clear(&pool);
  pool.Trim();
  ASSERT_NO_FATAL_FAILURE(FollowTheModel(stack, pool, Last)) << "after the memory went back";
  stack.Clear(&pool);
  pool.Trim();
}

TEST(WorkList, ClearMakesListsEmpty) {
  SegmentPool pool;
  WorkQueue queue;
  WorkStack stack;
  uintptr_t entry;
  for (int round = 0; round < 3; ++round) {
    for (uintptr_t i = 0; i < 5000; ++i) {
      ASSERT_TRUE(queue.Push(i, &pool));
      ASSERT_TRUE(stack.Push(i, &pool));
    }
    queue.Clear(&pool);
    stack.Clear(&pool);
    EXPECT_TRUE(queue.empty());
    EXPECT_TRUE(stack.empty());
    EXPECT_FALSE(queue.Pop(&entry, &pool));
    EXPECT_FALSE(stack.Pop(&entry, &pool));
  }
  pool.Trim();
}

// Of what one list spares and another takes up, nothing is lost and nothing comes twice.
template <typename List>
void SpareKeepsAll() {
  SegmentPool pool;
  List list;
  EXPECT_EQ(list.Spare(&pool), nullptr);
  ASSERT_TRUE(list.Push(0, &pool));
  EXPECT_EQ(list.Spare(&pool), nullptr) << "the only one is needed";
  constexpr uintptr_t kEntries = 10 * Segment::kEntries + 7;
  for (uintptr_t i = 1; i < kEntries; ++i) ASSERT_TRUE(list.Push(i, &pool));
  std::vector<int> seen(kEntries);
  uintptr_t entry;
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(list.Pop(&entry, &pool));
    ++seen[entry];
  }
  WorkStack other;
  while (Segment* segment = list.Spare(&pool)) other.Append(segment);
  while (list.Pop(&entry, &pool)) ++seen[entry];
  while (other.Pop(&entry, &pool)) ++seen[entry];
  for (int n : seen) ASSERT_EQ(n, 1);
  list.Clear(&pool);
  other.Clear(&pool);
  pool.Trim();
}

TEST(WorkList, QueueSparesSegments) { SpareKeepsAll<WorkQueue>(); }
TEST(WorkList, StackSparesSegments) { SpareKeepsAll<WorkStack>(); }

// Whoever has nothing gets half of what is there, also where it is less than a segment.
template <typename List>
void SparesHalf() {
  SegmentPool pool;
  List list;
  uintptr_t entry;
  for (uintptr_t i = 0; i < 40; ++i) ASSERT_TRUE(list.Push(i, &pool));
  std::vector<int> seen(40);
  ASSERT_TRUE(list.Pop(&entry, &pool));
  ++seen[entry];
  WorkStack other;
  Segment* half = list.Spare(&pool);
  ASSERT_NE(half, nullptr);
  EXPECT_NEAR(half->end - half->first, 19, 1);
  other.Append(half);
  while (other.Pop(&entry, &pool)) ++seen[entry];
  while (list.Pop(&entry, &pool)) ++seen[entry];
  for (int n : seen) ASSERT_EQ(n, 1);
  list.Clear(&pool);
  other.Clear(&pool);
  pool.Trim();
}
TEST(WorkList, QueueSparesHalfOfItsOnlySegment) { SparesHalf<WorkQueue>(); }
TEST(WorkList, StackSparesHalfOfItsOnlySegment) { SparesHalf<WorkStack>(); }

// Two markers that work in the same spans take their mark bits from each other.
TEST(WorkList, QueueSparesWhatLiesHigher) {
  SegmentPool pool;
  WorkQueue queue;
  constexpr uintptr_t kEntries = Segment::kEntries + 100;
  for (uintptr_t i = 0; i < kEntries; ++i) ASSERT_TRUE(queue.Push((i * 7 % kEntries) * kPageSize, &pool));
  Segment* upper = queue.Spare(&pool);
  ASSERT_NE(upper, nullptr);
  uintptr_t lowest = UINTPTR_MAX, entry;
  for (uint32_t i = upper->first; i < upper->end; ++i) lowest = std::min(lowest, upper->entries[i]);
  EXPECT_NEAR(static_cast<double>(upper->end - upper->first), kEntries / 2.0, 2);
  while (queue.Pop(&entry, &pool)) ASSERT_LT(entry, lowest);
  pool.Give(upper);
  queue.Clear(&pool);
  pool.Trim();
}

TEST(WorkList, WithoutMemoryPushSaysSoAndLosesNothingElse) {
  SegmentPool pool;
  WorkStack stack;
  WorkQueue queue;
  uintptr_t stacked = 0, queued = 0, entry;
  {
    test::Refusal refusal(2, true);
    while (stack.Push(stacked, &pool)) ++stacked;
    EXPECT_TRUE(refusal.happened());
    while (queue.Push(queued, &pool)) ++queued;
    EXPECT_GE(stacked, Segment::kEntries);
    EXPECT_EQ(queued, 0u);
    EXPECT_TRUE(queue.empty());
    // What is popped makes room.
    for (size_t i = 0; i <= Segment::kEntries; ++i) ASSERT_TRUE(stack.Pop(&entry, &pool));
    stacked -= Segment::kEntries + 1;
    ASSERT_TRUE(queue.Push(queued++, &pool));
  }
  ASSERT_TRUE(stack.Push(stacked++, &pool)) << "recovers";
  while (stacked-- > 0) {
    ASSERT_TRUE(stack.Pop(&entry, &pool));
    ASSERT_EQ(entry, stacked);
  }
  EXPECT_FALSE(stack.Pop(&entry, &pool));
  ASSERT_TRUE(queue.Pop(&entry, &pool));
  stack.Clear(&pool);
  queue.Clear(&pool);
  pool.Trim();
}

TEST(WorkList, SharedGivesWhatWasShared) {
  SegmentPool pool;
  SharedWork shared;
  EXPECT_TRUE(shared.empty());
  EXPECT_EQ(shared.TryTake(), nullptr);
  Segment* segments[3];
  for (Segment*& s : segments) shared.Share(s = pool.Take());
  EXPECT_FALSE(shared.empty());
  for (int i = 0; i < 2; ++i) pool.Give(shared.TryTake());
  EXPECT_FALSE(shared.empty());
  shared.Clear(&pool);
  EXPECT_TRUE(shared.empty());
  pool.Trim();
}

TEST(WorkList, AwaitEndsAtOnceWhenAllAreIdle) {
  SegmentPool pool;
  SharedWork shared;
  for (int run = 0; run < 3; ++run) {
    shared.Begin(1);
    shared.Share(pool.Take());
    Segment* segment = shared.Await();
    ASSERT_NE(segment, nullptr);
    pool.Give(segment);
    EXPECT_EQ(shared.Await(), nullptr);
  }
  pool.Trim();
}

TEST(WorkList, EndWakesWhoWaits) {
  SharedWork shared;
  shared.Begin(3);
  std::atomic<int> back{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      EXPECT_EQ(shared.Await(), nullptr);
      ++back;
    });
  }
  usleep(20000);
  EXPECT_EQ(back.load(), 0) << "one is not idle";
  EXPECT_TRUE(shared.IsWanted());
  shared.End();
  for (std::thread& t : threads) t.join();
}

// A tree is walked: an entry n > 0 makes two, n - 1 and n - 2, wherever it is taken. Nobody may
// leave while somebody still makes work.
void WalkTree(SegmentPool* pool, SharedWork* shared, WorkStack* stack, uint64_t* leaves) {
  uintptr_t entry;
  for (;;) {
    while (stack->Pop(&entry, pool)) {
      if (entry < 2) {
        ++*leaves;
        continue;
      }
      ASSERT_TRUE(stack->Push(entry - 1, pool));
      ASSERT_TRUE(stack->Push(entry - 2, pool));
      if (!shared->IsWanted()) continue;
      // Segments of one entry each: the more of them wander, the more can be lost.
      Segment* one = pool->Take();
      ASSERT_TRUE(stack->Pop(&entry, pool));
      one->entries[one->end++] = entry;
      shared->Share(one);
    }
    Segment* segment = shared->Await();
    if (segment == nullptr) return;
    stack->Append(segment);
  }
}

TEST(WorkList, AllEndTogetherWhenNothingIsLeftAnywhere) {
  constexpr unsigned kMembers = 4;
  constexpr uintptr_t kRoot = GCM_TEST_SANITIZED ? 18 : 22;
  uint64_t expected[kRoot + 1] = {1, 1};
  for (uintptr_t n = 2; n <= kRoot; ++n) expected[n] = expected[n - 1] + expected[n - 2];
  SegmentPool pool;
  SharedWork shared;
  for (int run = 0; run < (GCM_TEST_SANITIZED ? 10 : 40); ++run) {
    shared.Begin(kMembers);
    WorkStack stacks[kMembers];
    uint64_t leaves[kMembers] = {};
    ASSERT_TRUE(stacks[run % kMembers].Push(kRoot, &pool));
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < kMembers; ++i) {
      threads.emplace_back([&, i] { WalkTree(&pool, &shared, &stacks[i], &leaves[i]); });
    }
    for (std::thread& t : threads) t.join();
    uint64_t sum = 0;
    for (uint64_t n : leaves) sum += n;
    ASSERT_EQ(sum, expected[kRoot]) << "run " << run;
    EXPECT_TRUE(shared.empty());
    for (WorkStack& stack : stacks) {
      EXPECT_TRUE(stack.empty());
      stack.Clear(&pool);
    }
  }
  pool.Trim();
}

}  // namespace
}  // namespace gcm
