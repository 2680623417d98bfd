// One collection, in steps of bounded length, so that whoever leads it may stop in between: a
// thread of our own, which leads it from beginning to end beside the program, or the program's own
// calls of malloc, a piece each.
//
// A concurrent cycle (Boehm, Demers, Shenker 1991, with the late arming of DESIGN section 4):
//   arm      what is old, where it is expected to be written little: from here on the kernel
//            notes what is written there
//   reset    the mark bits of what is free are set, all others are clear
//   threads  a short stop: the registers, and where the stacks begin
//   mark     from all memory of the program, while it runs
//   arm      the rest of what is marked
//   pass     once over all marked blocks of that in the order of addresses: what was missed because
//            it was written while it was being marked is found here
//   rounds   what was written since is fetched, armed again and scanned, while there is less of
//            it each time; a program that outruns them, and some trials, is slowed down where it
//            allocates, and at last, for one round and the stop behind it, held there
//   trial    where a round found little, a short stop: what was written since is scanned, and if
//            there is time for all of it, all roots are looked at again, and that ends it
//   slices   short stops, each of which clears more than the program can write until the next;
//            the one in which everything is found clean looks at all roots again, and ends it
//   untrack, sweep  piece by piece
// Where the program waits for that longer than for a stop (stop_choice.h), all is marked in one.
// A minor cycle (generations.h) keeps the mark bits; its first stop may be its last as well
// (cycle_minor.cc). Instead of untrack there is age where the next cycle may be a minor one.
// The other kind does it all at once, in the program's own thread. Nothing is reclaimed unless the
// last stop was complete.
#pragma once

#include "core/gc/checkmark.h"
#include "core/gc/generations.h"
#include "core/gc/mark_team.h"
#include "core/gc/marker.h"
#include "core/gc/roots.h"
#include "core/gc/world.h"
#include "core/report/statistics.h"

namespace gcm {

class Cycle {
 public:
  struct Plan {
    const char* reason;
    bool concurrent;    // if the dirty source works
    bool stop;          // all is marked in one stop, or in the first of a minor cycle
    unsigned workers;   // that mark while the program runs; at least 1
    unsigned helpers;   // threads to be made for that, and for the stops
    bool minor;         // if one is due
    bool keeps;         // the marks, if that seems worth it: whoever leads calls Leave in the end
    uint64_t interval;  // nanoseconds since the end of the last cycle
  };
  enum class Outcome { kGoesOn, kWaits, kDone, kGivenUp };
  // What those who allocate beside the cycle are to do. kSlowed: wait a little, because the program
  // writes faster than what it writes is scanned. kHeld: wait until it is something else.
  enum Pace : uint32_t { kFree, kSlowed, kHeld };

  // Memory for what it needs. False: there is none.
  bool Prepare();
  void Begin(const Plan& plan);
  // Words that are eight times an address count, too (core/HOSTS.md, Chez Scheme). For good.
  void FollowShifted() { marking_.shifted = true; }
  // What the last cycle that wanted to track found out; true before.
  bool TracksDirtyPages() const { return tracks_; }
  bool concurrent() const { return plan_.concurrent; }
  bool in_one_stop() const { return one_stop_; }
  // Nanoseconds: of that stop, or what it would have been.
  uint64_t stop_time() const { return stop_time_; }
  bool active() const { return stage_ != Stage::kNone; }
  // Goes on for about `budget` nanoseconds, or until it is over. kWaits: not before wait_until().
  // The caller is outside of any section, and the only one. What it holds in registers is at
  // `caller`.
  Outcome Step(uint64_t budget, RootScanner::Caller caller);
  // While the program waits for the cycle, its processors are free for marking.
  void SetHurry(bool hurry) { hurry_ = hurry; }
  // What a round takes to learn what was written: nanoseconds.
  uint64_t fetch_time() const { return fetch_time_; }
  Pace pace() const { return held_ ? kHeld : outrun_ ? kSlowed : kFree; }
  // Moves pages of the heap, which nobody else touches meanwhile. By who leads the cycle.
  bool MovePages(Range from, uintptr_t to);
  uint64_t wait_until() const { return wait_until_; }
  // Why it was given up; null if it was not.
  const char* why() const { return why_; }
  bool for_good() const { return for_good_; }
  CycleRecord& record() { return record_; }
  // At the end, by the thread that led it.
  void End();
  // A minor one that was over with its first stop, or another that is done in one.
  bool at_once() const { return one_stop_ || (minor_ && !ages_armed_); }
  // Whether the next one may be a minor one.
  bool MinorIsDue() const { return generations_.MinorIsDue(); }
  // Behind a cycle: its marks are kept, and its pages tracked, by the thread that led it, for so
  // many nanoseconds unless the next one comes.
  bool KeepsMarks() const { return generations_.keeps(); }
  uint64_t patience() const { return generations_.patience(); }
  // That has an end; true: now. Else to be called again. By the same thread.
  bool Leave(uint64_t deadline);
  // Nothing comes of it: in a forked child.
  void AfterForkInChild();

 private:
  enum class Stage {
    kNone,
    kMinor,
    kMarkYoung,
    kReset,
    kThreads,
    kRoots,
    kMark,
    kArm,
    kPass,
    kArmLarge,
    kRounds,
    kTrial,
    kSlices,
    kOneStop,
    kAtOnce,
    kUntrack,
    kAge,
    kSweep
  };
  // What the members of the team do side by side.
  struct Job {
    Cycle* self;
    uint64_t deadline;
    bool written = true;  // pages may have been
    bool rearms = true;
    std::atomic<size_t> next{0};
    std::atomic<bool> complete{true};
    std::atomic<uint64_t> pages{0};
    std::atomic<uint64_t> armed{0};
    std::atomic<uint64_t> fetch{0};
    std::atomic<uint64_t> cpu{0};
  };

  Outcome GiveUp(const char* why);
  Outcome StopFailed();
  bool Stop();
  void Start();
  bool ArmsEarly() const;
  void BeginMarking();
  bool Reset(uint64_t deadline);
  bool LookAtThreads(RootScanner::Caller caller);
  Outcome StopForMinor(RootScanner::Caller caller);
  bool CompleteMinor(RootScanner::Caller caller);
  void NoteWritten();
  bool ScanOld(uint64_t deadline);
  struct Visit;
  static bool VisitDirty(void* data, Range run);
  void ScanOldIn(Range part, Visit* visit);
  bool Age(uint64_t deadline);
  void DropMarks();
  bool ScanRoots(bool whole);
  bool Mark(uint64_t deadline, unsigned members);
  bool MarkAlone();
  bool AllIdle() const;
  void Overflow();
  bool TrackExtents();
  uint64_t Writes() const;
  bool Arm(uint64_t deadline);
  bool ArmSpans(SpanWalk::Arming arming, uint64_t deadline);
  void ArmInUse(Range piece);
  static bool NoteArmed(Span* span);
  static constexpr size_t kMostRuns = 64;
  size_t RunsToFetch(Range piece, Range* runs) const;
  bool Pass(uint64_t deadline);
  void ArmLarge();
  bool Round(uint64_t deadline, unsigned members, bool rearms);
  void TurnAfterRound(uint64_t armed_for);
  bool TakeCards(Marker* marker, Range piece, uint64_t deadline);
  void TurnToSweeping(bool armed);
  bool WouldKeep(bool at_once);
  Outcome TryLast(RootScanner::Caller caller);
  Outcome Slice(RootScanner::Caller caller);
  // What a last stop finds left: all, what it arms anew, so that the next one goes on from there if
  // it is too much, or what only this one can use.
  enum class Left { kAll, kRearmed, kOnce };
  bool Complete(RootScanner::Caller caller, Left left);
  void Verify(RootScanner::Caller caller);
  bool MarkAll(RootScanner::Caller caller);
  void ArmFull();
  Outcome InOneStop(RootScanner::Caller caller);
  Outcome AtOnce(RootScanner::Caller caller);
  bool AllAtOnce(RootScanner::Caller caller);
  void StopMarking();
  bool Untrack(uint64_t deadline);
  void UntrackLarge();
  unsigned Workers() const { return hurry_ || outrun_ ? team_.members() : plan_.workers; }
  size_t PieceCount() const;
  Range Piece(size_t i, size_t* extent = nullptr) const;
  bool Sweep(uint64_t deadline);
  void SweepTo(size_t extent, uintptr_t at, uint64_t deadline);

  Stage stage_ = Stage::kNone;
  Plan plan_{};
  const char* why_ = nullptr;
  bool for_good_ = false;
  uint64_t wait_until_ = 0;
  uint64_t stopped_at_ = 0;
  unsigned failures_ = 0;  // of stops in a row
  uint64_t failing_since_ = 0;
  bool last_attempt_ = false;
  unsigned slices_ = 0;
  uint64_t slice_ = 0;        // nanoseconds that a stop may last
  uint64_t fetch_time_ = 0;   // of a round: nanoseconds, without the scans
  size_t tracked_bytes_ = 0;  // of addresses
  unsigned round_ = 0, trials_ = 0, held_rounds_ = 0, awaited_ = 0;
  uint64_t round_pages_ = 0, last_round_pages_ = 0;
  uint64_t round_armed_ = 0;  // of the former: were armed before
  size_t piece_ = 0;          // of arming and disarming
  size_t rounds_piece_ = 0;   // of a round
  size_t rounds_count_ = 0;
  // Writes() before the last round that fetched everything; 0: there was none.
  uint64_t written_at_ = 0;
  Generations generations_;
  bool minor_ = false;
  size_t changes_ = 0;  // of the tracking, by Age
  unsigned tries_ = 0;  // stops in which a minor cycle could have ended
  bool one_stop_ = false;
  bool ages_armed_ = false;     // pages were armed during this cycle
  bool keeps_of_stop_ = false;  // what is marked in one stop may be kept
  uint64_t last_roots_ = 0;     // bytes
  bool selective_ = false;      // what it watches (cycle_arm.cc)
  bool arms_early_ = false;     // something is armed before anything is marked
  bool early_ = false;          // and that is not done yet
  uint64_t armed_ = 0;          // when
  uint64_t mark_time_ = 0;      // nanoseconds, of the last cycle until all it found was marked
  uint64_t stop_time_ = 0, mark_began_ = 0;
  uint64_t written_per_ms_ = UINT64_MAX;  // pages, after arming; UINT64_MAX: not known yet
  bool tracks_ = true;
  bool hurry_ = false;
  bool held_ = false;
  bool outrun_ = false;
  bool outruns_ = false;  // what is expected of it: it did during the last cycle
  bool stands_ = false;   // the world is stopped until End
  SpanWalk walk_;
  Marking marking_;
  Marker* markers_ = nullptr;  // one for each member
  MarkTeam team_;
  RootScanner* roots_ = nullptr;
  DirtyPages dirty_;
  PageMap* pages_ = nullptr;  // one for each member, while it lasts
  bool pages_open_ = false;
  Checkmark checkmark_;
  CycleRecord record_{};
  uint64_t taken_before_ = 0;
  uint64_t began_ = 0;
};

}  // namespace gcm
