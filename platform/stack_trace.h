// The caller's stack, by libunwind, which is linked in and hidden. For error lines: slow, may
// touch the loader's lock, is not meant for allocation paths.
#pragma once

#include "platform/base.h"

namespace gcm {

// Writes up to `limit` lines "gcmalloc:   #N ADDRESS in FUNCTION+OFFSET (OBJECT)" to standard
// error, from the first frame outside of this library on.
void WriteStackTrace(int limit);

}  // namespace gcm
