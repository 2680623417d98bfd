// Which system call a `syscall` instruction makes, read from the code before it: compilers load the
// number as a constant, with at most some moves of arguments in between.
#pragma once

#include "platform/base.h"

namespace gcm {

// The number, or -1. `at` is the address of the instruction.
long SyscallNumberAt(uintptr_t at);

}  // namespace gcm
