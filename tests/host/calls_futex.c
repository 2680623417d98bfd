// Futexes, and what glibc makes of them. glibc's locks go on after a handler; its semaphores do not.
#include "call.h"

#include <linux/futex.h>
#include <semaphore.h>
#include <sys/syscall.h>
#include <threads.h>
#include <unistd.h>

// A wait that is continued after the word has changed finds that out: it has been woken all the same.
static long judge_futex(struct wait *w, long result) {
  if (result == -1 && errno == EAGAIN && get(&w->go) == 1) {
    errno = 4711;
    return 0;
  }
  return result;
}
static void wake_futex(struct wait *w) {
  put(&w->go, 1);
  syscall(SYS_futex, &w->go, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}
static long call_futex_wait(struct wait *w) {
  struct timespec space;
  return judge_futex(w, kernel(w, SYS_futex, &w->go, (long)FUTEX_WAIT_PRIVATE, 0L, limit_ts(w, &space), NULL, 0L));
}
static long wait_bitset(struct wait *w, clockid_t clock, long operation) {
  struct timespec space;
  return judge_futex(w, kernel(w, SYS_futex, &w->go, operation, 0L, limit_until(w, clock, &space), NULL,
                               (long)FUTEX_BITSET_MATCH_ANY));
}
static long call_futex_bitset(struct wait *w) { return wait_bitset(w, CLOCK_MONOTONIC, FUTEX_WAIT_BITSET_PRIVATE); }
static long call_futex_bitset_realtime(struct wait *w) {
  return wait_bitset(w, CLOCK_REALTIME, FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME);
}

static void wake_futexes(struct wait *w) { wake_futex(w); }
static long call_futex_waitv(struct wait *w) {
#if defined(SYS_futex_waitv)
  struct {
    uint64_t value, address;
    uint32_t flags, reserved;
  } entry = {0, (uint64_t)(uintptr_t)&w->go, 2 | 128, 0};  // 32 bits, private
  struct timespec space;
  const long result = kernel(w, SYS_futex_waitv, &entry, 1L, 0L, limit_until(w, CLOCK_MONOTONIC, &space), (long)CLOCK_MONOTONIC);
  if (result < 0 && errno == ENOSYS) skip("this kernel has no futex_waitv");
  return judge_futex(w, result);
#else
  (void)w;
  skip("these headers have no futex_waitv");
#endif
}

static void lock_pi(struct wait *w) { MUST(syscall(SYS_futex, &w->go, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0) == 0); }
static void unlock_pi(struct wait *w) { MUST(syscall(SYS_futex, &w->go, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0) == 0); }
static long call_lock_pi(struct wait *w) {
  struct timespec space;
  return kernel(w, SYS_futex, &w->go, (long)FUTEX_LOCK_PI_PRIVATE, 0L, limit_until(w, CLOCK_REALTIME, &space), NULL, 0L);
}

// Semaphores.

static sem_t semaphore;
static void make_sem(struct wait *w) {
  (void)w;
  MUST(sem_init(&semaphore, 0, 0) == 0);
}
static void post_sem(struct wait *w) {
  (void)w;
  MUST(sem_post(&semaphore) == 0);
}
static long call_sem_wait(struct wait *w) {
  (void)w;
  return sem_wait(&semaphore);
}
static long call_sem_timedwait(struct wait *w) {
  struct timespec space, *until = limit_until(w, CLOCK_REALTIME, &space);
  return until != NULL ? sem_timedwait(&semaphore, until) : sem_wait(&semaphore);
}
static long call_sem_clockwait(struct wait *w) {
  struct timespec space, *until = limit_until(w, CLOCK_MONOTONIC, &space);
  return until != NULL ? sem_clockwait(&semaphore, CLOCK_MONOTONIC, until) : sem_wait(&semaphore);
}

// C11. The thread that waits may not be the one that locked.

static mtx_t c11_mutex;
static cnd_t c11_condition;
static void make_c11(struct wait *w) {
  (void)w;
  MUST(mtx_init(&c11_mutex, mtx_timed) == thrd_success && cnd_init(&c11_condition) == thrd_success);
}
static void signal_c11(struct wait *w) {
  mtx_lock(&c11_mutex);
  put(&w->go, 1);
  cnd_signal(&c11_condition);
  mtx_unlock(&c11_mutex);
}
static long call_cnd_wait(struct wait *w) {
  struct timespec space, *until = limit_until(w, CLOCK_REALTIME, &space);
  int result = thrd_success;
  mtx_lock(&c11_mutex);
  while (get(&w->go) == 0 && result == thrd_success) {
    result = until != NULL ? cnd_timedwait(&c11_condition, &c11_mutex, until) : cnd_wait(&c11_condition, &c11_mutex);
  }
  mtx_unlock(&c11_mutex);
  return result == thrd_success ? 0 : result == thrd_timedout ? 1 : 2;
}
static void lock_c11(struct wait *w) {
  make_c11(w);
  mtx_lock(&c11_mutex);
}
static void unlock_c11(struct wait *w) {
  (void)w;
  mtx_unlock(&c11_mutex);
}
static long call_mtx_lock(struct wait *w) {
  struct timespec space, *until = limit_until(w, CLOCK_REALTIME, &space);
  const int result = until != NULL ? mtx_timedlock(&c11_mutex, until) : mtx_lock(&c11_mutex);
  return result == thrd_success ? 0 : result == thrd_timedout ? 1 : 2;
}
static long call_thrd_sleep(struct wait *w) {
  struct timespec space, rest;
  const long result = thrd_sleep(limit_ts(w, &space), &rest);
  if (result != -1) return result;
  must_be_rest(w, to_seconds(&rest));
  errno = EINTR;
  return -1;
}

static const struct call futex_calls[] = {
    {"futex_wait", "ra", kAlways, true, false, NULL, call_futex_wait, wake_futex, 0, -1, ETIMEDOUT},
    {"futex_bitset", "ra", kAlways, true, false, NULL, call_futex_bitset, wake_futex, 0, -1, ETIMEDOUT},
    {"futex_bitset_realtime", "ra", kAlways, true, false, NULL, call_futex_bitset_realtime, wake_futex, 0, -1, ETIMEDOUT},
    {"futex_waitv", "ra", kRestarted, true, false, NULL, call_futex_waitv, wake_futexes, 0, -1, ETIMEDOUT},
    {"futex_lock_pi", "ra", kDeaf, true, false, lock_pi, call_lock_pi, unlock_pi, 0, -1, ETIMEDOUT},
    {"sem_wait", "l", kRestarted, false, true, make_sem, call_sem_wait, post_sem, 0, 0, 0},
    {"sem_timedwait", "l", kAlways, true, true, make_sem, call_sem_timedwait, post_sem, 0, -1, ETIMEDOUT},
    {"sem_clockwait", "l", kAlways, true, true, make_sem, call_sem_clockwait, post_sem, 0, -1, ETIMEDOUT},
    {"cnd_wait", "l", kDeaf, true, true, make_c11, call_cnd_wait, signal_c11, 0, 1, 0},
    {"mtx_lock", "l", kDeaf, true, false, lock_c11, call_mtx_lock, unlock_c11, 0, 1, 0},
    {"thrd_sleep", "l", kAlways, true, true, NULL, call_thrd_sleep, NULL, 0, 0, 0},
};
CALLS(futex_calls)
