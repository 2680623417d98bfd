// System calls at known addresses, for calls that go on inside of a signal handler. In assembly:
// who interrupts them can tell by the program counter how far they were.
#pragma once

#include "platform/base.h"

namespace gcm {

#if defined(__x86_64__)
extern "C" {
// The call with six arguments, or -EINTR without a call when *counter is not `expected` any more.
long GcmCountedSyscall(long number, const long* arguments, const uint32_t* counter,
                       uint32_t expected);
extern const char GcmCountedBegin[], GcmCountedEnd[], GcmCountedAborted[];
// restart_syscall(2).
long GcmRestartSyscall();
extern const char GcmRestartEnd[];
// Leaves the handler without rt_sigreturn: the stack pointer and rbx, rbp, r12 to r15 from
// `registers`, then on at GcmRestartSyscall.
[[noreturn]] void GcmRestartFrom(const uintptr_t* registers);
}
#endif

}  // namespace gcm
