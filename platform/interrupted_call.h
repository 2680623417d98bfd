// System calls that our signal has interrupted go on as if nothing had been: SA_RESTART does that
// for some; the calls that signal(7) lists as never restarted are continued here, with the time
// that is left of their timeouts.
//
// How: in the handler the interrupted code's context shows "behind a syscall instruction, with
// EINTR"; the number of the call stands before the instruction, or the stopper has read it from
// /proc. Calls without a relative timeout are entered anew: the context goes back to the
// instruction. Calls with one go on in the handler, with the program's signal mask: what the kernel
// remembers of them (restart_syscall) is lost when the handler returns.
// Limits: the start of a call with a relative timeout that the kernel does not remember is
// unknown, its time counts from the first interruption. aarch64: nothing is continued yet.
#pragma once

#include <ucontext.h>

#include "platform/base.h"

namespace gcm::interrupted_call {

// The call that a thread was seen in.
struct Hint {
  int number = -1;  // -1: it runs, or nothing can be told
  uintptr_t pc = 0;
};
// What /proc/self/task/TID/syscall says of a thread of this process. While the program runs, a
// descriptor of ours could be seen, or could take a number that the program expects to get: so
// nothing is read before the process has shown that it makes calls whose number cannot be told
// otherwise. The first of these may end with EINTR, and so may one that is just being entered when
// it is looked at.
Hint Read(int tid);

// In the handler of our signal, when all else is done, with all signals blocked. `since`: when the
// handler began, by the monotonic clock.
void Continue(ucontext_t* context, Hint hint, uint64_t since);

// Before a handler of the program runs, with its context: a call that was about to be entered anew
// after a stop is interrupted by the program now. `restarts`: it was installed with SA_RESTART.
void BeforeHandler(ucontext_t* context, bool restarts);

// A call begins: what interrupted the one before is of no account.
void BeforeCall();

// run(fn, data) calls fn(data) with the calling thread published as blocked. While one thread runs.
void SetAround(void (*run)(void (*fn)(void* data), void* data));

}  // namespace gcm::interrupted_call
