/* What the programs of the benchmarks share: their end, the clock, chance, the command line. */
#ifndef PROGRAM_H
#define PROGRAM_H

#include <stdint.h>
#include <time.h>

_Noreturn void fail(const char *what);

static inline uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* xorshift64*: small integers are taken from the high bits, by multiplication. */
struct chance {
  uint64_t state;
};
static inline uint64_t chance_next(struct chance *c) {
  c->state ^= c->state >> 12;
  c->state ^= c->state << 25;
  c->state ^= c->state >> 27;
  return c->state * 0x2545F4914F6CDD1Du;
}
static inline uint32_t chance_below(struct chance *c, uint32_t bound) {
  return (uint32_t)(((chance_next(c) >> 32) * bound) >> 32);
}

/* The command line: --NAME NUMBER, of the names that a program knows. */
struct option {
  const char *name;
  double *value;
};
void parse_options(int argc, char **argv, const struct option *known);

#endif
