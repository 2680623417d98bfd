// The waits of POSIX threads: none of them ever returns EINTR.
#include "call.h"

#include <unistd.h>

static long as_errno(int error) {
  if (error == 0) return 0;
  errno = error;
  return -1;
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;  // by the first thread
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static pthread_cond_t by_monotonic;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_barrier_t barrier;

static void unlock(void *which) { pthread_mutex_unlock(which); }

static void signal_condition(struct wait *w) {
  pthread_mutex_lock(&mutex);
  put(&w->go, 1);
  pthread_cond_signal(&condition);
  pthread_cond_signal(&by_monotonic);
  pthread_mutex_unlock(&mutex);
}
// A spurious return is allowed, though glibc makes none: the loop is the program's.
static long wait_condition(struct wait *w, int (*once)(const struct timespec *), clockid_t clock) {
  struct timespec space, *until = limit_until(w, clock, &space);
  int error = 0;
  pthread_mutex_lock(&mutex);
  pthread_cleanup_push(unlock, &mutex);
  while (get(&w->go) == 0 && error == 0) error = until != NULL ? once(until) : pthread_cond_wait(&condition, &mutex);
  pthread_cleanup_pop(1);
  return as_errno(error);
}
static int timed_once(const struct timespec *until) { return pthread_cond_timedwait(&condition, &mutex, until); }
static int clock_once(const struct timespec *until) {
  return pthread_cond_clockwait(&condition, &mutex, CLOCK_MONOTONIC, until);
}
static int monotonic_once(const struct timespec *until) { return pthread_cond_timedwait(&by_monotonic, &mutex, until); }
static long call_cond_timedwait(struct wait *w) { return wait_condition(w, timed_once, CLOCK_REALTIME); }
static long call_cond_clockwait(struct wait *w) { return wait_condition(w, clock_once, CLOCK_MONOTONIC); }
static long call_cond_monotonic(struct wait *w) { return wait_condition(w, monotonic_once, CLOCK_MONOTONIC); }
static void make_monotonic(struct wait *w) {
  (void)w;
  pthread_condattr_t attributes;
  MUST(pthread_condattr_init(&attributes) == 0 && pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
  MUST(pthread_cond_init(&by_monotonic, &attributes) == 0);
}

// A call that was late is tried again: what is held is held already then.
static bool is_held;
static void lock_held(struct wait *w) {
  (void)w;
  if (!is_held) MUST(pthread_mutex_lock(&held) == 0);
  is_held = true;
}
static void unlock_held(struct wait *w) {
  (void)w;
  is_held = false;
  MUST(pthread_mutex_unlock(&held) == 0);
}
static long call_mutex_timedlock(struct wait *w) {
  struct timespec space, *until = limit_until(w, CLOCK_REALTIME, &space);
  return as_errno(until != NULL ? pthread_mutex_timedlock(&held, until) : pthread_mutex_lock(&held));
}
static long call_mutex_clocklock(struct wait *w) {
  struct timespec space, *until = limit_until(w, CLOCK_MONOTONIC, &space);
  return as_errno(until != NULL ? pthread_mutex_clocklock(&held, CLOCK_MONOTONIC, until) : pthread_mutex_lock(&held));
}

static void lock_rwlock(struct wait *w) {
  (void)w;
  if (!is_held) MUST(pthread_rwlock_wrlock(&rwlock) == 0);
  is_held = true;
}
static void unlock_rwlock(struct wait *w) {
  (void)w;
  is_held = false;
  MUST(pthread_rwlock_unlock(&rwlock) == 0);
}
static long call_rdlock(struct wait *w) {
  struct timespec space, *until = limit_until(w, CLOCK_REALTIME, &space);
  return as_errno(until != NULL ? pthread_rwlock_timedrdlock(&rwlock, until) : pthread_rwlock_rdlock(&rwlock));
}
static long call_wrlock(struct wait *w) {
  struct timespec space, *until = limit_until(w, CLOCK_REALTIME, &space);
  return as_errno(until != NULL ? pthread_rwlock_timedwrlock(&rwlock, until) : pthread_rwlock_wrlock(&rwlock));
}
static long call_clockwrlock(struct wait *w) {
  struct timespec space, *until = limit_until(w, CLOCK_MONOTONIC, &space);
  return as_errno(until != NULL ? pthread_rwlock_clockwrlock(&rwlock, CLOCK_MONOTONIC, until)
                                : pthread_rwlock_wrlock(&rwlock));
}

static void *arriving_thread(void *unused) {
  pthread_barrier_wait(&barrier);
  return unused;
}
static void make_barrier(struct wait *w) {
  (void)w;
  MUST(pthread_barrier_init(&barrier, NULL, 2) == 0);
}
static void arrive(struct wait *w) {
  (void)w;
  pthread_t other;
  MUST(pthread_create(&other, NULL, arriving_thread, NULL) == 0);
}
static long call_barrier(struct wait *w) {
  (void)w;
  const int result = pthread_barrier_wait(&barrier);
  return result == PTHREAD_BARRIER_SERIAL_THREAD ? 0 : as_errno(result);
}

static pthread_t joined;
static void *joined_thread(void *data) {
  struct wait *w = data;
  while (get(&w->go) == 0) nap(0.002);
  return w;
}
static void make_joined(struct wait *w) { MUST(pthread_create(&joined, NULL, joined_thread, w) == 0); }
static long judge_join(struct wait *w, int error, const void *result) {
  if (error == 0 && result != w) fail("the thread's result is another");
  return as_errno(error);
}
static long call_join(struct wait *w) {
  void *result = NULL;
  const int error = pthread_join(joined, &result);
  return judge_join(w, error, result);
}
static long call_timedjoin(struct wait *w) {
  void *result = NULL;
  struct timespec space, *until = limit_until(w, CLOCK_REALTIME, &space);
  const int error = until != NULL ? pthread_timedjoin_np(joined, &result, until) : pthread_join(joined, &result);
  return judge_join(w, error, result);
}
static long call_clockjoin(struct wait *w) {
  void *result = NULL;
  struct timespec space, *until = limit_until(w, CLOCK_MONOTONIC, &space);
  const int error = until != NULL ? pthread_clockjoin_np(joined, &result, CLOCK_MONOTONIC, until)
                                  : pthread_join(joined, &result);
  return judge_join(w, error, result);
}

#define ROW(name, cancellable, prepare, call, wake) \
  {name, "l", kDeaf, true, cancellable, prepare, call, wake, 0, -1, ETIMEDOUT}

static const struct call pthread_calls[] = {
    ROW("pthread_cond_timedwait", true, make_monotonic, call_cond_timedwait, signal_condition),
    ROW("pthread_cond_clockwait", true, make_monotonic, call_cond_clockwait, signal_condition),
    ROW("pthread_cond_monotonic", true, make_monotonic, call_cond_monotonic, signal_condition),
    ROW("pthread_mutex_timedlock", false, lock_held, call_mutex_timedlock, unlock_held),
    ROW("pthread_mutex_clocklock", false, lock_held, call_mutex_clocklock, unlock_held),
    ROW("pthread_rwlock_rdlock", false, lock_rwlock, call_rdlock, unlock_rwlock),
    ROW("pthread_rwlock_wrlock", false, lock_rwlock, call_wrlock, unlock_rwlock),
    ROW("pthread_rwlock_clockwrlock", false, lock_rwlock, call_clockwrlock, unlock_rwlock),
    ROW("pthread_timedjoin_np", true, make_joined, call_timedjoin, let_go),
    ROW("pthread_clockjoin_np", true, make_joined, call_clockjoin, let_go),
    {"pthread_join", "l", kDeaf, false, true, make_joined, call_join, let_go, 0, 0, 0},
    {"pthread_barrier_wait", "l", kDeaf, false, false, make_barrier, call_barrier, arrive, 0, 0, 0},
};
CALLS(pthread_calls)
