/* mleak: threads are born, allocate and free a little, and end, one after the other: what stays behind is
 * the allocator's (after the description of mimalloc-bench's mleak). */
#include "pattern.h"

enum { BLOCKS = 200 };

static void *live(void *data) {
  uint64_t random = seed((uintptr_t)data);
  void *blocks[BLOCKS];
  size_t sizes[BLOCKS];
  for (unsigned i = 0; i < BLOCKS; i++) blocks[i] = take(sizes[i] = 1 + below(&random, 2000));
  for (unsigned i = 0; i < BLOCKS; i++) give(blocks[i], sizes[i]);
  return NULL;
}

int main(int argc, char **argv) {
  const uint64_t births = scaled(argc, argv, 10000);
  for (uint64_t i = 0; i < births; i++) {
    void *arguments[] = {(void *)(uintptr_t)i};
    run_threads(1, live, arguments);
  }
  return finish("mleak", births);
}
