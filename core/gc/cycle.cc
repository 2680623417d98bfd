#include "core/gc/cycle.h"

#include <new>

#include "core/base/metadata.h"
#include "core/base/options.h"
#include "platform/apart.h"
#include "platform/clock.h"
#include "platform/descriptor.h"
#include "platform/memory.h"
#include "platform/message.h"
#include "platform/process.h"
#include "platform/test_skip.h"

namespace gcm {
namespace {

// What a stop may last, beside fetching all pages, as long as it need not be the last one. It grows
// where that is too little.
constexpr uint64_t kSlice = 800 * clock::kMicrosecond;
constexpr uint64_t kLongestSlice = clock::kMillisecond * 3 / 2;
constexpr uint64_t kSliceGrowth = 16;
// After each so many in vain the longest is twice as long: a program that writes faster than a
// slice scans must not be stopped without end.
constexpr unsigned kSlicesInVain = 64, kMostDoublings = 6;
constexpr unsigned kSlicesPerShare = 4, kLeastShare = 4;
constexpr uint64_t kLeastRun = 50 * clock::kMicrosecond;
// Behind so many the world stays stopped until all is done: something defeats slicing.
constexpr unsigned kMostSlices = 2000;
// Open at the same time: the map, its pages, the list of descriptors and one of these.
constexpr unsigned kDescriptors = 4;
// The last stop is tried when no more than this was written during a round.
constexpr uint64_t kFewPages = 512;
// What writes so much during a round, or as much as during the one before, outruns it.
constexpr uint64_t kManyPages = 16384;
constexpr unsigned kMostRounds = 10;
constexpr unsigned kMostFailures = 12;
constexpr uint64_t kFirstWait = 2 * clock::kMillisecond;

template <typename T>
T* New(size_t count = 1) {
  void* place = metadata::Allocate(count * sizeof(T));
  if (place == nullptr) return nullptr;
  T* first = static_cast<T*>(place);
  for (size_t i = 0; i < count; ++i) new (first + i) T();
  return first;
}

void SayOtherSource() {
  Message line;
  line.Text("gcmalloc: GCMALLOC_DIRTY=").Text(NameOf(options().dirty));
  line.Text(": does not work here, using none").Write(2);
}

}  // namespace

bool Cycle::Prepare() {
  if (markers_ != nullptr) return true;
  if (roots_ == nullptr) roots_ = New<RootScanner>();
  void* pages = metadata::Allocate(MarkTeam::kMost * sizeof(PageMap));
  if (roots_ == nullptr || pages == nullptr) return false;
  pages_ = static_cast<PageMap*>(pages);
  markers_ = New<Marker>(MarkTeam::kMost);
  return markers_ != nullptr;
}

void Cycle::Begin(const Plan& plan) {
  plan_ = plan;
  why_ = nullptr;
  wait_until_ = 0;
  failures_ = slices_ = round_ = 0;
  outrun_ = false;
  slice_ = kSlice;
  tracked_bytes_ = 0;
  fetch_time_ = 0;
  record_ = {};
  began_ = clock::Now();
  taken_before_ = heap().taken();
  record_.reason = plan.reason;
  record_.start = began_ - ledger().start_time();
  record_.heap_before = heap().pages().in_use_pages() * kPageSize;
  if (plan_.concurrent) {
    // The C library writes to blocks while it blocks all signals (when it makes a thread), and so
    // would end the process by a fault that nobody hears of.
    const DirtySource wanted =
        options().dirty == DirtySource::kMprotect ? DirtySource::kNone : options().dirty;
    record_.dirty_source = dirty_.Start(wanted);
    if (options().dirty != DirtySource::kAuto && record_.dirty_source != options().dirty && tracks_)
      SayOtherSource();
    plan_.concurrent = tracks_ = record_.dirty_source != DirtySource::kNone;
  }
  record_.workers = plan_.concurrent ? plan_.workers : 0;
  marking_.stride = options().align;
  marking_.offsets = false;
  marking_.stopped = false;
  marking_.overflowed.store(false, std::memory_order_relaxed);
  marking_.protected_ranges.Clear();
  roots_->SetTracked(nullptr, nullptr, 0);
  if (!plan_.concurrent) {
    stage_ = Stage::kAtOnce;
    return;
  }
  team_.Start(plan_.helpers);
  for (unsigned i = 0; i < team_.members(); ++i) {
    new (&pages_[i]) PageMap();
    markers_[i].Begin(&marking_, &pages_[i]);
  }
  pages_open_ = true;
  heap().SetPhase(Phase::kMarking);
  heap().SetPagesMayMove(false);
  walk_.Begin();
  stage_ = Stage::kReset;
}

Cycle::Outcome Cycle::GiveUp(const char* why) {
  why_ = why;
  heap().SetPhase(Phase::kIdle);
  StopMarking();
  piece_ = 0;
  Untrack(UINT64_MAX);
  return Outcome::kGivenUp;
}

void Cycle::End() {
  if (pages_open_) {
    for (unsigned i = 0; i < team_.members(); ++i) pages_[i].~PageMap();
    pages_open_ = false;
  }
  team_.Stop();
  marking_.pool.Trim();
  dirty_.Stop();
  if (OwnThread::IsHere()) apart::ActFor(0);
  stage_ = Stage::kNone;
  if (stands_) world().Start();
  stands_ = false;
}

void Cycle::AfterForkInChild() {
  team_.AfterForkInChild();
  dirty_.AfterForkInChild();
  heap().SetPhase(Phase::kIdle);
  heap().SetPagesMayMove(true);
  if (stage_ == Stage::kNone) return;
  for (unsigned i = 0; pages_open_ && i < MarkTeam::kMost; ++i) {
    if (markers_[i].marking() != nullptr) markers_[i].End();
  }
  pages_open_ = false;
  marking_.pool.AfterForkInChild();
  marking_.shared.AfterForkInChild();
  stage_ = Stage::kNone;
}

bool Cycle::Stop() {
  const uint64_t begin = clock::Now();
  if (!world().Stop(&why_)) return false;
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
  if (++failures_ > kMostFailures) return GiveUp(why_);
  wait_until_ = clock::Now() + (kFirstWait << Min(failures_, 8u));
  return Outcome::kWaits;
}

bool Cycle::Reset(uint64_t deadline) {
  while (!walk_.ResetSome()) {
    if (clock::Now() >= deadline) return false;
  }
  return true;
}

bool Cycle::LookAtThreads(RootScanner::Caller caller) {
  // What the kernel shows of a thread, it is to show of one of the program's.
  const int tid = OwnThread::IsHere() ? world().LivingThread() : 0;
  if (tid != 0) apart::ActFor(process::NumberInProc(tid));
  return roots_->ScanThreads(&markers_[0], world(), caller);
}

bool Cycle::ScanRoots(bool whole) {
  RootScanner::Result result = roots_->ScanMemory(&markers_[0], &pages_[0], world(), whole);
  if (result.for_good) for_good_ = true;
  if (result.incomplete != nullptr) {
    why_ = result.incomplete;
    return !whole && !result.for_good;
  }
  record_.roots_bytes = result.bytes;
  record_.stacks_bytes = result.stack_bytes;
  return true;
}

// With the world stopped: whether everything reachable is marked now. If not, all runs on, and
// another stop comes.
bool Cycle::Complete(RootScanner::Caller caller, bool at_once) {
  const uint64_t deadline =
      at_once || slices_ > kMostSlices ? UINT64_MAX : clock::Now() + slice_ + fetch_time_;
  bool complete = true;
  if (!at_once) {
    if (!Mark(deadline, team_.members())) return false;
    round_pages_ = 0;
    Round(deadline, team_.members(), &complete);
    if (!complete || !Mark(deadline, team_.members())) return false;
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
void Cycle::TurnToSweeping() {
  record_.threads = world().thread_count() + (OwnThread::IsHere() ? 0 : 1);
  heap().registry().RetireDead([](void*, int tid) { return world().IsAlive(tid); }, nullptr);
  StopMarking();
  outrun_ = false;
  record_.mark = clock::Now() - began_;
  record_.taken = heap().taken() - taken_before_;
  heap().sweeper().Begin(&marking_.protected_ranges);
  heap().SetPhase(Phase::kSweeping);
}

Cycle::Outcome Cycle::Slice(RootScanner::Caller caller) {
  team_.Alert();
  if (!Stop()) return StopFailed();
  ++slices_;
  if (Complete(caller, false)) {
    TurnToSweeping();
    Start();
    piece_ = 0;
    stage_ = Stage::kUntrack;
    return Outcome::kGoesOn;
  }
  Start();
  if (why_ != nullptr) return GiveUp(why_);
  slice_ = Min(slice_ + slice_ / kSliceGrowth,
               kLongestSlice << Min(slices_ / kSlicesInVain, kMostDoublings));
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
  heap().SetPhase(Phase::kMarking);
  walk_.Begin();
  Reset(UINT64_MAX);
  const bool done = Complete(caller, true);
  if (done) {
    TurnToSweeping();
    const uint64_t begin = clock::Now();
    heap().sweeper().Step(UINT64_MAX, true);
    record_.sweep = clock::Now() - begin;
  }
  heap().SetPhase(Phase::kIdle);
  pages_[0].~PageMap();
  pages_open_ = false;
  return done;
}

Cycle::Outcome Cycle::Step(uint64_t budget, RootScanner::Caller caller) {
  const uint64_t now = clock::Now();
  const uint64_t deadline = budget == UINT64_MAX ? UINT64_MAX : now + budget;
  const unsigned workers = Workers();
  switch (stage_) {
    case Stage::kNone:
      return Outcome::kDone;
    case Stage::kReset:
      if (Reset(deadline)) stage_ = Stage::kThreads;
      break;
    case Stage::kThreads: {
      if (!Stop()) return StopFailed();
      const bool looked = LookAtThreads(caller);
      Start();
      if (!looked) return GiveUp("there is no memory");
      stage_ = Stage::kRoots;
      break;
    }
    case Stage::kRoots:
      if (!ScanRoots(false)) return GiveUp(why_);
      why_ = nullptr;
      if (Skips(Skip::early_sweep)) {
        heap().sweeper().Begin(&marking_.protected_ranges);
        heap().sweeper().Step(0, false);
      }
      stage_ = Stage::kMark;
      break;
    case Stage::kMark:
      if (!Mark(deadline, workers)) break;
      piece_ = 0;
      outrun_ = outruns_;
      stage_ = Stage::kArm;
      break;
    case Stage::kArm:
      if (!Arm(deadline)) break;
      walk_.Begin();
      stage_ = Stage::kPass;
      break;
    case Stage::kPass:
      if (!Pass(deadline)) break;
      PassTracked();
      rounds_piece_ = round_ = 0;
      round_pages_ = 0;
      last_round_pages_ = UINT64_MAX;
      stage_ = dirty_.rearms() ? Stage::kRounds : Stage::kSlices;
      break;
    case Stage::kRounds: {
      bool complete;
      if (!Mark(deadline, workers) || !Round(UINT64_MAX, workers, &complete)) break;
      ++round_;
      if (round_pages_ <= kFewPages || round_ == kMostRounds ||
          (outrun_ && round_pages_ > Max(kManyPages / 4, last_round_pages_ / 4 * 3))) {
        stage_ = Stage::kSlices;
      } else if (round_pages_ > Min(kManyPages, last_round_pages_ / 2)) {
        outrun_ = true;
      }
      if (round_ == 1) outruns_ = round_pages_ > kManyPages / 2;
      last_round_pages_ = round_pages_;
      round_pages_ = 0;
      break;
    }
    case Stage::kSlices:
      return Slice(caller);
    case Stage::kAtOnce:
      return AtOnce(caller);
    case Stage::kUntrack:
      if (!Untrack(deadline)) break;
      sweep_began_ = clock::Now();
      stage_ = Stage::kSweep;
      break;
    case Stage::kSweep:
      if (!heap().sweeper().Step(deadline, false)) break;
      record_.sweep = clock::Now() - sweep_began_;
      heap().SetPhase(Phase::kIdle);
      return Outcome::kDone;
  }
  return Outcome::kGoesOn;
}

}  // namespace gcm
