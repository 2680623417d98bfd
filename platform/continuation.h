// How an interrupted system call goes on, by what signal(7) and the kernel's sources say of each.
#pragma once

#include "platform/base.h"

#if defined(__x86_64__)
namespace gcm::interrupted_call {

enum class How {
  kNot,           // it is not known to be restarted, or does not wait
  kAgain,         // without a relative timeout
  kUpdated,       // argument Call::timeout: the kernel has written down what was left
  kRemembered,    // the kernel knows the rest: restart_syscall
  kMilliseconds,  // argument 3
  kTimespec,      // argument Call::timeout
  kSocket,        // SO_RCVTIMEO, SO_SNDTIMEO
  kEnterRing,     // io_uring_enter with a timeout
};

struct Call {
  long number;
  long arguments[6];
  unsigned timeout;  // which argument
};

inline bool operator==(const Call& a, const Call& b) {
  for (unsigned i = 0; i < 6; ++i) {
    if (a.arguments[i] != b.arguments[i]) return false;
  }
  return a.number == b.number;
}

// struct io_uring_getevents_arg of <linux/io_uring.h>; Linux 5.11.
struct RingArgument {
  uint64_t mask;
  uint32_t mask_size, min_wait;
  uint64_t timeout;
};
constexpr long kRingGetEvents = 1, kRingExtended = 8, kRingAbsolute = 1 << 5;

// Of a call that has returned EINTR. Sets call->timeout where `How` names it.
How Classify(Call* call);
// Whether a call that is about to be entered anew may end with EINTR instead: it may wait, and is
// none that the kernel always restarts. `seen`: it was seen waiting.
bool MayBeInterrupted(const Call& call, bool seen);

// A transfer that a signal may cut short, of which `done` bytes are through: the call for the next
// piece of the rest. False: there is no rest, or it is no such transfer.
bool NextPiece(const Call& whole, long done, Call* piece);

}  // namespace gcm::interrupted_call
#endif
