// What budgets are counted on.
//   pair SIZE TIMES BATCH  allocates and frees so many blocks, in batches
//   pair idle              closes its output and does nothing, by no call that the library wraps, until it is killed
//   pair end               ends at once
//   pair calls PROGRAM…    runs it and prints how many system calls it makes
//   pair heap SIZE MIB     keeps so many MiB of blocks and prints the bytes of metadata
#include <dlfcn.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/api/gcmalloc.h"

static int count_calls(char **command) {
  pid_t child = fork();
  if (child == 0) {
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) _exit(126);
    execv(command[0], command);
    _exit(127);
  }
  int status;
  long stops = 0;
  if (child < 0 || waitpid(child, &status, 0) != child || !WIFSTOPPED(status)) return 1;
  for (;;) {
    if (ptrace(PTRACE_SYSCALL, child, NULL, NULL) != 0 || waitpid(child, &status, 0) != child) return 1;
    if (WIFEXITED(status)) break;
    if (!WIFSTOPPED(status)) return 1;
    ++stops;
  }
  printf("%ld\n", (stops + 1) / 2);  // the last call does not return
  return WEXITSTATUS(status);
}

static int fill(size_t size, size_t bytes) {
  int (*get_stats)(struct gcmalloc_stats *);
  *(void **)&get_stats = dlsym(RTLD_DEFAULT, "gcmalloc_get_stats");
  if (get_stats == NULL) return 3;
  void **first = NULL;
  for (size_t done = 0; done < bytes; done += size) {
    void **block = malloc(size);
    if (block == NULL) return 1;
    *block = first;
    first = block;
  }
  struct gcmalloc_stats stats = {.size = sizeof stats};
  if (get_stats(&stats) != 0) return 1;
  printf("%llu\n", (unsigned long long)stats.metadata_bytes);
  return *(void *volatile *)first == NULL;
}

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "end") == 0) return 0;
  if (argc == 2 && strcmp(argv[1], "idle") == 0) {
    close(1);
    for (;;) sched_yield();
  }
  if (argc > 2 && strcmp(argv[1], "calls") == 0) return count_calls(argv + 2);
  if (argc == 4 && strcmp(argv[1], "heap") == 0) return fill((size_t)atol(argv[2]), (size_t)atol(argv[3]) << 20);
  if (argc < 4) return 2;
  const size_t size = (size_t)atol(argv[1]);
  const long times = atol(argv[2]), batch = atol(argv[3]);
  if (batch > 1) {
    void **blocks = malloc((size_t)batch * sizeof *blocks);
    for (long done = 0; done < times; done += batch) {
      for (long i = 0; i < batch; ++i) blocks[i] = malloc(size);
      for (long i = 0; i < batch; ++i) free(blocks[i]);
    }
    free(blocks);
    return 0;
  }
  for (long i = 0; i < times; ++i) {
    void *volatile block = malloc(size);
    free(block);
  }
  return 0;
}
