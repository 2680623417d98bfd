// What the unit tests share: numbers from a seed, threads that give their cache back, children
// that may crash or hang without taking the tests along, and refusals of the system on demand.
#pragma once

#include <gtest/gtest.h>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>
#include <utility>

#include "core/base/options.h"
#include "core/gc/collector.h"
#include "core/heap/heap.h"
#include "platform/memory.h"

#if defined(__SANITIZE_ADDRESS__)
#define GCM_TEST_ASAN 1
#else
#define GCM_TEST_ASAN 0
#endif
#define GCM_TEST_SANITIZED (GCM_TEST_ASAN || GCM_TSAN)

namespace gcm::test {

// xorshift64*: the same numbers on every machine.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 2654435769u + 1) {}
  uint64_t Next() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 2685821657736338717u;
  }
  uint64_t Below(uint64_t n) { return (Next() >> 16) % n; }
  bool OneIn(uint64_t n) { return Below(n) == 0; }

 private:
  uint64_t state_;
};

// The calling thread's cache goes back to the heap, as the library does when a thread ends.
inline void EndHeapThread() {
  if (t_cache != &g_empty_cache) heap().registry().Detach(t_cache);
}

// A thread that uses the heap.
template <typename Fn>
std::thread HeapThread(Fn fn) {
  return std::thread([fn = std::move(fn)]() mutable {
    fn();
    EndHeapThread();
  });
}

// Runs fn() in a forked child; how it ended: "ok" when fn returned true, "false" when it returned
// false, "hangs" when it did not end in time, else "signal N" or "exit N". To be called while no
// other thread runs.
template <typename Fn>
std::string OutcomeInChild(Fn fn, unsigned seconds = 15) {
  pid_t pid = fork();
  if (pid < 0) return "no child";
  if (pid == 0) {
    heap().AfterForkInChild();
    collector().AfterForkInChild();
    _exit(fn() ? 0 : 77);
  }
  // From here, because a collection that hangs has all signals blocked.
  int status = 0;
  unsigned waited = 0;
  for (; waitpid(pid, &status, WNOHANG) == 0; ++waited) {
    if (waited == seconds * 500) kill(pid, SIGKILL);
    usleep(2000);
  }
  if (waited > seconds * 500) return "hangs";
  if (WIFSIGNALED(status)) return "signal " + std::to_string(WTERMSIG(status));
  if (WEXITSTATUS(status) == 0) return "ok";
  if (WEXITSTATUS(status) == 77) return "false";
  return "exit " + std::to_string(WEXITSTATUS(status));
}

// While it lives, the n-th request for memory (from 1) is refused, or all from the n-th on.
class Refusal {
 public:
  explicit Refusal(long nth, bool all_later = false) {
    left_ = nth;
    all_ = all_later;
    memory::SetFaultHook(&Hook);
  }
  ~Refusal() { memory::SetFaultHook(nullptr); }
  Refusal(const Refusal&) = delete;
  Refusal& operator=(const Refusal&) = delete;
  // False: fewer requests were made.
  bool happened() const { return left_ <= 0; }

 private:
  static bool Hook(memory::Request, size_t) {
    long left = --left_;
    return all_ ? left <= 0 : left == 0;
  }
  static inline std::atomic<long> left_{0};
  static inline bool all_ = false;
};

// The collector, started once with nothing that starts cycles by itself.
inline Collector& StartedCollector() {
  static bool started = [] {
    options().percent = Options::kOff;
    options().limit = SIZE_MAX;
    options().interval = 0;
    // The sanitizers do not know threads of our own, and their shadow is terabytes of private
    // memory, which arming would fill with page tables: cycles run in calls, in one stop.
    if (GCM_TEST_SANITIZED) {
      options().workers = 0;
      options().dirty = DirtySource::kNone;
    }
    collector().Start();
    return true;
  }();
  (void)started;
  return collector();
}

// The mark bits as at the beginning of a cycle.
inline void ResetMarks() {
  SpanWalk walk;
  walk.Begin();
  while (!walk.ResetSome(false)) {
  }
}

// Overwrites what calls have left on the stack below the caller's frame.
GCM_NOINLINE inline void ClearStack() {
  volatile char junk[32 * kKiB];
  for (size_t i = 0; i < sizeof(junk); ++i) junk[i] = 0;
}

// Addresses that a conservative scan does not see.
inline uintptr_t Hide(const void* p) { return ~AddressOf(p); }
inline uintptr_t Reveal(uintptr_t hidden) { return ~hidden; }

}  // namespace gcm::test
