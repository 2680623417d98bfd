/* limits: what one core of this machine can do at best: objects/s of a pointer chase over linked
 * 64-byte objects in random order, and bytes/s of a sequential read.
 *
 * A marker that does not know the order of the heap cannot be faster than the chase, of which many
 * run at once with prefetch; the best number of them is looked for. 4 KiB pages, as malloc has them
 * where huge pages are not given to everybody. */
#include "bench.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>

enum { MOST = 64 };
struct object {
  struct object *next;
  uint64_t rest[7];
};

static volatile uint64_t sink;

/* One cycle through all objects: a step is a fixed odd number of objects further in a random-looking
 * numbering (a bijection of 2^bits numbers: odd multiplications and shifts). */
static uint64_t scatter(uint64_t i, uint64_t mask, unsigned bits) {
  i = i * 0x9E3779B97F4A7C15u & mask;
  i ^= i >> (bits / 2);
  i = i * 0xD6E8FEB86659FD93u & mask;
  return i ^ i >> (bits / 2);
}

/* Both take the best of short stretches: what others do on the machine costs some, not all. */
static double best_rate(double rate, uint64_t amount, uint64_t begin) {
  double now = (double)amount / (double)(now_ns() - begin) * 1e9;
  return now > rate ? now : rate;
}

static double chase(struct object *base, uint64_t count, unsigned bits, unsigned chains, double seconds) {
  enum { STRETCH = 1 << 14 };
  struct object *at[MOST];
  for (unsigned j = 0; j < chains; j++) at[j] = &base[scatter(count / chains * j, count - 1, bits)];
  double best = 0;
  uint64_t end = now_ns() + (uint64_t)(seconds * 1e9);
  while (now_ns() < end) {
    uint64_t begin = now_ns();
    for (int i = 0; i < STRETCH; i++) {
      for (unsigned j = 0; j < chains; j++) {
        at[j] = at[j]->next;
        __builtin_prefetch(at[j]);
      }
    }
    best = best_rate(best, (uint64_t)STRETCH * chains, begin);
  }
  for (unsigned j = 0; j < chains; j++) sink += (uintptr_t)at[j];
  return best;
}

static double read_all(const uint64_t *words, uint64_t count, double seconds) {
  enum { STRETCH = 1 << 23 };
  double best = 0;
  uint64_t end = now_ns() + (uint64_t)(seconds * 1e9), from = 0, sum[8] = {0};
  while (now_ns() < end) {
    uint64_t begin = now_ns(), to = from + STRETCH < count ? from + STRETCH : count;
    for (uint64_t i = from; i + 8 <= to; i += 8) {
      for (int k = 0; k < 8; k++) sum[k] += words[i + (uint64_t)k];
    }
    best = best_rate(best, (to - from) * sizeof *words, begin);
    from = to < count ? to : 0;
  }
  for (int k = 0; k < 8; k++) sink += sum[k];
  return best;
}

int main(int argc, char **argv) {
  double size = 1024, seconds = 0.5;
  const struct option options[] = {{"size", &size}, {"seconds", &seconds}, {NULL, NULL}};
  parse_options(argc, argv, options);
  unsigned bits = 10;
  while ((sizeof(struct object) << (bits + 1)) <= (uint64_t)(size * 1048576)) bits++;
  uint64_t count = (uint64_t)1 << bits;
  struct object *base = mmap(NULL, count * sizeof *base, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) fail("out of memory");
  for (uint64_t i = 0; i < count; i++) base[i].rest[0] = i; /* pages come in the order of their addresses */
  for (uint64_t i = 0; i < count; i++) base[scatter(i, count - 1, bits)].next = &base[scatter((i + 1) & (count - 1), count - 1, bits)];
  double best = 0;
  unsigned best_chains = 0;
  for (unsigned chains = 8; chains <= MOST; chains *= 2) {
    double rate = chase(base, count, bits, chains, seconds / 2);
    if (rate > best) {
      best = rate;
      best_chains = chains;
    }
  }
  double bytes = read_all((const uint64_t *)base, count * sizeof *base / sizeof(uint64_t), seconds);
  printf("{\"workload\": \"limits\", \"bytes\": %" PRIu64 ", \"objects_per_s\": %.0f, \"chains\": %u, \"bytes_per_s\": %.0f}\n",
         count * sizeof *base, best, best_chains, bytes);
}
