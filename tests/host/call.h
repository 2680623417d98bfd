// Blocking calls, each as a row of a table, and the ways in which each is tried while the world is stopped
// again and again.
//
// A row's forms: `l` the libc call, `r` through syscall(), `a` by the instruction itself. Modes, each a test
// NAME.FORM.MODE:
//   timed    nothing happens: the call returns when its time is over, not earlier
//   event    it waits without a limit, something happens: the result is the event's, errno untouched
//   long     the same with a time limit far away
//   signal   a handler of the program without SA_RESTART runs once, and the call returns as the kernel says
//   restart  the same with SA_RESTART
//   cancel   pthread_cancel ends the thread in the call; its cleanup handler runs and is scanned
//   async    the same with asynchronous cancellation
#ifndef GCM_TESTS_HOST_CALL_H
#define GCM_TESTS_HOST_CALL_H

#include <errno.h>
#include <time.h>

#include "host.h"

#ifdef __cplusplus
extern "C" {
#endif

enum form { kLibc, kRaw, kAsm };
enum mode { kTimed, kEvent, kLong, kSignal, kRestart, kCancel, kAsync, kModes };

// One call under way. What prepare makes is for call and wake to use.
struct wait {
  enum form form;
  enum mode mode;
  bool limited;   // there is a time limit
  double time;    // that limit
  double asked_at;
  int fds[2];
  long number;
  pid_t child;
  int go;
  pthread_t thread;
  pid_t tid;
  int begun, done;
};

// What a handler of the program does to the call.
enum kind {
  kAlways,     // the call returns EINTR, SA_RESTART or not: the "never restarted" of signal(7)
  kRestarted,  // EINTR without SA_RESTART
  kDeaf,       // the call goes on
  kUntold,     // neither mode is tried
};

struct call {
  const char *name;
  const char *forms;
  enum kind kind;
  bool has_limit, is_cancellation_point;
  void (*prepare)(struct wait *);  // may be NULL
  long (*call)(struct wait *);
  void (*wake)(struct wait *);     // NULL: nothing but time ends it
  long event_result, timed_result;
  int timed_errno;                 // 0: errno stays untouched
};

void add_calls(const struct call *calls, size_t n);
#define CALLS(array) \
  __attribute__((constructor)) static void add_##array(void) { add_calls(array, GCM_COUNT(array)); }
void list_calls(void);
bool run_call(const char *name);  // false: no such name

// The system call in the wait's form (raw or asm), as syscall() reports it.
long kernel(const struct wait *w, long number, ...);

// The time limit in several shapes; without one: -1, or NULL.
int limit_ms(const struct wait *w);
struct timespec *limit_ts(const struct wait *w, struct timespec *space);
struct timeval *limit_tv(const struct wait *w, struct timeval *space);
struct timespec *limit_until(const struct wait *w, clockid_t clock, struct timespec *space);
struct timespec from_seconds(double time);
double to_seconds(const struct timespec *time);
// Fails unless `left` is what remains of the limit now.
void must_be_rest(const struct wait *w, double left);

// Common parts of tables.
extern char gcm_byte;
void make_pipe(struct wait *w);
void write_byte(struct wait *w);
void nothing(struct wait *w);
void let_go(struct wait *w);  // sets go

#ifdef __cplusplus
}
#endif
#endif
