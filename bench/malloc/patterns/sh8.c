/* sh8, in the manner of MicroQuill's published sh8bench: blocks of random sizes, most small and a few of kilobytes;
 * lifetimes mixed, and a share of the blocks goes to the other thread, which frees them. */
#include <stdatomic.h>

#include "pattern.h"

enum { TABLE = 8000, EXCHANGE = 512, STEPS = 9000000, SHARE = 8 };

struct worker {
  struct chance chance;
  uint64_t steps, checksum;
  unsigned char *table[TABLE];
};
static struct worker *workers;
static _Atomic(unsigned char *) exchange[EXCHANGE];

/* Half up to 64 bytes, most of the rest up to 512, one of 64 up to 8 KiB. */
static size_t some_size(struct chance *c) {
  unsigned kind = chance_below(c, 64);
  return 1 + chance_below(c, kind < 32 ? 64 : kind < 63 ? 512 : 8192);
}

static void *work(void *argument) {
  struct worker *w = argument;
  for (uint64_t step = 0; step < w->steps; step++) {
    size_t size = some_size(&w->chance);
    unsigned slot = chance_below(&w->chance, TABLE);
    unsigned char *block = take_marked(size, (unsigned char)size), *old = w->table[slot];
    w->checksum += size * (step % 251);
    w->table[slot] = block;
    if (step % SHARE == 0) old = atomic_exchange(&exchange[step / SHARE % EXCHANGE], old);
    if (old) give(old);
  }
  for (unsigned slot = 0; slot < TABLE; slot++)
    if (w->table[slot]) give(w->table[slot]);
  return NULL;
}

static struct outcome run(double scale) {
  struct outcome outcome = {0, 0};
  workers = take_zeroed(THREADS, sizeof *workers);
  for (unsigned i = 0; i < THREADS; i++) {
    workers[i].chance.state = 88 + i;
    workers[i].steps = scaled(STEPS, scale);
  }
  run_threads(work, workers, sizeof *workers, THREADS);
  for (unsigned i = 0; i < THREADS; i++) {
    outcome.operations += workers[i].steps;
    outcome.checksum += workers[i].checksum;
  }
  for (unsigned i = 0; i < EXCHANGE; i++) {
    unsigned char *left = atomic_exchange(&exchange[i], NULL);
    if (left) give(left);
  }
  give(workers);
  workers = NULL;
  return outcome;
}

const struct pattern pattern = {"sh8", run};
