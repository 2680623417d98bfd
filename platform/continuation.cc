#include "platform/continuation.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>

#include "platform/waiting_calls.h"

#if defined(__x86_64__)
namespace gcm::interrupted_call {

How Classify(Call* call) {
  const long* a = call->arguments;
  auto timespec_at = [&](unsigned i) {
    call->timeout = i;
    return a[i] == 0 ? How::kAgain : How::kTimespec;
  };
  switch (call->number) {
    case SYS_pause:
    case SYS_rt_sigsuspend:
    case SYS_select:
    case SYS_pselect6:
    case SYS_ppoll:
    case SYS_msgrcv:
    case SYS_msgsnd:
    case SYS_semop:
    case 449:  // futex_waitv: absolute
      return How::kAgain;
    case SYS_poll:
    case SYS_nanosleep:
    case SYS_restart_syscall:
    case SYS_futex:
      return How::kRemembered;
    case SYS_clock_nanosleep:
      return (a[1] & TIMER_ABSTIME) != 0 ? How::kAgain : How::kRemembered;
    case SYS_epoll_wait:
    case SYS_epoll_pwait:
      return static_cast<int>(a[3]) < 0 ? How::kAgain : How::kMilliseconds;
    case 441:  // epoll_pwait2
    case SYS_semtimedop:
      return timespec_at(3);
    case SYS_rt_sigtimedwait:
      return timespec_at(2);
    case SYS_io_getevents:
    case 333:  // io_pgetevents
      return timespec_at(4);
    case 426: {  // io_uring_enter
      if ((a[3] & kRingExtended) == 0 || (a[3] & kRingAbsolute) != 0) return How::kAgain;
      auto* argument = PointerTo<RingArgument>(static_cast<uintptr_t>(a[4]));
      return argument == nullptr || argument->timeout == 0 ? How::kAgain : How::kEnterRing;
    }
    case SYS_read:
    case SYS_readv:
    case SYS_recvfrom:
    case SYS_recvmsg:
    case SYS_recvmmsg:
    case SYS_accept:
    case SYS_accept4:
    case SYS_write:
    case SYS_writev:
    case SYS_sendto:
    case SYS_sendmsg:
    case SYS_sendmmsg:
    case SYS_connect:
      return How::kSocket;
    default:
      return How::kNot;
  }
}

bool MayBeInterrupted(const Call& call, bool seen) {
  switch (call.number) {
    case SYS_futex: {
      const long operation = call.arguments[1] & FUTEX_CMD_MASK;
      return operation == FUTEX_WAIT || operation == FUTEX_WAIT_BITSET;
    }
    case SYS_fcntl:
      return call.arguments[1] == F_SETLKW || call.arguments[1] == 38;  // F_OFD_SETLKW
    case SYS_open:                                                      // a FIFO
    case SYS_openat:
    case SYS_getrandom:  // much, or before the kernel has enough
      return seen;
    default:
      return kWaitingCalls.Has(call.number);
  }
}

Shortened HowShortened(const Call& call) {
  switch (call.number) {
    case SYS_write:
    case SYS_sendto:
      return {1, 2};
    case SYS_recvfrom:
      return (call.arguments[3] & MSG_WAITALL) != 0 ? Shortened{1, 2} : Shortened{};
    case SYS_getrandom:
      return {0, 1};
    case SYS_sendfile:  // the kernel moves the offset itself
      return {-1, 3};
    default:
      return {};
  }
}

}  // namespace gcm::interrupted_call
#endif
