// When a collection is due, and who leads it (core/gc/cycle.h): a thread of our own that is made
// for the cycle and ends with it, or keeps watch for the next one, if that may be a minor one, and
// ends when none comes soon (collector_watch.cc); where there can be none, and for small heaps, the
// thread that asks. That one works on a stack of its own (the thread's may be a coroutine's of a
// few KiB), with all signals blocked: a handler of the program must not run in a half-marked heap.
//
// Whoever leads has the turn during a step, and nobody has it in between: then others may fork.
#pragma once

#include <atomic>

#include "core/gc/cycle.h"
#include "core/gc/pacer.h"
#include "core/gc/stop_choice.h"
#include "platform/mutex.h"

namespace gcm {

class Collector {
 public:
  // Takes over from the options. While one thread runs.
  void Start();

  // A full cycle: what it finds unreachable is reclaimed when it returns. False when it could not
  // be done (another thread's memory is shared with a vfork child, a thread does not stop, no
  // /proc); then nothing was changed. Waits for a cycle that is under way. Not to be called in
  // a signal handler or a CriticalSection.
  bool Collect(const char* reason);

  // Switched off and on by the program; nests.
  void Disable() { disabled_.fetch_add(1, std::memory_order_relaxed); }
  void Enable() { disabled_.fetch_sub(1, std::memory_order_relaxed); }

  // The program keeps addresses as eight times their value. While one thread runs.
  void FollowShifted() { cycle_.FollowShifted(); }

  // Nobody collects between the two, the caller excepted, and no signal reaches it: a handler that
  // came while its own thread has the turn could wait for it for ever. Whoever waits for its turn
  // can be stopped.
  void TakeTurn();
  bool TryTakeTurn();
  // Tries for so many nanoseconds.
  bool TryTakeTurn(uint64_t patience);
  void EndTurn();

  // As the turn, with signals as they were: those of a stop that is over have been heard then. A
  // handler of the same thread that allocates meanwhile collects nothing.
  void HoldOff();
  // The same when the cycle that runs beside the program has ended, and its threads are gone. For
  // what the kernel does for processes of one thread only. Not within a vfork child.
  void HoldOffAlone();
  void LetGo();

  // Around a fork, in which the parent has its turn.
  void AfterForkInChild();
  // In the child of one that was made inside of a section of the heap: nothing had its turn.
  void AfterForkInside();
  // In the child of a fork that nothing else told us of: when it first collects.
  static void NoticeFork();

 private:
  static bool OnPressure(Pressure pressure);
  bool Relieve(Pressure pressure);
  bool Grown();
  // Under the turn:
  bool Collectable();
  Cycle::Plan PlanFor(const char* reason) const;
  bool LeadsBeside() const;
  // A whole cycle, or the beginning of one that goes on beside the program or in later calls.
  bool RunHere(const char* reason);
  bool StartBeside(const char* reason);
  bool GoOnHere(uint64_t budget);
  // A cycle in calls of malloc: half of the time at most.
  static constexpr uint64_t kSliceHere = 300 * clock::kMicrosecond;
  static void OnOwnStack(void* self, uintptr_t sp);
  static void Lead(void* self);
  void LeadToEnd();
  void LeadCycle();
  bool KeepWatch();
  void LeaveWatch();
  bool CallWatch();
  void JoinLeader();
  void WakeWatch();
  bool Watches() const;
  void Finish(bool done);
  void DropCycle();
  // Without the turn: until the cycle beside is over. What became of it.
  enum class End : uint8_t { kDone, kGivenUp, kForked };
  End AwaitEnd(uint32_t seen);
  void Throttle();
  void AwaitMemory();
  void Hold();
  void AwaitPace();
  void SetPace(Cycle::Pace pace);
  static bool OnMove(Range from, uintptr_t to);
  bool AskToMove(Range from, uintptr_t to);
  bool AwaitMove(Range from, uintptr_t to);
  void MoveIfAsked();
  void SetTriggers();
  void UpdateLimit(uint64_t now);
  void ChooseHugePages();
  bool Enabled() const;

  Mutex lock_;
  std::atomic<uint32_t> wanted_{0};  // who waits for the turn
  uint64_t mask_ = 0;                // of the signals of who has the turn, from before
  std::atomic<int> held_off_by_{0};  // thread number
  std::atomic<int> disabled_{0};
  std::atomic<bool> started_{false};
  bool off_for_good_ = false;  // a library hides blocks
  Pacer pacer_;
  StopChoice stop_choice_;
  Cycle cycle_;
  OwnThread leader_;
  Range leader_memory_{};
  uint64_t leader_cpu_ = 0;          // nanoseconds that it had worked when its cycle began
  std::atomic<bool> beside_{false};  // the leader has a cycle
  // What the leader does between two cycles, or is to do; above kWatch a number that changes so
  // that it looks again. Changed under the turn, but for the number.
  enum Watch : uint32_t { kAway, kWatching, kCalled, kLeaving, kDismissed, kWatch = 7 };
  std::atomic<uint32_t> watch_{kAway};
  std::atomic<uint32_t> ended_{0};  // cycles that were led beside the program
  std::atomic<End> last_end_{End::kDone};
  std::atomic<uint64_t> ceiling_{UINT64_MAX};  // bytes in use at which allocation waits for it
  std::atomic<uint32_t> pace_{Cycle::kFree};   // Cycle::Pace
  std::atomic<uint64_t> longest_hold_{0};      // nanoseconds
  std::atomic<uint32_t> throttled_{0};         // threads that wait so
  std::atomic<uint64_t> waited_{0};            // nanoseconds, all together, during this cycle
  // What a thread asks of the leader, and waits for.
  enum Asked : uint32_t { kNothing, kMove, kBusy, kMoved, kNotMoved };
  Mutex move_lock_;
  std::atomic<uint32_t> asked_{kNothing};
  Range move_from_{};
  uintptr_t move_to_ = 0;
  uintptr_t stack_top_ = 0;
  std::atomic<uint64_t> last_cycle_{0};  // time
  uint64_t limit_read_ = 0;
  bool huge_pages_chosen_ = false;
  uint64_t taken_before_ = 0;  // of slots, at the end of the last cycle
  // After cycles that could not be run: no new attempt before, unless it is asked for.
  uint64_t retry_at_ = 0;
  unsigned failures_ = 0;
  uint64_t next_step_ = 0;  // of a cycle in calls of malloc
  // Between GoOnHere and OnOwnStack:
  uint64_t budget_ = 0;
  const char* reason_ = nullptr;
  Cycle::Outcome outcome_ = Cycle::Outcome::kDone;
};

Collector& collector();

}  // namespace gcm
