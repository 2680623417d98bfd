/* cache-scratch: passive false sharing (Berger and others, "Hoard", 2000). Small blocks that one thread
 * has allocated side by side are given to others, who free them and allocate anew: an allocator that hands
 * the same places out again makes threads write to one line. */
#include "pattern.h"

enum { SIZE = 8, WRITES = 100 };

static uint64_t rounds;

static void *scratch(void *data) {
  free(data);
  for (uint64_t i = 0; i < rounds; i++) {
    volatile char *p = malloc(SIZE);
    if (!p) abort();
    for (unsigned w = 0; w < WRITES; w++) p[w % SIZE] = (char)(p[w % SIZE] + 1);
    free((void *)p);
  }
  return NULL;
}

int main(int argc, char **argv) {
  rounds = scaled(argc, argv, 4000000);
  void *arguments[THREADS];
  for (unsigned i = 0; i < THREADS; i++) arguments[i] = malloc(SIZE);
  run_threads(THREADS, scratch, arguments);
  return finish("cache-scratch", rounds * THREADS);
}
