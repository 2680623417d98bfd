/* malloc-large: blocks of 5 to 25 MiB, twenty of which are alive at a time; of each one page in four is
 * written to. What a new block costs is the kernel's work, which an allocator may spare or double. */
#include "pattern.h"

enum { LIVE = 20, MIB = 1 << 20, STEP = 4 * 4096 };

int main(int argc, char **argv) {
  const uint64_t rounds = scaled(argc, argv, 1500);
  uint64_t random = seed(1);
  void *blocks[LIVE] = {NULL};
  size_t sizes[LIVE];
  for (uint64_t i = 0; i < rounds; i++) {
    const uint64_t slot = below(&random, LIVE);
    if (blocks[slot]) give(blocks[slot], sizes[slot]);
    sizes[slot] = 5 * MIB + below(&random, 20 * MIB);
    volatile char *p = blocks[slot] = take(sizes[slot]);
    for (size_t at = STEP; at < sizes[slot] - STEP; at += STEP) p[at] = 1;
  }
  for (unsigned i = 0; i < LIVE; i++) {
    if (blocks[i]) give(blocks[i], sizes[i]);
  }
  return finish("malloc-large", rounds);
}
