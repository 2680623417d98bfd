// Waiting for children.
//
// Law: the child waits for a byte in a pipe, and ends with 7. It has the pipe's writing end closed, so that it
// ends too when the test does.
#include "call.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void make_child(struct wait *w) {
  make_pipe(w);
  w->child = fork();
  MUST(w->child >= 0);
  if (w->child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(w->fds[1]);
    _exit(read(w->fds[0], &gcm_byte, 1) == 1 ? 7 : 8);
  }
  close(w->fds[0]);
}
static void spawn_child(struct wait *w) {
  make_pipe(w);
  posix_spawn_file_actions_t actions;
  MUST(posix_spawn_file_actions_init(&actions) == 0);
  MUST(posix_spawn_file_actions_adddup2(&actions, w->fds[0], 0) == 0);
  MUST(posix_spawn_file_actions_addclose(&actions, w->fds[1]) == 0);
  char *const arguments[] = {(char *)(uintptr_t)"sh", (char *)(uintptr_t)"-c", (char *)(uintptr_t)"head -c1; exit 7", NULL};
  MUST(posix_spawn(&w->child, "/bin/sh", &actions, NULL, arguments, environ) == 0);
  close(w->fds[0]);
}

static long judge_status(const struct wait *w, long pid, int status) {
  if (pid < 0) return -1;
  if (pid != w->child || !WIFEXITED(status) || WEXITSTATUS(status) != 7) fail("pid %ld, status %x", pid, status);
  return 1;
}
static long call_wait(struct wait *w) {
  int status = 0;
  const long pid = wait(&status);
  return judge_status(w, pid, status);
}
static long call_waitpid(struct wait *w) {
  int status = 0;
  const long pid = waitpid(w->child, &status, 0);
  return judge_status(w, pid, status);
}
static long call_wait3(struct wait *w) {
  int status = 0;
  struct rusage usage;
  const long pid = wait3(&status, 0, &usage);
  return judge_status(w, pid, status);
}
static long call_wait4(struct wait *w) {
  int status = 0;
  struct rusage usage;
  const long pid = w->form == kLibc ? wait4(w->child, &status, 0, &usage)
                                    : kernel(w, SYS_wait4, (long)w->child, &status, 0L, &usage);
  return judge_status(w, pid, status);
}
static long call_waitid(struct wait *w) {
  siginfo_t info;
  memset(&info, 0, sizeof info);
  const long result = w->form == kLibc ? waitid(P_PID, (id_t)w->child, &info, WEXITED)
                                       : kernel(w, SYS_waitid, (long)P_PID, (long)w->child, &info, (long)WEXITED, NULL);
  if (result == 0 && (info.si_pid != w->child || info.si_status != 7)) fail("waitid: status %d", info.si_status);
  return result;
}

// The shell reads from the pipe that has been made its standard input.
static void make_input(struct wait *w) {
  make_pipe(w);
  MUST(dup2(w->fds[0], 0) == 0 && fcntl(w->fds[1], F_SETFD, FD_CLOEXEC) == 0);
}
static long call_system(struct wait *w) {
  (void)w;
  const int status = system("head -c1 >/dev/null; exit 7");
  if (status != -1 && WEXITSTATUS(status) != 7) fail("system: status %x", status);
  return status == -1 ? -1 : 1;
}
static FILE *stream;
static void open_stream(struct wait *w) {
  make_input(w);
  char command[64];
  snprintf(command, sizeof command, "head -c1 <&%d >/dev/null; exit 7", w->fds[0]);
  stream = popen(command, "w");
  MUST(stream != NULL);
}
static void open_reading_stream(struct wait *w) {
  make_input(w);
  stream = popen("head -c1; exit 7", "r");
  MUST(stream != NULL);
}
static long call_pclose(struct wait *w) {
  (void)w;
  const int status = pclose(stream);
  if (status != -1 && WEXITSTATUS(status) != 7) fail("pclose: status %x", status);
  return status == -1 ? -1 : 1;
}
static long call_fgetc(struct wait *w) {
  (void)w;
  const int c = fgetc(stream);
  return c == 'x' ? 1 : -1;
}

static const struct call child_calls[] = {
    {"wait", "l", kRestarted, false, true, make_child, call_wait, write_byte, 1, 0, 0},
    {"waitpid", "l", kRestarted, false, true, make_child, call_waitpid, write_byte, 1, 0, 0},
    {"waitpid_spawned", "l", kRestarted, false, true, spawn_child, call_waitpid, write_byte, 1, 0, 0},
    {"wait3", "l", kRestarted, false, true, make_child, call_wait3, write_byte, 1, 0, 0},
    {"wait4", "lra", kRestarted, false, true, make_child, call_wait4, write_byte, 1, 0, 0},
    {"waitid", "lra", kRestarted, false, true, make_child, call_waitid, write_byte, 0, 0, 0},
    {"system", "l", kUntold, false, false, make_input, call_system, write_byte, 1, 0, 0},
    {"pclose", "l", kUntold, false, false, open_stream, call_pclose, write_byte, 1, 0, 0},
    {"fgetc_popen", "l", kUntold, false, false, open_reading_stream, call_fgetc, write_byte, 1, 0, 0},
};
CALLS(child_calls)
