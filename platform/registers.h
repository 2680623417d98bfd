// The caller's callee-saved registers, spilled where a conservative scan finds them.
// Law: out-of-line assembly, because attributes and builtins do not stop a compiler (or a
// sanitizer's entry stub) from keeping a value in a register across the scan.
#pragma once

#include "platform/base.h"

namespace gcm {

// Calls fn(data, sp) with every callee-saved register of the caller stored at or above `sp` on
// the caller's stack. `stack_top` is the upper end of a stack for fn to run on (16-byte aligned),
// or 0 to stay on the caller's. Source: Oilpan's PushAllRegistersAndIterateStack.
extern "C" void GcmWithSpilledRegisters(void (*fn)(void* data, uintptr_t sp), void* data,
                                        uintptr_t stack_top);

// Bytes above that `sp` which are the registers' and the call's own.
#if defined(__x86_64__)
inline constexpr size_t kSpilledBytes = 56;
#else
inline constexpr size_t kSpilledBytes = 96;
#endif

// As GcmWithSpilledRegisters on the caller's own stack. When the frame is unwound (a cancelled
// thread, an exception that a signal handler threw) instead of returned to, the function given to
// OnUnwind runs first.
extern "C" void GcmCallUnwindable(void (*fn)(void* data, uintptr_t sp), void* data);
void OnUnwind(void (*fn)());

}  // namespace gcm
