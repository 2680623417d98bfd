/* glibc-thread, after the description of glibc's bench-malloc-thread: each thread replaces random blocks of a small
 * working set; sizes are such that the chance of one falls with the square of it. Threads share nothing. */
#include <math.h>

#include "pattern.h"

enum { WORKING_SET = 1024, STEPS = 18000000, LEAST = 4, MOST = 32768, SIZES = 8192 };

struct worker {
  struct chance chance;
  uint64_t steps, checksum;
  unsigned char *blocks[WORKING_SET];
};
static struct worker *workers;
static unsigned short sizes[SIZES];

/* The inverse of the distribution function of 1/x^2 between the two. */
static void fill_sizes(void) {
  for (unsigned i = 0; i < SIZES; i++) {
    double share = (i + 0.5) / SIZES;
    sizes[i] = (unsigned short)ceil(1 / (1.0 / LEAST - share * (1.0 / LEAST - 1.0 / MOST)));
  }
}

static void *work(void *argument) {
  struct worker *w = argument;
  for (uint64_t step = 0; step < w->steps; step++) {
    uint64_t roll = chance_next(&w->chance);
    unsigned slot = (unsigned)(roll >> 32) % WORKING_SET;
    size_t size = sizes[(unsigned)(roll >> 48) % SIZES];
    give(w->blocks[slot]);
    w->blocks[slot] = take_marked(size, (unsigned char)size);
    w->checksum += size;
  }
  for (unsigned slot = 0; slot < WORKING_SET; slot++) give(w->blocks[slot]);
  return NULL;
}

static struct outcome run(double scale) {
  struct outcome outcome = {0, 0};
  fill_sizes();
  workers = take_zeroed(THREADS, sizeof *workers);
  for (unsigned i = 0; i < THREADS; i++) {
    workers[i].chance.state = 1024 + i;
    workers[i].steps = scaled(STEPS, scale);
  }
  run_threads(work, workers, sizeof *workers, THREADS);
  for (unsigned i = 0; i < THREADS; i++) {
    outcome.operations += workers[i].steps;
    outcome.checksum += workers[i].checksum;
  }
  give(workers);
  workers = NULL;
  return outcome;
}

const struct pattern pattern = {"glibc-thread", run};
