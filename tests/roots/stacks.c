// Stacks: the own, another thread's, alternate signal stacks, coroutines; each in a mapping and in the heap.
//
// Law: a stack counts from its stack pointer to its end, wherever it lies and however the thread came to it.
#include "cases.h"
#include "roots.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum { kStack = 256 * 1024 };

// Between parts that cannot be read, as stacks are: it does not become a part of its neighbours' mappings.
static void *map_stack(void) {
  char *p = mmap(NULL, 3 * kStack, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  MUST(p != MAP_FAILED && mprotect(p + kStack, kStack, PROT_READ | PROT_WRITE) == 0);
  return p + kStack;
}

static void wait_judging(struct waiter *w) {
  (void)w;
  judge();
}

void case_main_stack(void) {
  struct waiter w = {.wait = wait_judging};
  hold_on_stack(&w);
}

static void *judging_thread(void *argument) {
  await_sleep(*(pid_t *)argument);
  judge();
  return NULL;
}

static void wait_joining(struct waiter *w) {
  pthread_t thread;
  w->tid = own_tid();
  MUST(pthread_create(&thread, NULL, judging_thread, &w->tid) == 0);
  MUST(pthread_join(thread, NULL) == 0);
}

void case_main_stack_other_collects(void) {
  struct waiter w = {.wait = wait_joining};
  hold_on_stack(&w);
}

void case_thread_stack(void) {
  static struct waiter w;
  start(&w, hold_on_stack, wait_spinning);
  judge();
  finish(&w);
}

// 4 MiB of frames between the holder and the stack pointer.
static GCM_NOINLINE void descend(struct waiter *w, int depth) {
  volatile char frame[64 * 1024];
  frame[0] = (char)depth;
  frame[sizeof frame - 1] = (char)depth;
  if (depth > 0) {
    descend(w, depth - 1);
  } else {
    wait_spinning(w);
  }
  if (frame[0] != (char)depth || frame[sizeof frame - 1] != (char)depth) fail("a frame was changed");
}

static void wait_deep(struct waiter *w) { descend(w, 60); }

void case_thread_stack_deep(void) {
  static struct waiter w;
  start(&w, hold_on_stack, wait_deep);
  judge();
  finish(&w);
}

// Alternate signal stacks.

static struct waiter *handler_waiter;
static void (*handler_body)(struct waiter *);

static void on_signal(int number) {
  (void)number;
  handler_body(handler_waiter);
}

static bool by_library;

static void give_alternate_stack(const stack_t *stack) {
  MUST((by_library ? sigaltstack(stack, NULL) : (int)syscall(SYS_sigaltstack, stack, NULL)) == 0);
}

static void install_alternate_stack(void *memory) {
  stack_t stack = {.ss_sp = memory, .ss_size = kStack};
  give_alternate_stack(&stack);
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_signal;
  action.sa_flags = SA_ONSTACK;
  MUST(sigaction(SIGUSR1, &action, NULL) == 0);
}

static void disable_alternate_stack(void) {
  stack_t stack = {.ss_flags = SS_DISABLE};
  give_alternate_stack(&stack);
}

static bool stack_in_heap;

static GCM_NOINLINE void take_alternate_stack(void) {
  install_alternate_stack(stack_in_heap ? malloc(kStack) : map_stack());
}

static void signalled_thread(struct waiter *w) {
  take_alternate_stack();
  hide();
  handler_waiter = w;
  handler_body = hold_on_stack;
  raise(SIGUSR1);
  disable_alternate_stack();
}

void case_alternate_stack(void) {
  static struct waiter w;
  start(&w, signalled_thread, wait_spinning);
  judge();
  finish(&w);
}

// Only the stack pointer and the kernel know of the heap block that is the stack.
void case_alternate_stack_in_heap(void) {
  stack_in_heap = true;
  case_alternate_stack();
}

// The thread on that stack collects itself.
static void collecting_signalled_thread(struct waiter *w) {
  w->wait = wait_judging;
  signalled_thread(w);
  atomic_store(&w->ready, 1);
}

void case_alternate_stack_in_heap_collects(void) {
  static struct waiter w;
  stack_in_heap = true;
  start(&w, collecting_signalled_thread, wait_judging);
  finish(&w);
}

static void wait_in_handler(struct waiter *w) {
  handler_waiter = w;
  handler_body = wait_spinning;
  raise(SIGUSR1);
}

static void interrupted_thread(struct waiter *w) {
  take_alternate_stack();
  hide();
  hold_on_stack(w);
  disable_alternate_stack();
}

void case_below_alternate_stack(void) {
  static struct waiter w;
  start(&w, interrupted_thread, wait_in_handler);
  judge();
  finish(&w);
}

// Programs commonly give sigaltstack a block from malloc and keep no pointer to it.
// Handlers may run on it, from its end downwards: only its lower part must keep the pattern.
static GCM_NOINLINE void give_block_to_kernel(void) {
  install_alternate_stack(new_block_sized(kStack));
  sizes[blocks - 1] = kStack / 4;
  if (dropping) disable_alternate_stack();
}

static void giving_thread(struct waiter *w) {
  give_block_to_kernel();
  hide();
  wait_spinning(w);
  disable_alternate_stack();
}

void case_alternate_stack_kept_by_kernel(void) {
  static struct waiter waiters[4];
  for (int i = 0; i < 4; ++i) start(&waiters[i], giving_thread, NULL);
  judge();
  for (int i = 0; i < 4; ++i) finish(&waiters[i]);
}

void case_alternate_stack_kept_by_kernel_main(void) {
  for (int i = 0; i < (dropping ? 8 : 1); ++i) give_block_to_kernel();
  hide();
  judge();
}

static void giving_and_collecting_thread(struct waiter *w) {
  for (int i = 0; i < (dropping ? 8 : 1); ++i) give_block_to_kernel();
  hide();
  judge();
  atomic_store(&w->ready, 1);
}

void case_alternate_stack_kept_by_kernel_collects(void) {
  static struct waiter w;
  start(&w, giving_and_collecting_thread, NULL);
  finish(&w);
}

// A thread that waits, and that a collector may leave alone.
static void giving_and_waiting_thread(struct waiter *w) {
  for (int i = 0; i < (dropping ? 8 : 1); ++i) give_block_to_kernel();
  hide();
  atomic_store(&w->ready, 1);
  char byte;
  MUST(read(w->fds[0], &byte, 1) == 1);
  disable_alternate_stack();
}

void case_alternate_stack_kept_by_kernel_waiting(void) {
  static struct waiter w;
  by_library = true;
  MUST(pipe(w.fds) == 0);
  start(&w, giving_and_waiting_thread, NULL);
  await_sleep(w.tid);
  judge();
  MUST(write(w.fds[1], "x", 1) == 1);
  finish(&w);
}

// Coroutines.

static ucontext_t routine;
static ucontext_t caller;
static struct waiter *routine_waiter;

static void wait_by_leaving(struct waiter *w) {
  (void)w;
  swapcontext(&routine, &caller);
}

static void routine_body(void) { hold_on_stack(routine_waiter); }

static GCM_NOINLINE void make_routine(void *memory) {
  MUST(getcontext(&routine) == 0);
  routine.uc_stack.ss_sp = memory;
  routine.uc_stack.ss_size = kStack;
  routine.uc_link = &caller;
  makecontext(&routine, routine_body, 0);
}

static void suspended_routine(void) {
  static struct waiter w;
  w.wait = wait_by_leaving;
  routine_waiter = &w;
  MUST(swapcontext(&caller, &routine) == 0);
  hide();
  judge();
  MUST(swapcontext(&caller, &routine) == 0);
}

void case_coroutine_in_mapping(void) {
  make_routine(map_stack());
  suspended_routine();
}

void case_coroutine_in_heap(void) {
  make_routine(malloc(kStack));
  suspended_routine();
}

static void wait_without_context(struct waiter *w) {
  // The context, which holds the stack's address, is not needed while the coroutine runs.
  memset(&routine, 0, sizeof routine);
  wait_spinning(w);
}

static void routine_thread(struct waiter *w) {
  make_routine(malloc(kStack));
  routine_waiter = w;
  hide();
  MUST(swapcontext(&caller, &routine) == 0);
}

// Only the stack pointer of the thread points into the heap block that is its stack.
void case_coroutine_running_in_heap(void) {
  static struct waiter w;
  start(&w, routine_thread, wait_without_context);
  judge();
  finish(&w);
}

static void wait_judging_without_context(struct waiter *w) {
  memset(&routine, 0, sizeof routine);
  judge();
  atomic_store(&w->ready, 1);
}

// The same, and the coroutine collects itself.
void case_coroutine_collects_in_heap(void) {
  static struct waiter w;
  start(&w, routine_thread, wait_judging_without_context);
  finish(&w);
}

static void idle_body(void) { wait_spinning(routine_waiter); }

static void wait_in_routine(struct waiter *w) {
  routine_waiter = w;
  MUST(getcontext(&routine) == 0);
  routine.uc_stack.ss_sp = map_stack();
  routine.uc_stack.ss_size = kStack;
  routine.uc_link = &caller;
  makecontext(&routine, idle_body, 0);
  MUST(swapcontext(&caller, &routine) == 0);
}

// The thread's first stack holds pointers while its stack pointer is elsewhere.
void case_below_coroutine(void) {
  static struct waiter w;
  start(&w, hold_on_stack, wait_in_routine);
  judge();
  finish(&w);
}
