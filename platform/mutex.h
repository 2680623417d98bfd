// A lock of one word on the kernel's futex: no allocation, no libc, and it can be reset in a
// forked child. Not recursive. Not safe in signal handlers.
#pragma once

#include <linux/futex.h>

#include <atomic>

#include "platform/process.h"
#include "platform/processor.h"
#include "platform/syscall.h"

namespace gcm {

inline long FutexWait(std::atomic<uint32_t>* word, uint32_t expected,
                      const struct timespec* timeout = nullptr) {
  return Syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, timeout);
}
inline void FutexWake(std::atomic<uint32_t>* word, int count) {
  Syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count);
}

// Whether the calling thread is one of our own (platform/own_thread.h).
extern constinit GCM_TLS bool t_own_thread;

class Mutex {
 public:
  void Lock() {
    uint32_t free = kFree;
    // pairs with: the release in Unlock
    if (GCM_LIKELY(state_.compare_exchange_strong(free, Held(), std::memory_order_acquire))) return;
    LockSlow();
  }
  bool TryLock() {
    uint32_t state = kFree;
    // pairs with: the release in Unlock
    while (!state_.compare_exchange_strong(state, Held(), std::memory_order_acquire)) {
      if (!IsLeftBehind(state)) return false;
      state = kFree;
    }
    return true;
  }
  void Unlock() {
    // pairs with: the acquires in Lock, TryLock and LockSlow
    if ((state_.exchange(kFree, std::memory_order_release) & kContended) != 0)
      FutexWake(&state_, 1);
  }
  // Returns when the lock has been free for a moment, or may have been. Does not take it.
  void Await() {
    const uint32_t state = state_.load(std::memory_order_relaxed);
    if (state == kFree || IsLeftBehind(state)) return;
    if (SetContended(state)) FutexWait(&state_, state | kContended);
    FutexWake(&state_, 1);  // whose turn it is was woken in vain: the next
  }
  // In a forked child, where the holder may not exist any more. With `own_only` if a thread of our
  // own held it: a fork takes none of those along.
  void Reset(bool own_only = false) {
    if (own_only && (state_.load(std::memory_order_relaxed) & kOwn) == 0) return;
    state_.store(kFree, std::memory_order_relaxed);
  }

 private:
  static constexpr uint32_t kFree = 0, kHeld = 1, kContended = 2, kOwn = 4;
  static constexpr unsigned kLooks = 100;  // a few microseconds, about what a sleep costs
  static uint32_t Held() { return t_own_thread ? kHeld | kOwn : kHeld; }

  bool SetContended(uint32_t state) {
    return (state & kContended) != 0 ||
           state_.compare_exchange_strong(state, state | kContended, std::memory_order_relaxed);
  }
  // In a child that was forked behind our back, by a thread of our own that it does not have.
  bool IsLeftBehind(uint32_t state) {
    if (GCM_LIKELY((state & kOwn) == 0) || !process::WasForked()) return false;
    return state_.compare_exchange_strong(state, kFree, std::memory_order_relaxed);
  }

  GCM_NOINLINE void LockSlow() {
    // Most holders are about to let go, if they run: to look again costs less than to sleep.
    for (unsigned looks = 0; looks < kLooks; ++looks) {
      Pause();
      if (state_.load(std::memory_order_relaxed) != kFree) continue;
      uint32_t free = kFree;
      // pairs with: the release in Unlock
      if (state_.compare_exchange_strong(free, Held(), std::memory_order_acquire)) return;
    }
    for (;;) {
      uint32_t state = state_.load(std::memory_order_relaxed);
      if (state == kFree) {
        // Others may wait as well. pairs with: the release in Unlock
        if (state_.compare_exchange_strong(state, Held() | kContended, std::memory_order_acquire))
          return;
      } else if (!IsLeftBehind(state) && SetContended(state)) {
        FutexWait(&state_, state | kContended);
      }
    }
  }

  std::atomic<uint32_t> state_{kFree};
};

class LockGuard {
 public:
  explicit LockGuard(Mutex& mutex) : mutex_(mutex) { mutex_.Lock(); }
  ~LockGuard() { mutex_.Unlock(); }
  LockGuard(const LockGuard&) = delete;
  LockGuard& operator=(const LockGuard&) = delete;

 private:
  Mutex& mutex_;
};

}  // namespace gcm
