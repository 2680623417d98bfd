// What a handler of the program is given, and that nothing of it is lost or changed on the way.
#include "host.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

static void handle(int number, void (*handler)(int, siginfo_t *, void *), int flags, int also_blocked) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = handler;
  action.sa_flags = SA_SIGINFO | flags;
  if (also_blocked != 0) sigaddset(&action.sa_mask, also_blocked);
  MUST(sigaction(number, &action, NULL) == 0);
}

static uint64_t current_mask(void) {
  sigset_t set;
  uint64_t value;
  MUST(pthread_sigmask(SIG_BLOCK, NULL, &set) == 0);
  memcpy(&value, &set, sizeof value);
  return value;
}
static uint64_t bit(int number) { return 1ull << (number - 1); }

static siginfo_t seen;
static int seen_count, seen_number;
static void on_info(int number, siginfo_t *info, void *context) {
  if (context == NULL) fail("no context");
  seen = *info;
  seen_number = number;
  add(&seen_count, 1);
}

// Sends, waits for the handler, and compares.
static void expect(int number, int code) {
  spin_until(&seen_count, 1);
  put(&seen_count, 0);
  if (seen_number != number || seen.si_signo != number || seen.si_code != code) {
    fail("signal %d, number in it %d, code %d for %d", seen_number, seen.si_signo, seen.si_code, code);
  }
}

TEST(information) {
  start_collecting();
  const int realtime = SIGRTMIN + 4;
  handle(SIGUSR1, on_info, 0, 0);
  handle(realtime, on_info, 0, 0);
  handle(SIGCHLD, on_info, 0, 0);
  for (int i = 0; i < 40; ++i) {
    MUST(kill(getpid(), SIGUSR1) == 0);
    expect(SIGUSR1, SI_USER);
    MUST(seen.si_pid == getpid() && seen.si_uid == getuid());
    MUST(pthread_kill(pthread_self(), SIGUSR1) == 0);
    expect(SIGUSR1, SI_TKILL);
    MUST(seen.si_pid == getpid());
    MUST(sigqueue(getpid(), realtime, (union sigval){.sival_ptr = &seen}) == 0);
    expect(realtime, SI_QUEUE);
    MUST(seen.si_value.sival_ptr == &seen && seen.si_pid == getpid());
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = realtime, .sigev_value = {.sival_int = i}};
    const struct itimerspec soon = {{0, 0}, {0, 1000}};
    MUST(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0 && timer_settime(timer, 0, &soon, NULL) == 0);
    expect(realtime, SI_TIMER);
    MUST(seen.si_value.sival_int == i && timer_delete(timer) == 0);
    const pid_t child = fork();
    if (child == 0) _exit(5);
    expect(SIGCHLD, CLD_EXITED);
    MUST(seen.si_pid == child && seen.si_status == 5 && waitpid(child, NULL, 0) == child);
  }
  stop_collecting();
}

#if defined(__x86_64__)
// Loads from an address that is not mapped; the next instruction is at fault_end.
extern char fault_begin[], fault_end[];
GCM_NOINLINE static uint64_t load_from(const volatile uint64_t *address) {
  uint64_t result;
  __asm__ volatile(".globl fault_begin\n.globl fault_end\nfault_begin: movq (%1), %0\nfault_end:"
                   : "=&r"(result)
                   : "r"(address)
                   : "memory");
  return result;
}
static void *fault_address;
static int faults;
static void on_fault(int number, siginfo_t *info, void *data) {
  ucontext_t *context = data;
  const greg_t pc = context->uc_mcontext.gregs[REG_RIP];
  if (number != SIGSEGV || info->si_code != SEGV_MAPERR || info->si_addr != fault_address) {
    fail("the fault's information is wrong: code %d, address %p", info->si_code, info->si_addr);
  }
  if (pc != (greg_t)(uintptr_t)fault_begin) fail("the fault's pc is not the program's");
  uint64_t interrupted;
  memcpy(&interrupted, &context->uc_sigmask, sizeof interrupted);
  if (interrupted != bit(SIGTERM)) fail("the context's mask is %lx", (long)interrupted);
  if (current_mask() != (bit(SIGTERM) | bit(SIGSEGV))) fail("the handler's mask is %lx", (long)current_mask());
  // The program goes on behind the load, with another mask.
  context->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)fault_end;
  sigaddset(&context->uc_sigmask, SIGHUP);
  ++faults;
}

TEST(fault_and_changed_context) {
  start_collecting();
  fault_address = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  MUST(fault_address != MAP_FAILED && munmap(fault_address, 4096) == 0);
  fault_address = (void *)(uintptr_t)0x1000;
  handle(SIGSEGV, on_fault, 0, 0);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  for (int i = 0; i < 1000; ++i) {
    MUST(pthread_sigmask(SIG_SETMASK, &set, NULL) == 0);
    load_from(fault_address);
    if (faults != i + 1) fail("a fault was lost");
    if (current_mask() != (bit(SIGTERM) | bit(SIGHUP))) fail("the changed mask was not taken: %lx", (long)current_mask());
  }
  stop_collecting();
}
#endif

// On a stack of the program's own, in its heap: scanned there, and known as in use.
static char *other_stack;
enum { kStackBytes = 256 * 1024 };
static void on_other_stack(int number, siginfo_t *info, void *context) {
  (void)number, (void)info, (void)context;
  char here;
  if (&here < other_stack || &here >= other_stack + kStackBytes) fail("not on the alternate stack");
  stack_t now;
  MUST(sigaltstack(NULL, &now) == 0 && now.ss_sp == other_stack && (now.ss_flags & SS_ONSTACK) != 0);
  must_be_scanned(4);
  add(&seen_count, 1);
}

TEST(alternate_stack) {
  other_stack = malloc(kStackBytes);
  const stack_t stack = {.ss_sp = other_stack, .ss_size = kStackBytes};
  MUST(other_stack != NULL && sigaltstack(&stack, NULL) == 0);
  start_collecting();
  handle(SIGUSR1, on_other_stack, SA_ONSTACK, 0);
  uint64_t *volatile held = new_block(1);
  for (int i = 0; i < 20; ++i) raise(SIGUSR1);
  MUST_BE_BLOCK(held, 1);
  stack_t now;
  MUST(seen_count == 20 && sigaltstack(NULL, &now) == 0 && (now.ss_flags & SS_ONSTACK) == 0);
  stop_collecting();
}

// Handlers within handlers; sa_mask and SA_NODEFER decide which.
static volatile int depth, deepest;  // libc's raise is declared as if no handler ran in it
static void on_nested(int number, siginfo_t *info, void *context) {
  (void)info, (void)context;
  uint64_t *volatile held = new_block((uint64_t)number);
  ++depth;
  if (depth > deepest) deepest = depth;
  must_be_scanned(1);
  if (number == SIGUSR1) {
    MUST(current_mask() == (bit(SIGUSR1) | bit(SIGRTMIN + 5)));
    raise(SIGRTMIN + 5);  // waits until this handler is left
    if (deepest != 1) fail("a blocked signal was delivered");
    raise(SIGUSR2);
    if (deepest != 3) fail("depth %d", deepest);
    deepest = 1;
  } else if (number == SIGUSR2 && depth < 3) {
    raise(SIGUSR2);  // SA_NODEFER
  }
  MUST_BE_BLOCK(held, (uint64_t)number);
  --depth;
  add(&seen_count, 1);
}

TEST(nested_handlers) {
  start_collecting();
  handle(SIGUSR1, on_nested, 0, SIGRTMIN + 5);
  handle(SIGUSR2, on_nested, SA_NODEFER, 0);
  handle(SIGRTMIN + 5, on_nested, 0, 0);
  for (int i = 1; i <= 20; ++i) {
    deepest = 0;
    raise(SIGUSR1);
    if (get(&seen_count) != 4 * i || depth != 0) fail("%d handlers ran in round %d", seen_count, i);
  }
  stop_collecting();
}

// A storm: every queued value arrives once and in its order, by a handler and by a descriptor.

enum { kStorm = 100000, kByDescriptor = 20000 };
static int next_value;
static void on_storm(int number, siginfo_t *info, void *context) {
  (void)number, (void)context;
  if (info->si_value.sival_int != next_value) fail("value %d came for %d", info->si_value.sival_int, next_value);
  add(&next_value, 1);
}
struct storm {
  pthread_t to;
  int n;
};
static void *storming_thread(void *data) {
  const struct storm *storm = data;
  // The queue that it fills is the user's: what runs beside this test may queue more.
  struct rlimit signals;
  MUST(getrlimit(RLIMIT_SIGPENDING, &signals) == 0);
  signals.rlim_cur /= 3;
  MUST(setrlimit(RLIMIT_SIGPENDING, &signals) == 0);
  for (int i = 0; i < storm->n; ++i) {
    const union sigval value = {.sival_int = i};
    int error;
    while ((error = pthread_sigqueue(storm->to, SIGRTMIN + 6, value)) == EAGAIN) syscall(SYS_sched_yield);
    MUST(error == 0);
  }
  return data;
}

TEST(storm_of_queued_values) {
  start_collecting();
  handle(SIGRTMIN + 6, on_storm, SA_RESTART, 0);
  struct storm storm = {pthread_self(), kStorm};
  pthread_t thread;
  MUST(pthread_create(&thread, NULL, storming_thread, &storm) == 0);
  while (get(&next_value) < kStorm) {
    const int before = get(&next_value);
    poll(NULL, 0, 2);
    const double begin = seconds();
    while (get(&next_value) == before && before < kStorm) {
      if (seconds() - begin > 10) fail("after value %d none came", before);
    }
  }
  MUST(pthread_join(thread, NULL) == 0 && next_value == kStorm);
  stop_collecting();
}

TEST(storm_by_descriptor) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGRTMIN + 6);
  MUST(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
  start_collecting();
  const int fd = signalfd(-1, &set, SFD_CLOEXEC);
  struct storm storm = {pthread_self(), kByDescriptor};
  pthread_t thread;
  MUST(pthread_create(&thread, NULL, storming_thread, &storm) == 0);
  for (int i = 0; i < kByDescriptor; ++i) {
    struct signalfd_siginfo info;
    MUST(read(fd, &info, sizeof info) == sizeof info);
    if (info.ssi_int != i) fail("value %d came for %d", info.ssi_int, i);
  }
  MUST(pthread_join(thread, NULL) == 0);
  stop_collecting();
}

// A profiler at 1 kHz while the program allocates and is collected. Its timer counts the processor's time, and so
// does the test; the kernel looks at the timer at its own ticks only, at least 100 in a second: half of them must come.
static void on_profile(int number, siginfo_t *info, void *context) {
  (void)info;
  if (number != SIGPROF || context == NULL) fail("the profiler's handler was given something else");
  add(&seen_count, 1);
}
static double own_processor_time(void) {
  struct timespec used;
  MUST(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used) == 0);
  return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}
TEST(profiler) {
  start_collecting();
  handle(SIGPROF, on_profile, SA_RESTART, 0);
  const struct itimerval every = {{0, 1000}, {0, 1000}};
  MUST(setitimer(ITIMER_PROF, &every, NULL) == 0);
  uint64_t *volatile held[64];
  while (own_processor_time() < 0.5) {
    for (uint64_t i = 0; i < GCM_COUNT(held); ++i) held[i] = new_block(i);
    churn();
    for (uint64_t i = 0; i < GCM_COUNT(held); ++i) {
      MUST_BE_BLOCK(held[i], i);
      free(held[i]);
    }
  }
  const struct itimerval never = {{0, 0}, {0, 0}};
  MUST(setitimer(ITIMER_PROF, &never, NULL) == 0);
  if (get(&seen_count) < 25) fail("only %d ticks", seen_count);
  stop_collecting();
}
