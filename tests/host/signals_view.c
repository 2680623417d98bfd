// The program's own view of signals: what it sets is what it reads back, and what its children inherit.
//
// Law: every expectation here holds under plain libc too. The collector's own signal, 33, may show in SigCgt.
#include "host.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// libc's own, which differ from the declarations that the headers give with _GNU_SOURCE.
extern void (*sysv_signal(int, void (*)(int)))(int);
extern void (*bsd_signal(int, void (*)(int)))(int);
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

static const unsigned long long kOwn = 1ull << 32, kLibcs = 1ull << 31 | 1ull << 32;

static uint64_t bits(const sigset_t *set) {
  uint64_t value;
  memcpy(&value, set, sizeof value);
  return value;
}
static uint64_t bit(int number) { return 1ull << (number - 1); }

static const int kRestorer = 0x04000000;  // libc shows that flag of its own

static int runs;
static void on_plain(int number) {
  (void)number;
  add(&runs, 1);
}
static void on_other(int number) { (void)number; }
static void on_info(int number, siginfo_t *info, void *context) {
  (void)number, (void)info, (void)context;
  add(&runs, 1);
}

static struct sigaction read_action(int number) {
  struct sigaction action;
  memset(&action, 0x5A, sizeof action);
  MUST(sigaction(number, NULL, &action) == 0);
  action.sa_flags &= ~kRestorer;
  return action;
}

TEST(masks_read_back) {
  start_collecting();
  sigset_t set, back;
  for (int round = 0; round < 50; ++round) {
    const uint64_t wanted = 0x9E3779B97F4A7C15ull * (uint64_t)(round + 1) & ~kLibcs & ~bit(SIGKILL) & ~bit(SIGSTOP);
    memset(&set, 0, sizeof set);
    memcpy(&set, &wanted, sizeof wanted);
    MUST(pthread_sigmask(SIG_SETMASK, &set, NULL) == 0);
    spin_until(&collections, get(&collections) + 2);
    MUST(sigprocmask(SIG_BLOCK, NULL, &back) == 0);
    if (bits(&back) != wanted) fail("set %lx, read %lx", (long)wanted, (long)bits(&back));
    if (status_number(own_tid(), "SigBlk", 16) != wanted) fail("the kernel has another mask");
  }
  sigfillset(&set);
  MUST(sigprocmask(SIG_SETMASK, &set, NULL) == 0);
  MUST(pthread_sigmask(SIG_SETMASK, NULL, &back) == 0);
  const uint64_t all = ~kLibcs & ~bit(SIGKILL) & ~bit(SIGSTOP);
  if (bits(&back) != all) fail("all are %lx", (long)bits(&back));
  sigemptyset(&set);
  MUST(sigprocmask(SIG_SETMASK, &set, &back) == 0 && bits(&back) == all);
  MUST(pthread_sigmask(SIG_SETMASK, NULL, &back) == 0 && bits(&back) == 0);
  stop_collecting();
}

TEST(pending_is_read_back) {
  start_collecting();
  sigset_t set, pending;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigaddset(&set, SIGRTMIN + 3);
  MUST(pthread_sigmask(SIG_SETMASK, &set, NULL) == 0);
  spin_until(&collections, get(&collections) + 5);
  MUST(sigpending(&pending) == 0 && bits(&pending) == 0);
  MUST(pthread_kill(pthread_self(), SIGUSR1) == 0 && kill(getpid(), SIGRTMIN + 3) == 0);
  spin_until(&collections, get(&collections) + 20);
  MUST(sigpending(&pending) == 0 && bits(&pending) == bits(&set));
  stop_collecting();
}

static void must_read_back(int number, const struct sigaction *given) {
  MUST(sigaction(number, given, NULL) == 0);
  const struct sigaction back = read_action(number);
  if (back.sa_sigaction != given->sa_sigaction || back.sa_flags != given->sa_flags ||
      bits(&back.sa_mask) != (bits(&given->sa_mask) & ~bit(SIGKILL) & ~bit(SIGSTOP))) {
    fail("signal %d: flags %x for %x, mask %lx for %lx, handler %s", number, back.sa_flags, given->sa_flags,
         (long)bits(&back.sa_mask), (long)bits(&given->sa_mask),
         back.sa_sigaction == given->sa_sigaction ? "same" : "another");
  }
}

TEST(actions_read_back) {
  start_collecting();
  static const int kFlags[] = {0, SA_RESTART, SA_NODEFER, SA_RESETHAND, SA_ONSTACK, SA_NOCLDSTOP, SA_NOCLDWAIT,
                               SA_RESTART | SA_NODEFER | SA_ONSTACK};
  for (int number = 1; number <= SIGRTMAX; ++number) {
    if (number == SIGKILL || number == SIGSTOP || number == 32 || number == 33) continue;
    struct sigaction given;
    for (size_t i = 0; i < GCM_COUNT(kFlags); ++i) {
      memset(&given, 0, sizeof given);
      given.sa_flags = kFlags[i];
      if (i % 2 == 0) sigaddset(&given.sa_mask, SIGWINCH), sigaddset(&given.sa_mask, SIGRTMAX);
      given.sa_handler = on_plain;
      must_read_back(number, &given);
      given.sa_flags |= SA_SIGINFO;
      given.sa_sigaction = on_info;
      must_read_back(number, &given);
      given.sa_flags = kFlags[i];
      given.sa_handler = SIG_IGN;
      must_read_back(number, &given);
      given.sa_handler = SIG_DFL;
      must_read_back(number, &given);
    }
  }
  struct sigaction action = {.sa_handler = on_plain};
  MUST(sigaction(SIGKILL, &action, NULL) == -1 && errno == EINVAL);
  MUST(sigaction(33, &action, NULL) == -1 && errno == EINVAL);
  MUST(sigaction(0, &action, NULL) == -1 && errno == EINVAL);
  MUST(sigaction(1000, &action, NULL) == -1 && errno == EINVAL);
  stop_collecting();
}

// What was there is told in the call that replaces it, and may be put back.
TEST(actions_are_chained) {
  start_collecting();
  struct sigaction first = {.sa_handler = on_plain, .sa_flags = SA_NODEFER}, second = {.sa_handler = on_other}, old;
  MUST(sigaction(SIGUSR1, &first, &old) == 0 && old.sa_handler == SIG_DFL);
  MUST(sigaction(SIGUSR1, &second, &old) == 0 && old.sa_handler == on_plain && (old.sa_flags & ~kRestorer) == SA_NODEFER);
  // One structure for both, as programs do that swap handlers.
  struct sigaction *same = &old;
  __asm__("" : "+r"(same));
  MUST(sigaction(SIGUSR1, &old, same) == 0 && same->sa_handler == on_other);
  old.sa_handler(SIGUSR1);  // a program may call what it got
  raise(SIGUSR1);
  MUST(get(&runs) == 1);
  // By the kernel's own call, behind libc's back.
  struct {
    void (*handler)(int);
    unsigned long flags;
    void (*restorer)(void);
    uint64_t mask;
  } kernel_action = {on_other, 0, NULL, 0}, kernel_old;
  MUST(syscall(SYS_rt_sigaction, SIGUSR2, NULL, &kernel_old, 8) == 0);
  kernel_action.flags = kernel_old.flags;
  kernel_action.handler = (void (*)(int))SIG_IGN;
  MUST(syscall(SYS_rt_sigaction, SIGUSR2, &kernel_action, NULL, 8) == 0);
  MUST(read_action(SIGUSR2).sa_handler == SIG_IGN);
  stop_collecting();
}

TEST(resethand_and_nodefer) {
  start_collecting();
  struct sigaction action = {.sa_handler = on_plain, .sa_flags = SA_RESETHAND | SA_NODEFER};
  MUST(sigaction(SIGUSR1, &action, NULL) == 0);
  raise(SIGUSR1);
  MUST(get(&runs) == 1);
  const struct sigaction back = read_action(SIGUSR1);
  MUST(back.sa_handler == SIG_DFL);
  const pid_t child = fork();
  MUST(child >= 0);
  if (child == 0) {
    raise(SIGUSR1);
    _exit(0);
  }
  int status;
  MUST(waitpid(child, &status, 0) == child);
  if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGUSR1) fail("the second signal: status %x", status);
  stop_collecting();
}

TEST(older_interfaces) {
  start_collecting();
  MUST(signal(SIGUSR1, on_plain) == SIG_DFL);
  MUST((read_action(SIGUSR1).sa_flags & (SA_RESTART | SA_RESETHAND)) == SA_RESTART);
  MUST(signal(SIGUSR1, on_other) == on_plain && signal(SIGUSR1, SIG_IGN) == on_other);
  MUST(signal(SIGUSR1, SIG_DFL) == SIG_IGN);
  MUST(signal(SIGKILL, on_plain) == SIG_ERR && errno == EINVAL);

  MUST(sysv_signal(SIGUSR1, on_plain) == SIG_DFL);
  MUST((read_action(SIGUSR1).sa_flags & (SA_RESETHAND | SA_NODEFER | SA_RESTART)) == (SA_RESETHAND | SA_NODEFER));
  raise(SIGUSR1);
  MUST(get(&runs) == 1 && read_action(SIGUSR1).sa_handler == SIG_DFL);

  MUST(bsd_signal(SIGUSR1, on_plain) == SIG_DFL && (read_action(SIGUSR1).sa_flags & SA_RESTART) != 0);
  MUST(siginterrupt(SIGUSR1, 1) == 0 && (read_action(SIGUSR1).sa_flags & SA_RESTART) == 0);
  MUST(signal(SIGUSR1, on_plain) == on_plain && (read_action(SIGUSR1).sa_flags & SA_RESTART) == 0);
  MUST(siginterrupt(SIGUSR1, 0) == 0 && (read_action(SIGUSR1).sa_flags & SA_RESTART) != 0);
  MUST(read_action(SIGUSR1).sa_handler == on_plain);

  sigset_t mask;
  MUST(sigset(SIGUSR2, on_plain) == SIG_DFL);
  MUST(sigset(SIGUSR2, SIG_HOLD) == on_plain);
  MUST(pthread_sigmask(SIG_SETMASK, NULL, &mask) == 0 && bits(&mask) == bit(SIGUSR2));
  MUST(sigset(SIGUSR2, on_other) == SIG_HOLD);
  MUST(pthread_sigmask(SIG_SETMASK, NULL, &mask) == 0 && bits(&mask) == 0);
  MUST(sighold(SIGUSR2) == 0 && sigrelse(SIGUSR2) == 0 && sigignore(SIGUSR2) == 0);
  MUST(read_action(SIGUSR2).sa_handler == SIG_IGN);
  stop_collecting();
}

static void must_show(unsigned long long caught, unsigned long long ignored, unsigned long long blocked) {
  const pid_t me = own_tid();
  const unsigned long long c = status_number(me, "SigCgt", 16), i = status_number(me, "SigIgn", 16),
                           b = status_number(me, "SigBlk", 16);
  // libc's posix_spawn gives a child its own two signals ignored.
  if ((c & ~kOwn) != caught || (i & ~(3ull << 31)) != ignored || b != blocked) {
    fail("caught %llx for %llx, ignored %llx for %llx, blocked %llx for %llx", c, caught, i, ignored, b, blocked);
  }
}

TEST(status_file) {
  must_show(0, 0, 0);
  start_collecting();
  spin_until(&collections, get(&collections) + 20);
  must_show(0, 0, 0);
  MUST(signal(SIGUSR1, on_plain) == SIG_DFL && signal(SIGPIPE, SIG_IGN) == SIG_DFL);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  MUST(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
  spin_until(&collections, get(&collections) + 20);
  must_show(bit(SIGUSR1), bit(SIGPIPE), bit(SIGTERM));
  MUST(signal(SIGUSR1, SIG_DFL) != SIG_ERR && signal(SIGPIPE, SIG_DFL) != SIG_ERR);
  must_show(0, 0, bit(SIGTERM));
  stop_collecting();
}

// What a child begins with after exec: the masks of its parent at that moment, and never one of the collector's.
TEST(children_inherit) {
  start_collecting();
  MUST(signal(SIGUSR1, on_plain) == SIG_DFL && signal(SIGHUP, SIG_IGN) == SIG_DFL);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  MUST(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
  const char *script = "while read -r k v; do case $k in SigBlk:) b=$v;; SigIgn:) i=$v;; SigCgt:) c=$v;; esac; done"
                       " </proc/$$/status; test $b = 0000000000004000 || exit 4; case $i in 00000000[08]0000001|00000001[08]0000001) ;;"
                       " *) echo $i; exit 5;; esac";  // posix_spawn leaves libc's own two signals ignored
  char *const arguments[] = {(char *)(uintptr_t)"sh", (char *)(uintptr_t)"-c", (char *)(uintptr_t)script, NULL};
  char *const environment[] = {NULL};
  for (int i = 0; i < 30; ++i) {
    pid_t child;
    if (i % 2 == 0) {
      MUST(posix_spawn(&child, "/bin/sh", NULL, NULL, arguments, environment) == 0);
    } else {
      child = i % 4 == 1 ? vfork() : fork();
      if (child == 0) {
        execve("/bin/sh", arguments, environment);
        _exit(3);
      }
    }
    int status;
    MUST(waitpid(child, &status, 0) == child);
    if (status != 0) fail("child %d: status %x", i, status);
  }
  stop_collecting();
}
