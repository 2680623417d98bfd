/* sh8: as sh6, for blocks that threads pass to each other (after what is published of MicroQuill's
 * SmartHeap benchmark 8): each block goes to a random place of a table that all share, and who puts it
 * there frees what was there before. */
#include "pattern.h"

enum { PLACES = 1 << 14 };

static _Atomic(size_t *) places[PLACES];
static uint64_t rounds;

static void *exchange(void *data) {
  uint64_t random = seed((uintptr_t)data);
  for (uint64_t i = 0; i < rounds; i++) {
    const size_t size = sizeof(size_t) + below(&random, 1 + below(&random, 1 + below(&random, 1000)));
    size_t *block = malloc(size + 1);
    if (!block) abort();
    *block = size;
    ((char *)block)[size] = (char)size;
    size_t *old = atomic_exchange(&places[below(&random, PLACES)], block);
    if (!old) continue;
    if (((char *)old)[*old] != (char)*old) broken++;
    free(old);
  }
  return NULL;
}

int main(int argc, char **argv) {
  rounds = scaled(argc, argv, 8000000);
  void *arguments[] = {(void *)1, (void *)2};
  run_threads(THREADS, exchange, arguments);
  for (unsigned i = 0; i < PLACES; i++) free(places[i]);
  return finish("sh8", rounds * THREADS);
}
