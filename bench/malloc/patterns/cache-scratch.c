/* cache-scratch, after Berger et al., "Hoard" (ASPLOS 2000): passive false sharing. The main thread allocates small
 * blocks side by side and gives one to each thread, which frees it and goes on with blocks of its own, written again
 * and again. An allocator that hands the freed block to the thread that freed it leaves two threads on a cache line. */
#include "pattern.h"

enum { SIZE = 8, ROUNDS = 12000, WRITES = 40000 };

struct worker {
  uint64_t rounds, checksum;
  unsigned char *first;
};

static void *work(void *argument) {
  struct worker *w = argument;
  give(w->first);
  w->first = NULL;
  for (uint64_t round = 0; round < w->rounds; round++) {
    volatile unsigned char *block = take(SIZE);
    memset((void *)(uintptr_t)block, 0, SIZE);
    for (unsigned i = 0; i < WRITES; i++) block[i % SIZE]++;
    w->checksum += block[0];
    give((void *)(uintptr_t)block);
  }
  return NULL;
}

static struct outcome run(double scale) {
  struct worker workers[THREADS];
  struct outcome outcome = {0, 0};
  for (unsigned i = 0; i < THREADS; i++) workers[i] = (struct worker){scaled(ROUNDS, scale), 0, take_marked(SIZE, 1)};
  run_threads(work, workers, sizeof *workers, THREADS);
  for (unsigned i = 0; i < THREADS; i++) {
    outcome.operations += workers[i].rounds;
    outcome.checksum += workers[i].checksum;
  }
  return outcome;
}

const struct pattern pattern = {"cache-scratch", run};
