/* gcmalloc: a malloc that collects what the program has lost.
 *
 * Link with -lgcmalloc or libgcmalloc.a, or preload libgcmalloc.so; malloc and its family are
 * replaced in each case. This header adds what malloc has no words for. C11 and C++.
 */
#ifndef GCMALLOC_H
#define GCMALLOC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Runs a full collection in the calling thread: what it finds unreachable is reclaimed when it
 * returns. Returns 0; -1 when the cycle could not be run (GCMALLOC_MODE=off, a thread did not stop
 * in time, /proc is not mounted, in a vfork child), and nothing was changed.
 * Thread-safe. Not to be called in a signal handler. */
int gcmalloc_collect(void);

/* The start of the live block around p (an address inside of it, or one past its end), or NULL when
 * p points into no live block of gcmalloc's. Thread-safe and async-signal-safe. */
void *gcmalloc_base(const void *p);

/* No collection starts from the first of these calls until the last enable; they nest.
 * gcmalloc_collect() runs nevertheless. Thread-safe and async-signal-safe. */
void gcmalloc_disable(void);
void gcmalloc_enable(void);

/* Runs fn(data) with the calling thread counted as stopped: a collection neither waits for it nor
 * signals it. For calls that wait long and that libc does not have. fn must neither allocate nor
 * free, nor read or write memory of the heap but through a system call; what it needs is held by
 * its callers' frames. The program's signal handlers run as always, after a collection that is
 * under way. Thread-safe and async-signal-safe. */
void gcmalloc_blocking(void (*fn)(void *data), void *data);

/* Tells that the pointer at `slot`, in a block of gcmalloc's, has been written; other addresses are
 * ignored. Needed nowhere: the kernel tells of writes by pages of 4 KiB, this by 512 bytes. The new
 * value must stay in a variable of the caller's until it returns. Thread-safe and
 * async-signal-safe. */
void gcmalloc_write_barrier(void *slot);

/* "MAJOR.MINOR.PATCH", static. Thread-safe and async-signal-safe. */
const char *gcmalloc_version(void);

/* Bytes, counts and nanoseconds, as in the statistics file (GCMALLOC_STATS). */
struct gcmalloc_stats {
  size_t size; /* in: sizeof(struct gcmalloc_stats), so that fields can be added */
  uint64_t heap_mapped, heap_used, heap_live, heap_released, metadata_bytes;
  uint64_t cycles, pause_p50_ns, pause_p99_ns, pause_p999_ns, pause_max_ns, pause_total_ns;
  uint64_t gc_cpu_ns;
  uint64_t allocated_bytes, allocated_objects, freed_bytes, freed_objects;
  uint64_t reclaimed_bytes, reclaimed_objects;
};

/* Fills as much of *out as out->size says. Returns 0; -1 when out->size is less than that of its
 * first field. Walks the heap's spans: microseconds for each MiB. Thread-safe, not
 * async-signal-safe. */
int gcmalloc_get_stats(struct gcmalloc_stats *out);

#ifdef __cplusplus
}
#endif

#endif
