// Misuse of the malloc family: one line on standard error, the caller's stack, then abort().
// One function for each kind of misuse, so that each has its own text and its own test.
// No lock may be held.
#pragma once

#include "platform/base.h"

namespace gcm::misuse {

// The address is outside of the heap. Returns when GCMALLOC_FOREIGN=ignore.
void Foreign(const char* function, const void* p);
// Inside the heap, where no block is.
[[noreturn]] void NoBlock(const char* function, const void* p);
[[noreturn]] void DoubleFree(const char* function, const void* p, size_t size);
[[noreturn]] void Interior(const char* function, const void* p, size_t offset, size_t size);

}  // namespace gcm::misuse
