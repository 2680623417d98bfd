/* glibc-thread: each thread replaces random blocks of a working set of 1000, with sizes from 4 bytes to
 * 32 KiB that are the rarer the larger they are (after the description of glibc's bench-malloc-thread). */
#include "pattern.h"

enum { WORKING_SET = 1000, OCTAVES = 13 };

static uint64_t rounds;

static void *work(void *data) {
  uint64_t random = seed((uintptr_t)data);
  void *blocks[WORKING_SET] = {NULL};
  size_t sizes[WORKING_SET];
  for (uint64_t i = 0; i < rounds; i++) {
    const uint64_t slot = below(&random, WORKING_SET), r = next_random(&random);
    if (blocks[slot]) give(blocks[slot], sizes[slot]);
    const unsigned octave = (unsigned)__builtin_ctzll(r | 1u << OCTAVES);
    sizes[slot] = ((size_t)4 << octave) + (r >> 40) % ((size_t)4 << octave);
    blocks[slot] = take(sizes[slot]);
  }
  for (unsigned i = 0; i < WORKING_SET; i++) {
    if (blocks[i]) give(blocks[i], sizes[i]);
  }
  return NULL;
}

int main(int argc, char **argv) {
  rounds = scaled(argc, argv, 20000000);
  void *arguments[] = {(void *)1, (void *)2};
  run_threads(THREADS, work, arguments);
  return finish("glibc-thread", rounds * THREADS);
}
