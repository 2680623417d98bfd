// libc's calls that may wait for long: the thread's stack and registers are published meanwhile, so
// that a stopped world need not signal it. Beyond that each is libc's own. Only calls that neither
// allocate nor call back may stand here.
#include "core/gc/blocking.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/msg.h>
#include <sys/random.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstring>

#include "platform/dirty_mprotect.h"
#include "platform/process.h"
#include "platform/restartable.h"
#include "platform/signal.h"
#include "platform/stubs.h"
#include "platform/syscall.h"
#include "platform/waiting_calls.h"
#include "preload/family.h"
#include "preload/wrapped.h"

namespace gcm {
namespace {

// The arguments that fn refers to lie in its caller's frame, where the published stack holds them.
template <typename Fn>
GCM_INLINE void Publish(Fn& fn) {
  blocking::Run([](void* data) { (*static_cast<Fn*>(data))(); }, &fn);
}

// After a call that has failed: it may not fail because pages are protected against writing.
GCM_COLD bool MayTryAgain() { return errno == EFAULT && dirty_mprotect::OpenAll(); }

// A set to wait for, without the signal that stops threads.
sigset_t WithoutOurs(const sigset_t* set) {
  sigset_t copy = *set;
  uint64_t word;
  memcpy(&word, &copy, sizeof(word));
  word &= ~stop_signal::Bit();
  memcpy(&copy, &word, sizeof(word));
  return copy;
}

}  // namespace
}  // namespace gcm

#define GCM_PUBLISHED(type, name, parameters, arguments)                                         \
  GCM_EXPORT type name parameters {                                                              \
    auto* next = GCM_NEXT(name);                                                                 \
    if (GCM_UNLIKELY(next == nullptr)) {                                                         \
      errno = ENOSYS;                                                                            \
      return static_cast<type>(-1);                                                              \
    }                                                                                            \
    type result;                                                                                 \
    auto call = [&] { result = next arguments; };                                                \
    gcm::Publish(call);                                                                          \
    if (GCM_UNLIKELY(result == static_cast<type>(-1)) && gcm::MayTryAgain()) gcm::Publish(call); \
    return result;                                                                               \
  }

extern "C" {

GCM_PUBLISHED(ssize_t, read, (int fd, void* to, size_t n), (fd, to, n))
GCM_PUBLISHED(ssize_t, write, (int fd, const void* from, size_t n), (fd, from, n))
GCM_PUBLISHED(ssize_t, readv, (int fd, const iovec* v, int n), (fd, v, n))
GCM_PUBLISHED(ssize_t, writev, (int fd, const iovec* v, int n), (fd, v, n))

GCM_PUBLISHED(ssize_t, recv, (int fd, void* to, size_t n, int flags), (fd, to, n, flags))
GCM_PUBLISHED(ssize_t, recvfrom,
              (int fd, void* to, size_t n, int flags, sockaddr* from, socklen_t* size),
              (fd, to, n, flags, from, size))
GCM_PUBLISHED(ssize_t, recvmsg, (int fd, msghdr* message, int flags), (fd, message, flags))
GCM_PUBLISHED(int, recvmmsg, (int fd, mmsghdr* v, unsigned n, int flags, timespec* time),
              (fd, v, n, flags, time))
GCM_PUBLISHED(ssize_t, send, (int fd, const void* from, size_t n, int flags), (fd, from, n, flags))
GCM_PUBLISHED(ssize_t, sendto,
              (int fd, const void* from, size_t n, int flags, const sockaddr* to, socklen_t size),
              (fd, from, n, flags, to, size))
GCM_PUBLISHED(ssize_t, sendmsg, (int fd, const msghdr* message, int flags), (fd, message, flags))
GCM_PUBLISHED(int, sendmmsg, (int fd, mmsghdr* v, unsigned n, int flags), (fd, v, n, flags))
GCM_PUBLISHED(int, accept, (int fd, sockaddr* from, socklen_t* size), (fd, from, size))
GCM_PUBLISHED(int, accept4, (int fd, sockaddr* from, socklen_t* size, int flags),
              (fd, from, size, flags))
GCM_PUBLISHED(int, connect, (int fd, const sockaddr* to, socklen_t size), (fd, to, size))

GCM_PUBLISHED(ssize_t, sendfile, (int to, int from, off_t* offset, size_t n), (to, from, offset, n))
GCM_PUBLISHED(ssize_t, getrandom, (void* to, size_t n, unsigned flags), (to, n, flags))

GCM_PUBLISHED(int, poll, (pollfd * fds, nfds_t n, int time), (fds, n, time))
GCM_PUBLISHED(int, ppoll, (pollfd * fds, nfds_t n, const timespec* time, const sigset_t* mask),
              (fds, n, time, mask))
GCM_PUBLISHED(int, select, (int n, fd_set* r, fd_set* w, fd_set* x, timeval* time),
              (n, r, w, x, time))
GCM_PUBLISHED(int, pselect,
              (int n, fd_set* r, fd_set* w, fd_set* x, const timespec* time, const sigset_t* mask),
              (n, r, w, x, time, mask))
GCM_PUBLISHED(int, epoll_wait, (int fd, epoll_event* events, int n, int time),
              (fd, events, n, time))
GCM_PUBLISHED(int, epoll_pwait,
              (int fd, epoll_event* events, int n, int time, const sigset_t* mask),
              (fd, events, n, time, mask))
GCM_PUBLISHED(int, epoll_pwait2,
              (int fd, epoll_event* events, int n, const timespec* time, const sigset_t* mask),
              (fd, events, n, time, mask))

GCM_PUBLISHED(int, nanosleep, (const timespec* time, timespec* rest), (time, rest))
GCM_PUBLISHED(int, clock_nanosleep,
              (clockid_t clock, int flags, const timespec* time, timespec* rest),
              (clock, flags, time, rest))
GCM_PUBLISHED(int, usleep, (useconds_t time), (time))
GCM_PUBLISHED(unsigned, sleep, (unsigned time), (time))
GCM_PUBLISHED(int, pause, (), ())
GCM_PUBLISHED(int, sigsuspend, (const sigset_t* mask), (mask))

GCM_EXPORT int sigwait(const sigset_t* set, int* number) {
  int result;
  sigset_t rest = gcm::WithoutOurs(set);
  auto* next = GCM_NEXT(sigwait);
  auto call = [&] { result = next(&rest, number); };
  gcm::Publish(call);
  return result;
}
GCM_EXPORT int sigwaitinfo(const sigset_t* set, siginfo_t* info) {
  int result;
  sigset_t rest = gcm::WithoutOurs(set);
  auto* next = GCM_NEXT(sigwaitinfo);
  auto call = [&] { result = next(&rest, info); };
  gcm::Publish(call);
  return result;
}
GCM_EXPORT int sigtimedwait(const sigset_t* set, siginfo_t* info, const timespec* time) {
  int result;
  sigset_t rest = gcm::WithoutOurs(set);
  auto* next = GCM_NEXT(sigtimedwait);
  auto call = [&] { result = next(&rest, info, time); };
  gcm::Publish(call);
  return result;
}

GCM_PUBLISHED(int, sem_wait, (sem_t * semaphore), (semaphore))
GCM_PUBLISHED(int, sem_timedwait, (sem_t * semaphore, const timespec* time), (semaphore, time))
GCM_PUBLISHED(int, sem_clockwait, (sem_t * semaphore, clockid_t clock, const timespec* time),
              (semaphore, clock, time))
GCM_PUBLISHED(int, pthread_cond_wait, (pthread_cond_t * condition, pthread_mutex_t* mutex),
              (condition, mutex))
GCM_PUBLISHED(int, pthread_cond_timedwait,
              (pthread_cond_t * condition, pthread_mutex_t* mutex, const timespec* time),
              (condition, mutex, time))
GCM_PUBLISHED(int, pthread_cond_clockwait,
              (pthread_cond_t * condition, pthread_mutex_t* mutex, clockid_t clock,
               const timespec* time),
              (condition, mutex, clock, time))

GCM_PUBLISHED(pid_t, wait, (int* status), (status))
GCM_PUBLISHED(pid_t, waitpid, (pid_t pid, int* status, int flags), (pid, status, flags))
GCM_PUBLISHED(pid_t, wait3, (int* status, int flags, rusage* usage), (status, flags, usage))
GCM_PUBLISHED(pid_t, wait4, (pid_t pid, int* status, int flags, rusage* usage),
              (pid, status, flags, usage))
GCM_PUBLISHED(int, waitid, (idtype_t type, id_t id, siginfo_t* info, int flags),
              (type, id, info, flags))

GCM_PUBLISHED(ssize_t, msgrcv, (int queue, void* to, size_t n, long type, int flags),
              (queue, to, n, type, flags))
GCM_PUBLISHED(int, msgsnd, (int queue, const void* from, size_t n, int flags),
              (queue, from, n, flags))
GCM_PUBLISHED(int, semop, (int set, sembuf* operations, size_t n), (set, operations, n))
GCM_PUBLISHED(int, semtimedop, (int set, sembuf* operations, size_t n, const timespec* time),
              (set, operations, n, time))

GCM_PUBLISHED(int, posix_spawn,
              (pid_t * pid, const char* path, const posix_spawn_file_actions_t* actions,
               const posix_spawnattr_t* attributes, char* const* arguments,
               char* const* environment),
              (pid, path, actions, attributes, arguments, environment))
GCM_PUBLISHED(int, posix_spawnp,
              (pid_t * pid, const char* file, const posix_spawn_file_actions_t* actions,
               const posix_spawnattr_t* attributes, char* const* arguments,
               char* const* environment),
              (pid, file, actions, attributes, arguments, environment))

// A child that shares memory and thread-local storage without waiting for its end could take its
// parent's state for its own.
GCM_EXPORT int clone(int (*fn)(void*), void* stack, int flags, void* argument, ...) {
  va_list rest;
  va_start(rest, argument);
  auto* parent_tid = va_arg(rest, pid_t*);
  auto* tls = va_arg(rest, void*);
  auto* child_tid = va_arg(rest, pid_t*);
  va_end(rest);
  if ((flags & (CLONE_VM | CLONE_SETTLS | CLONE_VFORK)) == CLONE_VM) gcm::blocking::Distrust();
  if ((flags & CLONE_VM) != 0)
    return GCM_NEXT(clone)(fn, stack, flags, argument, parent_tid, tls, child_tid);
  struct Child {
    int (*fn)(void*);
    void* argument;
  } child{fn, argument};
  auto run = [](void* data) {
    gcm::AfterForkInChild();
    auto* c = static_cast<Child*>(data);
    return c->fn(c->argument);
  };
  gcm::BeforeFork();
  const int result = GCM_NEXT(clone)(run, stack, flags, &child, parent_tid, tls, child_tid);
  gcm::AfterForkInParent();
  return result;
}
GCM_EXPORT pid_t _Fork(void) {
  gcm::BeforeFork();
  const pid_t result = GCM_NEXT(_Fork)();
  result == 0 ? gcm::AfterForkInChild() : gcm::AfterForkInParent();
  return result;
}

// vfork: the stub calls these around the system call.

__attribute__((visibility("hidden"), used)) void GcmBeforeVfork() { gcm::blocking::EnterVfork(); }
__attribute__((visibility("hidden"), used)) long GcmAfterVfork(long result) {
  if (!gcm::process::SharesParentMemory()) gcm::blocking::LeaveVfork();
  if (!gcm::SyscallFailed(result)) return result;
  errno = static_cast<int>(-result);
  return -1;
}
asm(GCM_VFORK_STUB("vfork", "GcmBeforeVfork", "GcmAfterVfork"));

}  // extern "C"

extern "C" {
// syscall: those that may wait come here, all others go to libc's.

__attribute__((visibility("hidden"),
               used)) extern constinit const gcm::WaitingCalls GcmWaitingCalls = gcm::kWaitingCalls;

__attribute__((visibility("hidden"), used)) long GcmPlainSyscall(long number, long a, long b,
                                                                 long c, long d, long e, long f) {
  const long arguments[] = {a, b, c, d, e, f};
  long result = gcm::KnownSyscall(number, arguments);
  if (!gcm::SyscallFailed(result)) return result;
  errno = static_cast<int>(-result);
  return -1;
}
__attribute__((visibility("hidden"), used)) long GcmWaitingSyscall(long number, long a, long b,
                                                                   long c, long d, long e, long f) {
  if (number == SYS_seccomp) gcm::BeforeSeccomp(a);
  if (gcm::IsFork(number, a)) {
    gcm::BeforeFork();
    const long forked = GcmPlainSyscall(number, a, b, c, d, e, f);
    forked == 0 ? gcm::AfterForkInChild() : gcm::AfterForkInParent();
    return forked;
  }
  long result;
  auto call = [&] { result = GcmPlainSyscall(number, a, b, c, d, e, f); };
  gcm::Publish(call);
  if (GCM_UNLIKELY(result == -1) && gcm::MayTryAgain()) gcm::Publish(call);
  return result;
}
// Until libc's is known.
__attribute__((visibility("hidden"), used)) long (*GcmSyscallBehind)(long, long, long, long, long,
                                                                     long, long) = GcmPlainSyscall;
}  // extern "C"

namespace gcm {

void StartBlocking() {
  if (void* libc = gcm::next::Find(next::k_syscall)) {
    GcmSyscallBehind = reinterpret_cast<decltype(GcmSyscallBehind)>(libc);
  }
}

}  // namespace gcm

asm(GCM_SYSCALL_STUB("syscall", "GcmWaitingCalls", "GcmWaitingSyscall", "GcmSyscallBehind"));
