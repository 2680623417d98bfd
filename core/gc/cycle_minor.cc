// Minor cycles: what is marked stays so, and marking begins at the roots and at what was written of
// it since. First comes a stop in which all of that is looked at, and most often all that is
// reached is marked in it, too: the young die young. Until then nothing is born marked, since what
// is born marked is not scanned there. Where it takes longer, the program runs on, and the rest is
// marked beside it; then another stop scans once more all spans in which something was marked,
// which takes a third of the time. If that is too long, too, the cycle goes on as any that arms
// late: the pass over the marked blocks that are not armed finds what was written meanwhile, and
// all that was marked in vain.
//
// Law: between two such cycles, a page with marked blocks is one of two kinds (Heap::Age). Armed:
// all that its blocks led to when it was armed, or scanned behind that, is marked, and what was
// written since is reported. Unscanned: all of it is scanned. A new span has no marked blocks.
#include "core/base/options.h"
#include "core/gc/cycle.h"
#include "platform/clock.h"
#include "platform/test_skip.h"

namespace gcm {
namespace {

// The stop in which a minor cycle may end lasts so much longer at most.
constexpr uint64_t kMinorStop = 2 * clock::kMillisecond;
// More memory outside of the heap is not scanned in it.
constexpr uint64_t kFewRoots = 512 * kKiB;
constexpr size_t kAgedAtOnce = 64;
constexpr unsigned kMostTries = 2;
// Changes of the tracking behind a cycle.
constexpr size_t kFewChanges = 64, kPagesPerChange = 8;

}  // namespace

bool Cycle::WouldKeep(bool at_once) {
  const uint64_t in_use = heap().pages().in_use_pages() * kPageSize;
  // Pages in which blocks were born meanwhile were written, too.
  const uint64_t written = record_.dirty_pages * kPageSize;
  return generations_.Marked({minor_, at_once, record_.heap_marked, in_use,
                              written - Min(written, record_.taken), clock::Now() - began_,
                              plan_.interval}) &&
         (one_stop_ ? keeps_of_stop_ && selective_ : plan_.concurrent && plan_.keeps) &&
         dirty_.source() == DirtySource::kUffd;
}

void Cycle::DropMarks() {
  generations_.Drop();
  heap().SetMarksStay(false);
  heap().SetMarksYoung(false);
}

// With the world stopped: whether everything that is reached is marked.
bool Cycle::CompleteMinor(RootScanner::Caller caller) {
  const uint64_t deadline = plan_.stop ? UINT64_MAX : stopped_at_ + kMinorStop;
  marking_.protected_ranges.Clear();
  if (!LookAtThreads(caller)) {
    why_ = "there is no memory";
    return false;
  }
  const bool offsets = marking_.offsets;
  if (last_roots_ > kFewRoots || !ScanOld(deadline) || !ScanRoots(true)) return false;
  last_roots_ = record_.roots_bytes;
  // These rules are for what is marked behind the first stop.
  if (tries_ == 0 && (Skips(Skip::notes) || Skips(Skip::born_noted))) return false;
  // A library that keeps distances has been loaded since: the old blocks were scanned without.
  if (marking_.offsets != offsets) tries_ = kMostTries;
  if (tries_ >= kMostTries) return false;
  marking_.stopped = true;
  const bool complete =
      Mark(deadline, team_.members()) && !marking_.overflowed.load(std::memory_order_relaxed);
  if (complete && options().checkmark) Verify(caller);
  marking_.stopped = false;
  return complete;
}

Cycle::Outcome Cycle::StopForMinor(RootScanner::Caller caller) {
  team_.Alert();
  if (!Stop()) return StopFailed();
  if (CompleteMinor(caller)) {
    heap().SetMarksYoung(false);
    TurnToSweeping(false);
    Start();
    return Outcome::kGoesOn;
  }
  heap().SetMarksYoung(true);
  Start();
  if (why_ != nullptr) return GiveUp(why_);
  if (++tries_ < kMostTries) {
    stage_ = Stage::kMarkYoung;
  } else {
    BeginMarking();
    heap().SetMarksYoung(false);
  }
  return Outcome::kGoesOn;
}

// What is garbage, or will be written by who allocates, is no longer tracked; it is written by the
// sweep, too. Each change of a range holds up all processors: where garbage and old blocks lie
// among each other, the tracking ends with the cycle, as it does without minor cycles.
bool Cycle::Age(uint64_t deadline) {
  // The rule is for what is written until then.
  if (Skips(Skip::promoted)) clock::Sleep(clock::kMillisecond);
  const Armed armed = ages_armed_ && !selective_ ? Armed::kAll
                      : minor_                   ? Armed::kKept
                      : one_stop_                ? Armed::kKeptOfAll
                                                 : Armed::kNoted;
  SpanWalk::Aged aged[kAgedAtOnce];
  for (bool over = false; !over;) {
    const size_t n = walk_.AgeSome(armed, aged, kAgedAtOnce, &over);
    changes_ += n;
    for (size_t i = 0; i < n; ++i) {
      if (aged[i].arm) {
        dirty_.Arm(aged[i].pages);
      } else {
        dirty_.Disarm(aged[i].pages);
      }
    }
    SweepTo(walk_.extent(), walk_.at(), deadline);
    if (changes_ > kFewChanges + heap().pages().in_use_pages() / kPagesPerChange) {
      generations_.Refuse();
      DropMarks();
      piece_ = 0;
      stage_ = Stage::kUntrack;
      return false;
    }
    if (!over && clock::Now() >= deadline) return false;
  }
  if (ages_armed_ || one_stop_) generations_.Accept();
  UntrackLarge();
  return true;
}

bool Cycle::Leave(uint64_t deadline) {
  if (generations_.keeps()) {
    DropMarks();
    piece_ = 0;
  }
  if (!Untrack(deadline)) return false;
  dirty_.Stop();
  return true;
}

}  // namespace gcm
