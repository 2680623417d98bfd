#include "platform/continuation.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <time.h>

#include "platform/syscall.h"
#include "platform/waiting_calls.h"

#if defined(__x86_64__)
namespace gcm::interrupted_call {

How Classify(Call* call) {
  const long* a = call->arguments;
  auto timeout_at = [&](unsigned i, How how) {
    call->timeout = i;
    return a[i] == 0 ? How::kAgain : how;
  };
  switch (call->number) {
    case SYS_pause:
    case SYS_rt_sigsuspend:
    case SYS_msgrcv:
    case SYS_msgsnd:
    case SYS_semop:
    case 449:  // futex_waitv: absolute
      return How::kAgain;
    case SYS_select:
    case SYS_pselect6:
      return timeout_at(4, How::kUpdated);
    case SYS_ppoll:
      return timeout_at(2, How::kUpdated);
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
      return timeout_at(3, How::kTimespec);
    case SYS_rt_sigtimedwait:
      return timeout_at(2, How::kTimespec);
    case SYS_io_getevents:
    case 333:  // io_pgetevents
      return timeout_at(4, How::kTimespec);
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
    case SYS_seccomp:
      return false;
    default:
      return kWaitingCalls.Has(call.number);
  }
}

namespace {

bool PieceOf(const iovec* vector, size_t count, long done, Call* piece) {
  for (size_t skip = static_cast<size_t>(done); count != 0; --count, ++vector) {
    if (skip < vector->iov_len) {
      piece->arguments[1] = static_cast<long>(AddressOf(vector->iov_base) + skip);
      piece->arguments[2] = static_cast<long>(vector->iov_len - skip);
      return true;
    }
    skip -= vector->iov_len;
  }
  return false;
}

// Random numbers never end, and never keep a reader waiting; what else is read may do either.
bool IsRandomDevice(int fd) {
  struct stat file;
  return Syscall(SYS_fstat, fd, &file) == 0 && S_ISCHR(file.st_mode) &&
         (file.st_rdev == makedev(1, 8) || file.st_rdev == makedev(1, 9));
}

}  // namespace

bool NextPiece(const Call& whole, long done, Call* piece) {
  *piece = whole;
  unsigned memory, length;
  switch (whole.number) {
    case SYS_recvfrom:
      if ((whole.arguments[3] & MSG_WAITALL) == 0) return false;
      [[fallthrough]];
    case SYS_write:
    case SYS_sendto:
      memory = 1;
      length = 2;
      break;
    case SYS_read:
      if (!IsRandomDevice(static_cast<int>(whole.arguments[0]))) return false;
      memory = 1;
      length = 2;
      break;
    case SYS_getrandom:
      memory = 0;
      length = 1;
      break;
    case SYS_sendfile:  // the kernel moves the offset itself
      piece->arguments[3] -= done;
      return piece->arguments[3] > 0;
    case SYS_writev:
      piece->number = SYS_write;
      return PieceOf(PointerTo<const iovec>(static_cast<uintptr_t>(whole.arguments[1])),
                     static_cast<size_t>(whole.arguments[2]), done, piece);
    case SYS_sendmsg: {
      auto* message = PointerTo<const msghdr>(static_cast<uintptr_t>(whole.arguments[1]));
      *piece = {SYS_sendto, {whole.arguments[0], 0, 0, whole.arguments[2], 0, 0}, 0};
      return PieceOf(message->msg_iov, message->msg_iovlen, done, piece);
    }
    default:
      return false;
  }
  piece->arguments[memory] += done;
  piece->arguments[length] -= done;
  return piece->arguments[length] > 0;
}

}  // namespace gcm::interrupted_call
#endif
