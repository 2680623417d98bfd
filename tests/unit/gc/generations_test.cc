#include "core/gc/generations.h"

#include <gtest/gtest.h>

#include "platform/clock.h"

namespace gcm {
namespace {

constexpr uint64_t kSoon = 10 * clock::kMillisecond, kTakes = 30 * clock::kMillisecond;

Generations::Cycle Full(uint64_t marked, uint64_t in_use) { return {false, false, marked, in_use, 0, kTakes, kSoon}; }
Generations::Cycle Minor(uint64_t marked, uint64_t in_use) { return {true, true, marked, in_use, 0, kSoon, kSoon}; }

TEST(Generations, BeginWithAFullCycle) {
  Generations g;
  EXPECT_FALSE(g.MinorIsDue());
  EXPECT_TRUE(g.Marked(Full(16 * kMiB, 40 * kMiB)));
  EXPECT_TRUE(g.MinorIsDue());
  EXPECT_EQ(g.old(), 16 * kMiB);
}

TEST(Generations, WhatMinorCyclesMarkCountsAsLive) {
  Generations g;
  g.Marked(Full(16 * kMiB, 40 * kMiB));
  g.Marked(Minor(kMiB, 40 * kMiB));
  g.Marked(Minor(2 * kMiB, 40 * kMiB));
  EXPECT_EQ(g.old(), 19 * kMiB);
  g.Marked(Full(15 * kMiB, 40 * kMiB));
  EXPECT_EQ(g.old(), 15 * kMiB);
}

TEST(Generations, AFullCycleComesWhenMuchWasPromoted) {
  Generations g;
  g.Marked(Full(16 * kMiB, 60 * kMiB));
  g.Marked(Minor(5 * kMiB, 60 * kMiB));
  EXPECT_TRUE(g.MinorIsDue());
  g.Marked(Minor(4 * kMiB, 60 * kMiB));
  EXPECT_FALSE(g.MinorIsDue());
}

TEST(Generations, AFullCycleComesInTheEnd) {
  Generations g;
  g.Marked(Full(16 * kMiB, 40 * kMiB));
  int minors = 0;
  for (; g.MinorIsDue() && minors < 1000; ++minors) g.Marked(Minor(0, 40 * kMiB));
  EXPECT_GE(minors, 8);
  EXPECT_LE(minors, 64);
}

TEST(Generations, NothingIsKeptWhereCyclesAreFarApart) {
  Generations g;
  Generations::Cycle cycle = Full(16 * kMiB, 40 * kMiB);
  cycle.interval = clock::kSecond;
  EXPECT_FALSE(g.Marked(cycle));
  EXPECT_FALSE(g.MinorIsDue());
  cycle.interval = UINT64_MAX;
  cycle.duration = 100 * clock::kSecond;
  EXPECT_FALSE(g.Marked(cycle));
  EXPECT_LE(g.patience(), clock::kSecond);
}

TEST(Generations, NothingIsKeptWhereOldBlocksAreWritten) {
  Generations g;
  Generations::Cycle cycle = Full(16 * kMiB, 40 * kMiB);
  cycle.written = 20 * kMiB;
  EXPECT_FALSE(g.Marked(cycle));
}

TEST(Generations, NothingIsKeptWhereLittleIsGarbage) {
  Generations g;
  EXPECT_FALSE(g.Marked(Full(39 * kMiB, 40 * kMiB)));
  EXPECT_FALSE(g.Marked(Full(50 * kMiB, 40 * kMiB)));
}

TEST(Generations, NothingIsKeptOfTheLargest) {
  Generations g;
  EXPECT_FALSE(g.Marked(Full(kGiB, 4 * kGiB)));
}

TEST(Generations, WhatFailsIsTriedLessAndLessOften) {
  Generations g;
  g.Marked(Full(16 * kMiB, 60 * kMiB));
  int before = 0;
  for (int round = 0; round < 6; ++round) {
    ASSERT_TRUE(g.MinorIsDue());
    Generations::Cycle slow = Minor(kMiB, 60 * kMiB);
    slow.at_once = false;
    g.Marked(slow);
    int fulls = 0;
    for (; !g.MinorIsDue() && fulls < 1000; ++fulls) g.Marked(Full(16 * kMiB, 60 * kMiB));
    EXPECT_GE(fulls, before);
    EXPECT_LE(fulls, 32);
    before = fulls;
  }
  EXPECT_GE(before, 8);
  // One that works forgives it all.
  g.Marked(Minor(kMiB, 60 * kMiB));
  EXPECT_TRUE(g.MinorIsDue());
}

TEST(Generations, ManySurvivorsAreAFailure) {
  Generations g;
  g.Marked(Full(16 * kMiB, 60 * kMiB));
  g.Marked(Minor(11 * kMiB, 60 * kMiB));
  EXPECT_FALSE(g.MinorIsDue());
}

TEST(Generations, DroppedMarksAreGone) {
  Generations g;
  g.Marked(Full(16 * kMiB, 40 * kMiB));
  g.Drop();
  EXPECT_FALSE(g.keeps());
  EXPECT_FALSE(g.MinorIsDue());
}

}  // namespace
}  // namespace gcm
