// Files that block: pipes, FIFOs, terminals, locks, and the descriptors that stand for events. All of them are
// restarted after a handler when SA_RESTART says so.
#include "call.h"

#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static long read_up_to(struct wait *w, size_t size) {
  static char space[4096];
  return w->form == kLibc ? read(w->fds[0], space, size) : kernel(w, SYS_read, (long)w->fds[0], space, (long)size);
}
static long read_one(struct wait *w) { return read_up_to(w, 1); }
static long read_eight(struct wait *w) { return read_up_to(w, 8); }

// A full pipe.
static char page[4096];
static void fill_pipe(struct wait *w) {
  make_pipe(w);
  MUST(fcntl(w->fds[1], F_SETFL, O_NONBLOCK) == 0);
  while (write(w->fds[1], page, sizeof page) > 0) {
  }
  MUST(fcntl(w->fds[1], F_SETFL, 0) == 0);
}
static void read_page(struct wait *w) { MUST(read(w->fds[0], page, sizeof page) == sizeof page); }
static long write_page(struct wait *w) {
  return w->form == kLibc ? write(w->fds[1], page, sizeof page)
                          : kernel(w, SYS_write, (long)w->fds[1], page, (long)sizeof page);
}

// A file of no name but this. One that is there already was left by a process of the same number that was killed.
static char path[128];
static void new_path(void) {
  snprintf(path, sizeof path, "/tmp/host-test-%d", (int)getpid());
  unlink(path);
}
__attribute__((destructor)) static void remove_path(void) {
  if (path[0] != 0) unlink(path);
}

static void make_fifo(struct wait *w) {
  (void)w;
  new_path();
  MUST(mkfifo(path, 0600) == 0);
}
// Waits for the reader: one whose call was interrupted is out of it until it is continued.
static void open_to_write(struct wait *w) {
  w->fds[1] = open(path, O_WRONLY);
  MUST(w->fds[1] >= 0);
}
static long open_fifo(struct wait *w) {
  const long fd = w->form == kLibc ? open(path, O_RDONLY) : kernel(w, SYS_openat, (long)AT_FDCWD, path, (long)O_RDONLY);
  return fd < 0 ? -1 : 1;
}

static void make_file(struct wait *w) {
  new_path();
  for (int i = 0; i < 2; ++i) w->fds[i] = open(path, O_RDWR | O_CREAT, 0600);
  MUST(w->fds[0] >= 0 && w->fds[1] >= 0 && unlink(path) == 0);
}
static void make_flock(struct wait *w) {
  make_file(w);
  MUST(flock(w->fds[1], LOCK_EX) == 0);
}
static void end_flock(struct wait *w) { MUST(flock(w->fds[1], LOCK_UN) == 0); }
static long call_flock(struct wait *w) {
  return w->form == kLibc ? flock(w->fds[0], LOCK_EX) : kernel(w, SYS_flock, (long)w->fds[0], (long)LOCK_EX);
}

static struct flock whole_file(short type) {
  const struct flock lock = {.l_type = type, .l_whence = SEEK_SET};
  return lock;
}
static void make_ofd_lock(struct wait *w) {
  make_file(w);
  struct flock lock = whole_file(F_WRLCK);
  MUST(fcntl(w->fds[1], F_OFD_SETLK, &lock) == 0);
}
static void end_ofd_lock(struct wait *w) {
  struct flock lock = whole_file(F_UNLCK);
  MUST(fcntl(w->fds[1], F_OFD_SETLK, &lock) == 0);
}
static long call_ofd_lock(struct wait *w) {
  struct flock lock = whole_file(F_WRLCK);
  return w->form == kLibc ? fcntl(w->fds[0], F_OFD_SETLKW, &lock)
                          : kernel(w, SYS_fcntl, (long)w->fds[0], (long)F_OFD_SETLKW, &lock);
}

// Another process has the lock, until it is killed.
static void make_process_lock(struct wait *w) {
  make_file(w);
  int ready[2];
  MUST(pipe(ready) == 0);
  w->child = fork();
  MUST(w->child >= 0);
  if (w->child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct flock lock = whole_file(F_WRLCK);
    if (fcntl(w->fds[1], F_SETLK, &lock) != 0 || write(ready[1], "x", 1) != 1) _exit(1);
    for (;;) pause();
  }
  MUST(read(ready[0], &gcm_byte, 1) == 1);
}
static void end_process(struct wait *w) { MUST(kill(w->child, SIGKILL) == 0); }
static long call_process_lock(struct wait *w) {
  struct flock lock = whole_file(F_WRLCK);
  const long result = w->form == kLibc ? fcntl(w->fds[0], F_SETLKW, &lock)
                                       : kernel(w, SYS_fcntl, (long)w->fds[0], (long)F_SETLKW, &lock);
  const int error = errno;
  kill(w->child, SIGKILL);
  errno = error;
  return result;
}

// Terminals.

static void make_terminal(struct wait *w) {
  if (openpty(&w->fds[1], &w->fds[0], NULL, NULL, NULL) != 0) skip("no terminals here");
}
static void type_line(struct wait *w) { MUST(write(w->fds[1], "ab\n", 3) == 3); }
static long read_terminal(struct wait *w) { return read_up_to(w, 100); }

static void make_stopped_terminal(struct wait *w) {
  make_terminal(w);
  MUST(tcflow(w->fds[0], TCOOFF) == 0);
}
static void resume_terminal(struct wait *w) { MUST(tcflow(w->fds[0], TCOON) == 0); }
static long write_terminal(struct wait *w) {
  return w->form == kLibc ? write(w->fds[0], "abc", 3) : kernel(w, SYS_write, (long)w->fds[0], "abc", 3L);
}

// Descriptors of events.

static void make_inotify(struct wait *w) {
  char *directory = strdup("/tmp/host-test-XXXXXX");
  MUST(mkdtemp(directory) != NULL);
  w->fds[0] = inotify_init1(IN_CLOEXEC);
  MUST(w->fds[0] >= 0 && inotify_add_watch(w->fds[0], directory, IN_DELETE_SELF) > 0);
  snprintf(path, sizeof path, "%s", directory);
  free(directory);
}
static void remove_watched(struct wait *w) {
  (void)w;
  MUST(rmdir(path) == 0);
}
static long read_inotify(struct wait *w) {
  const long result = read_up_to(w, 4096);
  if (result < 0) rmdir(path);
  if (result < 0) errno = EINTR;
  return result < 0 ? -1 : result >= (long)sizeof(struct inotify_event);
}

static void make_eventfd(struct wait *w) { MUST((w->fds[0] = w->fds[1] = eventfd(0, EFD_CLOEXEC)) >= 0); }
static void write_eventfd(struct wait *w) { MUST(eventfd_write(w->fds[1], 3) == 0); }

static void make_timerfd(struct wait *w) {
  w->fds[0] = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
  const struct itimerspec once = {{0, 0}, from_seconds(60)};
  MUST(w->fds[0] >= 0 && timerfd_settime(w->fds[0], 0, &once, NULL) == 0);
}
static void set_timerfd(struct wait *w) {
  const struct itimerspec now = {{0, 0}, {0, 1}};
  MUST(timerfd_settime(w->fds[0], 0, &now, NULL) == 0);
}

#define ROW(name, prepare, call, wake, result) {name, "lra", kRestarted, false, true, prepare, call, wake, result, 0, 0}

static const struct call file_calls[] = {
    ROW("read_pipe", make_pipe, read_one, write_byte, 1),
    ROW("write_pipe", fill_pipe, write_page, read_page, 4096),
    ROW("open_fifo", make_fifo, open_fifo, open_to_write, 1),
    {"flock", "lra", kRestarted, false, false, make_flock, call_flock, end_flock, 0, 0, 0},
    ROW("fcntl_ofd_setlkw", make_ofd_lock, call_ofd_lock, end_ofd_lock, 0),
    ROW("fcntl_setlkw", make_process_lock, call_process_lock, end_process, 0),
    ROW("read_terminal", make_terminal, read_terminal, type_line, 3),
    ROW("write_terminal", make_stopped_terminal, write_terminal, resume_terminal, 3),
    ROW("inotify", make_inotify, read_inotify, remove_watched, 1),
    ROW("eventfd", make_eventfd, read_eight, write_eventfd, 8),
    ROW("timerfd", make_timerfd, read_eight, set_timerfd, 8),
};
CALLS(file_calls)
