/* rptest: random sizes up to some kilobytes; each thread frees every other block of its own at a stride,
 * and hands the rest to the next thread (after the description of rpmalloc's benchmark). */
#include "pattern.h"

enum { BLOCKS = 4096, LARGEST = 16000, STRIDE = 7 };

struct handed {
  void *blocks[BLOCKS];
  size_t sizes[BLOCKS];
  unsigned count;
};
static _Atomic(struct handed *) mail[THREADS];
static uint64_t loops;

static void take_mail(struct handed *h) {
  if (!h) return;
  for (unsigned i = 0; i < h->count; i++) give(h->blocks[i], h->sizes[i]);
  free(h);
}

static void *loop(void *data) {
  const unsigned me = (unsigned)(uintptr_t)data;
  uint64_t random = seed(me);
  for (uint64_t i = 0; i < loops; i++) {
    void *blocks[BLOCKS];
    size_t sizes[BLOCKS];
    for (unsigned k = 0; k < BLOCKS; k++)  /* linear, then exponential */
      blocks[k] = take(sizes[k] = 16 + (k % 2 ? below(&random, LARGEST) >> below(&random, 10) : below(&random, 1024)));
    struct handed *h = malloc(sizeof *h);
    if (!h) abort();
    h->count = 0;
    for (unsigned k = 0, at = 0; k < BLOCKS; k++, at = (at + STRIDE) % BLOCKS) {
      if (k % 2) {
        give(blocks[at], sizes[at]);
      } else {
        h->blocks[h->count] = blocks[at];
        h->sizes[h->count++] = sizes[at];
      }
    }
    take_mail(atomic_exchange(&mail[(me + 1) % THREADS], h));
    take_mail(atomic_exchange(&mail[me], NULL));
  }
  return NULL;
}

int main(int argc, char **argv) {
  loops = scaled(argc, argv, 1500);
  void *arguments[] = {(void *)0, (void *)1};
  run_threads(THREADS, loop, arguments);
  for (unsigned i = 0; i < THREADS; i++) take_mail(mail[i]);
  return finish("rptest", loops * BLOCKS * THREADS);
}
