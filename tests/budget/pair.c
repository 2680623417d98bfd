// What budgets are counted on. `pair SIZE TIMES` allocates and frees a block so often, from 100 blocks in turn with
// `pair SIZE TIMES 100`; `pair idle` closes its output and does nothing, by no call that the library wraps, until it is killed.
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "idle") == 0) {
    close(1);
    for (;;) sched_yield();
  }
  if (argc < 3) return 2;
  const size_t size = (size_t)atol(argv[1]);
  const long times = atol(argv[2]);
  for (long i = 0; i < times; ++i) {
    void *volatile block = malloc(size);
    free(block);
  }
  return 0;
}
