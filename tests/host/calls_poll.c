// Waiting for descriptors: never restarted after a handler (signal(7)), whatever SA_RESTART says.
#include "call.h"

#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { kMaskBytes = 8 };

static sigset_t *some_mask(sigset_t *space) {
  sigemptyset(space);
  sigaddset(space, SIGWINCH);
  return space;
}

static long call_poll(struct wait *w) {
  struct pollfd entry = {.fd = w->fds[0], .events = POLLIN};
  if (w->form == kLibc) return poll(&entry, 1, limit_ms(w));
  return kernel(w, SYS_poll, &entry, 1L, (long)limit_ms(w));
}

static long call_ppoll(struct wait *w) {
  struct pollfd entry = {.fd = w->fds[0], .events = POLLIN};
  struct timespec space, *limit = limit_ts(w, &space);
  sigset_t mask;
  some_mask(&mask);
  if (w->form == kLibc) {
    const long result = ppoll(&entry, 1, limit, &mask);
    if (limit != NULL && to_seconds(limit) != to_seconds(limit_ts(w, &(struct timespec){0, 0})))
      fail("ppoll changed the program's time limit");
    return result;
  }
  const long result = kernel(w, SYS_ppoll, &entry, 1L, limit, &mask, (long)kMaskBytes);
  if (limit != NULL) must_be_rest(w, to_seconds(limit));
  return result;
}

static long call_select(struct wait *w) {
  fd_set set;
  FD_ZERO(&set);
  FD_SET(w->fds[0], &set);
  struct timeval space, *limit = limit_tv(w, &space);
  const long result = w->form == kLibc ? select(w->fds[0] + 1, &set, NULL, NULL, limit)
                                       : kernel(w, SYS_select, (long)w->fds[0] + 1, &set, NULL, NULL, limit);
  if (limit != NULL) must_be_rest(w, (double)limit->tv_sec + (double)limit->tv_usec / 1e6);
  if (result == 1 && !FD_ISSET(w->fds[0], &set)) fail("select lost the descriptor");
  if (result == 0 && FD_ISSET(w->fds[0], &set)) fail("select shows a descriptor that is not ready");
  return result;
}

static long call_pselect(struct wait *w) {
  fd_set set;
  FD_ZERO(&set);
  FD_SET(w->fds[0], &set);
  struct timespec space, *limit = limit_ts(w, &space);
  sigset_t mask;
  some_mask(&mask);
  if (w->form == kLibc) return pselect(w->fds[0] + 1, &set, NULL, NULL, limit, &mask);
  const struct {
    const sigset_t *mask;
    size_t size;
  } pair = {&mask, kMaskBytes};
  const long result = kernel(w, SYS_pselect6, (long)w->fds[0] + 1, &set, NULL, NULL, limit, &pair);
  if (limit != NULL) must_be_rest(w, to_seconds(limit));
  return result;
}

static void make_epoll(struct wait *w) {
  make_pipe(w);
  w->number = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN, .data = {.u64 = 0x1234567890}};
  MUST(w->number >= 0 && epoll_ctl((int)w->number, EPOLL_CTL_ADD, w->fds[0], &event) == 0);
}

static long judge_epoll(long result, const struct epoll_event *event) {
  if (result == 1 && event->data.u64 != 0x1234567890) fail("the event's data is another");
  return result;
}

static long call_epoll_wait(struct wait *w) {
  struct epoll_event event;
  const int epoll = (int)w->number;
  return judge_epoll(w->form == kLibc ? epoll_wait(epoll, &event, 1, limit_ms(w))
                                      : kernel(w, SYS_epoll_wait, (long)epoll, &event, 1L, (long)limit_ms(w)),
                     &event);
}

static long call_epoll_pwait(struct wait *w) {
  struct epoll_event event;
  const int epoll = (int)w->number;
  sigset_t mask;
  some_mask(&mask);
  return judge_epoll(w->form == kLibc ? epoll_pwait(epoll, &event, 1, limit_ms(w), &mask)
                                      : kernel(w, SYS_epoll_pwait, (long)epoll, &event, 1L, (long)limit_ms(w), &mask,
                                               (long)kMaskBytes),
                     &event);
}

static long call_epoll_pwait2(struct wait *w) {
  struct epoll_event event;
  const int epoll = (int)w->number;
  struct timespec space, *limit = limit_ts(w, &space);
  const long result = w->form == kLibc ? epoll_pwait2(epoll, &event, 1, limit, NULL)
                                       : kernel(w, SYS_epoll_pwait2, (long)epoll, &event, 1L, limit, NULL, 0L);
  if (result < 0 && errno == ENOSYS) skip("this kernel has no epoll_pwait2");
  return judge_epoll(result, &event);
}

// A wait for descriptors without any is a sleep.
static long call_poll_nothing(struct wait *w) {
  return w->form == kLibc ? poll(NULL, 0, limit_ms(w)) : kernel(w, SYS_poll, NULL, 0L, (long)limit_ms(w));
}
static long call_select_nothing(struct wait *w) {
  struct timeval space;
  return w->form == kLibc ? select(0, NULL, NULL, NULL, limit_tv(w, &space))
                          : kernel(w, SYS_select, 0L, NULL, NULL, NULL, limit_tv(w, &space));
}

static const struct call poll_calls[] = {
    {"poll", "lra", kAlways, true, true, make_pipe, call_poll, write_byte, 1, 0, 0},
    {"ppoll", "lra", kAlways, true, true, make_pipe, call_ppoll, write_byte, 1, 0, 0},
    {"select", "lra", kAlways, true, true, make_pipe, call_select, write_byte, 1, 0, 0},
    {"pselect", "lra", kAlways, true, true, make_pipe, call_pselect, write_byte, 1, 0, 0},
    {"epoll_wait", "lra", kAlways, true, true, make_epoll, call_epoll_wait, write_byte, 1, 0, 0},
    {"epoll_pwait", "lra", kAlways, true, true, make_epoll, call_epoll_pwait, write_byte, 1, 0, 0},
    {"epoll_pwait2", "lra", kAlways, true, true, make_epoll, call_epoll_pwait2, write_byte, 1, 0, 0},
    {"poll_nothing", "lra", kAlways, true, true, NULL, call_poll_nothing, NULL, 0, 0, 0},
    {"select_nothing", "lra", kAlways, true, true, NULL, call_select_nothing, NULL, 0, 0, 0},
};
CALLS(poll_calls)
