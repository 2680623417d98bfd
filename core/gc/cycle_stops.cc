// What a cycle does while the world is stopped: looks at the threads, a slice of the rest, or all.
#include <new>

#include "core/base/options.h"
#include "core/gc/cycle.h"
#include "platform/apart.h"
#include "platform/clock.h"
#include "platform/descriptor.h"
#include "platform/process.h"

namespace gcm {
namespace {

// What a stop may last, beside fetching all pages, as long as it need not be the last one. It grows
// where that is too little.
constexpr uint64_t kSlice = 1200 * clock::kMicrosecond;
constexpr uint64_t kLongestSlice = clock::kMillisecond * 3 / 2;
constexpr uint64_t kSliceGrowth = 16;
// Behind so many the program is held no longer.
constexpr unsigned kSlicesHeld = 3;
// After each so many in vain the longest is twice as long: a program that writes faster than a
// slice scans must not be stopped without end.
constexpr unsigned kSlicesInVain = 64, kMostDoublings = 6;
// In a small heap all of them together must not take longer than one that clears all.
constexpr unsigned kSlicesInVainSmall = 3, kMostDoublingsSmall = 4;
constexpr unsigned kSlicesPerShare = 4, kLeastShare = 4;
constexpr uint64_t kLeastRun = 50 * clock::kMicrosecond;
// Behind so many the world stays stopped until all is done: something defeats slicing.
constexpr unsigned kMostSlices = 2000;
// Open at the same time: the map, its pages, the list of descriptors and one of these.
constexpr unsigned kDescriptors = 4;
constexpr uint64_t kFirstWait = 2 * clock::kMillisecond;
constexpr unsigned kMostWaitDoublings = 8;
// With threads that do not stop at once. They tell when they could: only an attempt after so long
// waits, and is the last.
constexpr uint64_t kPatience = 2 * clock::kMillisecond;
constexpr uint64_t kMostTrouble = 3 * clock::kSecond;

}  // namespace

bool Cycle::Stop() {
  const uint64_t begin = clock::Now();
  last_attempt_ = failures_ != 0 && begin - failing_since_ >= kMostTrouble;
  const bool waits = !OwnThread::IsHere() || last_attempt_;
  if (!world().Stop(&why_, waits ? World::kMostPatience : kPatience)) {
    const uint64_t pause = clock::Now() - begin;
    record_.AddPause(pause);
    ledger().AddPause(pause);
    return false;
  }
  why_ = nullptr;
  failures_ = 0;
  stopped_at_ = begin;
  return true;
}

void Cycle::Start() {
  world().Start();
  const uint64_t pause = clock::Now() - stopped_at_;
  record_.AddPause(pause);
  ledger().AddPause(pause);
}

// A stop that failed has held everybody up: it is tried again later, and less and less often.
Cycle::Outcome Cycle::StopFailed() {
  if (last_attempt_) return GiveUp(why_);
  const uint64_t now = clock::Now();
  if (failures_++ == 0) failing_since_ = now;
  wait_until_ = now + (kFirstWait << Min(failures_, kMostWaitDoublings));
  return Outcome::kWaits;
}

bool Cycle::LookAtThreads(RootScanner::Caller caller) {
  // What the kernel shows of a thread, it is to show of one of the program's.
  const int tid = OwnThread::IsHere() ? world().LivingThread() : 0;
  if (tid != 0) apart::ActFor(process::NumberInProc(tid));
  return roots_->ScanThreads(&markers_[0], world(), caller);
}

// With the world stopped: whether everything reachable is marked now. If not, all runs on, and
// another stop comes.
bool Cycle::Complete(RootScanner::Caller caller, Left left) {
  const bool at_once = left == Left::kAll;
  const uint64_t deadline =
      at_once || slices_ > kMostSlices ? UINT64_MAX : clock::Now() + slice_ + fetch_time_;
  if (!at_once) {
    if (!Mark(deadline, team_.members())) return false;
    round_pages_ = 0;
    const bool skips = left == Left::kOnce && Skips(Skip::trial_left);
    if (!Round(skips ? 0 : deadline, team_.members(), left == Left::kRearmed) && !skips)
      return false;
    if (!Mark(deadline, team_.members())) return false;
  }
  // From here on the rest is done in this stop, however long it takes.
  marking_.protected_ranges.Clear();
  if (!LookAtThreads(caller)) {
    why_ = "there is no memory";
    return false;
  }
  roots_->SetTracked(at_once ? nullptr : &dirty_, roots_->large(), roots_->large_count());
  if (!ScanRoots(true)) return false;
  marking_.stopped = true;
  while (!Mark(UINT64_MAX, team_.members()) ||
         marking_.overflowed.load(std::memory_order_relaxed)) {
    Overflow();
  }
  if (options().checkmark) Verify(caller);
  marking_.stopped = false;
  return true;
}

// Everything is marked, and the world stands still: what is not marked is garbage from here on.
// With `armed` pages have been armed during this cycle: all in use, or those that it selected.
void Cycle::TurnToSweeping(bool armed) {
  record_.threads = world().thread_count() + (OwnThread::IsHere() ? 0 : 1);
  heap().registry().RetireDead([](void*, int tid) { return world().IsAlive(tid); }, nullptr);
  StopMarking();
  outrun_ = held_ = false;
  record_.mark = clock::Now() - began_;
  record_.taken = heap().taken() - taken_before_;
  piece_ = 0;
  stage_ = Stage::kUntrack;
  ages_armed_ = armed;
  if (WouldKeep(!armed)) {
    changes_ = 0;
    heap().SetMarksStay(true);
    walk_.Begin();
    stage_ = Stage::kAge;
  } else {
    DropMarks();
  }
  if (minor_) record_.heap_marked = generations_.old();
  heap().sweeper().Begin(&marking_.protected_ranges);
  heap().SetPhase(Phase::kSweeping);
}

bool Cycle::Sweep(uint64_t deadline) {
  const uint64_t begin = clock::Now();
  const bool done = heap().sweeper().Step(deadline, false);
  record_.sweep += clock::Now() - begin;
  return done;
}

// What has been disarmed is swept at once: the program may be waiting for it.
void Cycle::SweepTo(size_t extent, uintptr_t at, uint64_t deadline) {
  while (heap().sweeper().walk().IsBefore(extent, at) && !Sweep(0) && clock::Now() < deadline) {
  }
}

// To arm pages is dear, by the flush of the processors' memory of them: who needs not be told again
// only looks, which takes a tenth of the time.
Cycle::Outcome Cycle::TryLast(RootScanner::Caller caller) {
  slice_ = kSlice;
  team_.Alert();
  if (!Stop()) return StopFailed();
  ++trials_;
  const bool complete = Complete(caller, Left::kOnce);
  if (complete) TurnToSweeping(true);
  Start();
  if (why_ != nullptr) return GiveUp(why_);
  if (!complete) stage_ = Stage::kRounds;
  return Outcome::kGoesOn;
}

Cycle::Outcome Cycle::Slice(RootScanner::Caller caller) {
  if (slices_ == 0) slice_ = kSlice;
  team_.Alert();
  if (!Stop()) return StopFailed();
  ++slices_;
  if (Complete(caller, Left::kRearmed)) {
    TurnToSweeping(true);
    Start();
    return Outcome::kGoesOn;
  }
  Start();
  held_ = held_ && slices_ < kSlicesHeld;
  if (why_ != nullptr) return GiveUp(why_);
  const unsigned doublings = selective_ ? Min(slices_ / kSlicesInVainSmall, kMostDoublingsSmall)
                                        : Min(slices_ / kSlicesInVain, kMostDoublings);
  slice_ =
      Min(Max(slice_ + slice_ / kSliceGrowth, kSlice << doublings), kLongestSlice << doublings);
  // The program gets as much time as it was held up, and then less and less: it must not write more
  // than a slice can scan. Marking goes on meanwhile, without helpers: to wake them takes longer.
  const uint64_t now = clock::Now();
  const uint64_t share =
      Max((now - stopped_at_) >> Min(slices_ / kSlicesPerShare, kLeastShare), kLeastRun);
  const uint64_t until = now + share;
  if (markers_[0].Drain(until) && clock::Now() < until) {
    wait_until_ = until;
    return Outcome::kWaits;
  }
  return Outcome::kGoesOn;
}

// With the world stopped, and nothing marked before.
bool Cycle::MarkAll(RootScanner::Caller caller) {
  heap().SetPhase(Phase::kMarking);
  walk_.Begin();
  Reset(UINT64_MAX);
  return Complete(caller, Left::kAll);
}

// With the world stopped, and all marked: what is old is watched from here on.
void Cycle::ArmFull() {
  walk_.Begin();
  ArmSpans(SpanWalk::Arming::kEarly, UINT64_MAX);
  walk_.Begin();
}

Cycle::Outcome Cycle::InOneStop(RootScanner::Caller caller) {
  team_.Alert();
  if (!Stop()) return StopFailed();
  const bool done = MarkAll(caller);
  if (done) TurnToSweeping(false);
  const bool arms = done && stage_ == Stage::kAge;
  if (arms && !Skips(Skip::stop_arms)) ArmFull();
  stop_time_ = clock::Now() - stopped_at_;
  Start();
  if (arms && Skips(Skip::stop_arms)) {
    clock::Sleep(2 * clock::kMillisecond);
    ArmFull();
  }
  return done ? Outcome::kGoesOn : GiveUp(why_);
}

// The world stays stopped until End: what is written of the cycle is written while nobody counts
// descriptors, and what is planned before anybody allocates again.
Cycle::Outcome Cycle::AtOnce(RootScanner::Caller caller) {
  if (!Stop()) return GiveUp(why_);
  stands_ = true;
  struct Work {
    Cycle* self;
    RootScanner::Caller caller;
    bool done;
  } work{this, caller, false};
  auto run = [](void* data) {
    auto* w = static_cast<Work*>(data);
    w->done = w->self->AllAtOnce(w->caller);
  };
  // Half of what has to be read is worse than nothing: whether there is room for the descriptors is
  // known before the first of them is opened.
  if (OwnThread::IsHere() || descriptor::HasRoomFor(kDescriptors)) {
    run(&work);
  } else if (!apart::Run(run, &work)) {
    why_ = "no descriptor is free";
  }
  const uint64_t pause = clock::Now() - stopped_at_;
  record_.AddPause(pause);
  if (work.done) ledger().AddPause(pause);
  return work.done ? Outcome::kDone : GiveUp(why_);
}

bool Cycle::AllAtOnce(RootScanner::Caller caller) {
  why_ = "the memory map cannot be read";
  if (!OwnThread::IsHere() && !descriptor::HasRoomFor(kDescriptors)) return false;
  new (&pages_[0]) PageMap();
  markers_[0].Begin(&marking_, &pages_[0]);
  pages_open_ = true;
  const bool done = MarkAll(caller);
  if (done) {
    TurnToSweeping(false);
    const uint64_t begin = clock::Now();
    heap().sweeper().Step(UINT64_MAX, true);
    record_.sweep = clock::Now() - begin;
  }
  heap().SetPhase(Phase::kIdle);
  pages_[0].~PageMap();
  pages_open_ = false;
  return done;
}

}  // namespace gcm
