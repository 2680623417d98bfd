// Stopping the world: every other thread of the process, however it was created, stands still with
// its registers and stack pointer recorded, until it is let go again.
//
// A thread that waits in the kernel with its state published (core/gc/blocking.h) is held: it needs
// no signal. All others get one, the signal glibc keeps for itself to run setuid on all threads
// (33): programs cannot block it through libc, it does not appear in their masks, and debuggers let
// it pass. Ours are told from glibc's by a cookie; glibc's own go on to its handler. What the
// signal interrupts goes on (platform/interrupted_call.h).
//
// Who leads a stop waits for no thread longer than he is patient: the others stand still meanwhile,
// and a thread may copy a file of a gigabyte within one call of the kernel's. Such a one hears of
// the stop afterwards, wakes who rests until the next one (Rest), and waits a moment in its handler
// to be found there.
//
// Law: a thread that the enumeration shows is held, stopped, a zombie, or the stop fails.
// Enumeration is repeated until it shows nobody new: then nobody runs who could create a thread.
// A stop that fails does so within a bounded time, and everybody runs again.
#pragma once

#include "core/gc/thread_table.h"
#include "platform/clock.h"

namespace gcm {

class World {
 public:
  static constexpr uint64_t kMostPatience = clock::kSecond;

  // Stops all other threads. False: not all could be stopped within about `patience` nanoseconds,
  // everybody runs again, and `why` says what was wrong; what keeps a thread from ever stopping is
  // told with much patience only. The caller is outside of any CriticalSection.
  bool Stop(const char** why, uint64_t patience = kMostPatience);
  void Start();
  // Sleeps so many nanoseconds, or until a thread that the last stop has not waited for is ready.
  void Rest(uint64_t nanoseconds);

  size_t thread_count() const;
  StoppedThread thread(size_t i) const;
  // The number of one of them that has not ended; 0 if there is none.
  int LivingThread() const;
  // True for the threads of the last enumeration, the caller's own included.
  bool IsAlive(int tid) const;

  // The number of the stop that is under way or about to be, or of the time between two; and waits
  // while it is that of a stop.
  static uint32_t Epoch();
  static void AwaitEnd(uint32_t epoch);

  // The function behind which handlers of the program run, each within a HandlerScope. While the
  // process has handlers that do not, published threads are signalled like others. While one thread
  // runs.
  void SetTrampoline(uintptr_t handler) { trampoline_ = handler; }

  // A forked child: nobody is stopped, nothing is pending.
  void AfterForkInChild();

 private:
  bool Fail(const char** why, const char* what);
  bool HoldPublished(const char** why);
  bool HoldLate(ThreadRecord* record);
  bool StopNewThreads(bool* found_new, const char** why);
  bool SignalSharers(bool* any, const char** why);
  bool Signal(ThreadRecord* record, int tid, const char** why);
  bool AwaitStopped(const char** why, uint64_t patience);
  void GiveUp(uint32_t epoch);

  int self_ = 0;
  bool may_hold_ = false;
  bool leader_ended_ = false;
  int missing_ = 0;           // a thread that this stop has not waited for
  uint32_t late_before_ = 0;  // who had come too late when the last stop failed
  uintptr_t trampoline_ = 0;
};

World& world();

}  // namespace gcm
