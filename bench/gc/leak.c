/* leak: a daemon that frees nearly all it allocates, and loses a block in ten, at a steady rate.
 *
 * A request makes a linked list of ten blocks and frees nine. A small cache of blocks lives on.
 * --rate is in MiB lost a second; 0 is full speed. At a steady rate the figures to look at are
 * CPU time and peak memory; without a collector the loss of all seconds adds up. */
#include "bench.h"

#include <string.h>

enum { BLOCKS = 10, LEAST = 32, SIZES = 993, CACHED = 512 };

struct block {
  struct block *next;
  uint64_t size, tag;
};

static struct block **cache;

static struct block *make(struct block *next, size_t size, uint64_t tag) {
  struct block *b = take(size);
  memset(b, 0x5A, size);
  *b = (struct block){next, size, tag};
  return b;
}

int main(int argc, char **argv) {
  double size = 16, seconds = 3, rate = 64;
  const struct option options[] = {{"size", &size}, {"seconds", &seconds}, {"rate", &rate}, {NULL, NULL}};
  parse_options(argc, argv, options);
  bench_start();
  struct chance c = {88172645463325252u};
  uint32_t slots = (uint32_t)(size * 1048576 / (CACHED + sizeof *cache));
  if (slots == 0) fail("--size is too small");
  cache = take(slots * sizeof *cache);
  for (uint32_t i = 0; i < slots; i++) cache[i] = make(NULL, CACHED, i);
  uint64_t ops = 0, wrong = 0, lost = 0;
  phase_begin();
  uint64_t begin = now_ns();
  while ((double)phase_elapsed_ns() < seconds * 1e9) {
    uint64_t due = rate ? begin + (uint64_t)((double)lost / (rate * 1048576) * 1e9) : 0;
    if (now_ns() < due) {
      struct timespec t = {.tv_sec = (time_t)(due / 1000000000u), .tv_nsec = (long)(due % 1000000000u)};
      clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
      stall_from(now_ns()); /* the sleep is the program's own */
    }
    for (int burst = 0; burst < 64; burst++) {
      struct block *list = NULL;
      for (int i = 0; i < BLOCKS; i++) list = make(list, LEAST + chance_below(&c, SIZES), ops + (uint64_t)i);
      for (int i = BLOCKS; i-- > 0;) {
        struct block *b = list;
        list = b->next;
        wrong += b->tag != ops + (uint64_t)i;
        if (i == 0) {
          lost += b->size;
          b->next = cache[chance_below(&c, slots)]; /* it points at what lives, and nothing at it */
          LOSE(b);
        } else {
          FREE(b);
        }
      }
      uint32_t slot = chance_below(&c, slots);
      wrong += cache[slot]->tag != slot;
      FREE(cache[slot]);
      cache[slot] = make(NULL, CACHED, slot);
      ops += BLOCKS + 1;
    }
    stall_tick();
  }
  phase_stop();
  phase_end("leak", ops, slots * (uint64_t)(CACHED + sizeof *cache), wrong == 0);
}
