// The beginning and the end of threads, and threads that the C library does not know of.
//
// Law: an argument counts from the call of pthread_create, a result until pthread_join, whoever made the
// thread and whatever its stack is. Bare threads (clone) share the thread-local storage of their maker, so they
// call nothing: they only store, spin and exit.
#include "cases.h"
#include "roots.h"

#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

// The argument of a thread that has not run yet. New threads queue behind two busy ones on the same processor,
// which gives collections on the others time to happen in between.

enum { kStarts = 120 };
static atomic_int stop;
static atomic_int good_arguments;
static pthread_t started[kStarts];

static void pin(bool to_first) {
  cpu_set_t all;
  if (sched_getaffinity(0, sizeof all, &all) != 0 || CPU_COUNT(&all) < 2) return;
  cpu_set_t wanted;
  CPU_ZERO(&wanted);
  bool first = true;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &all)) continue;
    if (first == to_first) CPU_SET(cpu, &wanted);
    first = false;
  }
  sched_setaffinity(0, sizeof wanted, &wanted);
}

static void *busy_thread(void *unused) {
  (void)unused;
  pin(true);
  while (atomic_load(&stop) == 0) {
  }
  return NULL;
}

static void *collecting_thread(void *unused) {
  (void)unused;
  pin(false);
  while (atomic_load(&stop) == 0) {
    collect();
    churn();
  }
  return NULL;
}

static void *started_thread(void *argument) {
  const uint64_t *block = argument;
  if (block != NULL && (block[0] >> 48) == 0xF00D && block_base(block) == block) {
    const int number = (int)((block[0] >> 24) & 0xFFFF);
    if (intact(number)) atomic_fetch_add(&good_arguments, 1);
  }
  return NULL;
}

static GCM_NOINLINE void start_one(int i) {
  void *p = new_block_sized(256);
  MUST(pthread_create(&started[i], NULL, started_thread, dropping ? NULL : p) == 0);
}

void case_start_argument(void) {
  pthread_t collector;
  pthread_t busy[2];
  MUST(pthread_create(&collector, NULL, collecting_thread, NULL) == 0);
  for (int i = 0; i < 2; ++i) MUST(pthread_create(&busy[i], NULL, busy_thread, NULL) == 0);
  pin(true);
  for (int i = 0; i < kStarts; ++i) {
    start_one(i);
    hide();
    if (i % 8 == 7) {
      for (int k = i - 7; k <= i; ++k) MUST(pthread_join(started[k], NULL) == 0);
    }
  }
  atomic_store(&stop, 1);
  MUST(pthread_join(collector, NULL) == 0);
  for (int i = 0; i < 2; ++i) MUST(pthread_join(busy[i], NULL) == 0);
  if (!dropping && atomic_load(&good_arguments) != kStarts) {
    fail("%d of %d arguments were reclaimed before their threads ran", kStarts - atomic_load(&good_arguments), kStarts);
  }
  if (dropping) judge();
}

// The result of a thread that nobody has joined yet.

enum { kResults = 32 };
static pthread_t finished[kResults];
static pid_t finished_tids[kResults];
static bool by_exit;

static GCM_NOINLINE void *make_result(void) {
  void *p = new_block();
  return dropping ? NULL : p;
}

static void *resulting_thread(void *argument) {
  *(pid_t *)argument = own_tid();
  void *result = make_result();
  hide();
  if (by_exit) pthread_exit(result);
  return result;
}

static void run_results(void) {
  for (int i = 0; i < kResults; ++i) {
    MUST(pthread_create(&finished[i], NULL, resulting_thread, &finished_tids[i]) == 0);
    while (*(volatile pid_t *)&finished_tids[i] == 0) sched_yield();
    await_gone(finished_tids[i]);
  }
  judge();
  for (int i = 0; i < kResults; ++i) {
    void *result = NULL;
    MUST(pthread_join(finished[i], &result) == 0);
    MUST(result == (dropping ? NULL : (void *)(uintptr_t)(hidden[i] ^ kKey)));
  }
}

void case_return_value(void) { run_results(); }

void case_exit_value(void) {
  by_exit = true;
  run_results();
}

// Bare threads.

#if defined(__x86_64__)
#define HOLD_SPIN hold_spin_r12
#elif defined(__aarch64__)
#define HOLD_SPIN hold_spin_x20
#endif

uint64_t HOLD_SPIN(uint64_t value, uint64_t key, atomic_int *ready, atomic_int *go);

enum { kStack = 256 * 1024 };
#define kFlags (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_CHILD_CLEARTID)
static atomic_int bare_ready;
static atomic_int bare_go;
static pid_t bare_alive = 1;

static void *map_stack(void) {
  void *p = mmap(NULL, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  MUST(p != MAP_FAILED);
  return p;
}

static int spin_with_stack(void *unused) {
  (void)unused;
  void *volatile local[kBlocks];
  for (int i = 0; i < kBlocks; ++i) local[i] = dropping ? NULL : (void *)(uintptr_t)(hidden[i] ^ kKey);
  atomic_store(&bare_ready, 1);
  while (atomic_load(&bare_go) == 0) {
  }
  for (int i = 0; i < kBlocks; ++i) {
    if (!dropping && (uint64_t)(uintptr_t)local[i] != (hidden[i] ^ kKey)) return 1;
  }
  return 0;
}

static int spin_with_register(void *unused) {
  (void)unused;
  HOLD_SPIN(dropping ? kKey : hidden[0], kKey, &bare_ready, &bare_go);
  return 0;
}

// Holds the blocks until the thread does.
static void *volatile until_ready[kBlocks];

static void make_blocks(bool many) {
  for (int i = 0; i < (many || dropping ? kBlocks : 1); ++i) until_ready[i] = new_block();
  hide();
}

static void judge_bare(void) {
  spin_until(&bare_ready);
  for (int i = 0; i < kBlocks; ++i) until_ready[i] = NULL;
  judge();
  atomic_store(&bare_go, 1);
  while (*(volatile pid_t *)&bare_alive != 0) sched_yield();
}

static GCM_NOINLINE void clone_one(void *stack, int (*body)(void *)) {
  MUST(clone(body, (char *)stack + kStack, kFlags, NULL, NULL, NULL, &bare_alive) > 0);
}

void case_clone_stack(void) {
  make_blocks(true);
  clone_one(map_stack(), spin_with_stack);
  judge_bare();
}

void case_clone_register(void) {
  make_blocks(false);
  clone_one(map_stack(), spin_with_register);
  judge_bare();
}

// The stack itself is a heap block that only the thread's stack pointer refers to.
void case_clone_stack_in_heap(void) {
  make_blocks(true);
  clone_one(malloc(kStack), spin_with_stack);
  hide();
  judge_bare();
}

void case_clone_signals_blocked(void) {
  make_blocks(true);
  unsigned long all = ~0ul;
  unsigned long before = 0;
  MUST(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof all) == 0);
  clone_one(map_stack(), spin_with_stack);
  MUST(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof before) == 0);
  judge_bare();
}

#if defined(__x86_64__) && defined(SYS_clone3)

// clone3_call(arguments, size, body): the child calls body(NULL) on its own stack and exits.
__asm__(
    ".text\n.globl clone3_call\n.type clone3_call, @function\nclone3_call:\n"
    "mov %rdx, %r8\nmov $435, %eax\nsyscall\ntest %rax, %rax\njnz 1f\n"
    "xor %ebp, %ebp\nxor %edi, %edi\ncall *%r8\nmov %eax, %edi\nmov $60, %eax\nsyscall\n"
    "1: ret\n.size clone3_call, . - clone3_call\n");
long clone3_call(struct clone_args *arguments, size_t size, int (*body)(void *));

static void clone3_one(int (*body)(void *)) {
  struct clone_args arguments;
  memset(&arguments, 0, sizeof arguments);
  arguments.flags = kFlags;
  arguments.child_tid = (uintptr_t)&bare_alive;
  arguments.stack = (uintptr_t)map_stack();
  arguments.stack_size = kStack;
  const long result = clone3_call(&arguments, sizeof arguments, body);
  if (result < 0) skip("no clone3 here");
}

void case_clone3_stack(void) {
  make_blocks(true);
  clone3_one(spin_with_stack);
  judge_bare();
}

void case_clone3_register(void) {
  make_blocks(false);
  clone3_one(spin_with_register);
  judge_bare();
}

#else

void case_clone3_stack(void) { skip("not written for this processor"); }
void case_clone3_register(void) { skip("not written for this processor"); }

#endif
