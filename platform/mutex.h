// A lock of one word on the kernel's futex: no allocation, no libc, and it can be reset in a
// forked child. Not recursive. Not safe in signal handlers.
#pragma once

#include <linux/futex.h>

#include <atomic>

#include "platform/syscall.h"

namespace gcm {

inline long FutexWait(std::atomic<uint32_t>* word, uint32_t expected,
                      const struct timespec* timeout = nullptr) {
  return Syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, timeout);
}
inline void FutexWake(std::atomic<uint32_t>* word, int count) {
  Syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count);
}

class Mutex {
 public:
  void Lock() {
    uint32_t free = kFree;
    // pairs with: the release in Unlock
    if (GCM_LIKELY(state_.compare_exchange_strong(free, kHeld, std::memory_order_acquire))) return;
    LockSlow();
  }
  bool TryLock() {
    uint32_t free = kFree;
    // pairs with: the release in Unlock
    return state_.compare_exchange_strong(free, kHeld, std::memory_order_acquire);
  }
  void Unlock() {
    // pairs with: the acquires in Lock, TryLock and LockSlow
    if (state_.exchange(kFree, std::memory_order_release) == kContended) FutexWake(&state_, 1);
  }
  // Returns when the lock has been free for a moment, or may have been. Does not take it.
  void Await() {
    uint32_t state = kHeld;
    state_.compare_exchange_strong(state, kContended, std::memory_order_relaxed);
    if (state == kFree) return;
    FutexWait(&state_, kContended);
    FutexWake(&state_, 1);  // whose turn it is was woken in vain: the next
  }
  // In a forked child, where the holder may not exist any more.
  void Reset() { state_.store(kFree, std::memory_order_relaxed); }

 private:
  static constexpr uint32_t kFree = 0, kHeld = 1, kContended = 2;

  GCM_NOINLINE void LockSlow() {
    // pairs with: the release in Unlock
    while (state_.exchange(kContended, std::memory_order_acquire) != kFree) {
      FutexWait(&state_, kContended);
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
