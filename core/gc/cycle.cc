#include "core/gc/cycle.h"

#include <new>

#include "core/base/metadata.h"
#include "core/base/options.h"
#include "platform/apart.h"
#include "platform/clock.h"
#include "platform/memory.h"
#include "platform/message.h"
#include "platform/test_skip.h"

namespace gcm {
namespace {

// The last stop is tried when no more than this was written during a round.
constexpr uint64_t kFewPages = 512;
// What writes so much during a round, or as much as during the one before, outruns it; in a small
// heap a part of that.
constexpr uint64_t kManyPages = 16384, kManyOfHeap = 8;
constexpr unsigned kMostRounds = 10;
constexpr unsigned kMostHeldRounds = 3;
// A round that found more was too long for a short stop to find less.
constexpr uint64_t kTrialPages = 2048;
constexpr unsigned kMostTrials = 3;
constexpr unsigned kMostAwaited = 4;
constexpr uint64_t kAwaited = 50 * clock::kMicrosecond;
// In a larger heap the last stop must not have to look for what holds marked blocks.
constexpr uint64_t kMostSelective = 256 * kMiB;

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
  one_stop_ = plan.stop && !(plan.minor && generations_.MinorIsDue());
  plan_.concurrent = plan.concurrent && !one_stop_;
  why_ = nullptr;
  wait_until_ = 0;
  failures_ = slices_ = round_ = tries_ = 0;
  outrun_ = held_ = arms_early_ = early_ = selective_ = false;
  written_at_ = 0;
  fetch_time_ = 0;
  // What a stop has marked may be kept as well.
  keeps_of_stop_ = one_stop_ && plan_.keeps && generations_.MayKeep();
  if (generations_.keeps() && !plan_.concurrent && !one_stop_) Leave(UINT64_MAX);
  if (generations_.keeps() && !dirty_.StillWorks()) DropMarks();
  if (!generations_.keeps()) tracked_bytes_ = 0;
  record_ = {};
  began_ = clock::Now();
  taken_before_ = heap().taken();
  record_.reason = plan.reason;
  record_.start = began_ - ledger().start_time();
  record_.heap_before = heap().pages().in_use_pages() * kPageSize;
  if (plan_.concurrent || keeps_of_stop_) {
    // The C library writes to blocks while it blocks all signals (when it makes a thread), and so
    // would end the process by a fault that nobody hears of.
    const DirtySource wanted =
        options().dirty == DirtySource::kMprotect ? DirtySource::kNone : options().dirty;
    record_.dirty_source = dirty_.Start(wanted);
    if (options().dirty != DirtySource::kAuto && record_.dirty_source != options().dirty && tracks_)
      SayOtherSource();
    tracks_ = record_.dirty_source != DirtySource::kNone;
    plan_.concurrent = plan_.concurrent && tracks_;
    if (!tracks_) DropMarks();
  }
  selective_ = record_.dirty_source == DirtySource::kUffd &&
               record_.heap_before <= kMostSelective && memory::PageSize() == kPageSize &&
               !Skips(Skip::selective);
  minor_ = plan_.concurrent && plan_.minor && generations_.MinorIsDue();
  record_.minor = minor_;
  record_.workers = plan_.concurrent ? plan_.workers : one_stop_ ? plan_.helpers + 1 : 0;
  marking_.stride = options().align;
  marking_.offsets = marking_.offsets && minor_;
  marking_.stopped = marking_.notes = false;
  marking_.overflowed.store(false, std::memory_order_relaxed);
  marking_.protected_ranges.Clear();
  roots_->SetTracked(nullptr, nullptr, 0);
  if (!plan_.concurrent && !one_stop_) {
    stage_ = Stage::kAtOnce;
    return;
  }
  team_.Start(plan_.helpers);
  for (unsigned i = 0; i < team_.members(); ++i) {
    new (&pages_[i]) PageMap();
    markers_[i].Begin(&marking_, &pages_[i]);
  }
  pages_open_ = true;
  piece_ = 0;
  if (plan_.concurrent || keeps_of_stop_) heap().SetPagesMayMove(false);
  if (one_stop_) {
    if (keeps_of_stop_) TrackExtents();
    stage_ = Stage::kOneStop;
    return;
  }
  arms_early_ = early_ = !minor_ && dirty_.rearms() && ArmsEarly();
  if (minor_) {
    TrackExtents();
    marking_.notes = !Skips(Skip::notes);
    stage_ = Stage::kMinor;
    if (Skips(Skip::born_white)) {
      BeginMarking();
      Reset(UINT64_MAX);
      stage_ = Stage::kMinor;
    }
  } else if (arms_early_) {
    stage_ = Stage::kArm;
  } else {
    BeginMarking();
  }
}

// What is born from here on is marked.
void Cycle::BeginMarking() {
  marking_.notes = false;
  mark_began_ = clock::Now();
  heap().SetPhase(Phase::kMarking);
  walk_.Begin();
  stage_ = Stage::kReset;
}

Cycle::Outcome Cycle::GiveUp(const char* why) {
  why_ = why;
  DropMarks();
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
  if (!generations_.keeps()) dirty_.Stop();
  if (OwnThread::IsHere()) apart::ActFor(0);
  stage_ = Stage::kNone;
  if (stands_) world().Start();
  stands_ = false;
}

void Cycle::AfterForkInChild() {
  team_.AfterForkInChild();
  dirty_.AfterForkInChild();
  DropMarks();
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

bool Cycle::Reset(uint64_t deadline) {
  while (!walk_.ResetSome(minor_, arms_early_)) {
    if (clock::Now() >= deadline) return false;
  }
  return true;
}

// What a round has found, that began so long after arming, says what comes next.
void Cycle::TurnAfterRound(uint64_t armed_for) {
  ++round_;
  const uint64_t many = Min(kManyPages, heap().pages().in_use_pages() / kManyOfHeap);
  if (round_pages_ <= kTrialPages && trials_ < kMostTrials && !held_ && !Skips(Skip::trial)) {
    stage_ = Stage::kTrial;
  } else if (round_pages_ <= kFewPages || round_ >= kMostRounds ||
             (outrun_ && round_pages_ > Max(many / 4, last_round_pages_ / 4 * 3))) {
    // Where nobody writes any more, the stop need not look for what was written.
    if (held_ && (Writes() == written_at_ || ++held_rounds_ == kMostHeldRounds))
      stage_ = Stage::kSlices;
    held_ = true;
  } else if (round_pages_ > Min(many, last_round_pages_ / 2)) {
    outrun_ = true;
  }
  if (round_ == 1) {
    outruns_ = round_pages_ > many / 2;
    written_per_ms_ =
        (selective_ ? round_armed_ : round_pages_) / (armed_for / clock::kMillisecond + 1);
  }
  last_round_pages_ = round_pages_;
  round_pages_ = 0;
}

Cycle::Outcome Cycle::Step(uint64_t budget, RootScanner::Caller caller) {
  const uint64_t now = clock::Now();
  const uint64_t deadline = budget == UINT64_MAX ? UINT64_MAX : now + budget;
  const unsigned workers = Workers();
  switch (stage_) {
    case Stage::kNone:
      return Outcome::kDone;
    case Stage::kMinor:
      return StopForMinor(caller);
    case Stage::kMarkYoung:
      if (Skips(Skip::born_noted)) clock::Sleep(2 * clock::kMillisecond);
      if (Mark(deadline, workers)) stage_ = Stage::kMinor;
      break;
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
      if (!minor_) {
        mark_time_ = clock::Now() - began_;
        stop_time_ = (clock::Now() - mark_began_) * workers / team_.members();
      }
      outrun_ = outruns_;
      piece_ = 0;
      stage_ = arms_early_ && !selective_ ? Stage::kArmLarge : Stage::kArm;
      break;
    case Stage::kArm:
      if (!Arm(deadline)) break;
      if (early_ || !arms_early_) armed_ = clock::Now();
      if (early_) {
        early_ = false;
        BeginMarking();
        break;
      }
      walk_.Begin();
      stage_ = Stage::kPass;
      break;
    case Stage::kPass:
      if (Skips(Skip::pass) || Pass(deadline)) stage_ = Stage::kArmLarge;
      break;
    case Stage::kArmLarge:
      ArmLarge();
      rounds_piece_ = round_ = trials_ = held_rounds_ = awaited_ = 0;
      round_pages_ = round_armed_ = 0;
      last_round_pages_ = UINT64_MAX;
      stage_ = dirty_.rearms() ? Stage::kRounds : Stage::kSlices;
      break;
    case Stage::kRounds: {
      if (!Mark(deadline, workers)) break;
      // Who is to be held comes to where it allocates first, mostly.
      if (held_ && !hurry_ && awaited_++ < kMostAwaited) {
        wait_until_ = clock::Now() + kAwaited;
        return Outcome::kWaits;
      }
      const uint64_t armed_for = clock::Now() - armed_;
      if (!Round(UINT64_MAX, workers, true)) break;
      TurnAfterRound(armed_for);
      break;
    }
    case Stage::kTrial:
      return TryLast(caller);
    case Stage::kSlices:
      return Slice(caller);
    case Stage::kOneStop:
      return InOneStop(caller);
    case Stage::kAtOnce:
      return AtOnce(caller);
    case Stage::kUntrack:
    case Stage::kAge:
      if (!(stage_ == Stage::kAge ? Age(deadline) : Untrack(deadline))) break;
      stage_ = Stage::kSweep;
      break;
    case Stage::kSweep:
      if (!Sweep(deadline)) break;
      heap().SetPhase(Phase::kIdle);
      return Outcome::kDone;
  }
  return Outcome::kGoesOn;
}

}  // namespace gcm
