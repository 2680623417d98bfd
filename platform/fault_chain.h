// A handler of faults (SIGSEGV) that stands before the program's. For a fault that is not ours the
// program's disposition takes effect as if we were not there: its handler with its mask and flags,
// or the process ends by the fault itself, at its address.
//
// Law: what the program sets is kept here while ours is installed, and shown to it. Not covered: a
// disposition set by a raw system call replaces ours; SIG_IGN is not handed on to a program that is
// executed.
#pragma once

#include <signal.h>

#include "platform/base.h"

namespace gcm::fault_chain {

// From here on `ours` is asked for each write to memory that forbids it, with all signals blocked;
// true: the write is to be tried again. It must not fault itself.
bool Install(bool (*ours)(uintptr_t address));
void Remove();
// False: not installed, or somebody has replaced it.
bool IsInstalled();
// In a forked child: locks are free again.
void AfterForkInChild();

// sigaction for SIGSEGV. `next` is libc's, for when ours is not installed. The caller has blocked
// signals.
using SetFunction = int (*)(int signal, const struct sigaction* set, struct sigaction* old);
int SetProgramAction(const struct sigaction* set, struct sigaction* old, SetFunction next);
// Where `action` is ours, puts the program's in its place: for those who ask the kernel themselves.
void ShowProgramAction(struct sigaction* action);

}  // namespace gcm::fault_chain
