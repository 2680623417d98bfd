// The signal that stops a thread: installed, sent and received without libc, so that the program's
// own view of signals does not change. Safe in signal handlers.
#pragma once

#include "platform/base.h"
#include "platform/interrupted_call.h"

namespace gcm {

struct SignalFrame {
  uintptr_t sp;  // of the interrupted code
  Range saved;   // what the kernel saved of its registers: general, and floating point and vector
};

// Blocks all signals of the calling thread, the one that stops threads included; the mask from
// before, for RestoreSignals.
uint64_t BlockSignals();
void RestoreSignals(uint64_t mask);

// Signals, as a mask, that BlockSignals leaves out from now on: a fault whose signal is blocked
// ends the process.
void LeaveUnblocked(uint64_t signals);

// While it lives, no signal reaches the calling thread, not even the one that stops threads: for
// sections that must be short, and that nobody who is stopped can hold up.
class SignalsBlocked {
 public:
  SignalsBlocked() : before_(BlockSignals()) {}
  ~SignalsBlocked() { RestoreSignals(before_); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  uint64_t before_;
};

namespace stop_signal {

// From here on a thread that gets the signal from Send runs fn with its interrupted state, with
// all signals blocked and errno kept. What others send goes to the handler that was there before.
bool Install(void (*fn)(const SignalFrame&));
// False: somebody has replaced our handler.
bool IsInstalled();
// To a thread of this process, with what is known of the call it waits in: the call goes on when
// the handler is done. kFull: the user's queue of
// signals has had no room for a while.
enum class Sent { kYes, kGone, kFull, kRefused };
Sent Send(int tid, interrupted_call::Hint hint);
// Of the signal, in a mask of the kernel's.
uint64_t Bit();
// Whether a thread of this process blocks it, by a system call of its own. False if unknown.
bool IsBlockedIn(int tid);
// Whether each signal is ignored, has its default, or has this handler. Signals of faults, and
// those that libc keeps for itself, do not count.
bool OnlyHandler(uintptr_t handler);
// ThreadSanitizer loses signals that come while a thread begins or ends: they are to be repeated.
inline constexpr bool kMayBeLost = GCM_TSAN;

}  // namespace stop_signal
}  // namespace gcm
