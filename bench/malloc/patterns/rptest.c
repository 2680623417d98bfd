/* rptest, after the description of rpmalloc's benchmark: each thread holds a set of blocks whose sizes fall off
 * exponentially from 8 bytes to 16000, replaces them in strides, and every other time gives what it drops to its
 * neighbour, which frees it. At the end of a loop all is freed. */
#include <math.h>
#include <stdatomic.h>

#include "pattern.h"

enum { LOOPS = 150, STRIDES = 60, BLOCKS = 1000, STRIDE = 7, LEAST = 16, MOST = 16000, SIZES = 4096, CROSS = 2 };

struct block {
  struct block *next;
};
struct worker {
  struct chance chance;
  uint64_t loops, operations, checksum;
  struct block *held[BLOCKS];
  _Atomic(struct block *) foreign;
  struct worker *neighbour;
};
static struct worker *workers;
static unsigned short sizes[SIZES];

static void fill_sizes(void) {
  for (unsigned i = 0; i < SIZES; i++)
    sizes[i] = (unsigned short)(LEAST + (MOST - LEAST) * exp(-8.0 * i / SIZES));
}

static void free_list(struct block *block) {
  for (struct block *next; block; block = next) {
    next = block->next;
    give(block);
  }
}

static void give_to(struct worker *w, struct block *block) {
  struct block *head = atomic_load(&w->foreign);
  do block->next = head;
  while (!atomic_compare_exchange_weak(&w->foreign, &head, block));
}

static struct block *make(struct worker *w) {
  size_t size = sizes[chance_below(&w->chance, SIZES)];
  struct block *block = (struct block *)take_marked(size, 1);
  w->operations++;
  w->checksum += size;
  return block;
}

static void *work(void *argument) {
  struct worker *w = argument;
  for (uint64_t loop = 0; loop < w->loops; loop++) {
    for (unsigned i = 0; i < BLOCKS; i++) w->held[i] = make(w);
    for (unsigned stride = 0; stride < STRIDES; stride++) {
      for (unsigned i = stride % STRIDE; i < BLOCKS; i += STRIDE) {
        if (stride % CROSS) give_to(w->neighbour, w->held[i]);
        else give(w->held[i]);
        w->held[i] = make(w);
      }
      free_list(atomic_exchange(&w->foreign, NULL));
    }
    for (unsigned i = 0; i < BLOCKS; i++) {
      give(w->held[i]);
      w->held[i] = NULL;
    }
  }
  return NULL;
}

static struct outcome run(double scale) {
  struct outcome outcome = {0, 0};
  fill_sizes();
  workers = take_zeroed(THREADS, sizeof *workers);
  for (unsigned i = 0; i < THREADS; i++) {
    workers[i].chance.state = 16000 + i;
    workers[i].loops = scaled(LOOPS, scale);
    workers[i].neighbour = &workers[(i + 1) % THREADS];
  }
  run_threads(work, workers, sizeof *workers, THREADS);
  for (unsigned i = 0; i < THREADS; i++) {
    outcome.operations += workers[i].operations;
    outcome.checksum += workers[i].checksum;
    free_list(atomic_exchange(&workers[i].foreign, NULL));
  }
  give(workers);
  workers = NULL;
  return outcome;
}

const struct pattern pattern = {"rptest", run};
