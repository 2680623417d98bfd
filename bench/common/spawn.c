/* spawn FD COMMAND...: runs it, and writes its measures to the descriptor: one line of JSON.
 *
 * A process's peak of resident memory begins at that of the process that forked it, through exec.
 * This one is small, so what it starts shows its own; a Python interpreter would show itself. */
#include <stdio.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double seconds(struct timeval t) { return (double)t.tv_sec + (double)t.tv_usec / 1e6; }

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  int measures = atoi(argv[1]);
  struct timespec begin, end;
  clock_gettime(CLOCK_MONOTONIC, &begin);
  pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(measures);
    const char *preload = getenv("BENCH_PRELOAD"); /* not for this program itself */
    if (preload) setenv("LD_PRELOAD", preload, 1);
    unsetenv("BENCH_PRELOAD");
    execv(argv[2], argv + 2);
    _exit(127);
  }
  int status = 0;
  struct rusage u;
  if (child < 0 || wait4(child, &status, 0, &u) != child) return 2;
  clock_gettime(CLOCK_MONOTONIC, &end);
  FILE *out = fdopen(measures, "w");
  if (!out) return 2;
  fprintf(out, "{\"wall_s\": %.6f, \"user_s\": %.6f, \"system_s\": %.6f, \"peak_bytes\": %ld, \"faults\": %ld, "
               "\"status\": %d}\n",
          (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9, seconds(u.ru_utime),
          seconds(u.ru_stime), u.ru_maxrss * 1024, u.ru_minflt + u.ru_majflt,
          WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
  return fclose(out) ? 2 : 0;
}
