// Whether a thread waits in the kernel with its stack and registers published: a stopped world
// needs nothing more from it, so it is not signalled.
//
// The word is 0 while the thread runs; otherwise the stack pointer above which all that it holds
// lies, with kHeld added by a stopper; or kVfork, while a vfork child runs in its place and nobody
// can be sure of anything. Law: the owner leaves a state that is held only when the world has
// started again.
#pragma once

#include <atomic>

#include "platform/base.h"

namespace gcm {

class BlockedState {
 public:
  // By the owner. `sp` is a multiple of 8. pairs with: the acquire in Claim
  void Enter(uintptr_t sp) { word_.store(sp, std::memory_order_release); }
  void EnterVfork() { word_.store(kVfork, std::memory_order_relaxed); }
  // By the owner: 0, or the state to come back to. False: held, the world is stopped.
  bool TryLeave(uintptr_t* state) {
    uintptr_t word = word_.load(std::memory_order_relaxed) & ~kHeld;
    *state = word;
    // What a stopped world has changed is seen. pairs with: the release in Release
    return word == 0 || word_.compare_exchange_strong(word, 0, std::memory_order_acquire,
                                                      std::memory_order_relaxed);
  }
  // The owner knows; to others it is a hint.
  bool entered() const { return word_.load(std::memory_order_relaxed) != 0; }
  bool in_vfork() const { return word_.load(std::memory_order_relaxed) == kVfork; }

  // By the one stopper. The stack pointer, and the thread is held; 0: it runs.
  uintptr_t Claim() {
    uintptr_t word = word_.load(std::memory_order_relaxed);
    if (word == 0 || word == kVfork || (word & kHeld) != 0) return 0;
    // pairs with: the release in Enter
    if (!word_.compare_exchange_strong(word, word | kHeld, std::memory_order_acquire)) return 0;
    return word;
  }
  void Release() {
    uintptr_t word = word_.load(std::memory_order_relaxed);
    // pairs with: the acquire in TryLeave
    word_.store(word & ~kHeld, std::memory_order_release);
  }
  // In a forked child.
  void Reset() { word_.store(0, std::memory_order_relaxed); }

 private:
  static constexpr uintptr_t kHeld = 1, kVfork = 2;
  std::atomic<uintptr_t> word_{0};
};

}  // namespace gcm
