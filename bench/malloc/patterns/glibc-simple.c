/* glibc-simple, after the description of glibc's bench-malloc-simple: for a number of sizes, batches of 25 to 1600 blocks
 * of one size are allocated and freed again, in the same order. One thread, nothing else alive. */
#include "pattern.h"

enum { LARGEST_BATCH = 1600, BLOCKS = 500000 };
static const unsigned BATCHES[] = {25, 100, 400, LARGEST_BATCH};
static const unsigned SIZES[] = {8, 16, 32, 64, 128, 256, 512, 1024};

static struct outcome run(double scale) {
  struct outcome outcome = {0, 0};
  static unsigned char *blocks[LARGEST_BATCH];
  for (unsigned s = 0; s < sizeof SIZES / sizeof *SIZES; s++)
    for (unsigned b = 0; b < sizeof BATCHES / sizeof *BATCHES; b++)
      for (uint64_t done = 0, all = scaled(BLOCKS, scale); done < all; done += BATCHES[b]) {
        for (unsigned i = 0; i < BATCHES[b]; i++) blocks[i] = take_marked(SIZES[s], (unsigned char)i);
        for (unsigned i = 0; i < BATCHES[b]; i++) {
          outcome.checksum += blocks[i][0] * (uint64_t)SIZES[s];
          give(blocks[i]);
        }
        outcome.operations += BATCHES[b];
      }
  return outcome;
}

const struct pattern pattern = {"glibc-simple", run};
