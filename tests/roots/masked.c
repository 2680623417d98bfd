// Threads that block every signal, through the library and past it, running and sleeping.
//
// Law: a mask is the program's own; a thread behind one is scanned like any other.
#include "cases.h"
#include "roots.h"

#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static void block_by_library(void) {
  sigset_t all;
  sigfillset(&all);
  MUST(pthread_sigmask(SIG_SETMASK, &all, NULL) == 0);
}

static void block_by_kernel(void) {
  unsigned long all = ~0ul;
  MUST(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, sizeof all) == 0);
}

static void run(void (*body)(struct waiter *), void (*wait)(struct waiter *)) {
  static struct waiter w;
  start(&w, body, wait);
  judge();
  finish(&w);
}

static void wait_blocked_by_library(struct waiter *w) {
  block_by_library();
  wait_spinning(w);
}
void case_signals_blocked_spin(void) { run(hold_on_stack, wait_blocked_by_library); }

static void wait_blocked_by_kernel(struct waiter *w) {
  block_by_kernel();
  wait_spinning(w);
}
void case_signals_blocked_raw_spin(void) { run(hold_on_stack, wait_blocked_by_kernel); }

static void wait_blocked_reading(struct waiter *w) {
  block_by_kernel();
  atomic_store(&w->ready, 1);
  char byte;
  if (syscall(SYS_read, w->fds[0], &byte, 1) != 1) fail("read was interrupted");
}
void case_signals_blocked_raw_read(void) {
  static struct waiter w;
  MUST(pipe(w.fds) == 0);
  start(&w, hold_on_stack, wait_blocked_reading);
  await_sleep(w.tid);
  judge();
  MUST(write(w.fds[1], "x", 1) == 1);
  finish(&w);
}

#if defined(__x86_64__)
#define HOLD_SPIN hold_spin_rbx
#elif defined(__aarch64__)
#define HOLD_SPIN hold_spin_x19
#endif

uint64_t HOLD_SPIN(uint64_t value, uint64_t key, atomic_int *ready, atomic_int *go);

static void register_thread(struct waiter *w) {
  uint64_t value = 0;
  for (int i = 0; i < (dropping ? kBlocks : 1); ++i) value = new_hidden_block();
  if (dropping) value = kKey;
  hide();
  block_by_kernel();
  if (HOLD_SPIN(value, kKey, &w->ready, &w->go) != value) fail("the register was changed");
}
void case_signals_blocked_raw_register(void) { run(register_thread, NULL); }
