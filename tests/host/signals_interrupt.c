// The program's signals interrupt its calls, also when they come while the world is stopped.
//
// Law: a handler without SA_RESTART that runs during a call makes the call return EINTR. A collector that
// continues an interrupted call by itself must not swallow that: then the handler has run and the call waits on.
#include "host.h"

#include <errno.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { kRounds = 200, kForgiven = 3 };  // a signal may have come before the call began, on a busy machine

static int handled, entered, returned;
static int pipe_ends[2];
static pid_t caller;
static long (*blocking)(void);
static sem_t semaphore;

static void on_signal(int number) {
  (void)number;
  add(&handled, 1);
}

static long libc_read(void) {
  char byte;
  return read(pipe_ends[0], &byte, 1);
}
static long raw_read(void) {
  char byte;
  return syscall(SYS_read, pipe_ends[0], &byte, 1);
}
static struct pollfd entry(void) { return (struct pollfd){.fd = pipe_ends[0], .events = POLLIN}; }
static long libc_poll(void) {
  struct pollfd one = entry();
  return poll(&one, 1, 60000);
}
static long raw_poll(void) {
  struct pollfd one = entry();
  return syscall(SYS_poll, &one, 1, 60000);
}
static long libc_nanosleep(void) {
  const struct timespec time = {60, 0};
  return nanosleep(&time, NULL);
}
static long raw_nanosleep(void) {
  const struct timespec time = {60, 0};
  return syscall(SYS_nanosleep, &time, NULL);
}
static long raw_sigtimedwait(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR2);
  const struct timespec time = {60, 0};
  return syscall(SYS_rt_sigtimedwait, &set, NULL, &time, 8);
}
static long libc_sem_wait(void) { return sem_wait(&semaphore); }
static long libc_pause(void) { return pause(); }

// With the signal blocked outside of the call, and let in by the call's own mask: it comes in there only, and the
// mask is what it was afterwards.
static sigset_t usr1_blocked, usr1_open;
static long judge_mask(long result) {
  const int before = errno;
  sigset_t now;
  MUST(pthread_sigmask(SIG_SETMASK, NULL, &now) == 0 && sigismember(&now, SIGUSR1) == 1);
  errno = before;
  return result;
}
static void block_usr1(void) {
  sigemptyset(&usr1_blocked);
  sigemptyset(&usr1_open);
  sigaddset(&usr1_blocked, SIGUSR1);
  MUST(pthread_sigmask(SIG_SETMASK, &usr1_blocked, NULL) == 0);
}
static long libc_ppoll(void) {
  struct pollfd one = entry();
  return judge_mask(ppoll(&one, 1, NULL, &usr1_open));
}
static long raw_ppoll(void) {
  struct pollfd one = entry();
  return judge_mask(syscall(SYS_ppoll, &one, 1, NULL, &usr1_open, 8));
}
static long libc_pselect(void) {
  const struct timespec time = {60, 0};
  return judge_mask(pselect(0, NULL, NULL, NULL, &time, &usr1_open));
}
static long libc_sigsuspend(void) { return judge_mask(sigsuspend(&usr1_open)); }
static long raw_sigsuspend(void) { return judge_mask(syscall(SYS_rt_sigsuspend, &usr1_open, 8)); }
static long libc_epoll_pwait(void) {
  static int epoll = -1;
  if (epoll < 0) epoll = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event;
  return judge_mask(epoll_pwait(epoll, &event, 1, 60000, &usr1_open));
}

static void *calling_thread(void *unused) {
  put(&caller, own_tid());
  for (int i = 1; i <= kRounds; ++i) {
    errno = 0;
    put(&entered, i);
    const long result = blocking();
    const int error = errno;
    if (result != -1 || error != EINTR) fail("round %d: returned %ld, errno %d", i, result, error);
    put(&returned, i);
  }
  return unused;
}

static bool await_return(int round) {
  const double begin = seconds();
  while (get(&returned) < round) {
    if (seconds() - begin > 1 + slack()) return false;
    nap(0.0002);
  }
  return true;
}

static void run(long (*call)(void)) {
  blocking = call;
  MUST(pipe(pipe_ends) == 0 && sem_init(&semaphore, 0, 0) == 0);
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_signal;
  MUST(sigaction(SIGUSR1, &action, NULL) == 0);
  start_collecting();
  pthread_t thread;
  MUST(pthread_create(&thread, NULL, calling_thread, NULL) == 0);
  int lost = 0;
  unsigned random = 12345;
  for (int i = 1; i <= kRounds; ++i) {
    spin_until(&entered, i);
    nap(0.003);
    await_sleep(caller);
    random = random * 1103515245 + 12345;
    nap((double)(random >> 16 & 1023) * 1e-6);
    const int before = get(&handled);
    MUST(pthread_kill(thread, SIGUSR1) == 0);
    if (await_return(i)) {
      if (get(&handled) != before + 1) fail("round %d: the handler ran %d times", i, get(&handled) - before);
      continue;
    }
    if (get(&handled) != before + 1) fail("round %d: the handler did not run", i);
    if (++lost > kForgiven) fail("%d of %d signals ran their handler and did not interrupt the call", lost, i);
    for (int again = 0; again < 10 && get(&returned) < i; ++again) {
      MUST(pthread_kill(thread, SIGUSR1) == 0);
      await_return(i);
    }
    if (get(&returned) < i) fail("the call cannot be interrupted");
  }
  MUST(pthread_join(thread, NULL) == 0);
  stop_collecting();
}

TEST(interrupted_libc_read) { run(libc_read); }
TEST(interrupted_raw_read) { run(raw_read); }
TEST(interrupted_libc_poll) { run(libc_poll); }
TEST(interrupted_raw_poll) { run(raw_poll); }
TEST(interrupted_libc_nanosleep) { run(libc_nanosleep); }
TEST(interrupted_raw_nanosleep) { run(raw_nanosleep); }
TEST(interrupted_raw_sigtimedwait) { run(raw_sigtimedwait); }
TEST(interrupted_libc_sem_wait) { run(libc_sem_wait); }
TEST(interrupted_libc_pause) { run(libc_pause); }

static void run_masked(long (*call)(void)) {
  block_usr1();
  run(call);
}
TEST(interrupted_masked_libc_ppoll) { run_masked(libc_ppoll); }
TEST(interrupted_masked_raw_ppoll) { run_masked(raw_ppoll); }
TEST(interrupted_masked_libc_pselect) { run_masked(libc_pselect); }
TEST(interrupted_masked_libc_sigsuspend) { run_masked(libc_sigsuspend); }
TEST(interrupted_masked_raw_sigsuspend) { run_masked(raw_sigsuspend); }
TEST(interrupted_masked_libc_epoll_pwait) { run_masked(libc_epoll_pwait); }
