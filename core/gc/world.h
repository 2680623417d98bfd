// Stopping the world: every other thread of the process, however it was created, is brought to a
// stop by a signal, with its registers and stack pointer recorded, and let go again.
//
// The signal is the one glibc keeps for itself to run setuid on all threads (33): programs cannot
// block it through libc, it does not appear in their masks, and debuggers let it pass. Ours are
// told from glibc's by a cookie; glibc's own go on to its handler.
//
// Law: a thread that the enumeration shows is stopped, a zombie, or the stop fails. Enumeration is
// repeated until it shows nobody new: then nobody runs who could create a thread.
#pragma once

#include "platform/base.h"

namespace gcm {

struct StoppedThread {
  int tid;
  uintptr_t sp;   // the interrupted code's stack pointer, less the red zone
  uintptr_t tls;  // thread pointer, at the thread's control block
  Range saved;    // registers, as the kernel saved them on the signal's frame
};

class World {
 public:
  // Stops all other threads. False: not all could be stopped in time, everybody runs again, and
  // `why` says what was wrong. The caller is outside of any CriticalSection.
  bool Stop(const char** why);
  void Start();

  size_t thread_count() const { return count_; }
  StoppedThread thread(size_t i) const;
  // True for the threads of the last enumeration, the caller's own included.
  bool IsAlive(int tid) const;

  // A forked child: nobody is stopped, nothing is pending.
  void AfterForkInChild();

 private:
  bool StopNewThreads(bool* found_new);
  bool AwaitStopped();
  bool EnsureCapacity(size_t threads);

  size_t count_ = 0;  // entries of the table that are filled
  size_t capacity_ = 0;
  int self_ = 0;
};

World& world();

}  // namespace gcm
