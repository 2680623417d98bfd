// Many threads: being born and ending all the time, and a thousand that wait.
#include "host.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const double kStorm = 2;

// Each is given a block that nobody else knows, and returns one.
static int detached_ran, detached_made;
static void *short_thread(void *argument) {
  MUST_BE_BLOCK(argument, 1);
  uint64_t *volatile own = new_block(2);
  churn();
  MUST_BE_BLOCK(own, 2);
  return own;
}
static void *short_detached_thread(void *argument) {
  MUST_BE_BLOCK(argument, 1);
  add(&detached_ran, 1);
  return NULL;
}

static void *joining_thread(void *unused) {
  const double until = seconds() + kStorm;
  while (seconds() < until) {
    pthread_t threads[4];
    void *result;
    for (size_t i = 0; i < GCM_COUNT(threads); ++i) {
      MUST(pthread_create(&threads[i], NULL, short_thread, new_block(1)) == 0);
    }
    for (size_t i = 0; i < GCM_COUNT(threads); ++i) {
      MUST(pthread_join(threads[i], &result) == 0);
      MUST_BE_BLOCK(result, 2);
    }
  }
  return unused;
}
static void *detaching_thread(void *unused) {
  const double until = seconds() + kStorm;
  pthread_attr_t attributes;
  MUST(pthread_attr_init(&attributes) == 0);
  MUST(pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED) == 0);
  while (seconds() < until) {
    pthread_t thread;
    MUST(pthread_create(&thread, &attributes, short_detached_thread, new_block(1)) == 0);
    add(&detached_made, 1);
    while (get(&detached_made) - get(&detached_ran) > 50) sched_yield();
  }
  return unused;
}

TEST(stop_births_and_deaths) {
  start_collecting();
  pthread_t threads[2];
  MUST(pthread_create(&threads[0], NULL, joining_thread, NULL) == 0);
  MUST(pthread_create(&threads[1], NULL, detaching_thread, NULL) == 0);
  for (int i = 0; i < 2; ++i) MUST(pthread_join(threads[i], NULL) == 0);
  stop_collecting();
  while (get(&detached_ran) < get(&detached_made)) nap(0.001);
  if (refusals != 0) fail("%d of %d collections failed", refusals, refusals + collections);
}

// Threads that libc does not know of. They share their maker's thread-local storage, so they call nothing.
struct bare {
  uint64_t *block;
  volatile long kept;
  int alive;
};
static int bare_main(void *data) {
  struct bare *bare = data;
  uint64_t *volatile held = bare->block;
  bare->block = NULL;
  for (volatile int i = 0; i < 200000; ++i) {
  }
  bare->kept = 1;
  for (uint64_t i = 0; i < kBlockWords; ++i) {
    if (held[i] != (0xF00D000000000000u | 3 << 8 | i)) bare->kept = 2;
  }
  return 0;
}
TEST(stop_bare_threads) {
  enum { kBytes = 64 * 1024, kAtOnce = 4 };
  start_collecting();
  char *stacks = mmap(NULL, kBytes * kAtOnce, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  MUST(stacks != MAP_FAILED);
  const int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_CHILD_CLEARTID;
  const double until = seconds() + kStorm;
  int made = 0;
  while (seconds() < until) {
    struct bare bare[kAtOnce];
    for (int i = 0; i < kAtOnce; ++i) {
      bare[i] = (struct bare){new_block(3), 0, 1};
      MUST(clone(bare_main, stacks + kBytes * (i + 1), flags, &bare[i], NULL, NULL, &bare[i].alive) > 0);
      ++made;
    }
    for (int i = 0; i < kAtOnce; ++i) {
      for (int alive; (alive = get(&bare[i].alive)) != 0;) nap(0.0001);
      if (bare[i].kept != 1) fail("thread %d found its block changed: %ld", made, bare[i].kept);
    }
  }
  stop_collecting();
  if (refusals != 0) fail("%d of %d collections failed", refusals, refusals + collections);
}

// A thousand threads that wait.

enum { kThreads = 1000, kCollections = 20 };
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static sem_t semaphore;
static int ends[2];
static struct sleeper {
  int number;
  pid_t tid;
} sleepers[kThreads];

static void *sleeper_thread(void *data) {
  struct sleeper *sleeper = data;
  uint64_t *volatile held = new_block((uint64_t)sleeper->number);
  const struct timespec long_time = {600, 0};
  char byte;
  put(&sleeper->tid, own_tid());
  if (sleeper->number % 2 == 0) {
    pthread_mutex_lock(&mutex);
    for (;;) pthread_cond_wait(&condition, &mutex);
  }
  long result = 0;
  switch (sleeper->number / 2 % 4) {
    case 0: result = read(ends[0], &byte, 1); break;
    case 1: result = poll(&(struct pollfd){.fd = ends[0], .events = POLLIN}, 1, 600000); break;
    case 2: result = nanosleep(&long_time, NULL); break;
    default: result = sem_wait(&semaphore);
  }
  MUST_BE_BLOCK(held, (uint64_t)sleeper->number);
  fail("thread %d: its wait returned %ld, errno %d", sleeper->number, result, errno);
}

static unsigned long long switches_of(pid_t tid) {
  return status_number(tid, "voluntary_ctxt_switches", 10) + status_number(tid, "nonvoluntary_ctxt_switches", 10);
}

static int by_value(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

// The pauses of the last cycles, in microseconds, from the trace; the number of them.
static int read_pauses(double *pauses, int most) {
  const char *path = getenv("GCMALLOC_TRACE_JSON");
  FILE *file = path != NULL ? fopen(path, "r") : NULL;
  if (file == NULL) return 0;
  static char line[65536];
  int n = 0;
  while (fgets(line, sizeof line, file) != NULL) {
    const char *found = strstr(line, "\"pause_us\":[");
    if (found == NULL) continue;
    pauses[n++ % most] = atof(found + strlen("\"pause_us\":["));
  }
  fclose(file);
  return n < most ? n : most;
}

TEST(stop_thousand_waiting) {
  MUST(pipe(ends) == 0 && sem_init(&semaphore, 0, 0) == 0);
  pthread_attr_t attributes;
  MUST(pthread_attr_init(&attributes) == 0 && pthread_attr_setstacksize(&attributes, 65536) == 0);
  for (int i = 0; i < kThreads; ++i) {
    sleepers[i].number = i;
    pthread_t thread;
    MUST(pthread_create(&thread, &attributes, sleeper_thread, &sleepers[i]) == 0);
  }
  static unsigned long long before[kThreads];
  for (int i = 0; i < kThreads; ++i) {
    spin_until(&sleepers[i].tid, 1);
    await_sleep(sleepers[i].tid);
  }
  nap(0.1);
  for (int i = 0; i < kThreads; ++i) before[i] = switches_of(sleepers[i].tid);
  for (int i = 0; i < kCollections; ++i) {
    if (!collect()) fail("a collection failed");
    churn();
  }
  int disturbed = 0;
  for (int i = 0; i < kThreads; ++i) disturbed += switches_of(sleepers[i].tid) != before[i];
  double pauses[kCollections];
  const int n = read_pauses(pauses, kCollections);
  qsort(pauses, (size_t)n, sizeof pauses[0], by_value);
  const double median = n > 0 ? pauses[n / 2] : 0;
  printf("%d of %d waiting threads were disturbed; median pause %.0f us\n", disturbed, kThreads, median);
  if (disturbed != 0) fail("waiting threads were disturbed");
  if (collector() && n < kCollections) fail("%d pauses in the trace", n);
  // 5 ms on an idle machine; this guards against work that grows with the square of the threads.
  if (median > 50000) fail("the median pause is too long");
}
