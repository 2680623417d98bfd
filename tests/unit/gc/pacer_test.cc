#include "core/gc/pacer.h"

#include <gtest/gtest.h>

#include <cmath>

namespace gcm {
namespace {

constexpr uint64_t kLongAgo = 1'000'000'000'000;  // so that no budget of time is spent
constexpr uint64_t kNoTime = 0;

using Verdict = Pacer::Verdict;

Pacer::Cycle After(uint64_t before, uint64_t after, uint64_t roots = 0, uint64_t duration = 0,
                   bool counts = true) {
  return {before, after, after, roots, duration, counts};
}

TEST(Pacer, GrowthFollowsLiveAndRoots) {
  Pacer pacer;
  pacer.Begin(0);
  pacer.Finished(After(200 * kMiB, 100 * kMiB, 20 * kMiB));
  EXPECT_EQ(pacer.goal(), 220 * kMiB);
  pacer.SetPercent(50);
  pacer.Finished(After(200 * kMiB, 100 * kMiB, 20 * kMiB));
  EXPECT_EQ(pacer.goal(), 160 * kMiB);
  pacer.SetPercent(300);
  pacer.Finished(After(200 * kMiB, 100 * kMiB, 20 * kMiB));
  EXPECT_EQ(pacer.goal(), 460 * kMiB);
}

TEST(Pacer, GrowsByFourMebibytesAtLeast) {
  Pacer pacer;
  pacer.Begin(kMiB);
  EXPECT_EQ(pacer.goal(), 5 * kMiB);
  pacer.Finished(After(2 * kMiB, 64 * kKiB));
  EXPECT_EQ(pacer.goal(), 64 * kKiB + 4 * kMiB);
}

TEST(Pacer, StartsACycleAtTheGoalWhateverItCosts) {
  Pacer pacer;
  pacer.Begin(0);
  pacer.Finished(After(100 * kMiB, 50 * kMiB, 0, 1'000'000'000'000));
  EXPECT_EQ(pacer.Due(pacer.goal() - 1, kNoTime), Verdict::kNo);
  EXPECT_EQ(pacer.Due(pacer.goal(), kNoTime), Verdict::kGrowth);
}

TEST(Pacer, WhatIsOverWithOneStopBeginsAtTheGoal) {
  Pacer pacer;
  pacer.Begin(0);
  Pacer::Cycle cycle = After(200 * kMiB, 100 * kMiB);
  cycle.taken = 50 * kMiB;
  pacer.Finished(cycle);
  EXPECT_EQ(pacer.Due(pacer.goal() - 10 * kMiB, kNoTime), Verdict::kGrowth);
  cycle.at_once_next = true;
  pacer.Finished(cycle);
  EXPECT_EQ(pacer.Due(pacer.goal() - 10 * kMiB, kNoTime), Verdict::kNo);
  cycle.at_once = true;
  cycle.taken = 20 * kMiB;
  pacer.Finished(cycle);
  EXPECT_EQ(pacer.Due(pacer.goal() - 10 * kMiB, kNoTime), Verdict::kGrowth);
}

TEST(Pacer, AMinorCycleLeavesTheGrowthAsItWas) {
  Pacer pacer;
  pacer.Begin(0);
  pacer.Finished(After(200 * kMiB, 100 * kMiB));
  EXPECT_EQ(pacer.goal(), 200 * kMiB);
  Pacer::Cycle minor = After(200 * kMiB, 120 * kMiB);
  minor.minor = true;
  pacer.Finished(minor);
  EXPECT_EQ(pacer.goal(), 220 * kMiB);
}

TEST(Pacer, PercentOffStartsNothing) {
  Pacer pacer;
  pacer.SetPercent(UINT64_MAX);
  pacer.Begin(kMiB);
  EXPECT_EQ(pacer.trigger(), UINT64_MAX);
  pacer.Finished(After(100 * kMiB, 50 * kMiB));
  EXPECT_EQ(pacer.trigger(), UINT64_MAX);
  EXPECT_EQ(pacer.Due(uint64_t{1} << 50, kLongAgo), Verdict::kNo);
}

TEST(Pacer, PercentOffKeepsTheLimit) {
  Pacer pacer;
  pacer.SetPercent(UINT64_MAX);
  pacer.SetLimit(64 * kMiB);
  pacer.Begin(kMiB);
  EXPECT_EQ(pacer.trigger(), 64 * kMiB);
  EXPECT_EQ(pacer.Due(64 * kMiB, kLongAgo), Verdict::kLimit);
}

TEST(Pacer, LimitComesBeforeGrowth) {
  Pacer pacer;
  pacer.SetLimit(120 * kMiB);
  pacer.Begin(0);
  pacer.Finished(After(100 * kMiB, 100 * kMiB));
  EXPECT_EQ(pacer.goal(), 120 * kMiB);
  EXPECT_EQ(pacer.Due(120 * kMiB, kLongAgo), Verdict::kLimit);
}

TEST(Pacer, LimitDoesNotCollectWithoutEnd) {
  Pacer pacer;
  pacer.SetLimit(100 * kMiB);
  pacer.Begin(0);
  // All of it is alive and above the limit: the next cycle waits for some growth.
  pacer.Finished(After(110 * kMiB, 110 * kMiB));
  EXPECT_GT(pacer.goal(), 111 * kMiB);
  EXPECT_LT(pacer.goal(), 130 * kMiB);
  // Cycles have used more than half of the time: the limit gives way, until growth is due.
  pacer.Finished(After(110 * kMiB, 110 * kMiB, 0, 600'000'000));
  EXPECT_EQ(pacer.Due(pacer.goal(), 1'000'000'000), Verdict::kNo);
  EXPECT_EQ(pacer.Due(pacer.goal(), 2'000'000'000), Verdict::kLimit);
  EXPECT_EQ(pacer.Due(240 * kMiB, 1'000'000'000), Verdict::kLimit);
}

TEST(Pacer, EarlyCyclesKeepToTheirShareOfTime) {
  Pacer pacer;
  pacer.Begin(0);
  pacer.Finished(After(60 * kMiB, 50 * kMiB, 0, 3'000'000, false));
  uint64_t early = pacer.trigger();
  EXPECT_EQ(early, 60 * kMiB) << "a fifth more";
  EXPECT_EQ(pacer.Due(early, 191'999'999), Verdict::kNo) << "with the next one they would take more than 1/32";
  EXPECT_GT(pacer.trigger(), early) << "asked again a little later";
  EXPECT_LE(pacer.trigger(), pacer.goal());
  EXPECT_EQ(pacer.Due(90 * kMiB, 239'999'999), Verdict::kNo) << "of a larger heap it takes longer";
  EXPECT_EQ(pacer.Due(early, 192'000'000), Verdict::kEarly);
  EXPECT_EQ(pacer.Due(90 * kMiB, 240'000'000), Verdict::kEarly);
}

TEST(Pacer, TheFirstEarlyCycleWaitsForItsShareOfTime) {
  Pacer pacer;
  pacer.Begin(100 * kKiB);
  const uint64_t early = pacer.trigger();
  EXPECT_EQ(pacer.Due(early, 63'999'999), Verdict::kNo) << "most programs end before";
  EXPECT_EQ(pacer.Due(pacer.trigger(), 64'000'000), Verdict::kEarly);
  EXPECT_EQ(pacer.Due(100 * kKiB + 4 * kMiB, 1'000'000), Verdict::kGrowth) << "what grows does not wait";
}

TEST(Pacer, EarlyCyclesNeedHalfAMebibyte) {
  Pacer pacer;
  pacer.Begin(100 * kKiB);
  EXPECT_EQ(pacer.trigger(), 100 * kKiB + 384 * kKiB);
}

TEST(Pacer, CyclesThatFindNothingComeLater) {
  Pacer pacer;
  pacer.Begin(0);
  uint64_t heap = 100 * kMiB;
  pacer.Finished(After(heap, heap, 0, 0, false));
  uint64_t wait = pacer.trigger() - heap;
  for (int i = 0; i < 20; ++i) {
    pacer.Finished(After(heap + wait, heap + wait));
    heap += wait;
    uint64_t next = pacer.trigger() - heap;
    ASSERT_GE(next, wait) << i;
    wait = next;
  }
  EXPECT_EQ(pacer.trigger(), pacer.goal()) << "in the end only the rule is left";
  // One that finds everything brings them back, in steps.
  uint64_t live = heap;
  for (int i = 0; i < 10; ++i) pacer.Finished(After(pacer.trigger(), live));
  EXPECT_LT(pacer.trigger(), live + live / 4);
}

TEST(Pacer, CyclesThatOthersAskedForTeachNothing) {
  Pacer pacer;
  pacer.Begin(0);
  pacer.Finished(After(100 * kMiB, 100 * kMiB, 0, 0, false));
  uint64_t trigger = pacer.trigger();
  for (int i = 0; i < 10; ++i) pacer.Finished(After(100 * kMiB, 100 * kMiB, 0, 0, false));
  EXPECT_EQ(pacer.trigger(), trigger);
}

TEST(Pacer, TriggerNeverPassesTheGoal) {
  Pacer pacer;
  pacer.Begin(kMiB);
  pacer.Finished(After(50 * kMiB, 40 * kMiB, kMiB, 1'000'000'000));
  for (uint64_t use = pacer.trigger(); use < pacer.goal(); use += 100 * kKiB) {
    ASSERT_EQ(pacer.Due(use, 0), Verdict::kNo);
    ASSERT_LE(pacer.trigger(), pacer.goal());
    ASSERT_GT(pacer.trigger(), use);
  }
}

TEST(Pacer, OfALargeHeapTwoThirdsCount) {
  Pacer pacer;
  pacer.Begin(0);
  pacer.Finished(After(2 * kGiB, kGiB));
  EXPECT_EQ(pacer.goal(), kGiB + 256 * kMiB + 512 * kMiB);
}

// Two cycles that found much: all that is taken counts as growth.
void FindMuch(Pacer* pacer) {
  pacer->Begin(0);
  for (int i = 0; i < 2; ++i) pacer->Finished(After(100 * kMiB, 0));
}

// A cycle that runs beside the program should have ended at the goal.
TEST(Pacer, StartsAsMuchEarlierAsTheLastCycleTook) {
  Pacer pacer;
  FindMuch(&pacer);
  Pacer::Cycle cycle = After(200 * kMiB, 100 * kMiB, 0, 1'000'000'000'000);
  cycle.taken = 16 * kMiB;
  pacer.Finished(cycle);
  EXPECT_EQ(pacer.goal(), 200 * kMiB);
  EXPECT_EQ(pacer.Due(181 * kMiB, kNoTime), Verdict::kNo);
  EXPECT_EQ(pacer.Due(182 * kMiB, kNoTime), Verdict::kGrowth);
  cycle.taken = kGiB;  // a quarter of the room stays
  pacer.Finished(cycle);
  EXPECT_EQ(pacer.Due(124 * kMiB, kNoTime), Verdict::kNo);
  EXPECT_EQ(pacer.Due(125 * kMiB, kNoTime), Verdict::kGrowth);
}

// What is free lies scattered in pages that stay in use, and is taken before the heap grows.
Pacer::Cycle Scattered(uint64_t heap, uint64_t live, uint64_t taken) {
  Pacer::Cycle cycle = After(heap, heap, 0, 1'000'000'000'000);
  cycle.marked = live;
  cycle.reclaimed = heap - live;
  cycle.taken = taken;
  return cycle;
}

TEST(Pacer, AtFirstAnEighthOfWhatIsTakenCounts) {
  Pacer pacer, seasoned;
  pacer.Begin(0);
  FindMuch(&seasoned);
  const Pacer::Cycle cycle = Scattered(200 * kMiB, 100 * kMiB, 64 * kMiB);
  Pacer::Cycle says_nothing = cycle;
  says_nothing.counts = false;
  pacer.Finished(says_nothing);
  seasoned.Finished(says_nothing);
  const uint64_t beyond = pacer.goal() - 200 * kMiB;
  EXPECT_EQ(seasoned.taken_trigger(), 100 * kMiB - (72 * kMiB - beyond));
  EXPECT_EQ(pacer.taken_trigger(), (100 * kMiB - (9 * kMiB - beyond)) << 3);
}

TEST(Pacer, StartsBeforeTheFreeSlotsAreUsedUp) {
  Pacer pacer;
  FindMuch(&pacer);
  pacer.Finished(Scattered(200 * kMiB, 100 * kMiB, 16 * kMiB));
  // The goal is 64 KiB * 25 beyond the heap; a cycle takes 18 MiB.
  const uint64_t goal = pacer.goal();
  EXPECT_LT(goal, 202 * kMiB);
  EXPECT_EQ(pacer.taken_trigger(), 100 * kMiB - (18 * kMiB - (goal - 200 * kMiB)));
  EXPECT_EQ(pacer.Due(200 * kMiB, kNoTime, pacer.taken_trigger() - 1), Verdict::kNo);
  EXPECT_EQ(pacer.Due(200 * kMiB, kNoTime, pacer.taken_trigger()), Verdict::kGrowth);
}

TEST(Pacer, FreeSlotsMakeUpForTheDistanceToTheGoal) {
  Pacer pacer;
  FindMuch(&pacer);
  pacer.Finished(Scattered(150 * kMiB, 100 * kMiB, 48 * kMiB));
  EXPECT_EQ(pacer.goal(), 200 * kMiB);
  // It would pass the goal from 146 MiB on without a free slot; 50 MiB are free.
  EXPECT_EQ(pacer.taken_trigger(), 46 * kMiB);
  EXPECT_EQ(pacer.Due(150 * kMiB, kNoTime, 46 * kMiB), Verdict::kGrowth);
  EXPECT_EQ(pacer.Due(160 * kMiB, kNoTime, 35 * kMiB), Verdict::kNo);
  EXPECT_EQ(pacer.taken_trigger(), 36 * kMiB);
  EXPECT_EQ(pacer.Due(160 * kMiB, kNoTime, 36 * kMiB), Verdict::kGrowth);
}

TEST(Pacer, FarFromTheGoalTakenSlotsStartNothing) {
  Pacer pacer;
  FindMuch(&pacer);
  pacer.Finished(Scattered(150 * kMiB, 100 * kMiB, 16 * kMiB));
  EXPECT_EQ(pacer.taken_trigger(), UINT64_MAX);
  EXPECT_EQ(pacer.Due(150 * kMiB, kNoTime, kGiB), Verdict::kNo);
}

// A program that frees what it takes, takes the same slots again and again.
TEST(Pacer, TakenSlotsCountForLessWhereNothingIsFound) {
  Pacer pacer;
  FindMuch(&pacer);
  const Pacer::Cycle cycle = Scattered(200 * kMiB, 100 * kMiB, 16 * kMiB);
  pacer.Finished(cycle);
  const uint64_t first = pacer.taken_trigger();
  uint64_t taken = first;
  for (int i = 0; i < 8; ++i) {
    ASSERT_EQ(pacer.Due(200 * kMiB, kNoTime, taken), Verdict::kGrowth);
    Pacer::Cycle useless = cycle;
    useless.reclaimed = 0;
    pacer.Finished(useless);
    ASSERT_GE(pacer.taken_trigger(), 2 * taken);
    taken = pacer.taken_trigger();
  }
  for (int i = 0; i < 8; ++i) {
    ASSERT_EQ(pacer.Due(200 * kMiB, kNoTime, pacer.taken_trigger()), Verdict::kGrowth);
    Pacer::Cycle useful = cycle;
    useful.reclaimed = pacer.taken_trigger();
    pacer.Finished(useful);
  }
  EXPECT_EQ(pacer.taken_trigger(), first);
}

TEST(Pacer, HugeNumbersDoNotWrap) {
  Pacer pacer;
  pacer.SetPercent(1'000'000);
  pacer.Begin(uint64_t{1} << 46);
  pacer.Finished(After(uint64_t{1} << 47, uint64_t{1} << 46, uint64_t{1} << 46));
  EXPECT_GT(pacer.goal(), uint64_t{1} << 46);
  EXPECT_GT(pacer.trigger(), uint64_t{1} << 46);
}

// With every bit of growth due, a cycle may not follow upon a cycle at the same size.
TEST(Pacer, PercentZeroStillWaitsForSomeGrowth) {
  Pacer pacer;
  pacer.SetPercent(0);
  pacer.Begin(0);
  pacer.Finished(After(100 * kMiB, 100 * kMiB));
  EXPECT_GT(pacer.trigger(), 100 * kMiB);
}

TEST(Pacer, CyclesThatTakeMuchTimeGetMoreRoom) {
  Pacer pacer;
  pacer.Begin(0);
  Pacer::Cycle cycle = After(10 * kMiB, 10 * kMiB, 0, 10'000'000);
  cycle.interval = 30'000'000;
  const uint64_t rooms[] = {10, 16, 32, 32, 32};  // MiB; the rule itself gives as much as lives
  for (uint64_t room : rooms) {
    pacer.Finished(cycle);
    EXPECT_EQ(pacer.goal(), (10 + room) * kMiB);
  }
  cycle.interval = 100'000'000;  // neither much nor little
  pacer.Finished(cycle);
  EXPECT_EQ(pacer.goal(), 42 * kMiB);
  cycle.interval = 1'000'000'000;
  pacer.Finished(cycle);
  EXPECT_EQ(pacer.goal(), 26 * kMiB);
  for (int i = 0; i < 5; ++i) pacer.Finished(cycle);
  EXPECT_EQ(pacer.goal(), 20 * kMiB);
  pacer.SetPercent(50);
  cycle.interval = 30'000'000;
  for (int i = 0; i < 5; ++i) pacer.Finished(cycle);
  EXPECT_EQ(pacer.goal(), 26 * kMiB);
}

// Most programs do not leak; those that free what they allocate show it.
TEST(Pacer, WhereTheProgramFreesCyclesThatFindLittleGetRarer) {
  Pacer pacer;
  pacer.Begin(0);
  Pacer::Cycle barren = After(10 * kMiB, 10 * kMiB);
  pacer.Finished(barren);
  EXPECT_EQ(pacer.goal(), 20 * kMiB) << "nobody frees";
  barren.frees = true;
  pacer.Finished(barren);
  EXPECT_EQ(pacer.goal(), (10 + 32 + 32) * kMiB);
  pacer.Finished(barren);
  EXPECT_EQ(pacer.goal(), (10 + 32 + 64) * kMiB);
  barren = After(200 * kMiB, 200 * kMiB);
  barren.frees = true;
  pacer.Finished(barren);
  EXPECT_EQ(pacer.goal(), (200 + 200 + 64) * kMiB) << "no more than that beyond the rule";
  barren = After(kGiB, kGiB);
  barren.frees = true;
  pacer.Finished(barren);
  EXPECT_EQ(pacer.goal(), kGiB + (256 + 512) * kMiB) << "a large heap follows the rule";
  Pacer::Cycle fruitful = After(kGiB + 100 * kMiB, 10 * kMiB);
  fruitful.frees = true;
  pacer.Finished(fruitful);
  EXPECT_EQ(pacer.goal(), 20 * kMiB) << "much was found";
}

// A program in small steps: `live` bytes are alive after `total` bytes were allocated, `freed` of
// which it gave back itself; the rest is garbage until a cycle runs.
struct Outcome {
  int cycles = 0;
  int early = 0;
  uint64_t spent = 0;
  uint64_t peak = 0;
};
template <typename Live>
Outcome RunProgram(uint64_t total, double leak_share, Live live) {
  Pacer pacer;
  pacer.Begin(0);
  Outcome outcome;
  uint64_t garbage = 0, now = 0, alive = 0;
  constexpr uint64_t kStep = 64 * kKiB;
  for (uint64_t allocated = 0; allocated < total; allocated += kStep) {
    now += 200'000;  // 320 MiB a second
    uint64_t next = live(allocated);
    uint64_t grown = next > alive ? next - alive : 0;
    alive = next;
    garbage += static_cast<uint64_t>(leak_share * static_cast<double>(kStep - Min(kStep, grown)));
    uint64_t use = alive + garbage;
    outcome.peak = Max(outcome.peak, use);
    if (use < pacer.trigger()) continue;
    Verdict verdict = pacer.Due(use, now);
    if (verdict == Verdict::kNo) continue;
    uint64_t duration = 200'000 + alive / 4;  // 4 GiB a second
    now += duration;
    outcome.spent += duration;
    ++outcome.cycles;
    outcome.early += verdict == Verdict::kEarly;
    garbage = 0;
    pacer.Finished({use, alive, alive, 2 * kMiB, duration, true});
  }
  return outcome;
}

TEST(PacerProgram, SteadyWithoutLeaksSeesNextToNoCycle) {
  Outcome o = RunProgram(4 * kGiB, 0.0, [](uint64_t done) { return Min<uint64_t>(done, 64 * kMiB); });
  EXPECT_LE(o.cycles, 12);
}

TEST(PacerProgram, LeakyStaysNearItsLiveHeap) {
  Outcome o = RunProgram(4 * kGiB, 1.0, [](uint64_t done) { return Min<uint64_t>(done, 64 * kMiB); });
  EXPECT_GT(o.cycles, 30);
  EXPECT_LE(o.peak, 64 * kMiB * 2 + 5 * kMiB) << "live and live again, and the roots";
}

TEST(PacerProgram, SmallLeakyUsesLittleMoreThanItNeeds) {
  Outcome o = RunProgram(kGiB, 0.05, [](uint64_t done) { return Min<uint64_t>(done, 2 * kMiB); });
  EXPECT_GT(o.early, 0);
  EXPECT_LT(o.peak, 7 * kMiB);
}

TEST(PacerProgram, GrowingWithoutLeaksSeesLogarithmicallyManyCycles) {
  Outcome o = RunProgram(kGiB, 0.0, [](uint64_t done) { return done; });
  // From 4 MiB by doubling, and early cycles that soon give up.
  EXPECT_LE(o.cycles, 24);
  EXPECT_GE(o.cycles, 7);
}

TEST(Pacer, WhatWouldBeTakenFollowsTheRate) {
  EXPECT_EQ(Pacer::Extrapolate(1000, 500, 250), 500u);
  EXPECT_EQ(Pacer::Extrapolate(0, 500, 250), 0u);
  EXPECT_EQ(Pacer::Extrapolate(1000, 0, 2), 2000u);
  EXPECT_GT(Pacer::Extrapolate(UINT64_MAX, 1, UINT64_MAX), uint64_t{1} << 61);  // and no more than can be added
  EXPECT_LT(Pacer::Extrapolate(UINT64_MAX, 1, UINT64_MAX), uint64_t{1} << 63);
}

}  // namespace
}  // namespace gcm
