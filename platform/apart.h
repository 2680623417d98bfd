// Work with a descriptor table of its own: a copy of the program's, in which there is room because
// places in the copy can be given up.
//
// The work is done by a short-lived thread without libc's knowledge, on the caller's stack and with
// its thread pointer, while the caller waits: thread-local state is the caller's. A copy of the
// table holds files open that the program closes meanwhile (a port cannot be bound again, a
// program's file is busy): it is for when the world is stopped, or when nothing else is left.
#pragma once

#include "platform/base.h"

namespace gcm::apart {

// Runs fn(data) apart. False: no thread can be made (RLIMIT_NPROC, seccomp, a namespace of
// processes that was left), and nothing was done. Not nested.
bool Run(void (*fn)(void* data), void* data);

// True in what Run runs.
bool IsHere();

// The caller's directory below /proc ("PID/task/TID", in the numbers of that /proc) while it waits:
// its descriptors are listed there. Null when there is none, or nobody is apart.
const char* CallersDirectory();
// A thread of our own reads what /proc shows of the calling thread for another one, by its number
// in /proc; 0: for itself again.
void ActFor(int number);

}  // namespace gcm::apart
