// What is asked of the processor itself.
#pragma once

#include <atomic>

#include "platform/base.h"

namespace gcm {

// Nothing is ordered across it. ThreadSanitizer knows no fences: there a read-modify-write serves.
inline void FullFence() {
#if GCM_TSAN
  static std::atomic<unsigned> word{0};
  word.fetch_add(1, std::memory_order_seq_cst);  // pairs with: itself in the other thread
#else
  std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
}

// In a loop that waits for another thread.
inline void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace gcm
