/* table: one big array of pointers to small blocks, random slots of which get new blocks.
 *
 * A collector that tracks writes by pages has the whole array dirty soon, and each of its pages
 * holds 512 pointers to anywhere. The blocks hold no pointers. */
#include "bench.h"

#include <string.h>

enum { BATCH = 16, LEAST = 16, SIZES = 97, AVERAGE = LEAST + (SIZES - 1) / 2 };

struct block {
  uint64_t slot, stamp;
};

static struct block **table;
static uint64_t filled;

static struct block *make(uint32_t slot, struct chance *c) {
  size_t size = LEAST + chance_below(c, SIZES);
  struct block *b = take(size);
  memset(b, 0x5A, size);
  b->slot = slot;
  filled += size;
  return b;
}

int main(int argc, char **argv) {
  double size = 256, seconds = 3;
  const struct option options[] = {{"size", &size}, {"seconds", &seconds}, {NULL, NULL}};
  parse_options(argc, argv, options);
  bench_start();
  struct chance c = {88172645463325252u};
  uint32_t slots = (uint32_t)(size * 1048576 / (AVERAGE + sizeof *table));
  if (slots < BATCH) fail("--size is too small");
  table = take(slots * sizeof *table);
  for (uint32_t i = 0; i < slots; i++) table[i] = make(i, &c);
  uint64_t live = filled + slots * sizeof *table, ops = 0, wrong = 0;
  phase_begin();
  while ((double)phase_elapsed_ns() < seconds * 1e9) {
    uint32_t slot[BATCH];
    for (int j = 0; j < BATCH; j++) {
      slot[j] = chance_below(&c, slots);
      __builtin_prefetch(&table[slot[j]], 1);
    }
    for (int j = 0; j < BATCH; j++) __builtin_prefetch(table[slot[j]]);
    for (int j = 0; j < BATCH; j++) {
      struct block *old = table[slot[j]];
      wrong += old->slot != slot[j];
      table[slot[j]] = make(slot[j], &c);
      LOSE(old);
    }
    ops += BATCH;
    stall_tick();
  }
  for (uint32_t i = 0; i < slots; i++) wrong += table[i]->slot != i;
  phase_stop();
  phase_end("table", ops, live, wrong == 0);
}
