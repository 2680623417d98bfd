// The kernel's two queues of asynchronous work, by raw calls: libc has none.
#include "call.h"

#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

// What is waited for is that the pipe can be read.
static aio_context_t context;
static void make_aio(struct wait *w) {
  make_pipe(w);
  static struct iocb block;
  block.aio_lio_opcode = IOCB_CMD_POLL;
  block.aio_fildes = (uint32_t)w->fds[0];
  block.aio_buf = POLLIN;
  block.aio_data = 0x1234;
  struct iocb *list[] = {&block};
  if (syscall(SYS_io_setup, 8, &context) != 0) skip("no io_setup here");
  if (syscall(SYS_io_submit, context, 1, list) != 1) skip("no IOCB_CMD_POLL here");
}
static long judge_aio(long result, const struct io_event *event) {
  if (result == 1 && event->data != 0x1234) fail("the event is another");
  return result;
}
static long call_io_getevents(struct wait *w) {
  struct io_event event;
  struct timespec space;
  return judge_aio(kernel(w, SYS_io_getevents, context, 1L, 1L, &event, limit_ts(w, &space)), &event);
}
static long call_io_pgetevents(struct wait *w) {
  struct io_event event;
  struct timespec space;
  sigset_t mask;
  sigemptyset(&mask);
  const struct {
    const sigset_t *mask;
    size_t size;
  } pair = {&mask, 8};
  return judge_aio(kernel(w, SYS_io_pgetevents, context, 1L, 1L, &event, limit_ts(w, &space), &pair), &event);
}

static struct {
  int fd;
  unsigned *head, *tail, *mask;
  struct io_uring_cqe *entries;
} ring;

static void make_ring(struct wait *w) {
  make_pipe(w);
  struct io_uring_params p;
  memset(&p, 0, sizeof p);
  ring.fd = (int)syscall(SYS_io_uring_setup, 4, &p);
  if (ring.fd < 0) skip("no io_uring here");
  if (w->limited && (p.features & IORING_FEAT_EXT_ARG) == 0) skip("io_uring takes no time limit here");
  const int access = PROT_READ | PROT_WRITE, kind = MAP_SHARED | MAP_POPULATE;
  char *submissions = mmap(NULL, p.sq_off.array + p.sq_entries * 4, access, kind, ring.fd, IORING_OFF_SQ_RING);
  char *completions = mmap(NULL, p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe), access, kind, ring.fd,
                           IORING_OFF_CQ_RING);
  struct io_uring_sqe *entry = mmap(NULL, p.sq_entries * sizeof *entry, access, kind, ring.fd, IORING_OFF_SQES);
  MUST(submissions != MAP_FAILED && completions != MAP_FAILED && (void *)entry != MAP_FAILED);
  memset(entry, 0, sizeof *entry);
  entry->opcode = IORING_OP_POLL_ADD;
  entry->fd = w->fds[0];
  entry->poll_events = POLLIN;
  entry->user_data = 0x1234;
  *(unsigned *)(void *)(submissions + p.sq_off.array) = 0;
  put((unsigned *)(void *)(submissions + p.sq_off.tail), 1);
  MUST(syscall(SYS_io_uring_enter, ring.fd, 1, 0, 0, NULL, 0) == 1);
  ring.head = (unsigned *)(void *)(completions + p.cq_off.head);
  ring.tail = (unsigned *)(void *)(completions + p.cq_off.tail);
  ring.mask = (unsigned *)(void *)(completions + p.cq_off.ring_mask);
  ring.entries = (struct io_uring_cqe *)(void *)(completions + p.cq_off.cqes);
}
static long call_io_uring(struct wait *w) {
  struct timespec space, *limit = limit_ts(w, &space);
  struct io_uring_getevents_arg argument;
  memset(&argument, 0, sizeof argument);
  argument.ts = (uint64_t)(uintptr_t)limit;
  const long result =
      limit == NULL
          ? kernel(w, SYS_io_uring_enter, (long)ring.fd, 0L, 1L, (long)IORING_ENTER_GETEVENTS, NULL, 0L)
          : kernel(w, SYS_io_uring_enter, (long)ring.fd, 0L, 1L, (long)(IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG),
                   &argument, (long)sizeof argument);
  if (result < 0) return -1;
  const unsigned head = get(ring.head);
  return head != get(ring.tail) && ring.entries[head & *ring.mask].user_data == 0x1234 ? 1 : 0;
}

static const struct call aio_calls[] = {
    {"io_getevents", "ra", kAlways, true, false, make_aio, call_io_getevents, write_byte, 1, 0, 0},
    {"io_pgetevents", "ra", kAlways, true, false, make_aio, call_io_pgetevents, write_byte, 1, 0, 0},
    {"io_uring_enter", "ra", kAlways, true, false, make_ring, call_io_uring, write_byte, 1, -1, ETIME},
};
CALLS(aio_calls)
