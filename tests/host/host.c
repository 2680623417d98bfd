// The frame of the host tests: their list, how they end, and the collections. See host.h.
#include "host.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "call.h"

enum { kMaxTests = 400 };
static struct test {
  const char *name;
  void (*run)(void);
} tests[kMaxTests];
static int test_count;

int collections, refusals;
static int (*collect_function)(void);

void add_test(const char *name, void (*run)(void)) {
  if (test_count == kMaxTests) abort();
  tests[test_count++] = (struct test){name, run};
}

void fail(const char *format, ...) {
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  dprintf(1, "%s\n", text);
  _exit(1);
}

void skip(const char *why) {
  dprintf(1, "%s\n", why);
  _exit(77);
}

int current_errno(void) { return errno; }

double slack(void) {
  const char *given = getenv("GCM_HOST_SLACK");
  return given != NULL ? atof(given) : 0.15;
}

double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

void nap(double time) {
  const double until = seconds() + time;
  for (double left = time; left > 0; left = until - seconds()) {
    const struct timespec rest = {(time_t)left, (long)((left - (double)(time_t)left) * 1e9)};
    if (syscall(SYS_nanosleep, &rest, NULL) == 0) return;
  }
}

void spin_until(const int *word, int at_least) {
  const double until = seconds() + 30;
  for (unsigned n = 1; get(word) < at_least; ++n) {
    if (n % 64 == 0) syscall(SYS_sched_yield);
    if (n % 65536 == 0 && seconds() > until) fail("a thread did not answer");
  }
}

pid_t own_tid(void) { return (pid_t)syscall(SYS_gettid); }

static bool read_task_file(pid_t tid, const char *name, char *text, size_t size) {
  char path[64];
  snprintf(path, sizeof path, "/proc/self/task/%d/%s", (int)tid, name);
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const ssize_t n = read(fd, text, size - 1);
  close(fd);
  if (n <= 0) return false;
  text[n] = 0;
  return true;
}

char thread_state(pid_t tid) {
  char text[512];
  if (!read_task_file(tid, "stat", text, sizeof text)) return 0;
  const char *end = strrchr(text, ')');
  return end != NULL && end[1] == ' ' ? end[2] : 0;
}

void await_sleep(pid_t tid) {
  const double until = seconds() + 30;
  for (;;) {
    const char state = thread_state(tid);
    if (state == 0 || state == 'S' || state == 'D') return;
    if (seconds() > until) fail("thread %d does not sleep (state %c)", (int)tid, state);
    syscall(SYS_sched_yield);
  }
}

unsigned long long status_number(pid_t tid, const char *field, int base) {
  char text[8192];
  if (!read_task_file(tid, "status", text, sizeof text)) fail("no status of thread %d", (int)tid);
  char name[64];
  snprintf(name, sizeof name, "\n%s:", field);
  const char *found = strstr(text, name);
  if (found == NULL) fail("no %s in the status", field);
  return strtoull(found + strlen(name), NULL, base);
}

bool collector(void) { return collect_function != NULL; }

bool collect(void) {
  if (collect_function != NULL && collect_function() != 0) {
    add(&refusals, 1);
    return false;
  }
  add(&collections, 1);
  return true;
}

void churn(void) {
  void *blocks[48];
  for (size_t i = 0; i < GCM_COUNT(blocks); ++i) {
    blocks[i] = malloc(64);
    MUST(blocks[i] != NULL);
    memset(blocks[i], 0xEE, 64);
  }
  for (size_t i = 0; i < GCM_COUNT(blocks); ++i) free(blocks[i]);
}

static pthread_t collecting;
static int collecting_ends;

static void *collecting_thread(void *unused) {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, NULL);
  while (get(&collecting_ends) == 0) {
    collect();
    churn();
    nap(0.0005);
  }
  return unused;
}

void start_collecting(void) {
  put(&collecting_ends, 0);
  MUST(pthread_create(&collecting, NULL, collecting_thread, NULL) == 0);
}

void stop_collecting(void) {
  put(&collecting_ends, 1);
  MUST(pthread_join(collecting, NULL) == 0);
}

uint64_t *new_block(uint64_t number) {
  uint64_t *p = malloc(kBlockWords * sizeof *p);
  if (p == NULL) fail("no memory");
  for (uint64_t i = 0; i < kBlockWords; ++i) p[i] = 0xF00D000000000000u | number << 8 | i;
  return p;
}

bool is_block(const uint64_t *p, uint64_t number) {
  for (uint64_t i = 0; i < kBlockWords; ++i) {
    if (p[i] != (0xF00D000000000000u | number << 8 | i)) return false;
  }
  return true;
}

void must_be_scanned(int n) {
  enum { kHeld = 16 };
  // What lies below is far from any stack pointer that was recorded before.
  volatile struct {
    uint64_t *held[kHeld];
    char gap[12000];
  } frame;
  frame.gap[0] = 1;
  for (uint64_t i = 0; i < kHeld; ++i) frame.held[i] = new_block(1000 + i);
  spin_until(&collections, get(&collections) + n);
  for (uint64_t i = 0; i < kHeld; ++i) {
    MUST_BE_BLOCK(frame.held[i], 1000 + i);
    free(frame.held[i]);
  }
}

// A test that goes wrong may block every signal, and what it queues is taken from what all of the user's
// processes may queue: it shall neither run on for ever nor leave them without.
static void limit(void) {
  const struct rlimit time = {100, 100};
  struct rlimit signals;
  setrlimit(RLIMIT_CPU, &time);
  getrlimit(RLIMIT_SIGPENDING, &signals);
  if (signals.rlim_cur > 30000) signals.rlim_cur = 30000;
  setrlimit(RLIMIT_SIGPENDING, &signals);
}

int main(int argc, char **argv) {
  limit();
  setvbuf(stdout, NULL, _IONBF, 0);
  *(void **)&collect_function = dlsym(RTLD_DEFAULT, "gcmalloc_collect");
  if (argc != 2) {
    dprintf(2, "usage: host_tests --list | NAME\n");
    return 2;
  }
  const bool list = strcmp(argv[1], "--list") == 0;
  if (list) {
    list_calls();
    for (int i = 0; i < test_count; ++i) printf("%s\n", tests[i].name);
    return 0;
  }
  for (int i = 0; i < test_count; ++i) {
    if (strcmp(argv[1], tests[i].name) == 0) {
      tests[i].run();
      return 0;
    }
  }
  if (!run_call(argv[1])) fail("there is no test of this name");
  return 0;
}
