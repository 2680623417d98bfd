// The helpers are threads that the sanitizers do not know: what needs them is skipped there.
#include "core/gc/mark_team.h"

#include <sched.h>

#include <memory>

#include "platform/process.h"
#include "tests/unit/support.h"

namespace gcm {
namespace {

#define SKIP_UNDER_SANITIZERS() \
  if (GCM_TEST_SANITIZED) GTEST_SKIP() << "the sanitizers do not know threads of our own"

// Helpers run this: nothing of the C library's.
struct Calls {
  std::atomic<unsigned> by[MarkTeam::kMost] = {};
  std::atomic<int> tids[MarkTeam::kMost] = {};
  std::atomic<unsigned> here{0}, expected{0};
  static void Count(void* data, unsigned member) {
    auto* calls = static_cast<Calls*>(data);
    calls->by[member].fetch_add(1);
    calls->tids[member].store(process::ThreadId());
  }
  // Returns when all are here: so they are at it side by side.
  static void Meet(void* data, unsigned member) {
    auto* calls = static_cast<Calls*>(data);
    Count(data, member);
    calls->here.fetch_add(1);
    while (calls->here.load() < calls->expected.load()) Syscall(SYS_sched_yield);
  }
};

TEST(MarkTeam, TheLeaderIsEnough) {
  MarkTeam team;
  Calls calls;
  EXPECT_EQ(team.members(), 1u);
  team.Run(Calls::Count, &calls, 1);
  team.Run(Calls::Count, &calls, 5);  // there are no others
  team.Start(0);
  EXPECT_EQ(team.members(), 1u);
  team.Run(Calls::Count, &calls, 1);
  team.Stop();
  EXPECT_EQ(calls.by[0].load(), 3u);
  EXPECT_EQ(calls.tids[0].load(), process::ThreadId());
  for (unsigned i = 1; i < MarkTeam::kMost; ++i) EXPECT_EQ(calls.by[i].load(), 0u);
}

// Woken behind the leader, on the same processor, a helper would wait until its turn comes.
TEST(MarkTeam, HelpersStayOffTheLeadersProcessor) {
  SKIP_UNDER_SANITIZERS();
  if (process::Processors() < 2) GTEST_SKIP() << "there is only one";
  struct Places {
    int leaders = 0;
    std::atomic<bool> may_be_there{true};
    static void Note(void* data, unsigned member) {
      auto* places = static_cast<Places*>(data);
      cpu_set_t mask;
      if (member == 0 || Syscall(SYS_sched_getaffinity, 0, sizeof(mask), &mask) <= 0) return;
      places->may_be_there.store(CPU_ISSET(places->leaders, &mask));
    }
  } places;
  MarkTeam team;
  team.Start(1);
  ASSERT_EQ(team.members(), 2u);
  int apart = 0;
  constexpr int kRuns = 50;
  for (int i = 0; i < kRuns; ++i) {
    places.leaders = process::Processor();
    team.Run(Places::Note, &places, 2);
    apart += !places.may_be_there.load();
  }
  EXPECT_GE(apart, kRuns * 3 / 4) << "the leader itself is moved now and then";
  team.Stop();
}

TEST(MarkTeam, AllMembersWorkSideBySide) {
  SKIP_UNDER_SANITIZERS();
  MarkTeam team;
  team.Start(3);
  ASSERT_EQ(team.members(), 4u);
  EXPECT_EQ(OwnThread::Count(), 3u);
  Calls calls;
  calls.expected = 4;
  team.Run(Calls::Meet, &calls, 4);
  for (unsigned i = 0; i < 4; ++i) {
    EXPECT_EQ(calls.by[i].load(), 1u) << i;
    EXPECT_EQ(OwnThread::IsOne(calls.tids[i].load()), i != 0);
    for (unsigned k = 0; k < i; ++k) EXPECT_NE(calls.tids[i].load(), calls.tids[k].load());
  }
  team.Stop();
}

TEST(MarkTeam, OnlyAsManyAsAreCalledWork) {
  SKIP_UNDER_SANITIZERS();
  MarkTeam team;
  team.Start(3);
  Calls calls;
  for (unsigned members = 1; members <= 4; ++members) team.Run(Calls::Count, &calls, members);
  team.Run(Calls::Count, &calls, 9);
  for (unsigned i = 0; i < 4; ++i) EXPECT_EQ(calls.by[i].load(), 5 - i) << i;
  EXPECT_EQ(calls.by[4].load(), 0u);
  team.Stop();
}

// Each call is heard once by each, whether the helpers are still awake or sleep by then.
TEST(MarkTeam, HearsManyCalls) {
  SKIP_UNDER_SANITIZERS();
  MarkTeam team;
  team.Start(2);
  Calls calls;
  constexpr unsigned kCalls = 2000;
  for (unsigned i = 0; i < kCalls; ++i) {
    team.Run(Calls::Count, &calls, 3);
    ASSERT_EQ(calls.by[1].load() + calls.by[2].load(), 2 * (i + 1)) << "returned before all were done";
    if (i % 200 == 0) usleep(3000);
  }
  team.Stop();
}

TEST(MarkTeam, HelpersEndAndComeAgain) {
  SKIP_UNDER_SANITIZERS();
  MarkTeam team;
  for (unsigned round = 0; round < 30; ++round) {
    const unsigned helpers = round % 5;
    team.Start(helpers);
    ASSERT_EQ(team.members(), helpers + 1);
    Calls calls;
    if (round % 2 == 0) team.Run(Calls::Count, &calls, helpers + 1);
    team.Stop();
    ASSERT_EQ(team.members(), 1u);
    ASSERT_EQ(OwnThread::Count(), 0u);
    if (round % 2 == 0) {
      for (unsigned i = 0; i <= helpers; ++i) ASSERT_EQ(calls.by[i].load(), 1u);
    }
    Calls alone;
    team.Run(Calls::Count, &alone, 4);
    ASSERT_EQ(alone.by[0].load(), 1u);
  }
}

TEST(MarkTeam, HasALimit) {
  SKIP_UNDER_SANITIZERS();
  MarkTeam team;
  team.Start(1000);
  ASSERT_EQ(team.members(), MarkTeam::kMost - 1);
  Calls calls;
  calls.expected = team.members();
  team.Run(Calls::Meet, &calls, 1000);
  for (unsigned i = 0; i < team.members(); ++i) EXPECT_EQ(calls.by[i].load(), 1u) << i;
  team.Stop();
}

TEST(MarkTeam, IsSmallerWithoutMemory) {
  SKIP_UNDER_SANITIZERS();
  MarkTeam team;
  {
    test::Refusal refusal(2, true);
    team.Start(3);
    EXPECT_TRUE(refusal.happened());
  }
  EXPECT_EQ(team.members(), 2u);
  Calls calls;
  team.Run(Calls::Count, &calls, 4);
  EXPECT_EQ(calls.by[0].load() + calls.by[1].load(), 2u);
  team.Stop();
  team.Start(3);
  EXPECT_EQ(team.members(), 4u) << "recovers";
  team.Stop();
}

}  // namespace
}  // namespace gcm
