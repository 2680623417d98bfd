/* What the allocation patterns share: numbers that look random, threads, the line they print.
 *
 * Law: a pattern does a fixed amount of work, its first argument being the scale in percent. It frees
 * all that it has allocated, keeps check words in its blocks, and prints one line of JSON: what it did,
 * what is resident when all is freed, and whether every block held what was written to it. */
#ifndef PATTERN_H
#define PATTERN_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef BENCH_BDWGC
#define GC_THREADS
#include <gc.h>
#define malloc(size) GC_MALLOC(size)
#define calloc(count, size) GC_MALLOC((count) * (size))
#define realloc(p, size) GC_REALLOC(p, size)
#define free(p) GC_FREE(p)
#endif

enum { THREADS = 2 };

static inline uint64_t next_random(uint64_t *state) {
  uint64_t x = *state;
  x ^= x << 13;
  x ^= x >> 7;
  x ^= x << 17;
  return *state = x;
}
static inline uint64_t below(uint64_t *state, uint64_t bound) {
  return (uint64_t)(((unsigned __int128)next_random(state) * bound) >> 64);
}
/* Of the i-th generator. */
static inline uint64_t seed(uint64_t i) { return 88172645463325252u + i * 0x9e3779b97f4a7c15u; }

/* malloc that may not fail, and writes to the first and the last byte. */
void *take(size_t size);
/* Checks the first and the last byte, and frees. */
void give(void *p, size_t size);
/* Runs fn(arguments[i]) in a thread each, and waits for them. */
void run_threads(unsigned count, void *(*fn)(void *), void *const *arguments);
/* `work` scaled by the first argument; at least 1. */
uint64_t scaled(int argc, char **argv, uint64_t work);
/* Counts blocks that did not hold what was written to them. */
extern _Atomic uint64_t broken;
/* At the end of main; returns its status. */
int finish(const char *name, uint64_t operations);

#endif
