// Queues and semaphores of System V (never restarted after a handler) and message queues of POSIX.
#include "call.h"

#include <fcntl.h>
#include <mqueue.h>
#include <stdio.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct message {
  long type;
  char text[1024];
};

static void make_queue(struct wait *w) {
  w->number = msgget(IPC_PRIVATE, 0600);
  if (w->number < 0) skip("no message queues here");
}
static void make_full_queue(struct wait *w) {
  make_queue(w);
  struct message message = {1, {0}};
  while (msgsnd((int)w->number, &message, sizeof message.text, IPC_NOWAIT) == 0) {
  }
}
// The queue goes with the test.
static long done_with_queue(struct wait *w, long result) {
  const int error = errno;
  msgctl((int)w->number, IPC_RMID, NULL);
  errno = error;
  return result;
}
static void send_message(struct wait *w) {
  const struct message message = {1, {0}};
  MUST(msgsnd((int)w->number, &message, 5, IPC_NOWAIT) == 0);
}
static void receive_message(struct wait *w) {
  struct message message;
  MUST(msgrcv((int)w->number, &message, sizeof message.text, 0, IPC_NOWAIT) > 0);
}
static long call_msgrcv(struct wait *w) {
  struct message message;
  return done_with_queue(w, w->form == kLibc ? msgrcv((int)w->number, &message, sizeof message.text, 0, 0)
                                             : kernel(w, SYS_msgrcv, w->number, &message, (long)sizeof message.text, 0L, 0L));
}
static long call_msgsnd(struct wait *w) {
  const struct message message = {1, {0}};
  return done_with_queue(w, w->form == kLibc ? msgsnd((int)w->number, &message, sizeof message.text, 0)
                                             : kernel(w, SYS_msgsnd, w->number, &message, (long)sizeof message.text, 0L));
}

static void make_semaphore(struct wait *w) {
  w->number = semget(IPC_PRIVATE, 1, 0600);
  if (w->number < 0) skip("no semaphores here");
}
static void raise_semaphore(struct wait *w) {
  struct sembuf operation = {0, 1, 0};
  MUST(semop((int)w->number, &operation, 1) == 0);
}
static long done_with_semaphore(struct wait *w, long result) {
  const int error = errno;
  semctl((int)w->number, 0, IPC_RMID);
  errno = error;
  return result;
}
static long call_semop(struct wait *w) {
  struct sembuf operation = {0, -1, 0};
  return done_with_semaphore(w, w->form == kLibc ? semop((int)w->number, &operation, 1)
                                                 : kernel(w, SYS_semop, w->number, &operation, 1L));
}
static long call_semtimedop(struct wait *w) {
  struct sembuf operation = {0, -1, 0};
  struct timespec space, *limit = limit_ts(w, &space);
  const long result = w->form == kLibc ? semtimedop((int)w->number, &operation, 1, limit)
                                       : kernel(w, SYS_semtimedop, w->number, &operation, 1L, limit);
  return w->mode == kTimed ? result : done_with_semaphore(w, result);
}

// POSIX.

enum { kMessageBytes = 64 };

static void make_mq(struct wait *w) {
  char name[64];
  snprintf(name, sizeof name, "/host-test-%d", (int)getpid());
  struct mq_attr attributes = {.mq_maxmsg = 1, .mq_msgsize = kMessageBytes};
  const mqd_t queue = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attributes);
  if (queue == (mqd_t)-1) skip("no POSIX message queues here");
  mq_unlink(name);
  w->number = queue;
}
static void make_full_mq(struct wait *w) {
  make_mq(w);
  MUST(mq_send((mqd_t)w->number, "first", 5, 0) == 0);
}
static void send_mq(struct wait *w) { MUST(mq_send((mqd_t)w->number, "event", 5, 0) == 0); }
static void receive_mq(struct wait *w) {
  char text[kMessageBytes];
  MUST(mq_receive((mqd_t)w->number, text, sizeof text, NULL) == 5);
}
static long call_mq_receive(struct wait *w) {
  char text[kMessageBytes];
  return w->form == kLibc ? mq_receive((mqd_t)w->number, text, sizeof text, NULL)
                          : kernel(w, SYS_mq_timedreceive, w->number, text, (long)sizeof text, NULL, NULL);
}
static long call_mq_timedreceive(struct wait *w) {
  char text[kMessageBytes];
  struct timespec space, *until = limit_until(w, CLOCK_REALTIME, &space);
  if (w->form == kLibc && until != NULL) return mq_timedreceive((mqd_t)w->number, text, sizeof text, NULL, until);
  return kernel(w, SYS_mq_timedreceive, w->number, text, (long)sizeof text, NULL, until);
}
static long call_mq_send(struct wait *w) {
  return w->form == kLibc ? mq_send((mqd_t)w->number, "event", 5, 0)
                          : kernel(w, SYS_mq_timedsend, w->number, "event", 5L, 0L, NULL);
}
static long call_mq_timedsend(struct wait *w) {
  struct timespec space, *until = limit_until(w, CLOCK_REALTIME, &space);
  if (w->form == kLibc && until != NULL) return mq_timedsend((mqd_t)w->number, "event", 5, 0, until);
  return kernel(w, SYS_mq_timedsend, w->number, "event", 5L, 0L, until);
}

static const struct call queue_calls[] = {
    {"msgrcv", "lra", kAlways, false, true, make_queue, call_msgrcv, send_message, 5, 0, 0},
    {"msgsnd", "lra", kAlways, false, true, make_full_queue, call_msgsnd, receive_message, 0, 0, 0},
    {"semop", "lra", kAlways, false, false, make_semaphore, call_semop, raise_semaphore, 0, 0, 0},
    {"semtimedop", "lra", kAlways, true, false, make_semaphore, call_semtimedop, raise_semaphore, 0, -1, EAGAIN},
    {"mq_receive", "lra", kRestarted, false, true, make_mq, call_mq_receive, send_mq, 5, 0, 0},
    {"mq_timedreceive", "lra", kRestarted, true, true, make_mq, call_mq_timedreceive, send_mq, 5, -1, ETIMEDOUT},
    {"mq_send", "lra", kRestarted, false, true, make_full_mq, call_mq_send, receive_mq, 0, 0, 0},
    {"mq_timedsend", "lra", kRestarted, true, true, make_full_mq, call_mq_timedsend, receive_mq, 0, -1, ETIMEDOUT},
};
CALLS(queue_calls)
