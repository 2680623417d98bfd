// A collection: stop the world, mark from the roots, sweep, start the world.
//
// It runs in the thread that asked for it, on a stack of its own (the thread's may be a coroutine's
// of a few KiB), with all signals blocked: a handler of the program must not run in a half-marked
// heap.
#pragma once

#include <atomic>

#include "core/gc/marker.h"
#include "core/gc/pacer.h"
#include "core/gc/roots.h"
#include "core/gc/world.h"
#include "core/report/statistics.h"
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
  void FollowShifted() { shifted_ = true; }

  // Nobody collects between the two, the caller excepted, and no signal reaches it: a handler that
  // came while its own thread has the turn could wait for it for ever. Whoever waits for its turn
  // can be stopped.
  void TakeTurn();
  bool TryTakeTurn();
  void EndTurn();

  // As the turn, with signals as they were: those of a stop that is over have been heard then. A
  // handler of the same thread that allocates meanwhile collects nothing.
  void HoldOff();
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
  bool Cycle(const char* reason);
  static void CycleOnOwnStack(void* self, uintptr_t sp);
  void Plan(CycleRecord* record, uint64_t duration);
  bool MarkAndSweep(uintptr_t sp, CycleRecord* record, const char** why);
  bool MarkAndSweepWithDescriptors(uintptr_t sp, CycleRecord* record, const char** why);
  void UpdateLimit(uint64_t now);
  bool Enabled() const;

  Mutex lock_;
  uint64_t mask_ = 0;                // of the signals of who has the turn, from before
  std::atomic<int> held_off_by_{0};  // thread number
  std::atomic<int> disabled_{0};
  std::atomic<bool> started_{false};
  bool shifted_ = false;
  bool off_for_good_ = false;  // a library hides blocks
  Pacer pacer_;
  Marker* marker_ = nullptr;
  RootScanner* roots_ = nullptr;
  uintptr_t stack_top_ = 0;
  std::atomic<uint64_t> last_cycle_{0};  // time
  uint64_t limit_read_ = 0;
  // After cycles that could not be run: no new attempt before, unless it is asked for.
  uint64_t retry_at_ = 0;
  unsigned failures_ = 0;
  // Between Cycle and CycleOnOwnStack:
  const char* reason_ = nullptr;
  bool done_ = false;
};

Collector& collector();

}  // namespace gcm
