/* malloc-large, after the description of mimalloc-bench's program: twenty blocks of 5 to 25 MiB are alive; a random one
 * is freed and another of random size takes its place; all of it is written. What it costs is whether pages are given
 * back to the kernel, and taken again, at each turn. */
#include "pattern.h"

enum { LIVE = 20, STEPS = 400 };

static struct outcome run(double scale) {
  static unsigned char *blocks[LIVE];
  struct outcome outcome = {scaled(STEPS, scale), 0};
  struct chance chance = {25};
  for (uint64_t step = 0; step < outcome.operations; step++) {
    unsigned slot = chance_below(&chance, LIVE);
    size_t size = (5u << 20) + chance_below(&chance, 20u << 20);
    if (blocks[slot]) give(blocks[slot]);
    blocks[slot] = take(size);
    memset(blocks[slot], (int)(step & 127), size);
    outcome.checksum += size + blocks[slot][size / 2];
  }
  for (unsigned i = 0; i < LIVE; i++) {
    if (blocks[i]) give(blocks[i]);
    blocks[i] = NULL;
  }
  return outcome;
}

const struct pattern pattern = {"malloc-large", run};
