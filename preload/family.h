// What the files of this folder lend each other.
#pragma once

#include "platform/base.h"

namespace gcm {

// The C family for the C++ operators; functions are named in messages of misuse.
// nullptr and ENOMEM without memory.
void* Malloc(size_t size);
void* MallocRow(size_t row);  // of a request of so many times 16 bytes, or up to 15 more
void* AlignedOrNull(size_t alignment, size_t size);

// preload/filters.cc: of the system call seccomp.
void BeforeSeccomp(long operation);

// What wraps calls of libc is not part of the archive: it needs the dynamic linker to find libc's
// own, and a program may be linked without one. There these are null.
#define GCM_NOT_IN_ARCHIVE __attribute__((weak))
// While one thread runs.
GCM_NOT_IN_ARCHIVE void StartWrapping();
// In a forked child.
GCM_NOT_IN_ARCHIVE void WrappingAfterFork();

}  // namespace gcm
