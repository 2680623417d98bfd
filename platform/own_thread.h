// Threads of our own, which the program does not notice: they have no descriptor of the C library,
// block every signal, open files in a descriptor table of their own, and are not among those that
// process::ForEachThread shows.
//
// Such a thread may use what needs no thread-local storage but this library's: no stdio, no locale,
// nothing that waits for other threads of the program. It is stopped by nobody.
#pragma once

#include <atomic>

#include "platform/base.h"

namespace gcm {

class OwnThread {
 public:
  // Memory that a thread needs: its stack, and its thread-local storage above.
  static constexpr size_t kStorage = 72 * kKiB;

  // Runs fn(data) in a new thread. `memory` (whole pages, zeroed or used by an earlier thread, more
  // than kStorage) is its until Join returns. False: the system grants no thread, or has no way to
  // give it descriptors of its own (Linux before 5.9). `shares` says that the starter is itself
  // such a thread, whose descriptors the new one shares.
  bool Start(void (*fn)(void* data), void* data, Range memory, bool shares);
  // Waits until it has ended. Not to be called by a thread that it may be waiting for.
  void Join();
  // The kernel's number of the thread; 0 when none runs.
  int number() const { return static_cast<int>(tid_.load(std::memory_order_relaxed)); }
  bool running() const { return tid_.load(std::memory_order_relaxed) != 0; }

  // Threads from now on can write to the standard error, and keep it open as long as they run.
  static void KeepStandardError();

  // How many run, whether one of them has the number, or is the caller.
  static unsigned Count();
  static bool IsOne(int tid);
  static bool IsHere();
  // In a forked child there are none.
  void Forget() {
    tid_.store(0, std::memory_order_relaxed);
    last_ = 0;
  }
  static void AfterForkInChild();

 private:
  enum State : uint32_t { kStarts, kRuns, kRefused };
  static void Enter(void* self);
  bool Clone(Range memory, uintptr_t pointer);
  std::atomic<uint32_t> state_{kStarts};
  std::atomic<uint32_t> tid_{0};  // the kernel clears it at the thread's end
  int last_ = 0;                  // the number of the thread that is not yet joined
  void (*fn_)(void*) = nullptr;
  void* data_ = nullptr;
  bool shares_ = false;
};

}  // namespace gcm
