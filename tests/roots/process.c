// vfork and fork.
//
// Law: the parent of a vfork waits where no signal reaches it, and its stack counts; a forked child collects
// with what it inherited, the stacks of threads that are no more included as far as something points there.
#include "cases.h"
#include "roots.h"

#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void await_child(pid_t child) {
  int status = -1;
  MUST(waitpid(child, &status, 0) == child);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) skip("the child skipped it");
    fail("the child ended with status %#x", (unsigned)status);
  }
}

// vfork.

static bool by_library;

static void wait_in_vfork(struct waiter *w) {
  char byte;
  const pid_t child = vfork();
  MUST(child >= 0);
  if (child == 0) {
    close(w->fds[1]);  // its own copy: should the parent die, the read ends
    atomic_store(&w->ready, 1);
    const long n = by_library ? (long)read(w->fds[0], &byte, 1) : syscall(SYS_read, w->fds[0], &byte, 1);
    _exit(n == 1 ? 0 : 1);
  }
  await_child(child);
}

static void run_vfork(void) {
  static struct waiter w;
  MUST(pipe(w.fds) == 0);
  start(&w, hold_on_stack, wait_in_vfork);
  await_sleep(w.tid);
  judge();
  MUST(write(w.fds[1], "x", 1) == 1);
  finish(&w);
}

void case_vfork_parent(void) { run_vfork(); }

void case_vfork_parent_library_call(void) {
  by_library = true;
  run_vfork();
}

// fork.

static void judge_in_child(void) {
  const pid_t child = fork();
  MUST(child >= 0);
  if (child == 0) {
    alarm(20);
    judge();
    _exit(0);
  }
  await_child(child);
}

static void judge_in_both(void) {
  judge_in_child();
  judge();
}

static void *volatile in_static[kBlocks];

void case_fork_static(void) {
  fill_slots(in_static, kBlocks);
  judge_in_both();
}

void case_fork_twice(void) {
  fill_slots(in_static, kBlocks);
  const pid_t child = fork();
  MUST(child >= 0);
  if (child == 0) {
    alarm(20);
    judge_in_child();
    judge();
    _exit(0);
  }
  await_child(child);
}

static void wait_forking(struct waiter *w) {
  (void)w;
  judge_in_both();
}

void case_fork_main_stack(void) {
  struct waiter w = {.wait = wait_forking};
  hold_on_stack(&w);
}

// The child reads what another thread of the parent kept on its stack, through a pointer of its own.
static void *volatile *volatile foreign_stack;

static void lending_thread(struct waiter *w) {
  void *volatile local[kBlocks];
  fill_slots(local, kBlocks);
  foreign_stack = local;
  wait_spinning(w);
  foreign_stack = NULL;
}

void case_fork_thread_stack(void) {
  static struct waiter w;
  start(&w, lending_thread, NULL);
  judge_in_child();
  finish(&w);
}

static void forking_thread(struct waiter *w) {
  w->wait = wait_forking;
  hold_on_stack(w);
  atomic_store(&w->ready, 1);
}

void case_fork_from_thread(void) {
  static struct waiter w;
  start(&w, forking_thread, wait_forking);
  finish(&w);
}

static __thread void *volatile in_tls[kBlocks];

static void tls_thread(struct waiter *w) {
  fill_slots(in_tls, kBlocks);
  judge_in_both();
  atomic_store(&w->ready, 1);
}

void case_fork_tls(void) {
  static struct waiter w;
  start(&w, tls_thread, NULL);
  finish(&w);
}
