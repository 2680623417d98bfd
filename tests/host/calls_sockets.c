// Sockets. With SO_RCVTIMEO or SO_SNDTIMEO never restarted after a handler; without, as SA_RESTART says.
#include "call.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

static void limit_socket(const struct wait *w, int fd, int option) {
  struct timeval time;
  if (limit_tv(w, &time) != NULL) MUST(setsockopt(fd, SOL_SOCKET, option, &time, sizeof time) == 0);
}

static void make_pair(struct wait *w, int type) {
  MUST(socketpair(AF_UNIX, type, 0, w->fds) == 0);
  limit_socket(w, w->fds[0], SO_RCVTIMEO);
  limit_socket(w, w->fds[0], SO_SNDTIMEO);
}
static void make_stream(struct wait *w) { make_pair(w, SOCK_STREAM); }
static void make_datagrams(struct wait *w) { make_pair(w, SOCK_DGRAM); }

static struct sockaddr_un address = {.sun_family = AF_UNIX};
static socklen_t address_size = sizeof(sa_family_t);

static void listen_here(struct wait *w, int backlog) {
  w->fds[0] = socket(AF_UNIX, SOCK_STREAM, 0);
  MUST(bind(w->fds[0], (struct sockaddr *)&address, sizeof(sa_family_t)) == 0);  // the kernel chooses a name
  address_size = sizeof address;
  MUST(getsockname(w->fds[0], (struct sockaddr *)&address, &address_size) == 0);
  MUST(listen(w->fds[0], backlog) == 0);
}

static void make_listener(struct wait *w) {
  listen_here(w, 1);
  limit_socket(w, w->fds[0], SO_RCVTIMEO);
}
static void connect_to_it(struct wait *w) {
  w->fds[1] = socket(AF_UNIX, SOCK_STREAM, 0);
  MUST(connect(w->fds[1], (struct sockaddr *)&address, address_size) == 0);
}

static long call_accept(struct wait *w) {
  const long fd = w->form == kLibc ? accept(w->fds[0], NULL, NULL)
#ifdef SYS_accept
                                   : kernel(w, SYS_accept, (long)w->fds[0], NULL, NULL);
#else
                                   : kernel(w, SYS_accept4, (long)w->fds[0], NULL, NULL, 0L);
#endif
  return fd < 0 ? -1 : 1;
}
static long call_accept4(struct wait *w) {
  const long fd = w->form == kLibc ? accept4(w->fds[0], NULL, NULL, SOCK_CLOEXEC)
                                   : kernel(w, SYS_accept4, (long)w->fds[0], NULL, NULL, (long)SOCK_CLOEXEC);
  return fd < 0 ? -1 : 1;
}

// connect waits while the listener's queue is full.
static void make_full_listener(struct wait *w) {
  listen_here(w, 0);
  for (;;) {
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (connect(fd, (struct sockaddr *)&address, address_size) != 0) break;
  }
  MUST(errno == EAGAIN);
  w->fds[1] = socket(AF_UNIX, SOCK_STREAM, 0);
  limit_socket(w, w->fds[1], SO_SNDTIMEO);
}
static void accept_one(struct wait *w) { MUST(accept(w->fds[0], NULL, NULL) >= 0); }
static long call_connect(struct wait *w) {
  if (w->form == kLibc) return connect(w->fds[1], (struct sockaddr *)&address, address_size);
  return kernel(w, SYS_connect, (long)w->fds[1], &address, (long)address_size);
}

// Receiving.

static long call_recv(struct wait *w) {
  if (w->form == kLibc) return recv(w->fds[0], &gcm_byte, 1, 0);
  return kernel(w, SYS_recvfrom, (long)w->fds[0], &gcm_byte, 1L, 0L, NULL, NULL);
}
static long call_recvfrom(struct wait *w) {
  struct sockaddr_un from;
  socklen_t size = sizeof from;
  if (w->form == kLibc) return recvfrom(w->fds[0], &gcm_byte, 1, 0, (struct sockaddr *)&from, &size);
  return kernel(w, SYS_recvfrom, (long)w->fds[0], &gcm_byte, 1L, 0L, &from, &size);
}
static long call_recvmsg(struct wait *w) {
  struct iovec part = {&gcm_byte, 1};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  return w->form == kLibc ? recvmsg(w->fds[0], &message, 0) : kernel(w, SYS_recvmsg, (long)w->fds[0], &message, 0L);
}
static long call_recvmmsg(struct wait *w) {
  struct iovec part = {&gcm_byte, 1};
  struct mmsghdr messages[1];
  memset(messages, 0, sizeof messages);
  messages[0].msg_hdr.msg_iov = &part;
  messages[0].msg_hdr.msg_iovlen = 1;
  return w->form == kLibc ? recvmmsg(w->fds[0], messages, 1, 0, NULL)
                          : kernel(w, SYS_recvmmsg, (long)w->fds[0], messages, 1L, 0L, NULL);
}
static long call_read(struct wait *w) {
  return w->form == kLibc ? read(w->fds[0], &gcm_byte, 1) : kernel(w, SYS_read, (long)w->fds[0], &gcm_byte, 1L);
}
static long call_readv(struct wait *w) {
  struct iovec part = {&gcm_byte, 1};
  return w->form == kLibc ? readv(w->fds[0], &part, 1) : kernel(w, SYS_readv, (long)w->fds[0], &part, 1L);
}

// Sending: the buffer is full until somebody reads.

static char much[65536];
enum { kPiece = 512 };

static void fill_stream(struct wait *w) {
  make_stream(w);
  while (send(w->fds[0], much, kPiece, MSG_DONTWAIT) > 0) {
  }
  MUST(errno == EAGAIN);
}
static void drain(struct wait *w) {
  while (recv(w->fds[1], much, sizeof much, MSG_DONTWAIT) > 0) {
  }
}
static long call_send(struct wait *w) {
  if (w->form == kLibc) return send(w->fds[0], much, kPiece, 0);
  return kernel(w, SYS_sendto, (long)w->fds[0], much, (long)kPiece, 0L, NULL, 0L);
}
static long call_sendto(struct wait *w) {
  if (w->form == kLibc) return sendto(w->fds[0], much, kPiece, 0, NULL, 0);
  return kernel(w, SYS_sendto, (long)w->fds[0], much, (long)kPiece, 0L, NULL, 0L);
}
static long call_sendmsg(struct wait *w) {
  struct iovec part = {much, kPiece};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  return w->form == kLibc ? sendmsg(w->fds[0], &message, 0) : kernel(w, SYS_sendmsg, (long)w->fds[0], &message, 0L);
}
static long call_sendmmsg(struct wait *w) {
  struct iovec part = {much, kPiece};
  struct mmsghdr messages[1];
  memset(messages, 0, sizeof messages);
  messages[0].msg_hdr.msg_iov = &part;
  messages[0].msg_hdr.msg_iovlen = 1;
  return w->form == kLibc ? sendmmsg(w->fds[0], messages, 1, 0)
                          : kernel(w, SYS_sendmmsg, (long)w->fds[0], messages, 1L, 0L);
}
static long call_write(struct wait *w) {
  return w->form == kLibc ? write(w->fds[0], much, kPiece) : kernel(w, SYS_write, (long)w->fds[0], much, (long)kPiece);
}

// Each once with its time limit and once, for what SA_RESTART says, without.
#define RECEIVER(name, make) \
  {#name, "lra", kAlways, true, true, make, call_##name, write_byte, 1, -1, EAGAIN}, \
      {#name "_unlimited", "lra", kRestarted, false, false, make, call_##name, write_byte, 1, 0, 0}
#define SENDER(name, result) \
  {#name, "lra", kAlways, true, true, fill_stream, call_##name, drain, result, -1, EAGAIN}, \
      {#name "_unlimited", "lr", kRestarted, false, false, fill_stream, call_##name, drain, result, 0, 0}

static const struct call socket_calls[] = {
    {"accept", "lra", kAlways, true, true, make_listener, call_accept, connect_to_it, 1, -1, EAGAIN},
    {"accept_unlimited", "lra", kRestarted, false, false, make_listener, call_accept, connect_to_it, 1, 0, 0},
    {"accept4", "lra", kAlways, true, true, make_listener, call_accept4, connect_to_it, 1, -1, EAGAIN},
    {"connect", "lra", kAlways, true, true, make_full_listener, call_connect, accept_one, 0, -1, EAGAIN},
    {"connect_unlimited", "lr", kRestarted, false, false, make_full_listener, call_connect, accept_one, 0, 0, 0},
    RECEIVER(recv, make_stream),
    RECEIVER(recvfrom, make_datagrams),
    RECEIVER(recvmsg, make_stream),
    RECEIVER(recvmmsg, make_datagrams),
    RECEIVER(read, make_stream),
    RECEIVER(readv, make_stream),
    SENDER(send, kPiece),
    SENDER(sendto, kPiece),
    SENDER(sendmsg, kPiece),
    SENDER(sendmmsg, 1),
    SENDER(write, kPiece),
};
CALLS(socket_calls)
