// A program of one thread asks for what the kernel refuses to several, at the moment when a thread of the collector runs
// beside it: ends with 0 when it was granted, 77 when it never is.
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

void *keep[400000];

static int threads(void) {
  struct stat s;
  return stat("/proc/self/task", &s) == 0 ? (int)s.st_nlink - 2 : 0;
}

int main(void) {
  const pid_t child = fork();
  if (child == 0) _exit(unshare(CLONE_NEWUSER) == 0 ? 0 : 77);
  int status;
  waitpid(child, &status, 0);
  if (WEXITSTATUS(status) != 0) return 77;
  for (int round = 0; round < 200; ++round) {
    for (int i = 0; i < 400000; ++i) {
      keep[i] = malloc(80);
      memset(keep[i], 1, 80);
      if (i % 1000 != 0 || threads() < 2) continue;
      if (unshare(CLONE_NEWUSER) == 0) return 0;
      printf("unshare: %s\n", strerror(errno));
      return 1;
    }
  }
  printf("no thread was seen\n");
  return 1;
}
