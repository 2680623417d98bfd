/* A stress pattern: a fixed amount of work, the same at every run and under every allocator.
 *
 * A pattern's file defines `pattern`, and nothing else that is visible. The rules for its run:
 *   - what it does follows from its constants and `scale` alone; chance is seeded;
 *   - `checksum` is a function of what was asked for, of no address and of no order between threads;
 *   - when it returns, every block is freed and every thread has ended: what is resident then is the allocator's;
 *   - no pointer to a block is hidden (split, tagged, in thread-local storage alone): collectors take part.
 *
 * Variants of one source, chosen by the build:
 *   (plain)        malloc, whosever is preloaded or linked
 *   BENCH_BDWGC    GC_MALLOC and GC_FREE
 */
#ifndef PATTERN_H
#define PATTERN_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "program.h"

#if defined BENCH_BDWGC
#define GC_THREADS
#include <gc/gc.h>
#define PATTERN_MALLOC(size) GC_MALLOC(size)
#define PATTERN_CALLOC(count, size) GC_MALLOC((count) * (size))
#define PATTERN_REALLOC(p, size) GC_REALLOC(p, size)
#define PATTERN_FREE(p) GC_FREE(p)
#else
#define PATTERN_MALLOC(size) malloc(size)
#define PATTERN_CALLOC(count, size) calloc(count, size)
#define PATTERN_REALLOC(p, size) realloc(p, size)
#define PATTERN_FREE(p) free(p)
#endif

enum { THREADS = 2 };

struct outcome {
  uint64_t operations, checksum;
};
struct pattern {
  const char *name;
  struct outcome (*run)(double scale);
};
extern const struct pattern pattern;

/* `count` times `scale`, at least 1. */
static inline uint64_t scaled(double count, double scale) { return count * scale < 1 ? 1 : (uint64_t)(count * scale); }

/* A block, or the end of the program. */
static inline void *take(size_t size) {
  void *p = PATTERN_MALLOC(size);
  if (!p) fail("out of memory");
  return p;
}
static inline void *take_zeroed(size_t count, size_t size) {
  void *p = PATTERN_CALLOC(count, size);
  if (!p) fail("out of memory");
  return p;
}
static inline void *retake(void *p, size_t size) {
  p = PATTERN_REALLOC(p, size);
  if (!p) fail("out of memory");
  return p;
}
static inline void give(void *p) { PATTERN_FREE(p); }

/* A block whose first and last byte are written, as somebody who uses it would; `size` is not 0. */
static inline unsigned char *take_marked(size_t size, unsigned char mark) {
  unsigned char *p = take(size);
  p[0] = p[size - 1] = mark;
  return p;
}

/* Runs `entry` with each of `count` arguments of `size` bytes in a thread of its own; returns when all have ended. */
void run_threads(void *(*entry)(void *), void *arguments, size_t size, unsigned count);

/* A thread of which nobody waits for the end. */
void start_detached(void *(*entry)(void *), void *argument);

#endif
