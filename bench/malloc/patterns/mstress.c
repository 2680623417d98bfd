/* mstress, after the description of mimalloc's stress test: in every round threads are born that allocate arrays of
 * words (most of some words, one of a hundred a hundred times as long), keep a part to the end of the round, let the
 * rest go at random, and exchange blocks with one another through a common table; some stay there for rounds. */
#include <stdatomic.h>

#include "pattern.h"

enum { ROUNDS = 30, STEPS = 60000, TRANSFER = 1000, KEPT_SHARE = 2, ROLL = 100 };
static const uint64_t COOKIE = 0xbf58476d1ce4e5b9u;

static _Atomic(uint64_t *) transfer[TRANSFER];

struct worker {
  struct chance chance;
  uint64_t steps, checksum;
};

/* The first word tells how many there are; each other one is its index times the cookie. */
static uint64_t *make(struct worker *w) {
  unsigned roll = chance_below(&w->chance, ROLL);
  uint64_t words = 2 + chance_below(&w->chance, 16);
  if (roll == 0) words *= 100;
  else if (roll < 10) words *= 8;
  uint64_t *block = roll % 4 == 3 ? take_zeroed((size_t)words, sizeof *block) : take((size_t)words * sizeof *block);
  block[0] = words;
  for (uint64_t i = 1; i < words; i++) block[i] = i * COOKIE;
  w->checksum += words;
  return block;
}

static void drop(uint64_t *block) {
  if (!block) return;
  for (uint64_t i = 1; i < block[0]; i++)
    if (block[i] != i * COOKIE) fail("a block was overwritten");
  give(block);
}

static void *work(void *argument) {
  struct worker *w = argument;
  uint64_t size = w->steps / KEPT_SHARE + 1, kept = 0, **keep = take((size_t)size * sizeof *keep);
  uint64_t *open[64] = {NULL};
  for (uint64_t step = 0; step < w->steps; step++) {
    unsigned slot = chance_below(&w->chance, 64);
    if (step % KEPT_SHARE == 0) {
      keep[kept++] = make(w);
    } else {
      drop(open[slot]);
      open[slot] = make(w);
    }
    if (chance_below(&w->chance, 4) == 0) {
      unsigned place = chance_below(&w->chance, TRANSFER);
      open[slot] = atomic_exchange(&transfer[place], open[slot]);
    }
  }
  while (kept) drop(keep[--kept]);
  for (unsigned slot = 0; slot < 64; slot++) drop(open[slot]);
  give(keep);
  return NULL;
}

static struct outcome run(double scale) {
  struct outcome outcome = {0, 0};
  uint64_t steps = scaled(STEPS, scale);
  for (unsigned round = 0; round < ROUNDS; round++) {
    struct worker workers[THREADS];
    for (unsigned i = 0; i < THREADS; i++) workers[i] = (struct worker){{round * THREADS + i + 1}, steps, 0};
    run_threads(work, workers, sizeof *workers, THREADS);
    for (unsigned i = 0; i < THREADS; i++) {
      outcome.operations += steps;
      outcome.checksum += workers[i].checksum * (round + 1);
    }
    /* A tenth of what is in the common table goes at the end of each round. */
    for (unsigned i = round % 10; i < TRANSFER; i += 10) drop(atomic_exchange(&transfer[i], NULL));
  }
  for (unsigned i = 0; i < TRANSFER; i++) drop(atomic_exchange(&transfer[i], NULL));
  return outcome;
}

const struct pattern pattern = {"mstress", run};
