// System calls at known addresses, for calls that go on inside of a signal handler. In assembly:
// who interrupts them can tell by the program counter how far they were.
#pragma once

#include "platform/syscall.h"

namespace gcm {

#if defined(__x86_64__)
extern "C" {
// The call with six arguments, or -EINTR without a call when *counter is not `expected` any more.
long GcmCountedSyscall(long number, const long* arguments, const uint32_t* counter,
                       uint32_t expected);
extern const char GcmCountedBegin[], GcmCountedEnd[], GcmCountedAborted[];
// The call with six arguments; its number is in rbx meanwhile.
long GcmNumberedSyscall(long number, const long* arguments);
extern const char GcmNumberedEnd[];
// restart_syscall(2), with `mask` as the signal mask from just before. A handler that interrupts it
// between Again and End must not return, which would make the kernel forget the call: it leaves by
// GcmRestartFrom, which takes the stack pointer and rbx, rbp, r12 to r15 from `registers`.
long GcmRestartSyscall(const uint64_t* mask);
extern const char GcmRestartAgain[], GcmRestartEnd[];
[[noreturn]] void GcmRestartFrom(const uintptr_t* registers);
}
#endif

// A system call whose number is known to a handler that interrupts it.
inline long KnownSyscall(long number, const long* arguments) {
#if defined(__x86_64__)
  return GcmNumberedSyscall(number, arguments);
#else
  return RawSyscall(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4],
                    arguments[5]);
#endif
}

}  // namespace gcm
