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

// glibc keeps no copy of the value of a timer that signals.
static GCM_NOINLINE void make_timers(void) {
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

static GCM_NOINLINE void queue_signals(void) {
  for (int i = 0; i < kBlocks; ++i) {
    void *p = new_block();
    const union sigval value = {.sival_ptr = dropping ? NULL : p};
    MUST(sigqueue(getpid(), SIGRTMIN + 3, value) == 0);
  }
}

void case_kernel_sigqueue(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGRTMIN + 3);
  MUST(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
  queue_signals();
  hide();
  judge();
  for (int i = 0; i < kBlocks; ++i) {
    siginfo_t information;
    const struct timespec none = {0, 0};
    MUST(sigtimedwait(&set, &information, &none) == SIGRTMIN + 3);
    MUST(dropping || information.si_value.sival_ptr == (void *)(uintptr_t)(hidden[i] ^ kKey));
  }
}

static GCM_NOINLINE void request_notification(int queue) {
  struct sigevent event;
  memset(&event, 0, sizeof event);
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGUSR1;
  void *p = new_block();
  event.sigev_value.sival_ptr = dropping ? NULL : p;
  MUST(mq_notify(queue, &event) == 0);
  memset(&event, 0, sizeof event);
}

void case_kernel_mq_notify(void) {
  for (int i = 0; i < 4; ++i) {
    char name[64];
    snprintf(name, sizeof name, "/gcmalloc-roots-%d-%d", (int)getpid(), i);
    struct mq_attr attributes = {.mq_maxmsg = 1, .mq_msgsize = 8};
    const mqd_t queue = mq_open(name, O_RDWR | O_CREAT, 0600, &attributes);
    if (queue == (mqd_t)-1) skip("no message queues here");
    mq_unlink(name);
    request_notification(queue);
  }
  hide();
  judge();
}
