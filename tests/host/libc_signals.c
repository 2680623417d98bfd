// What libc itself does with the signals that it keeps for itself, 32 and 33: it runs setuid in every thread, ends
// cancelled threads, and wakes its timers' thread. The collector shares 33 with it.
#include "host.h"

#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int ends[2], over;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;

static void *reading_thread(void *tid) {
  char byte;
  put((pid_t *)tid, own_tid());
  if (read(ends[0], &byte, 1) != 1) fail("read was interrupted");
  return NULL;
}
static void *raw_reading_thread(void *tid) {
  char byte;
  put((pid_t *)tid, own_tid());
  if (syscall(SYS_read, ends[0], &byte, 1) != 1) fail("a raw read was interrupted");
  return NULL;
}
static void *waiting_thread(void *tid) {
  put((pid_t *)tid, own_tid());
  pthread_mutex_lock(&mutex);
  while (over == 0) pthread_cond_wait(&condition, &mutex);
  pthread_mutex_unlock(&mutex);
  return NULL;
}
static void *running_thread(void *tid) {
  put((pid_t *)tid, own_tid());
  while (get(&over) == 0) churn();
  return NULL;
}

// Every thread takes part, whatever it is in; the user is another afterwards in each of them.
TEST(setuid_reaches_all_threads) {
  static void *(*const kBodies[])(void *) = {reading_thread, raw_reading_thread, waiting_thread, running_thread};
  pthread_t threads[GCM_COUNT(kBodies)];
  pid_t tids[GCM_COUNT(kBodies)] = {0};
  MUST(pipe(ends) == 0);
  for (size_t i = 0; i < GCM_COUNT(kBodies); ++i) {
    MUST(pthread_create(&threads[i], NULL, kBodies[i], &tids[i]) == 0);
    spin_until(&tids[i], 1);
  }
  start_collecting();
  const bool root = getuid() == 0;
  for (int i = 0; i < 300; ++i) {
    const uid_t user = root && i % 2 == 0 ? 12345 : getuid();
    const double begin = seconds();
    MUST(setresuid(user, user, (uid_t)-1) == 0);  // the saved one brings root back
    if (seconds() - begin > 1 + slack()) fail("setresuid took %.3f s", seconds() - begin);
    for (size_t k = 0; i % 10 == 0 && k < GCM_COUNT(kBodies); ++k) {
      if (status_number(tids[k], "Uid", 10) != user) fail("thread %zu has another user", k);
    }
    if (root) MUST(setresuid(0, 0, (uid_t)-1) == 0);
  }
  stop_collecting();
  pthread_mutex_lock(&mutex);
  put(&over, 1);
  pthread_cond_broadcast(&condition);
  pthread_mutex_unlock(&mutex);
  MUST(write(ends[1], "xy", 2) == 2);
  for (size_t i = 0; i < GCM_COUNT(kBodies); ++i) MUST(pthread_join(threads[i], NULL) == 0);
  if (refusals != 0) fail("%d collections failed", refusals);
}

// Timers that run a function in a thread: libc's helper waits for signal 32.
static int ticks, wrong;
static void on_tick(union sigval value) {
  if (value.sival_ptr != &ticks) add(&wrong, 1);
  churn();
  add(&ticks, 1);
}
TEST(timers_that_start_threads) {
  start_collecting();
  struct sigevent event;
  memset(&event, 0, sizeof event);
  event.sigev_notify = SIGEV_THREAD;
  event.sigev_notify_function = on_tick;
  event.sigev_value.sival_ptr = &ticks;
  timer_t timer;
  const struct itimerspec every = {{0, 5000000}, {0, 5000000}};
  MUST(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0 && timer_settime(timer, 0, &every, NULL) == 0);
  const double begin = seconds();
  while (get(&ticks) < 100 && seconds() - begin < 10) nap(0.01);
  MUST(timer_delete(timer) == 0);
  if (get(&ticks) < 100 || get(&wrong) != 0) fail("%d ticks, %d of them wrong", get(&ticks), get(&wrong));
  nap(0.02);
  stop_collecting();
}
