/* alloc-test: random places of a large table, which are filled when empty and emptied when full, with
 * sizes of which each octave is half as frequent as the one below (after the description of Ignatchenko's
 * alloc-test, "Testing memory allocators", 2018). Random order over a large heap, with little else. */
#include "pattern.h"

enum { PLACES = 1 << 18, OCTAVES = 10 };

static uint64_t rounds;

struct place {
  void *p;
  size_t size;
};

static void *test(void *data) {
  uint64_t random = seed((uintptr_t)data);
  struct place *places = calloc(PLACES, sizeof *places);
  for (uint64_t i = 0; i < rounds; i++) {
    const uint64_t r = next_random(&random);
    struct place *at = &places[r % PLACES];
    if (at->p) {
      give(at->p, at->size);
      at->p = NULL;
    } else {
      const unsigned octave = (unsigned)__builtin_ctzll(r >> 32 | 1u << OCTAVES);
      at->size = ((size_t)8 << octave) + (r >> 45) % ((size_t)8 << octave);
      at->p = take(at->size);
    }
  }
  for (unsigned i = 0; i < PLACES; i++) {
    if (places[i].p) give(places[i].p, places[i].size);
  }
  free(places);
  return NULL;
}

int main(int argc, char **argv) {
  rounds = scaled(argc, argv, 8000000);
  void *arguments[] = {(void *)1, (void *)2};
  run_threads(THREADS, test, arguments);
  return finish("alloc-test", rounds * THREADS);
}
