// Pointers that the program gave to the kernel and expects back: epoll data, timer values, queued signals,
// message queue notifications.
//
// Law: what the kernel will hand back to the program is as good as held by the program.
#include "cases.h"
#include "roots.h"

#include <fcntl.h>
#include <mqueue.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

static int epoll;

static GCM_NOINLINE void register_epoll(void) {
  struct epoll_event event;
  memset(&event, 0, sizeof event);
  for (int i = 0; i < kBlocks; ++i) {
    int fds[2];
    MUST(pipe(fds) == 0);
    event.events = EPOLLOUT;
    event.data.ptr = new_block();
    if (dropping) event.data.ptr = NULL;
    MUST(epoll_ctl(epoll, EPOLL_CTL_ADD, fds[1], &event) == 0);
  }
}

static GCM_NOINLINE void check_epoll(void) {
  static struct epoll_event events[kBlocks];
  MUST(epoll_wait(epoll, events, kBlocks, 1000) == kBlocks);
}

void case_kernel_epoll(void) {
  epoll = epoll_create1(EPOLL_CLOEXEC);
  register_epoll();
  hide();
  judge();
  check_epoll();
}

// All processes of a user share one bound on the signals that wait; timers count, too.
static void need_room(int n) {
  char line[256];
  unsigned long used = 0;
  unsigned long most = 0;
  FILE *file = fopen("/proc/self/status", "re");
  MUST(file != NULL);
  while (fgets(line, sizeof line, file) != NULL) sscanf(line, "SigQ: %lu/%lu", &used, &most);
  fclose(file);
  if (used + (unsigned long)n + 100 > most) skip("too many signals of this user wait already");
}

// glibc keeps no copy of the value of a timer that signals.
static GCM_NOINLINE void make_timers(void) {
  need_room(kBlocks);
  for (int i = 0; i < kBlocks; ++i) {
    struct sigevent event;
    memset(&event, 0, sizeof event);
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = SIGUSR1;
    void *p = new_block();
    event.sigev_value.sival_ptr = dropping ? NULL : p;
    timer_t timer;
    MUST(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    memset(&event, 0, sizeof event);
  }
}

void case_kernel_timer(void) {
  make_timers();
  hide();
  judge();
}

static void timing_thread(struct waiter *w) {
  make_timers();
  hide();
  wait_spinning(w);
}

void case_kernel_timer_of_thread(void) {
  static struct waiter w;
  start(&w, timing_thread, NULL);
  judge();
  finish(&w);
}

// Functions that run in a thread of their own with the value: each finds its block and counts it.
static atomic_int called;

static void count_call(union sigval value) {
  for (int i = 0; i < blocks; ++i) {
    if (((uint64_t)(uintptr_t)value.sival_ptr ^ hidden[i]) == kKey && intact(i)) atomic_fetch_add(&called, 1);
  }
}

static void await_calls(int n) {
  const double until = seconds() + 10;
  while (!dropping && atomic_load(&called) < n) {
    if (seconds() > until) fail("%d of %d functions found their blocks", atomic_load(&called), n);
    usleep(1000);
  }
}

static GCM_NOINLINE void fill_thread_event(struct sigevent *event, pthread_attr_t *attributes) {
  memset(event, 0, sizeof *event);
  event->sigev_notify = SIGEV_THREAD;
  event->sigev_notify_function = count_call;
  event->sigev_notify_attributes = attributes;
  void *p = new_block();
  event->sigev_value.sival_ptr = dropping ? NULL : p;
}

// One-shot timers whose time is set after the collections.
static timer_t thread_timers[kBlocks];

static GCM_NOINLINE void make_thread_timers(void) {
  need_room(kBlocks);
  for (int i = 0; i < kBlocks; ++i) {
    struct sigevent event;
    fill_thread_event(&event, NULL);
    MUST(timer_create(CLOCK_MONOTONIC, &event, &thread_timers[i]) == 0);
    memset(&event, 0, sizeof event);
  }
}

void case_kernel_timer_function(void) {
  make_thread_timers();
  hide();
  judge();
  const struct itimerspec soon = {.it_value = {0, 1000000}};
  for (int i = 0; i < kBlocks; ++i) MUST(timer_settime(thread_timers[i], 0, &soon, NULL) == 0);
  await_calls(kBlocks);
}

static sigset_t queued;

static void block_queued(void) {
  sigemptyset(&queued);
  sigaddset(&queued, SIGRTMIN + 3);
  MUST(pthread_sigmask(SIG_BLOCK, &queued, NULL) == 0);
}

static GCM_NOINLINE void queue_signals(int n, pthread_t *thread) {
  need_room(n);
  for (int i = 0; i < n; ++i) {
    void *p = new_block_sized(256);
    const union sigval value = {.sival_ptr = dropping ? NULL : p};
    const int result = thread == NULL ? sigqueue(getpid(), SIGRTMIN + 3, value)
                                      : pthread_sigqueue(*thread, SIGRTMIN + 3, value);
    MUST(result == 0);
  }
}

static GCM_NOINLINE void take_signals(int n, bool check) {
  for (int i = 0; i < n; ++i) {
    siginfo_t information;
    const struct timespec none = {0, 0};
    MUST(sigtimedwait(&queued, &information, &none) == SIGRTMIN + 3);
    if (!check) continue;
    MUST(dropping || information.si_value.sival_ptr == (void *)(uintptr_t)(hidden[i] ^ kKey));
  }
}

static void run_queue(int n) {
  block_queued();
  queue_signals(n, NULL);
  hide();
  judge();
  take_signals(n, true);
}

void case_kernel_sigqueue(void) { run_queue(kBlocks); }
void case_kernel_sigqueue_many(void) { run_queue(2000); }

// What has been taken is held no longer; signals that were taken twice over leave nothing behind.
void case_kernel_sigqueue_taken(void) {
  block_queued();
  const bool control = dropping;
  dropping = false;
  for (int round = 0; round < 8; ++round) {
    queue_signals(control ? kBlocks : 1, NULL);
    collect();
    take_signals(control ? kBlocks : 1, false);
    hide();
  }
  dropping = control;
  if (!control) {
    blocks = 0;
    queue_signals(kBlocks, NULL);
    hide();
  }
  judge();
}

static void queueing_thread(struct waiter *w) {
  block_queued();
  pthread_t self = pthread_self();
  queue_signals(kBlocks, &self);
  hide();
  wait_spinning(w);
  take_signals(kBlocks, true);
}

void case_kernel_sigqueue_of_thread(void) {
  static struct waiter w;
  start(&w, queueing_thread, NULL);
  judge();
  finish(&w);
}

static mqd_t open_queue(int number) {
  char name[64];
  snprintf(name, sizeof name, "/gcmalloc-roots-%d-%d", (int)getpid(), number);
  struct mq_attr attributes = {.mq_maxmsg = 1, .mq_msgsize = 8};
  const mqd_t queue = mq_open(name, O_RDWR | O_CREAT, 0600, &attributes);
  if (queue == (mqd_t)-1) skip("no message queues here");
  mq_unlink(name);
  return queue;
}

enum { kQueues = 4 };
static mqd_t queues[kQueues];

static GCM_NOINLINE void request_notification(int queue) {
  struct sigevent event;
  memset(&event, 0, sizeof event);
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGRTMIN + 3;
  void *p = new_block();
  event.sigev_value.sival_ptr = dropping ? NULL : p;
  MUST(mq_notify(queue, &event) == 0);
  memset(&event, 0, sizeof event);
}

void case_kernel_mq_notify(void) {
  block_queued();
  for (int i = 0; i < kQueues; ++i) request_notification(queues[i] = open_queue(i));
  hide();
  judge();
}

// The notification has become a pending signal, and another value has taken its place.
void case_kernel_mq_notify_fired(void) {
  block_queued();
  need_room(kQueues);
  for (int i = 0; i < kQueues; ++i) request_notification(queues[i] = open_queue(i));
  for (int i = 0; i < kQueues; ++i) MUST(mq_send(queues[i], "message", 8, 0) == 0);
  for (int i = 0; i < kQueues; ++i) request_notification(queues[i]);
  for (int i = 0; i < kQueues; ++i) MUST(mq_notify(queues[i], NULL) == 0);
  for (int i = 0; i < kQueues; ++i) request_notification(queues[i]);
  // The second values are nobody's now.
  for (int i = 0; i < kQueues; ++i) {
    hidden[kQueues + i] = hidden[2 * kQueues + i];
    sizes[kQueues + i] = sizes[2 * kQueues + i];
  }
  blocks = dropping ? blocks : kQueues;
  hide();
  judge();
  take_signals(kQueues, true);
}

// libc copies the attributes of the thread to a block that only the kernel knows.
static GCM_NOINLINE void request_calls(void) {
  pthread_attr_t attributes;
  MUST(pthread_attr_init(&attributes) == 0);
  MUST(pthread_attr_setstacksize(&attributes, 256 * 1024) == 0);
  MUST(pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED) == 0);
  for (int i = 0; i < kQueues; ++i) {
    struct sigevent event;
    queues[i] = open_queue(i);
    fill_thread_event(&event, i % 2 == 0 ? &attributes : NULL);
    MUST(mq_notify(queues[i], &event) == 0);
    memset(&event, 0, sizeof event);
  }
  pthread_attr_destroy(&attributes);
}

void case_kernel_mq_notify_function(void) {
  request_calls();
  hide();
  judge();
  for (int i = 0; i < kQueues; ++i) MUST(mq_send(queues[i], "message", 8, 0) == 0);
  await_calls(kQueues);
}
