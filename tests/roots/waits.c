// Threads that wait in the kernel, or that cannot be signalled, with pointers on their stacks.
//
// Law: the wait ends because of what it waits for, or because its time is over, and never earlier: a
// collection is no reason to return.
#include "cases.h"
#include "roots.h"

#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// How long the timed waits last: longer than the collections of judge() take.
static const double kTime = 0.4;

static void make_pipe(struct waiter *w) { MUST(pipe(w->fds) == 0); }
static void make_sockets(struct waiter *w) { MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, w->fds) == 0); }
static void wake_by_write(struct waiter *w) { MUST(write(w->fds[1], "x", 1) == 1); }
static void nothing(struct waiter *w) { (void)w; }

static void run(void (*prepare)(struct waiter *), void (*wait)(struct waiter *), void (*wake)(struct waiter *)) {
  static struct waiter w;
  prepare(&w);
  start(&w, hold_on_stack, wait);
  await_sleep(w.tid);
  judge();
  await_sleep(w.tid);  // it must go on waiting; one that returned early ends the process with a message
  wake(&w);
  finish(&w);
}

#define UNINTERRUPTED(call, wanted)                                                     \
  do {                                                                                  \
    atomic_store(&w->ready, 1);                                                         \
    errno = 0;                                                                          \
    const long result = (long)(call);                                                   \
    if (result != (wanted)) fail("%s returned %ld, errno %d", #call, result, errno);    \
  } while (0)

static char byte;

static void wait_read(struct waiter *w) { UNINTERRUPTED(read(w->fds[0], &byte, 1), 1); }
void case_in_read(void) { run(make_pipe, wait_read, wake_by_write); }

static void wait_raw_read(struct waiter *w) { UNINTERRUPTED(syscall(SYS_read, w->fds[0], &byte, 1), 1); }
void case_in_raw_read(void) { run(make_pipe, wait_raw_read, wake_by_write); }

static void wait_recv(struct waiter *w) { UNINTERRUPTED(recv(w->fds[0], &byte, 1, 0), 1); }
void case_in_recv(void) { run(make_sockets, wait_recv, wake_by_write); }

static struct sockaddr_un own_address = {.sun_family = AF_UNIX};
static socklen_t own_address_size = sizeof(sa_family_t);

static void make_listener(struct waiter *w) {
  w->fds[0] = socket(AF_UNIX, SOCK_STREAM, 0);
  MUST(bind(w->fds[0], (struct sockaddr *)&own_address, own_address_size) == 0);  // an abstract name is chosen
  own_address_size = sizeof own_address;
  MUST(getsockname(w->fds[0], (struct sockaddr *)&own_address, &own_address_size) == 0);
  MUST(listen(w->fds[0], 1) == 0);
}
static void wait_accept(struct waiter *w) { UNINTERRUPTED(accept(w->fds[0], NULL, NULL) >= 0, 1); }
static void wake_by_connect(struct waiter *w) {
  w->fds[1] = socket(AF_UNIX, SOCK_STREAM, 0);
  MUST(connect(w->fds[1], (struct sockaddr *)&own_address, own_address_size) == 0);
}
void case_in_accept(void) { run(make_listener, wait_accept, wake_by_connect); }

static int poll_pipe(struct waiter *w, int timeout) {
  struct pollfd entry = {.fd = w->fds[0], .events = POLLIN};
  return poll(&entry, 1, timeout);
}
static void wait_poll(struct waiter *w) { UNINTERRUPTED(poll_pipe(w, -1), 1); }
void case_in_poll(void) { run(make_pipe, wait_poll, wake_by_write); }

static int select_pipe(struct waiter *w, struct timeval *timeout) {
  fd_set set;
  FD_ZERO(&set);
  FD_SET(w->fds[0], &set);
  return select(w->fds[0] + 1, &set, NULL, NULL, timeout);
}
static void wait_select(struct waiter *w) { UNINTERRUPTED(select_pipe(w, NULL), 1); }
void case_in_select(void) { run(make_pipe, wait_select, wake_by_write); }

static int wait_epoll_for(struct waiter *w, int timeout) {
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN};
  MUST(epoll >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, w->fds[0], &event) == 0);
  const int result = epoll_wait(epoll, &event, 1, timeout);
  close(epoll);
  return result;
}
static void wait_epoll(struct waiter *w) { UNINTERRUPTED(wait_epoll_for(w, -1), 1); }
void case_in_epoll_wait(void) { run(make_pipe, wait_epoll, wake_by_write); }

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static sem_t semaphore;

static void lock_mutex(struct waiter *w) {
  (void)w;
  pthread_mutex_lock(&mutex);
}
static void unlock_mutex(struct waiter *w) {
  (void)w;
  pthread_mutex_unlock(&mutex);
}
static void wait_mutex(struct waiter *w) {
  UNINTERRUPTED(pthread_mutex_lock(&mutex), 0);
  pthread_mutex_unlock(&mutex);
}
void case_in_mutex(void) { run(lock_mutex, wait_mutex, unlock_mutex); }

static void wait_condition(struct waiter *w) {
  pthread_mutex_lock(&mutex);
  atomic_store(&w->ready, 1);
  while (atomic_load(&w->go) == 0) pthread_cond_wait(&condition, &mutex);
  pthread_mutex_unlock(&mutex);
}
static void wake_condition(struct waiter *w) {
  pthread_mutex_lock(&mutex);
  atomic_store(&w->go, 1);
  pthread_cond_signal(&condition);
  pthread_mutex_unlock(&mutex);
}
void case_in_condition(void) { run(nothing, wait_condition, wake_condition); }

static void make_semaphore(struct waiter *w) {
  (void)w;
  MUST(sem_init(&semaphore, 0, 0) == 0);
}
static void wake_semaphore(struct waiter *w) {
  (void)w;
  sem_post(&semaphore);
}
static void wait_semaphore(struct waiter *w) { UNINTERRUPTED(sem_wait(&semaphore), 0); }
void case_in_semaphore(void) { run(make_semaphore, wait_semaphore, wake_semaphore); }

static int futex_until_go(struct waiter *w) {
  const long result = syscall(SYS_futex, &w->go, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
  // A restarted wait that comes too late finds the word changed.
  if (result == -1 && errno == EAGAIN && atomic_load(&w->go) == 1) return 0;
  return (int)result;
}
static void wait_futex(struct waiter *w) { UNINTERRUPTED(futex_until_go(w), 0); }
static void wake_futex(struct waiter *w) {
  atomic_store(&w->go, 1);
  syscall(SYS_futex, &w->go, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}
void case_in_futex(void) { run(nothing, wait_futex, wake_futex); }

// Waits for signals. The program's set may hold every signal there is.

static void block_usr1(struct waiter *w) {
  (void)w;
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  MUST(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
}
static void wake_by_usr1(struct waiter *w) { MUST(pthread_kill(w->thread, SIGUSR1) == 0); }

static int sigwait_in(const sigset_t *set) {
  int number = 0;
  const int error = sigwait(set, &number);
  return error == 0 ? number : -error;
}
static void wait_sigwait(struct waiter *w) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  UNINTERRUPTED(sigwait_in(&set), SIGUSR1);
}
void case_in_sigwait(void) { run(block_usr1, wait_sigwait, wake_by_usr1); }

static void wait_sigwait_all(struct waiter *w) {
  sigset_t set;
  sigfillset(&set);
  MUST(pthread_sigmask(SIG_SETMASK, &set, NULL) == 0);
  UNINTERRUPTED(sigwait_in(&set), SIGUSR1);
}
void case_in_sigwait_all(void) { run(block_usr1, wait_sigwait_all, wake_by_usr1); }

static atomic_int usr1_seen;
static void on_usr1(int number) {
  (void)number;
  atomic_store(&usr1_seen, 1);
}
static void handle_usr1(struct waiter *w) {
  (void)w;
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_usr1;
  MUST(sigaction(SIGUSR1, &action, NULL) == 0);
}
static void wait_sigsuspend(struct waiter *w) {
  sigset_t set;
  sigemptyset(&set);
  UNINTERRUPTED(sigsuspend(&set), -1);
  if (errno != EINTR || atomic_load(&usr1_seen) == 0) fail("sigsuspend returned before the program's signal");
}
void case_in_sigsuspend(void) { run(handle_usr1, wait_sigsuspend, wake_by_usr1); }

static void wait_pause(struct waiter *w) {
  UNINTERRUPTED(pause(), -1);
  if (atomic_load(&usr1_seen) == 0) fail("pause returned before the program's signal");
}
void case_in_pause(void) { run(handle_usr1, wait_pause, wake_by_usr1); }

static pid_t child;
static void make_child(struct waiter *w) {
  make_pipe(w);
  child = fork();
  MUST(child >= 0);
  if (child == 0) {
    close(w->fds[1]);
    _exit(read(w->fds[0], &byte, 1) == 1 ? 0 : 1);
  }
}
static void wait_waitpid(struct waiter *w) { UNINTERRUPTED(waitpid(child, NULL, 0), child); }
void case_in_waitpid(void) { run(make_child, wait_waitpid, wake_by_write); }

static pthread_t joined;
static struct waiter join_waiter;
static void *joined_thread(void *argument) {
  (void)argument;
  spin_until(&join_waiter.go);
  return NULL;
}
static void make_joined(struct waiter *w) {
  (void)w;
  MUST(pthread_create(&joined, NULL, joined_thread, NULL) == 0);
}
static void wait_join(struct waiter *w) { UNINTERRUPTED(pthread_join(joined, NULL), 0); }
static void wake_join(struct waiter *w) {
  (void)w;
  atomic_store(&join_waiter.go, 1);
}
void case_in_join(void) { run(make_joined, wait_join, wake_join); }

// Waits with a time limit.

static struct timespec from_seconds(double time) {
  const struct timespec result = {(time_t)time, (long)((time - (double)(time_t)time) * 1e9)};
  return result;
}

#define WHOLE_TIME(call, wanted, wanted_errno)                                                        \
  do {                                                                                                \
    const double begin = seconds();                                                                   \
    UNINTERRUPTED(call, wanted);                                                                      \
    if ((wanted_errno) != 0 && errno != (wanted_errno)) fail("%s: errno %d", #call, errno);           \
    if (seconds() - begin < kTime - 0.02) fail("%s returned after %.3f s", #call, seconds() - begin); \
  } while (0)

static int sleep_whole(void) {
  const struct timespec time = from_seconds(kTime);
  return nanosleep(&time, NULL);
}
static void timed_nanosleep(struct waiter *w) { WHOLE_TIME(sleep_whole(), 0, 0); }
void case_timed_nanosleep(void) { run(nothing, timed_nanosleep, nothing); }

static void timed_usleep(struct waiter *w) { WHOLE_TIME(usleep((useconds_t)(kTime * 1e6)), 0, 0); }
void case_timed_usleep(void) { run(nothing, timed_usleep, nothing); }

static void timed_poll(struct waiter *w) { WHOLE_TIME(poll_pipe(w, (int)(kTime * 1000)), 0, 0); }
void case_timed_poll(void) { run(make_pipe, timed_poll, nothing); }

static void timed_select(struct waiter *w) {
  struct timeval time = {0, (suseconds_t)(kTime * 1e6)};
  WHOLE_TIME(select_pipe(w, &time), 0, 0);
}
void case_timed_select(void) { run(make_pipe, timed_select, nothing); }

static void timed_epoll(struct waiter *w) { WHOLE_TIME(wait_epoll_for(w, (int)(kTime * 1000)), 0, 0); }
void case_timed_epoll_wait(void) { run(make_pipe, timed_epoll, nothing); }

static int semaphore_until(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  const struct timespec until = from_seconds((double)now.tv_sec + (double)now.tv_nsec / 1e9 + kTime);
  return sem_timedwait(&semaphore, &until);
}
static void timed_semaphore(struct waiter *w) { WHOLE_TIME(semaphore_until(), -1, ETIMEDOUT); }
void case_timed_semaphore(void) { run(make_semaphore, timed_semaphore, nothing); }

static void timed_recv(struct waiter *w) {
  const struct timeval time = {0, (suseconds_t)(kTime * 1e6)};
  MUST(setsockopt(w->fds[0], SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time) == 0);
  WHOLE_TIME(recv(w->fds[0], &byte, 1, 0), -1, EAGAIN);
}
void case_timed_recv(void) { run(make_sockets, timed_recv, nothing); }

static void timed_sigtimedwait(struct waiter *w) {
  sigset_t set;
  sigfillset(&set);
  const struct timespec time = from_seconds(kTime);
  WHOLE_TIME(sigtimedwait(&set, NULL, &time), -1, EAGAIN);
}
void case_timed_sigtimedwait(void) { run(block_usr1, timed_sigtimedwait, nothing); }

static int semop_set;
static void make_semop(struct waiter *w) {
  (void)w;
  semop_set = semget(IPC_PRIVATE, 1, 0600);
  if (semop_set < 0) skip("no System V semaphores here");
}
static int semop_for(void) {
  struct sembuf operation = {0, -1, 0};
  const struct timespec time = from_seconds(kTime);
  const int result = semtimedop(semop_set, &operation, 1, &time);
  const int error = errno;
  semctl(semop_set, 0, IPC_RMID);
  errno = error;
  return result;
}
static void timed_semop(struct waiter *w) { WHOLE_TIME(semop_for(), -1, EAGAIN); }
void case_timed_semop(void) { run(make_semop, timed_semop, nothing); }
