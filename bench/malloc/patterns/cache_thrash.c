/* cache-thrash: active false sharing (Berger and others, "Hoard", 2000). Threads allocate small blocks at
 * the same time and write to them: an allocator that gives parts of one line to several slows them down. */
#include "pattern.h"

enum { SIZE = 8, WRITES = 100 };

static uint64_t rounds;

static void *thrash(void *data) {
  (void)data;
  for (uint64_t i = 0; i < rounds; i++) {
    volatile char *p = malloc(SIZE);
    if (!p) abort();
    for (unsigned w = 0; w < WRITES; w++) p[w % SIZE] = (char)(p[w % SIZE] + 1);
    free((void *)p);
  }
  return NULL;
}

int main(int argc, char **argv) {
  rounds = scaled(argc, argv, 8000000);
  void *arguments[THREADS] = {NULL};
  run_threads(THREADS, thrash, arguments);
  return finish("cache-thrash", rounds * THREADS);
}
