// A signal's disposition as the kernel keeps it, set and read without libc.
#pragma once

#include <signal.h>

#include "platform/syscall.h"

namespace gcm {

// The kernel's structure, which differs from libc's.
struct KernelAction {
  void (*handler)(int, siginfo_t*, void*);
  unsigned long flags;
  void (*restorer)();
  uint64_t mask;
};

inline long SetKernelAction(int signal, const KernelAction* set, KernelAction* old) {
  return Syscall(SYS_rt_sigaction, signal, set, old, sizeof(uint64_t));
}

#if defined(__x86_64__)
// Where a handler returns to; x86-64's kernel has none of its own.
extern "C" __attribute__((visibility("hidden"))) void GcmSignalReturn();
inline constexpr unsigned long kRestorerFlag = 0x04000000;
inline void AddRestorer(KernelAction* action) {
  action->flags |= kRestorerFlag;
  action->restorer = GcmSignalReturn;
}
#else
inline void AddRestorer(KernelAction*) {}
#endif

constexpr uint64_t SignalBit(int signal) { return uint64_t{1} << (signal - 1); }

}  // namespace gcm
