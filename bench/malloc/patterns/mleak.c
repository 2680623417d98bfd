/* mleak, after the description of mimalloc-bench's program: threads are born, allocate, free, and end, again and again.
 * What their caches and arenas leave behind adds up to the peak, and to what is resident at the end. */
#include "pattern.h"

enum { BIRTHS = 2000, BLOCKS = 1500, LEAST = 16, MOST = 2048 };

struct life {
  struct chance chance;
  uint64_t checksum;
};

static void *live(void *argument) {
  struct life *life = argument;
  unsigned char *blocks[BLOCKS];
  for (unsigned i = 0; i < BLOCKS; i++) {
    size_t size = LEAST + (chance_below(&life->chance, MOST) & chance_below(&life->chance, MOST));
    blocks[i] = take_marked(size, (unsigned char)i);
    life->checksum += size;
  }
  for (unsigned i = 0; i < BLOCKS; i++) give(blocks[i]);
  return NULL;
}

static struct outcome run(double scale) {
  struct outcome outcome = {0, 0};
  for (uint64_t birth = 0, all = scaled(BIRTHS, scale); birth < all; birth += THREADS) {
    struct life lives[THREADS];
    for (unsigned i = 0; i < THREADS; i++) lives[i] = (struct life){{birth + i + 1}, 0};
    run_threads(live, lives, sizeof *lives, THREADS);
    for (unsigned i = 0; i < THREADS; i++) outcome.checksum += lives[i].checksum;
    outcome.operations += THREADS * BLOCKS;
  }
  return outcome;
}

const struct pattern pattern = {"mleak", run};
