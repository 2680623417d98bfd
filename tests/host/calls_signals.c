// Waiting for signals: never restarted after a handler. What is waited for is blocked in all threads.
#include "call.h"

#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { kMaskBytes = 8, kValue = 1234 };

static void block(struct wait *w) {
  (void)w;
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR2);
  sigaddset(&set, SIGRTMIN + 2);
  MUST(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
}
static void queue(struct wait *w) {
  const union sigval value = {.sival_int = kValue};
  MUST(pthread_sigqueue(w->thread, SIGRTMIN + 2, value) == 0);
}

static sigset_t *wanted(sigset_t *space) {
  sigemptyset(space);
  sigaddset(space, SIGUSR2);
  sigaddset(space, SIGRTMIN + 2);
  return space;
}

static long call_pause(struct wait *w) {
#ifdef SYS_pause
  if (w->form != kLibc) return kernel(w, SYS_pause);
#else
  if (w->form != kLibc) return kernel(w, SYS_ppoll, NULL, 0L, NULL, NULL, 0L);
#endif
  return pause();
}

// The mask for the time of the call lets the program's signals in, which are blocked otherwise.
static long call_sigsuspend(struct wait *w) {
  sigset_t all, none, before, after;
  sigfillset(&all);
  sigemptyset(&none);
  if (w->mode == kSignal || w->mode == kRestart) {
    MUST(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    MUST(pthread_sigmask(SIG_SETMASK, NULL, &all) == 0);  // less what libc keeps for itself
  }
  errno = 0;
  const long result = w->form == kLibc ? sigsuspend(&none) : kernel(w, SYS_rt_sigsuspend, &none, (long)kMaskBytes);
  const int error = errno;
  if (w->mode == kSignal || w->mode == kRestart) {
    MUST(pthread_sigmask(SIG_SETMASK, &before, &after) == 0);
    if (memcmp(&after, &all, kMaskBytes) != 0) fail("sigsuspend did not put the mask back");
  }
  errno = error;
  return result;
}

static long judge_info(long result, const siginfo_t *info) {
  if (result >= 0 && (info->si_code != SI_QUEUE || info->si_value.sival_int != kValue || info->si_signo != result)) {
    fail("the information is wrong: code %d, value %d", info->si_code, info->si_value.sival_int);
  }
  return result >= 0 ? result == SIGRTMIN + 2 : -1;
}

static long call_sigtimedwait(struct wait *w) {
  sigset_t set;
  struct timespec space;
  siginfo_t info;
  return judge_info(w->form == kLibc ? sigtimedwait(wanted(&set), &info, limit_ts(w, &space))
                                     : kernel(w, SYS_rt_sigtimedwait, wanted(&set), &info, limit_ts(w, &space),
                                              (long)kMaskBytes),
                    &info);
}
static long call_sigwaitinfo(struct wait *w) {
  sigset_t set;
  siginfo_t info;
  return judge_info(w->form == kLibc ? sigwaitinfo(wanted(&set), &info)
                                     : kernel(w, SYS_rt_sigtimedwait, wanted(&set), &info, NULL, (long)kMaskBytes),
                    &info);
}
static long call_sigwait(struct wait *w) {
  sigset_t set;
  int number = 0;
  const int error = sigwait(wanted(&set), &number);
  if (error != 0) fail("sigwait returned %d", error);
  if (w->mode == kSignal || w->mode == kRestart) errno = 4711;  // glibc's own waits leave EINTR there
  return number == SIGRTMIN + 2;
}
// All signals that libc lets a program name.
static long call_sigwait_all(struct wait *w) {
  sigset_t all;
  sigfillset(&all);
  MUST(pthread_sigmask(SIG_SETMASK, &all, NULL) == 0);
  siginfo_t info;
  struct timespec space;
  return judge_info(sigtimedwait(&all, &info, limit_ts(w, &space)), &info);
}

static void make_signalfd(struct wait *w) {
  block(w);
  sigset_t set;
  w->fds[0] = signalfd(-1, wanted(&set), SFD_CLOEXEC);
  MUST(w->fds[0] >= 0);
}
static long call_signalfd(struct wait *w) {
  struct signalfd_siginfo info;
  const long n = w->form == kLibc ? read(w->fds[0], &info, sizeof info)
                                  : kernel(w, SYS_read, (long)w->fds[0], &info, (long)sizeof info);
  if (n < 0) return -1;
  if (n != sizeof info || info.ssi_int != kValue) fail("the signal's record is wrong");
  return info.ssi_signo == (uint32_t)SIGRTMIN + 2;
}

static const struct call signal_calls[] = {
    {"pause", "lra", kAlways, false, true, NULL, call_pause, NULL, 0, 0, 0},
    {"sigsuspend", "lra", kAlways, false, true, NULL, call_sigsuspend, NULL, 0, 0, 0},
    {"sigtimedwait", "lra", kAlways, true, true, block, call_sigtimedwait, queue, 1, -1, EAGAIN},
    {"sigwaitinfo", "lra", kAlways, false, true, block, call_sigwaitinfo, queue, 1, 0, 0},
    {"sigwait", "l", kDeaf, false, true, block, call_sigwait, queue, 1, 0, 0},
    {"sigwait_all", "l", kUntold, true, true, block, call_sigwait_all, queue, 1, -1, EAGAIN},
    {"signalfd", "lra", kRestarted, false, true, make_signalfd, call_signalfd, queue, 1, 0, 0},
};
CALLS(signal_calls)
