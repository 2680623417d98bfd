// Threads in states in which it is hard to stop them.
//
// Law: a collection with such a thread succeeds, or is given up within a bounded time and says so; the program
// goes on in each case, and what the thread holds is kept.
#include "host.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

static const double kBound = 3;  // for a collection that is given up

static int ready, go;
static pid_t holder;

// Holds blocks, prepares, spins until it may go; `undo` and another spin follow.
struct spinner {
  void (*prepare)(void);
  void (*undo)(void);
};
static void *spinning_thread(void *data) {
  const struct spinner *spinner = data;
  uint64_t *volatile held[8];
  for (uint64_t i = 0; i < GCM_COUNT(held); ++i) held[i] = new_block(i);
  put(&holder, own_tid());
  spinner->prepare();
  put(&ready, 1);
  while (get(&go) < 1) {
  }
  if (spinner->undo != NULL) spinner->undo();
  put(&ready, 2);
  while (get(&go) < 2) {
  }
  for (uint64_t i = 0; i < GCM_COUNT(held); ++i) MUST_BE_BLOCK(held[i], i);
  return NULL;
}

static void block_by_libc(void) {
  sigset_t all;
  sigfillset(&all);
  MUST(pthread_sigmask(SIG_SETMASK, &all, NULL) == 0);
}
static void block_by_kernel(void) {
  const uint64_t all = ~0ull;
  MUST(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, 8) == 0);
}
static void unblock_by_kernel(void) {
  const uint64_t none = 0;
  MUST(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, 8) == 0);
}

static void must_collect(int n) {
  for (int i = 0; i < n; ++i) {
    const double begin = seconds();
    if (!collect()) fail("collection %d of %d failed", i, n);
    if (seconds() - begin > 0.1 + slack()) fail("a collection took %.3f s", seconds() - begin);
    churn();
  }
}

TEST(stop_spinning_blocked_by_libc) {
  struct spinner spinner = {block_by_libc, NULL};
  pthread_t thread;
  MUST(pthread_create(&thread, NULL, spinning_thread, &spinner) == 0);
  spin_until(&ready, 1);
  must_collect(50);
  put(&go, 2);
  MUST(pthread_join(thread, NULL) == 0);
}

// GCMALLOC_TRACE=1: what it says goes to this test's standard error, a file here.
TEST(stop_spinning_blocked_by_kernel) {
  if (!collector()) skip("no collector here");
  const int said = memfd_create("said", MFD_CLOEXEC);
  MUST(said >= 0 && dup2(said, 2) == 2);
  struct spinner spinner = {block_by_kernel, unblock_by_kernel};
  pthread_t thread;
  MUST(pthread_create(&thread, NULL, spinning_thread, &spinner) == 0);
  spin_until(&ready, 1);
  const unsigned long long queued = status_number(own_tid(), "SigQ", 10);
  const double begin = seconds();
  const bool collected = collect();
  if (seconds() - begin > kBound) fail("the collection took %.1f s", seconds() - begin);
  churn();
  // The queue belongs to all processes of the user: a thread that takes no signal is not sent them again and again.
  const unsigned long long queued_now = status_number(own_tid(), "SigQ", 10);
  if (queued_now > queued + 100) fail("%llu signals are queued, %llu were", queued_now, queued);
  if (!collected) {
    char text[4096] = {0};
    MUST(pread(said, text, sizeof text - 1, 0) >= 0);
    if (strstr(text, "gc skipped: ") == NULL) fail("a collection failed without a word: %.200s", text);
  }
  put(&go, 1);
  spin_until(&ready, 2);
  must_collect(20);
  put(&go, 2);
  MUST(pthread_join(thread, NULL) == 0);
}

// The queue of signals is full: a signal that carries a value cannot be sent.
TEST(stop_full_signal_queue) {
  if (!collector()) skip("no collector here");
  struct spinner spinner = {block_by_libc, NULL};
  pthread_t thread;
  MUST(pthread_create(&thread, NULL, spinning_thread, &spinner) == 0);
  spin_until(&ready, 1);
  must_collect(1);
  struct rlimit few;
  MUST(getrlimit(RLIMIT_SIGPENDING, &few) == 0);
  few.rlim_cur = status_number(own_tid(), "SigQ", 10) + 20;
  MUST(setrlimit(RLIMIT_SIGPENDING, &few) == 0);
  block_by_libc();
  while (sigqueue(getpid(), SIGRTMIN + 8, (union sigval){.sival_int = 1}) == 0) {
  }
  MUST(errno == EAGAIN);
  for (int i = 0; i < 3; ++i) {
    const double begin = seconds();
    collect();
    if (seconds() - begin > kBound) fail("a collection took %.1f s", seconds() - begin);
    churn();
  }
  put(&go, 2);
  MUST(pthread_join(thread, NULL) == 0);
}

// A thread that blocks everything and waits is in nobody's way: it need not take a signal to be scanned.
static int ends[2];
static void *raw_blocked_reader(void *call_of_libc) {
  uint64_t *volatile held[8];
  for (uint64_t i = 0; i < GCM_COUNT(held); ++i) held[i] = new_block(i);
  block_by_kernel();
  put(&holder, own_tid());
  char byte;
  MUST((call_of_libc != NULL ? read(ends[0], &byte, 1) : syscall(SYS_read, ends[0], &byte, 1)) == 1);
  for (uint64_t i = 0; i < GCM_COUNT(held); ++i) MUST_BE_BLOCK(held[i], i);
  return NULL;
}
TEST(stop_blocked_by_kernel_in_libc_read) {
  pthread_t thread;
  MUST(pipe(ends) == 0 && pthread_create(&thread, NULL, raw_blocked_reader, &ends) == 0);
  spin_until(&holder, 1);
  await_sleep(holder);
  must_collect(20);
  MUST(write(ends[1], "x", 1) == 1 && pthread_join(thread, NULL) == 0);
}
TEST(stop_blocked_by_kernel_in_raw_read) {
  pthread_t thread;
  MUST(pipe(ends) == 0 && pthread_create(&thread, NULL, raw_blocked_reader, NULL) == 0);
  spin_until(&holder, 1);
  await_sleep(holder);
  const double begin = seconds();
  collect();
  if (seconds() - begin > kBound) fail("the collection took %.1f s", seconds() - begin);
  churn();
  MUST(write(ends[1], "x", 1) == 1 && pthread_join(thread, NULL) == 0);
  must_collect(5);
}

// The parent of a vfork, while its child takes its time.
static void *vforking_thread(void *unused) {
  uint64_t *volatile held[8];
  for (uint64_t i = 0; i < GCM_COUNT(held); ++i) held[i] = new_block(i);
  put(&holder, own_tid());
  for (int i = 0; i < 3; ++i) {
    const double begin = seconds();
    const pid_t child = vfork();
    MUST(child >= 0);
    if (child == 0) {
      nap(0.3);
      _exit(9);
    }
    int status;
    if (seconds() - begin < 0.299) fail("vfork returned after %.3f s", seconds() - begin);
    MUST(waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 9);
    for (uint64_t k = 0; k < GCM_COUNT(held); ++k) MUST_BE_BLOCK(held[k], k);
  }
  put(&go, 1);
  return unused;
}
TEST(stop_vfork_parent) {
  pthread_t thread;
  MUST(pthread_create(&thread, NULL, vforking_thread, NULL) == 0);
  while (get(&go) == 0) {
    const double begin = seconds();
    collect();
    churn();
    if (seconds() - begin > kBound) fail("a collection took %.1f s", seconds() - begin);
    nap(0.001);
  }
  MUST(pthread_join(thread, NULL) == 0);
  must_collect(10);
}

// A thread that copies gigabytes within one call of the kernel's, where no signal reaches it, again and again: nobody
// else waits for the end of that.
enum { kPieces = 1023, kPiece = 1 << 21 };
static double shortest_copy, longest_gap;
static void *copying_thread(void *room) {
  uint64_t *volatile held[8];
  for (uint64_t i = 0; i < GCM_COUNT(held); ++i) held[i] = new_block(i);
  static struct iovec to[kPieces], from[kPieces];
  for (int i = 0; i < kPieces; ++i) {
    to[i] = (struct iovec){room, kPiece};
    from[i] = (struct iovec){(char *)room + kPiece, kPiece};
  }
  shortest_copy = 1000;
  while (get(&go) == 0) {
    const double begin = seconds();
    if (syscall(SYS_process_vm_readv, getpid(), to, kPieces, from, kPieces, 0) < 0) skip("no process_vm_readv");
    const double took = seconds() - begin;
    if (took < shortest_copy) shortest_copy = took;
    put(&ready, 1);
    for (uint64_t i = 0; i < GCM_COUNT(held); ++i) MUST_BE_BLOCK(held[i], i);
  }
  return NULL;
}
static void *watching_thread(void *unused) {
  for (double last = seconds(), now; get(&go) == 0; last = now) {
    now = seconds();
    if (now - last > longest_gap) longest_gap = now - last;
  }
  return unused;
}
TEST(stop_long_copy) {
  if (!collector()) skip("no collector here");
  const long tracks = syscall(SYS_userfaultfd, O_CLOEXEC | 1 /* UFFD_USER_MODE_ONLY */);
  if (tracks < 0) skip("without tracking all is done in one stop, which waits for all");
  close((int)tracks);
  char *room = mmap(NULL, 2 * kPiece, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  MUST(room != MAP_FAILED);
  static void *volatile large[256];
  for (int i = 0; i < 256; ++i) large[i] = malloc(100000);  // worth a cycle beside the program
  pthread_t copies, watches;
  MUST(pthread_create(&copies, NULL, copying_thread, room) == 0);
  spin_until(&ready, 1);
  MUST(pthread_create(&watches, NULL, watching_thread, NULL) == 0);
  for (int i = 0; i < 5; ++i) {
    if (!collect()) fail("collection %d failed", i);
    churn();
  }
  put(&go, 1);
  MUST(pthread_join(copies, NULL) == 0 && pthread_join(watches, NULL) == 0);
  for (int i = 0; i < 256; ++i) free(large[i]);
  if (shortest_copy < 0.05) skip("the copies are too short");
  if (longest_gap > shortest_copy * 3 / 4)
    fail("a thread stood still for %.3f s while another copied for %.3f s", longest_gap, shortest_copy);
}

// On stacks of the program's own, in and out of blocking calls.
static ucontext_t outside, inside;
static void coroutine(void) {
  uint64_t *volatile held[8];
  for (uint64_t i = 0; i < GCM_COUNT(held); ++i) held[i] = new_block(i);
  for (int i = 0; i < 100; ++i) {
    poll(NULL, 0, 1);
    if (i % 10 == 0) must_be_scanned(1);
    for (uint64_t k = 0; k < GCM_COUNT(held); ++k) MUST_BE_BLOCK(held[k], k);
    if (i % 10 == 5) swapcontext(&inside, &outside);
  }
  swapcontext(&inside, &outside);
}
static void *coroutine_thread(void *stack) {
  enum { kBytes = 256 * 1024 };
  MUST(getcontext(&inside) == 0);
  inside.uc_stack.ss_sp = stack;
  inside.uc_stack.ss_size = kBytes;
  makecontext(&inside, coroutine, 0);
  for (int i = 0; i < 11; ++i) {
    swapcontext(&outside, &inside);
    poll(NULL, 0, 3);
    must_be_scanned(1);
  }
  return NULL;
}
static void run_coroutine(void *stack) {
  start_collecting();
  pthread_t thread;
  MUST(stack != NULL && stack != MAP_FAILED && pthread_create(&thread, NULL, coroutine_thread, stack) == 0);
  MUST(pthread_join(thread, NULL) == 0);
  stop_collecting();
}
TEST(stop_coroutine_in_heap) { run_coroutine(malloc(256 * 1024)); }
TEST(stop_coroutine_in_mapping) {
  run_coroutine(mmap(NULL, 256 * 1024, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}
