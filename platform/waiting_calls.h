// The system calls that may wait for long, and may end with EINTR when a handler comes; and the one
// that installs filters, which is to be noticed.
#pragma once

#include <sched.h>
#include <sys/syscall.h>

#include "platform/base.h"

namespace gcm {

// A bit for each number.
struct WaitingCalls {
  uint64_t words[8] = {};
  constexpr bool Has(long number) const {
    return number >= 0 && number < 512 && (words[number / 64] >> number % 64 & 1) != 0;
  }
  constexpr void Add(long number) { words[number / 64] |= uint64_t{1} << number % 64; }
};
constexpr WaitingCalls MakeWaitingCalls() {
  constexpr long kCalls[] = {
    SYS_read,
    SYS_readv,
    SYS_recvfrom,
    SYS_recvmsg,
    SYS_recvmmsg,
    SYS_write,
    SYS_writev,
    SYS_sendto,
    SYS_sendmsg,
    SYS_sendmmsg,
    SYS_accept,
    SYS_accept4,
    SYS_connect,
    SYS_ppoll,
    SYS_pselect6,
    SYS_epoll_pwait,
    SYS_nanosleep,
    SYS_clock_nanosleep,
    SYS_rt_sigtimedwait,
    SYS_rt_sigsuspend,
    SYS_semop,
    SYS_semtimedop,
    SYS_msgrcv,
    SYS_msgsnd,
    SYS_io_getevents,
    SYS_futex,
    SYS_sendfile,
    SYS_splice,
    SYS_copy_file_range,
    SYS_getrandom,
    SYS_wait4,
    SYS_waitid,
    SYS_flock,
    SYS_seccomp,
    SYS_clone,
    435 /* clone3 */,
    SYS_mq_timedsend,
    SYS_mq_timedreceive,
    426 /* io_uring_enter */,
    441 /* epoll_pwait2 */,
    449 /* futex_waitv */,
#if defined(__x86_64__)
    SYS_poll,
    SYS_fork,
    SYS_select,
    SYS_epoll_wait,
    SYS_pause,
    333 /* io_pgetevents */,
#else
    292 /* io_pgetevents */,
#endif
  };
  WaitingCalls set;
  for (long number : kCalls) set.Add(number);
  return set;
}

// Whether the call makes a process that has a copy of this one's memory, by its first argument.
inline bool IsFork(long number, long argument) {
#if defined(__x86_64__)
  if (number == SYS_fork) return true;
#endif
  constexpr long kClone3 = 435;  // its flags are the first member
  const uint64_t flags = number == SYS_clone ? static_cast<uint64_t>(argument)
                         : number == kClone3
                             ? *PointerTo<uint64_t>(static_cast<uintptr_t>(argument))
                             : CLONE_VM;
  return (flags & CLONE_VM) == 0;
}

inline constexpr WaitingCalls kWaitingCalls = MakeWaitingCalls();

}  // namespace gcm
