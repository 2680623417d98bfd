// What the files of this folder lend each other.
#pragma once

#include "platform/base.h"

namespace gcm {

// The C family for the C++ operators; functions are named in messages of misuse.
// nullptr and ENOMEM without memory.
void* Malloc(size_t size);
void* AlignedOrNull(size_t alignment, size_t size);
// Keeps errno.
void FreeAs(void* p, const char* function);

// preload/blocking.cc: while one thread runs.
void StartBlocking();

// preload/handlers.cc: while one thread runs; in a forked child.
void StartHandlers();
void HandlersAfterFork();

}  // namespace gcm
