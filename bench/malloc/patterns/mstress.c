/* mstress: threads that are made and end again and again, with mostly small and some large blocks, part of
 * which survives in a table that all share (after the description of mimalloc's stress test). */
#include "pattern.h"

enum { SHARED = 1000, LOCAL = 2000 };

struct block {
  size_t size, check;
};
static _Atomic(struct block *) shared[SHARED];
static uint64_t operations;

static struct block *make(uint64_t *random) {
  size_t size = sizeof(struct block) + below(random, 1 + below(random, 512));
  if (below(random, 100) == 0) size *= 100;  /* one of a hundred is large */
  struct block *b = malloc(size);
  if (!b) abort();
  b->size = size;
  b->check = ~size;
  ((char *)b)[size - 1] |= 1;
  return b;
}

static void drop(struct block *b) {
  if (!b) return;
  if (b->size > sizeof *b && b->check != ~b->size) broken++;
  free(b);
}

static void *stress(void *data) {
  uint64_t random = seed((uintptr_t)data);
  struct block **local = calloc(LOCAL, sizeof *local);
  for (uint64_t i = 0; i < operations; i++) {
    const uint64_t slot = below(&random, LOCAL);
    if (below(&random, 4) == 0) {
      local[slot] = atomic_exchange(&shared[below(&random, SHARED)], local[slot]);
    } else {
      drop(local[slot]);
      local[slot] = make(&random);
    }
  }
  for (unsigned i = 0; i < LOCAL; i++) drop(local[i]);
  free(local);
  return NULL;
}

int main(int argc, char **argv) {
  enum { ROUNDS = 40 };
  operations = scaled(argc, argv, 120000);
  for (uintptr_t round = 0; round < ROUNDS; round++) {
    void *arguments[] = {(void *)(2 * round + 1), (void *)(2 * round + 2)};
    run_threads(THREADS, stress, arguments);
  }
  for (unsigned i = 0; i < SHARED; i++) drop(shared[i]);
  return finish("mstress", operations * ROUNDS * THREADS);
}
