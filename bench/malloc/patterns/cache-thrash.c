/* cache-thrash, after Berger et al., "Hoard" (ASPLOS 2000): active false sharing. Threads allocate a small block each
 * at the same time, write it again and again, and free it. An allocator that serves them from one line makes the line
 * go to and fro. */
#include "pattern.h"

enum { SIZE = 8, ROUNDS = 300000, WRITES = 1200 };

struct worker {
  uint64_t rounds, checksum;
};

static void *work(void *argument) {
  struct worker *w = argument;
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
  for (unsigned i = 0; i < THREADS; i++) workers[i] = (struct worker){scaled(ROUNDS, scale), 0};
  run_threads(work, workers, sizeof *workers, THREADS);
  for (unsigned i = 0; i < THREADS; i++) {
    outcome.operations += workers[i].rounds;
    outcome.checksum += workers[i].checksum;
  }
  return outcome;
}

const struct pattern pattern = {"cache-thrash", run};
