// Sleeping: never restarted after a handler; what is left of the time is told.
#include "call.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct timespec whole_time(const struct wait *w) { return from_seconds(w->time); }

static void judge_rest(const struct wait *w, long result, const struct timespec *rest) {
  if (result != 0 && w->mode != kTimed) must_be_rest(w, to_seconds(rest));
}

static long call_nanosleep(struct wait *w) {
  const struct timespec time = whole_time(w);
  struct timespec rest = {-7, -7};
  const long result = w->form == kLibc ? nanosleep(&time, &rest) : kernel(w, SYS_nanosleep, &time, &rest);
  const int error = errno;
  judge_rest(w, result, &rest);
  errno = error;
  return result;
}

static long call_nanosleep_in_place(struct wait *w) {
  struct timespec time = whole_time(w);
  const long result = w->form == kLibc ? nanosleep(&time, &time) : kernel(w, SYS_nanosleep, &time, &time);
  const int error = errno;
  judge_rest(w, result, &time);
  errno = error;
  return result;
}

// clock_nanosleep returns its error; here as the others do.
static long sleep_by_clock(struct wait *w, clockid_t clock, int flags, const struct timespec *time, struct timespec *rest) {
  if (w->form != kLibc) return kernel(w, SYS_clock_nanosleep, (long)clock, (long)flags, time, rest);
  const int error = clock_nanosleep(clock, flags, time, rest);
  if (error == 0) return 0;
  errno = error;
  return -1;
}

static long relative(struct wait *w, clockid_t clock) {
  const struct timespec time = whole_time(w);
  struct timespec rest = {-7, -7};
  const long result = sleep_by_clock(w, clock, 0, &time, &rest);
  const int error = errno;
  judge_rest(w, result, &rest);
  errno = error;
  return result;
}

static long absolute(struct wait *w, clockid_t clock) {
  struct timespec until;
  limit_until(w, clock, &until);
  return sleep_by_clock(w, clock, TIMER_ABSTIME, &until, NULL);
}

static long relative_monotonic(struct wait *w) { return relative(w, CLOCK_MONOTONIC); }
static long relative_realtime(struct wait *w) { return relative(w, CLOCK_REALTIME); }
static long absolute_monotonic(struct wait *w) { return absolute(w, CLOCK_MONOTONIC); }
static long absolute_realtime(struct wait *w) { return absolute(w, CLOCK_REALTIME); }

static long call_usleep(struct wait *w) { return usleep((useconds_t)(w->time * 1e6)); }

// sleep returns the whole seconds that are left.
static long call_sleep(struct wait *w) {
  if (w->mode == kTimed) w->time = 1;
  const unsigned left = sleep((unsigned)w->time);
  if (left == 0) return 0;
  const double rest = w->time - (seconds() - w->asked_at);
  if (left > rest + 1.1 || left < rest - 1.1) fail("%u s are said to be left, %.3f are", left, rest);
  errno = EINTR;
  return -1;
}

static const struct call sleep_calls[] = {
    {"nanosleep", "lra", kAlways, true, true, NULL, call_nanosleep, NULL, 0, 0, 0},
    {"nanosleep_in_place", "lra", kAlways, true, true, NULL, call_nanosleep_in_place, NULL, 0, 0, 0},
    {"clock_nanosleep", "lra", kAlways, true, true, NULL, relative_monotonic, NULL, 0, 0, 0},
    {"clock_nanosleep_realtime", "lra", kAlways, true, true, NULL, relative_realtime, NULL, 0, 0, 0},
    {"clock_nanosleep_until", "lra", kAlways, true, true, NULL, absolute_monotonic, NULL, 0, 0, 0},
    {"clock_nanosleep_realtime_until", "lra", kAlways, true, true, NULL, absolute_realtime, NULL, 0, 0, 0},
    {"usleep", "l", kAlways, true, true, NULL, call_usleep, NULL, 0, 0, 0},
    {"sleep", "l", kAlways, true, true, NULL, call_sleep, NULL, 0, 0, 0},
};
CALLS(sleep_calls)
