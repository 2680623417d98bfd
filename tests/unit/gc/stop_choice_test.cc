#include "core/gc/stop_choice.h"

#include <gtest/gtest.h>

#include "platform/clock.h"

namespace gcm {
namespace {

constexpr uint64_t kMs = clock::kMillisecond, kHeap = 40 * kMiB;

StopChoice::Cycle Beside(uint64_t marking, uint64_t waited) { return {false, kHeap, marking, waited, 20 * kMs}; }
StopChoice::Cycle Stop(uint64_t marking) { return {true, kHeap, marking, 0, 20 * kMs}; }

TEST(StopChoice, BeginsBesideTheProgram) {
  StopChoice choice;
  EXPECT_FALSE(choice.Stops(kHeap, 0));
  EXPECT_FALSE(choice.Stops(0, 0));
}

TEST(StopChoice, StopsWhoHasWaitedLonger) {
  StopChoice choice;
  choice.Finished(Beside(8 * kMs, 30 * kMs));
  EXPECT_TRUE(choice.Stops(kHeap, 20 * kMs));
  choice.Finished(Stop(9 * kMs));
  EXPECT_TRUE(choice.Stops(kHeap, 20 * kMs));
}

TEST(StopChoice, LetsRunWhoHasNotWaitedThatLong) {
  StopChoice choice;
  choice.Finished(Beside(8 * kMs, 0));
  EXPECT_FALSE(choice.Stops(kHeap, 20 * kMs));
  choice.Finished(Beside(8 * kMs, 7 * kMs));
  EXPECT_FALSE(choice.Stops(kHeap, 20 * kMs));
}

TEST(StopChoice, LetsRunWhoAllocatesMoreSlowlyNow) {
  StopChoice choice;
  choice.Finished(Beside(8 * kMs, 30 * kMs));
  EXPECT_TRUE(choice.Stops(kHeap, 40 * kMs));
  EXPECT_FALSE(choice.Stops(kHeap, 41 * kMs));
}

TEST(StopChoice, DoesNotStopForLong) {
  StopChoice choice;
  choice.Finished(Beside(8 * kMs, 50 * kMs));
  EXPECT_TRUE(choice.Stops(2 * kHeap, 20 * kMs));
  EXPECT_FALSE(choice.Stops(4 * kHeap, 20 * kMs)) << "the stop might take 32 ms";
  choice.Finished(Stop(30 * kMs));
  EXPECT_FALSE(choice.Stops(kHeap, 20 * kMs)) << "it took longer than was expected";
}

TEST(StopChoice, LooksAgainWhatItWouldWait) {
  StopChoice choice;
  choice.Finished(Beside(8 * kMs, 30 * kMs));
  int stops = 0;
  for (; choice.Stops(kHeap, 20 * kMs) && stops < 1000; ++stops) choice.Finished(Stop(8 * kMs));
  EXPECT_GE(stops, 16);
  EXPECT_LE(stops, 256);
  choice.Finished(Beside(8 * kMs, 30 * kMs));
  EXPECT_TRUE(choice.Stops(kHeap, 20 * kMs));
}

}  // namespace
}  // namespace gcm
