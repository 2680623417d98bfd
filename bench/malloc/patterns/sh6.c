/* sh6: mixed lifetimes in one heap for each thread, after what is published of MicroQuill's SmartHeap
 * benchmark 6: sizes from 1 to 1000, small ones the more often; of what is allocated some is freed at
 * once in reverse order, some in the order it came, and every fifth block outlives several passes. */
#include "pattern.h"

enum { BATCH = 400, LASTING = 8000 };

struct block {
  void *p;
  size_t size;
};

static uint64_t passes;

static size_t draw(uint64_t *random) { return 1 + below(random, 1 + below(random, 1 + below(random, 1000))); }

static void *mix(void *data) {
  uint64_t random = seed((uintptr_t)data);
  struct block batch[BATCH];
  struct block *lasting = calloc(LASTING, sizeof *lasting);
  uint64_t oldest = 0;
  for (uint64_t pass = 0; pass < passes; pass++) {
    for (unsigned i = 0; i < BATCH; i++) {
      batch[i].size = draw(&random);
      batch[i].p = take(batch[i].size);
    }
    for (unsigned i = 0; i < BATCH; i += 5) {  /* for long: takes the place of the oldest */
      struct block *old = &lasting[oldest++ % LASTING];
      if (old->p) give(old->p, old->size);
      *old = batch[i];
      batch[i].p = NULL;
    }
    for (unsigned i = BATCH; i-- > BATCH / 2;) {
      if (batch[i].p) give(batch[i].p, batch[i].size);
    }
    for (unsigned i = 0; i < BATCH / 2; i++) {
      if (batch[i].p) give(batch[i].p, batch[i].size);
    }
  }
  for (unsigned i = 0; i < LASTING; i++) {
    if (lasting[i].p) give(lasting[i].p, lasting[i].size);
  }
  free(lasting);
  return NULL;
}

int main(int argc, char **argv) {
  passes = scaled(argc, argv, 50000);
  void *arguments[] = {(void *)1, (void *)2};
  run_threads(THREADS, mix, arguments);
  return finish("sh6", passes * BATCH * THREADS);
}
