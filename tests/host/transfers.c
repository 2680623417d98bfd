// Long transfers: the kernel returns what it has done when a signal comes in between. A collection is not one.
//
// Law: a call that the kernel completes when nobody disturbs it returns the full count while the world is
// stopped again and again.
#include "call.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { kTotal = 1 << 20, kSlice = 8192 };
static char *source, *sink;

static void fill(char *p, size_t n) {
  for (size_t i = 0; i < n; ++i) p[i] = (char)(i * 31 >> 3);
}
static void make_buffers(void) {
  source = malloc(kTotal);
  sink = malloc(kTotal);
  MUST(source != NULL && sink != NULL);
  fill(source, kTotal);
}

// The other side, which is slow.
static void *draining_thread(void *data) {
  const struct wait *w = data;
  for (size_t have = 0; have < kTotal;) {
    nap(0.001);
    const ssize_t n = read(w->fds[0], sink + have, kSlice);
    MUST(n > 0);
    have += (size_t)n;
  }
  return NULL;
}
static void *feeding_thread(void *data) {
  const struct wait *w = data;
  for (size_t done = 0; done < kTotal;) {
    nap(0.001);
    const ssize_t n = write(w->fds[1], source + done, kSlice);
    MUST(n > 0);
    done += (size_t)n;
  }
  return NULL;
}

static void run(struct wait *w, void *(*other)(void *), long (*transfer)(struct wait *)) {
  put(&collections, 0);
  start_collecting();
  pthread_t thread;
  MUST(pthread_create(&thread, NULL, other, w) == 0);
  const long n = transfer(w);
  if (n != kTotal) fail("%ld of %d bytes, errno %d, after %d collections", n, (int)kTotal, errno, get(&collections));
  MUST(pthread_join(thread, NULL) == 0);
  stop_collecting();
  if (memcmp(source, sink, kTotal) != 0) fail("what arrived is not what was sent");
}

static long do_write(struct wait *w) {
  return w->form == kLibc ? write(w->fds[1], source, kTotal) : kernel(w, SYS_write, (long)w->fds[1], source, (long)kTotal);
}
static long do_writev(struct wait *w) {
  struct iovec parts[2] = {{source, kTotal / 4}, {source + kTotal / 4, kTotal - kTotal / 4}};
  return w->form == kLibc ? writev(w->fds[1], parts, 2) : kernel(w, SYS_writev, (long)w->fds[1], parts, 2L);
}
static long do_send(struct wait *w) {
  return w->form == kLibc ? send(w->fds[1], source, kTotal, 0)
                          : kernel(w, SYS_sendto, (long)w->fds[1], source, (long)kTotal, 0L, NULL, 0L);
}
static long do_sendmsg(struct wait *w) {
  struct iovec part = {source, kTotal};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  return w->form == kLibc ? sendmsg(w->fds[1], &message, 0) : kernel(w, SYS_sendmsg, (long)w->fds[1], &message, 0L);
}
static long do_recv(struct wait *w) {
  return w->form == kLibc ? recv(w->fds[0], sink, kTotal, MSG_WAITALL)
                          : kernel(w, SYS_recvfrom, (long)w->fds[0], sink, (long)kTotal, (long)MSG_WAITALL, NULL, NULL);
}
static long do_sendfile(struct wait *w) {
  const int file = memfd_create("source", MFD_CLOEXEC);
  MUST(file >= 0 && write(file, source, kTotal) == kTotal);
  off_t from = 0;
  return w->form == kLibc ? sendfile(w->fds[1], file, &from, kTotal)
                          : kernel(w, SYS_sendfile, (long)w->fds[1], (long)file, &from, (long)kTotal);
}

static void by_pipe(enum form form, long (*transfer)(struct wait *)) {
  struct wait w = {.form = form};
  make_buffers();
  make_pipe(&w);
  run(&w, draining_thread, transfer);
}
static void by_socket(enum form form, void *(*other)(void *), long (*transfer)(struct wait *)) {
  struct wait w = {.form = form};
  make_buffers();
  MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, w.fds) == 0);
  run(&w, other, transfer);
}

TEST(transfer_write_pipe) { by_pipe(kLibc, do_write); }
TEST(transfer_write_pipe_raw) { by_pipe(kRaw, do_write); }
TEST(transfer_writev_pipe) { by_pipe(kLibc, do_writev); }
TEST(transfer_writev_pipe_raw) { by_pipe(kRaw, do_writev); }
TEST(transfer_sendfile) { by_socket(kLibc, draining_thread, do_sendfile); }
TEST(transfer_sendfile_raw) { by_socket(kRaw, draining_thread, do_sendfile); }
TEST(transfer_write_socket) { by_socket(kLibc, draining_thread, do_write); }
TEST(transfer_write_socket_raw) { by_socket(kRaw, draining_thread, do_write); }
TEST(transfer_send) { by_socket(kLibc, draining_thread, do_send); }
TEST(transfer_send_raw) { by_socket(kRaw, draining_thread, do_send); }
TEST(transfer_sendmsg) { by_socket(kLibc, draining_thread, do_sendmsg); }
TEST(transfer_sendmsg_raw) { by_socket(kRaw, draining_thread, do_sendmsg); }
TEST(transfer_recv_waitall) { by_socket(kLibc, feeding_thread, do_recv); }
TEST(transfer_recv_waitall_raw) { by_socket(kRaw, feeding_thread, do_recv); }

// Random numbers: the kernel looks for signals on the way.
static void take_random(enum form form) {
  enum { kRandom = 8 << 20 };
  const struct wait w = {.form = form};
  char *space = malloc(kRandom);
  const int file = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
  MUST(space != NULL && file >= 0);
  start_collecting();
  for (int i = 0; i < 10; ++i) {
    const long n = form == kLibc ? getrandom(space, kRandom, 0) : kernel(&w, SYS_getrandom, space, (long)kRandom, 0L);
    if (n != kRandom) fail("getrandom gave %ld of %d bytes", n, (int)kRandom);
    const long r = form == kLibc ? read(file, space, kRandom) : kernel(&w, SYS_read, (long)file, space, (long)kRandom);
    if (r != kRandom) fail("/dev/urandom gave %ld of %d bytes", r, (int)kRandom);
  }
  stop_collecting();
  free(space);
}
TEST(transfer_random) { take_random(kLibc); }
TEST(transfer_random_raw) { take_random(kRaw); }
