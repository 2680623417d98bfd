// Leaving a handler, or a blocking call, by another way than returning.
//
// Law: a thread that has jumped out of a call runs again, and is stopped and scanned as one that runs; what was
// recorded of it when it went into the call is void. must_be_scanned() tells.
#include "host.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

static int pipe_ends[2];

static void handle(int number, void (*handler)(int), int flags) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = handler;
  action.sa_flags = flags;
  MUST(sigaction(number, &action, NULL) == 0);
}

// Jumping out of a blocking call.

enum { kJumps = 10000 };
static sigjmp_buf target;
static volatile int may_jump;
static int jumps, raw;
static void on_jump(int number) {
  (void)number;
  if (may_jump == 0) return;
  may_jump = 0;
  siglongjmp(target, 1);
}

static void *jumping_thread(void *unused) {
  char byte;
  for (volatile int i = 0; i < kJumps; ++i) {
    if (sigsetjmp(target, 1) == 0) {
      may_jump = 1;
      for (;;) {
        const long n = raw ? syscall(SYS_read, pipe_ends[0], &byte, 1) : read(pipe_ends[0], &byte, 1);
        fail("read returned %ld, errno %d", n, errno);
      }
    }
    if (i % 500 == 0) must_be_scanned(2);
    add(&jumps, 1);
  }
  sigset_t mask;
  MUST(pthread_sigmask(SIG_BLOCK, NULL, &mask) == 0 && sigismember(&mask, SIGUSR1) == 0);
  must_be_scanned(5);
  return unused;
}

static void run_jumps(void) {
  MUST(pipe(pipe_ends) == 0);
  handle(SIGUSR1, on_jump, SA_RESTART);
  start_collecting();
  pthread_t thread;
  MUST(pthread_create(&thread, NULL, jumping_thread, NULL) == 0);
  const double begin = seconds();
  while (get(&jumps) < kJumps) {
    const int before = get(&jumps);
    MUST(pthread_kill(thread, SIGUSR1) == 0);
    for (int i = 0; i < 1000 && get(&jumps) == before; ++i) syscall(SYS_sched_yield);
    if (seconds() - begin > 40) fail("only %d jumps", before);
  }
  MUST(pthread_join(thread, NULL) == 0);
  stop_collecting();
}
TEST(jump_out_of_libc_read) { run_jumps(); }
TEST(jump_out_of_raw_read) {
  raw = 1;
  run_jumps();
}

// Ending the thread in a handler that has interrupted a call.

static int cleaned;
static void clean(void *unused) {
  (void)unused;
  must_be_scanned(3);
  add(&cleaned, 1);
}
static void on_exit_request(int number) {
  (void)number;
  pthread_exit(&cleaned);
}
static void *exiting_thread(void *data) {
  pthread_cleanup_push(clean, NULL);
  put((pid_t *)data, own_tid());
  poll(NULL, 0, -1);
  pthread_cleanup_pop(0);
  return NULL;
}
TEST(exit_in_handler) {
  handle(SIGUSR1, on_exit_request, 0);
  start_collecting();
  for (int i = 0; i < 50; ++i) {
    pthread_t thread;
    pid_t tid = 0;
    MUST(pthread_create(&thread, NULL, exiting_thread, &tid) == 0);
    spin_until(&tid, 1);
    nap(0.002);
    MUST(pthread_kill(thread, SIGUSR1) == 0);
    void *result = NULL;
    MUST(pthread_join(thread, &result) == 0 && result == &cleaned);
  }
  MUST(cleaned == 50);
  stop_collecting();
}

// A thread that switches between stacks of its own in its handler, as preemptive coroutines do. Law: the signal is
// blocked from the handler's start to the other stack's own code, in each context that is switched to: swapcontext
// sets the mask before it has read the rest, and a second switch in between would save over what it reads. Once one
// of the two has ended nobody switches: what the contexts say is of the past.

enum { kStackBytes = 256 * 1024, kSwitches = 2000 };
static ucontext_t contexts[2];
static volatile int current_context, switches, coroutines_end;
static sigset_t switching_signal;
static void on_switch(int number) {
  (void)number;
  if (coroutines_end != 0) return;
  const int from = current_context;
  ++switches;
  current_context = 1 - from;
  swapcontext(&contexts[from], &contexts[1 - from]);
}
static void coroutine(void) {
  uint64_t *volatile held[8];
  for (uint64_t i = 0; i < GCM_COUNT(held); ++i) held[i] = new_block(i);
  MUST(pthread_sigmask(SIG_UNBLOCK, &switching_signal, NULL) == 0);
  while (switches < kSwitches && coroutines_end == 0) {
    poll(NULL, 0, 0);
    for (uint64_t i = 0; i < GCM_COUNT(held); ++i) MUST_BE_BLOCK(held[i], i);
  }
  coroutines_end = 1;
  setcontext(&contexts[0]);
}
static void *switching_thread(void *data) {
  put((pid_t *)data, own_tid());
  uint64_t *volatile held[8];
  for (uint64_t i = 0; i < GCM_COUNT(held); ++i) held[i] = new_block(i);
  while (switches < kSwitches && coroutines_end == 0) {
    poll(NULL, 0, 0);
    for (uint64_t i = 0; i < GCM_COUNT(held); ++i) MUST_BE_BLOCK(held[i], i);
  }
  coroutines_end = 1;
  return NULL;
}
TEST(coroutines_switched_by_handler) {
  sigemptyset(&switching_signal);
  sigaddset(&switching_signal, SIGUSR1);
  handle(SIGUSR1, on_switch, SA_RESTART);
  MUST(getcontext(&contexts[1]) == 0);
  sigaddset(&contexts[1].uc_sigmask, SIGUSR1);
  contexts[1].uc_stack.ss_sp = malloc(kStackBytes);
  contexts[1].uc_stack.ss_size = kStackBytes;
  makecontext(&contexts[1], coroutine, 0);
  start_collecting();
  pid_t tid = 0;
  pthread_t thread;
  MUST(pthread_create(&thread, NULL, switching_thread, &tid) == 0);
  spin_until(&tid, 1);
  while (coroutines_end == 0) {
    pthread_kill(thread, SIGUSR1);
    nap(0.0003);
  }
  MUST(pthread_join(thread, NULL) == 0);
  stop_collecting();
}

// A child of vfork has the parent's memory and its own dispositions: setting them changes nothing in the parent.

static int runs;
static void on_count(int number) {
  (void)number;
  add(&runs, 1);
}
TEST(vfork_child_resets_handlers) {
  start_collecting();
  handle(SIGUSR1, on_count, SA_RESTART);
  handle(SIGUSR2, on_count, 0);
  for (int i = 0; i < 50; ++i) {
    const pid_t child = vfork();
    MUST(child >= 0);
    if (child == 0) {
      struct sigaction action, old;
      memset(&action, 0, sizeof action);
      action.sa_handler = SIG_DFL;
      if (sigaction(SIGUSR1, &action, &old) != 0 || old.sa_handler != on_count) _exit(1);
      if (signal(SIGUSR2, SIG_IGN) != on_count) _exit(2);
      for (int number = 1; number < 65; ++number) {
        if (number != SIGUSR2) signal(number, SIG_DFL);
      }
      sigset_t all;
      sigfillset(&all);
      sigprocmask(SIG_UNBLOCK, &all, NULL);
      _exit(0);
    }
    int status;
    MUST(waitpid(child, &status, 0) == child);
    if (status != 0) fail("the child saw other handlers: status %x", status);
    struct sigaction now;
    MUST(sigaction(SIGUSR1, NULL, &now) == 0 && now.sa_handler == on_count);
    MUST(sigaction(SIGUSR2, NULL, &now) == 0 && now.sa_handler == on_count);
    const int before = get(&runs);
    raise(SIGUSR1);
    raise(SIGUSR2);
    MUST(get(&runs) == before + 2);
  }
  stop_collecting();
}

// A forked child has the handlers, and collects with them.
static int fork_failed;
TEST(forked_child_handles) {
  start_collecting();
  handle(SIGUSR1, on_count, SA_RESTART);
  for (int i = 0; i < 10; ++i) {
    const pid_t child = fork();
    MUST(child >= 0);
    if (child == 0) {
      const int before = get(&runs);
      start_collecting();
      for (int k = 0; k < 20; ++k) {
        raise(SIGUSR1);
        must_be_scanned(1);
      }
      stop_collecting();
      _exit(get(&runs) == before + 20 ? 0 : 1);
    }
    int status;
    MUST(waitpid(child, &status, 0) == child);
    if (status != 0) add(&fork_failed, 1);
  }
  stop_collecting();
  if (fork_failed != 0) fail("%d of 10 children failed", fork_failed);
}

#if defined(__x86_64__)
// The handler moves the interrupted program out of an endless loop.
extern char loop_end[];
static void on_release(int number, siginfo_t *info, void *context) {
  (void)number, (void)info;
  ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)loop_end;
}
static int looping;
static void *looping_thread(void *unused) {
  for (int i = 1; i <= 200; ++i) {
    uint64_t *volatile held = new_block(7);
    put(&looping, i);
    __asm__ volatile("1: pause\njmp 1b\n.globl loop_end\nloop_end:" ::: "memory");
    MUST_BE_BLOCK(held, 7);
  }
  return unused;
}
TEST(return_to_another_pc) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = on_release;
  action.sa_flags = SA_SIGINFO;
  MUST(sigaction(SIGUSR1, &action, NULL) == 0);
  start_collecting();
  pthread_t thread;
  MUST(pthread_create(&thread, NULL, looping_thread, NULL) == 0);
  for (int i = 1; i <= 200; ++i) {
    spin_until(&looping, i);
    nap(0.001);
    MUST(pthread_kill(thread, SIGUSR1) == 0);
  }
  MUST(pthread_join(thread, NULL) == 0);
  stop_collecting();
}
#endif
