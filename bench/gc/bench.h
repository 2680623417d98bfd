/* What the workloads share: allocation in three variants, the clock, stalls, the line they print.
 *
 * Variants of one source, chosen by the build:
 *   (plain)       malloc, and what is lost is never freed: for a malloc that collects
 *   BENCH_FREE    malloc, and what is lost is freed: for a malloc that does not
 *   BENCH_BDWGC   GC_MALLOC, and what is lost is never freed
 * The three do the same work otherwise, also the same look-ups in what they drop.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "program.h"

#if defined BENCH_BDWGC
#include <gc/gc.h>
#define NEW(size) GC_MALLOC(size)
#define LOSE(p) ((void)(p))
#define FREE(p) GC_FREE(p)
#elif defined BENCH_FREE
#define NEW(size) malloc(size)
#define LOSE(p) free(p)
#define FREE(p) free(p)
#else
#define NEW(size) malloc(size)
#define LOSE(p) ((void)(p))
#define FREE(p) free(p)
#endif

/* A block, or the end of the program. */
static inline void *take(size_t size) {
  void *p = NEW(size);
  if (!p) fail("out of memory");
  return p;
}

/* Call first in main: bdwgc starts, and its stops of the world are watched. */
void bench_start(void);

/* No collection starts by itself until it is allowed again. */
void collections_allowed(bool allowed);

/* The measured phase. What comes before it (building the heap) is neither timed nor counted. */
void phase_begin(void);
uint64_t phase_elapsed_ns(void);

/* One more piece of work is done: the time since the last call is counted as its duration. The
 * longest is the worst stall, from whatever cause. */
void stall_tick(void);
/* The next piece of work begins, or was due, at `moment`. */
void stall_from(uint64_t moment);

/* The same for work too small for a look at the clock each time. */
extern unsigned stall_countdown;
enum { STALL_EVERY = 64 };
static inline void stall_tick_some(void) {
  if (--stall_countdown == 0) {
    stall_countdown = STALL_EVERY;
    stall_tick();
  }
}

/* The phase is over: what follows (checking the heap) is not timed. */
void phase_stop(void);
/* Prints the phase: one line of JSON. */
void phase_end(const char *workload, uint64_t ops, uint64_t live_bytes, bool intact);

/* CPU seconds of all threads of this process. */
double cpu_seconds(void);
/* Seconds since bench_start. */
double since_start(void);

#endif
