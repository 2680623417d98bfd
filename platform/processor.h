// What is asked of the processor itself.
#pragma once

namespace gcm {

// In a loop that waits for another thread.
inline void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace gcm
