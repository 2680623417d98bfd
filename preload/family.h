// What the C family lends to the C++ operators: the same, with the name for messages of misuse.
#pragma once

#include "platform/base.h"

namespace gcm {

// nullptr and ENOMEM without memory.
void* Malloc(size_t size);
void* AlignedOrNull(size_t alignment, size_t size);
// Keeps errno.
void FreeAs(void* p, const char* function);

}  // namespace gcm
