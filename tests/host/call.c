// How a blocking call is tried. See call.h.
//
// Law: the call is made in a second thread, which holds a block by its stack alone; the first thread collects
// all the time and, when enough collections have passed, lets happen what the call waits for. Whatever comes
// back before that is a failure.
#include "call.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { kEnough = 100, kMaxTables = 32 };
static const double kTime = 0.22, kFar = 60;
static const int kUntouched = 4711;

static const char kFormLetters[] = "lra";
static const char *const kFormNames[] = {"libc", "raw", "asm"};
static const char *const kModeNames[] = {"timed", "event", "long", "signal", "restart", "cancel", "async"};

static struct table {
  const struct call *calls;
  size_t n;
} tables[kMaxTables];
static size_t table_count;

char gcm_byte;

void add_calls(const struct call *calls, size_t n) {
  if (table_count == kMaxTables) abort();
  tables[table_count++] = (struct table){calls, n};
}

#if defined(__x86_64__)
static long instruction(long number, const long *a) {
  register long r10 __asm__("r10") = a[3];
  register long r8 __asm__("r8") = a[4];
  register long r9 __asm__("r9") = a[5];
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  if (result >= -4095 && result < 0) {
    errno = (int)-result;
    return -1;
  }
  return result;
}
#else
static long instruction(long number, const long *a) { return syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]); }
#endif

long kernel(const struct wait *w, long number, ...) {
  long a[6];
  va_list arguments;
  va_start(arguments, number);
  for (int i = 0; i < 6; ++i) a[i] = va_arg(arguments, long);  // those not given are not looked at
  va_end(arguments);
  if (w->form == kAsm) return instruction(number, a);
  return syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

struct timespec from_seconds(double time) {
  const struct timespec result = {(time_t)time, (long)((time - (double)(time_t)time) * 1e9)};
  return result;
}

double to_seconds(const struct timespec *time) { return (double)time->tv_sec + (double)time->tv_nsec / 1e9; }

int limit_ms(const struct wait *w) { return w->limited ? (int)(w->time * 1000 + 0.5) : -1; }

struct timespec *limit_ts(const struct wait *w, struct timespec *space) {
  if (!w->limited) return NULL;
  *space = from_seconds(w->time);
  return space;
}

struct timeval *limit_tv(const struct wait *w, struct timeval *space) {
  if (!w->limited) return NULL;
  *space = (struct timeval){(time_t)w->time, (suseconds_t)((w->time - (double)(time_t)w->time) * 1e6)};
  return space;
}

struct timespec *limit_until(const struct wait *w, clockid_t clock, struct timespec *space) {
  if (!w->limited) return NULL;
  clock_gettime(clock, space);
  *space = from_seconds(to_seconds(space) + w->time);
  return space;
}

void must_be_rest(const struct wait *w, double left) {
  double expected = w->time - (seconds() - w->asked_at);
  if (expected < 0) expected = 0;
  if (left < expected - 0.02 || left > expected + slack()) {
    fail("%.3f s are said to be left, %.3f are", left, expected);
  }
}

void make_pipe(struct wait *w) { MUST(pipe(w->fds) == 0); }
void write_byte(struct wait *w) { MUST(write(w->fds[1], "x", 1) == 1); }
void nothing(struct wait *w) { (void)w; }
void let_go(struct wait *w) { put(&w->go, 1); }

// The program's signal.

static int handled;
static void on_signal(int number) {
  (void)number;
  const int before = errno;
  add(&handled, 1);
  errno = before;
}

static const int kSignals[] = {SIGUSR1, SIGALRM, 0};  // by form; the last is SIGRTMIN + 1
static int signal_of(const struct wait *w) { return w->form == kAsm ? SIGRTMIN + 1 : kSignals[w->form]; }

static void handle_signals(const struct wait *w) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_signal;
  action.sa_flags = w->mode == kRestart ? SA_RESTART : 0;
  MUST(sigaction(signal_of(w), &action, NULL) == 0);
}

// The thread that waits.

struct trial {
  const struct call *call;
  struct wait wait;
  int cleaned;
  double late;  // a timed wait that took this long has to be tried again: the machine may be busy
};

static bool is_signal_mode(enum mode mode) { return mode == kSignal || mode == kRestart; }
static bool is_cancel_mode(enum mode mode) { return mode == kCancel || mode == kAsync; }

static bool expects_eintr(const struct trial *t) {
  const enum kind kind = t->call->kind;
  return (t->wait.mode == kSignal && (kind == kAlways || kind == kRestarted)) ||
         (t->wait.mode == kRestart && kind == kAlways);
}

static void judge(struct trial *t, long result, int error, double took) {
  const struct call *call = t->call;
  const bool timed = t->wait.mode == kTimed;
  long wanted = timed ? call->timed_result : call->event_result;
  int wanted_errno = timed && call->timed_errno != 0 ? call->timed_errno : kUntouched;
  if (expects_eintr(t)) {
    wanted = -1;
    wanted_errno = EINTR;
  }
  if (result != wanted || (error != wanted_errno && (wanted_errno != kUntouched || result >= 0))) {
    fail("returned %ld, errno %d, after %.3f s and %d collections; expected %ld, %d", result, error, took,
         get(&collections), wanted, wanted_errno);
  }
  if (timed && took < t->wait.time - 0.001) fail("returned after %.4f s of %.4f", took, t->wait.time);
  if (timed && took > t->wait.time + slack()) t->late = took;
  if (is_signal_mode(t->wait.mode) && get(&handled) != 1) fail("the handler ran %d times", get(&handled));
}

static void clean_up(void *data) {
  struct trial *t = data;
  must_be_scanned(5);
  t->cleaned = 1;
  put(&t->wait.done, 1);
}

static void *waiting_thread(void *data) {
  struct trial *t = data;
  struct wait *w = &t->wait;
  uint64_t *volatile held[4];
  for (uint64_t i = 0; i < GCM_COUNT(held); ++i) held[i] = new_block(i);
  pthread_cleanup_push(clean_up, t);
  if (w->mode == kAsync) pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
  put(&w->tid, own_tid());
  put(&w->begun, 1);
  errno = kUntouched;
  w->asked_at = seconds();
  const long result = t->call->call(w);
  const int error = errno;
  const double took = seconds() - w->asked_at;
  if (is_cancel_mode(w->mode)) fail("returned %ld, errno %d, instead of being cancelled", result, error);
  judge(t, result, error, took);
  pthread_cleanup_pop(0);
  for (uint64_t i = 0; i < GCM_COUNT(held); ++i) MUST_BE_BLOCK(held[i], i);
  if (w->mode != kTimed) must_be_scanned(3);
  put(&w->done, 1);
  return NULL;
}

// The first thread.

static void happen(struct trial *t) {
  struct wait *w = &t->wait;
  if (get(&w->done)) return;
  if (is_cancel_mode(w->mode)) {
    MUST(pthread_cancel(w->thread) == 0);
  } else if (expects_eintr(t)) {
    MUST(pthread_kill(w->thread, signal_of(w)) == 0);
  } else if (t->call->wake != NULL) {
    t->call->wake(w);
  }
}

static void drive(struct trial *t) {
  struct wait *w = &t->wait;
  const double begin = seconds();
  double happened_at = 0;
  const int enough = expects_eintr(t) ? kEnough / 3 : kEnough;
  const bool event_only = w->mode != kTimed;
  bool signalled = false;
  for (int n = 0; get(&w->done) == 0; ++n) {
    collect();
    churn();
    nap(0.0004);
    if (event_only && n == enough / 2 && is_signal_mode(w->mode) && !expects_eintr(t)) {
      signalled = pthread_kill(w->thread, signal_of(w)) == 0;
    }
    if (event_only && n >= enough && happened_at == 0 && (!signalled || get(&handled) != 0)) {
      happened_at = seconds();
      happen(t);
    }
    if (happened_at != 0 && seconds() - happened_at > 2 + slack()) fail("did not return when it should");
    if (seconds() - begin > 30) fail("did not return in 30 s; %d collections", get(&collections));
  }
}

// The library learns from the first interrupted call whose number it cannot tell that the process
// makes such calls, and lets that one end with EINTR: it is made here, before what is tried.
static void be_known(void) {
  if (!collector()) return;
  start_collecting();
  long result = 0;
  for (int i = 0; i < 1000 && result == 0; ++i) {
    const struct timespec time = {0, 5000000};
    const long a[6] = {(long)(uintptr_t)&time};
    result = instruction(SYS_nanosleep, a);
  }
  stop_collecting();
}

// False: too late, or too few collections for a proof. It is to be tried with more time.
static double too_late;
static bool try_once(const struct call *call, enum form form, enum mode mode, double time) {
  static struct trial t;
  memset(&t, 0, sizeof t);
  t.call = call;
  t.wait.form = form;
  t.wait.mode = mode;
  t.wait.limited = call->has_limit && mode != kEvent;
  t.wait.time = mode == kTimed ? time : kFar;
  if (form == kAsm) be_known();
  put(&collections, 0);
  if (call->prepare != NULL) call->prepare(&t.wait);
  if (is_signal_mode(mode)) handle_signals(&t.wait);
  MUST(pthread_create(&t.wait.thread, NULL, waiting_thread, &t) == 0);
  spin_until(&t.wait.begun, 1);
  // Of a call that is just being entered the number cannot be told (README, "Limits").
  if (mode != kTimed || form == kAsm) await_sleep(t.wait.tid);
  drive(&t);
  void *result = NULL;
  MUST(pthread_join(t.wait.thread, &result) == 0);
  if (is_cancel_mode(mode) && (result != PTHREAD_CANCELED || !t.cleaned)) fail("the cleanup handler did not run");
  if (refusals != 0) fail("%d collections failed", refusals);
  too_late = t.late;
  if (too_late != 0) return false;
  return mode != kTimed || !collector() || get(&collections) >= kEnough;
}

// The libc form is tried in every way; the others, which look alike to the collector, share the ways.
static bool has_mode(const struct call *call, enum form form, enum mode mode) {
  switch (mode) {
    case kTimed: return call->has_limit;
    case kEvent: return call->wake != NULL && (form != kRaw || !call->has_limit);
    case kLong: return call->wake != NULL && call->has_limit && form != kAsm;
    case kSignal: return call->kind != kUntold && form != kRaw;
    case kRestart: return call->kind != kUntold && form != kAsm;
    case kCancel: return form == kLibc && call->is_cancellation_point;
    case kAsync: return form == kAsm;
    default: return false;
  }
}

static void each(bool (*visit)(const char *name, const struct call *, enum form, enum mode, const char *wanted),
                 const char *wanted, bool *found) {
  for (size_t i = 0; i < table_count; ++i) {
    for (size_t k = 0; k < tables[i].n; ++k) {
      const struct call *call = &tables[i].calls[k];
      for (const char *f = call->forms; *f != 0; ++f) {
        const enum form form = (enum form)(strchr(kFormLetters, *f) - kFormLetters);
        for (int m = 0; m < kModes; ++m) {
          if (!has_mode(call, form, (enum mode)m)) continue;
          char name[128];
          snprintf(name, sizeof name, "%s.%s.%s", call->name, kFormNames[form], kModeNames[m]);
          if (visit(name, call, form, (enum mode)m, wanted)) *found = true;
        }
      }
    }
  }
}

static bool print_name(const char *name, const struct call *call, enum form form, enum mode mode, const char *wanted) {
  (void)call, (void)form, (void)mode, (void)wanted;
  printf("%s\n", name);
  return true;
}

static bool run_named(const char *name, const struct call *call, enum form form, enum mode mode, const char *wanted) {
  if (strcmp(name, wanted) != 0) return false;
  double time = kTime;
  for (int i = 0; i < 4; ++i, time *= 2) {
    if (try_once(call, form, mode, time)) return true;
  }
  if (too_late != 0) fail("returned after %.4f s only, and late each time", too_late);
  fail("only %d collections during the call", get(&collections));
}

void list_calls(void) {
  bool found = false;
  each(print_name, NULL, &found);
}

bool run_call(const char *name) {
  bool found = false;
  each(run_named, name, &found);
  return found;
}
