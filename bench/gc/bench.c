#include "bench.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

/* Sixteen buckets an octave: a value is known to 6 %. Static, so that measuring allocates nothing. */
enum { SUB_BITS = 4, SUBS = 1 << SUB_BITS, BUCKETS = 61 * SUBS };
struct histogram {
  uint64_t count[BUCKETS];
  uint64_t max;
};
static struct histogram stalls;

static void add(struct histogram *h, uint64_t value) {
  unsigned shift = value < SUBS ? 0 : 63u - SUB_BITS - (unsigned)__builtin_clzll(value);
  unsigned index = shift * SUBS + (unsigned)(value >> shift);
  h->count[index]++;
  if (value > h->max) h->max = value;
}

static uint64_t upper(unsigned index) {
  unsigned shift = index < 2 * SUBS ? 0 : index / SUBS - 1;
  return ((uint64_t)(index - shift * SUBS) << shift) + ((1u << shift) - 1);
}

static void print(const char *name, const struct histogram *h) {
  const char *comma = "";
  printf("\"%s\": [", name);
  for (unsigned i = 0; i < BUCKETS; i++) {
    if (!h->count[i]) continue;
    printf("%s[%" PRIu64 ", %" PRIu64 "]", comma, upper(i) < h->max ? upper(i) : h->max, h->count[i]);
    comma = ", ";
  }
  printf("]");
}

#if defined BENCH_BDWGC
static struct histogram pauses;
static uint64_t stopping;
/* Runs inside the collector, with its lock held: no allocation here. */
static void on_event(GC_EventType event) {
  if (event == GC_EVENT_PRE_STOP_WORLD) stopping = now_ns();
  if (event == GC_EVENT_POST_START_WORLD && stopping) add(&pauses, now_ns() - stopping);
}
#endif

static uint64_t start_ns, begin_ns, last_ns;
static double begin_cpu, phase_seconds, phase_cpu;
unsigned stall_countdown = STALL_EVERY;

double cpu_seconds(void) {
  struct rusage u;
  getrusage(RUSAGE_SELF, &u);
  return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

double since_start(void) { return (double)(now_ns() - start_ns) / 1e9; }

void bench_start(void) {
  start_ns = now_ns();
#if defined BENCH_BDWGC
  GC_INIT();
  GC_set_on_collection_event(on_event);
#endif
}

void collections_allowed(bool allowed) {
#if defined BENCH_BDWGC
  (allowed ? GC_enable : GC_disable)();
#else
  void (*call)(void);
  *(void **)&call = dlsym(RTLD_DEFAULT, allowed ? "gcmalloc_enable" : "gcmalloc_disable");
  if (call) call();
#endif
}

void phase_begin(void) {
#if defined BENCH_BDWGC
  memset(&pauses, 0, sizeof pauses);
#endif
  memset(&stalls, 0, sizeof stalls);
  begin_cpu = cpu_seconds();
  begin_ns = last_ns = now_ns();
}

uint64_t phase_elapsed_ns(void) { return last_ns - begin_ns; }

void stall_tick(void) {
  uint64_t moment = now_ns();
  add(&stalls, moment - last_ns);
  last_ns = moment;
}

void stall_from(uint64_t moment) { last_ns = moment; }

void phase_stop(void) {
  phase_seconds = (double)(now_ns() - begin_ns) / 1e9;
  phase_cpu = cpu_seconds() - begin_cpu;
}

void phase_end(const char *workload, uint64_t ops, uint64_t live_bytes, bool intact) {
  printf("{\"workload\": \"%s\", \"ops\": %" PRIu64 ", \"seconds\": %.6f, \"ops_per_s\": %.1f, \"begin_s\": %.6f, "
         "\"cpu_s\": %.6f, \"live_bytes\": %" PRIu64 ", \"intact\": %s, \"stall_max_ns\": %" PRIu64 ", ",
         workload, ops, phase_seconds, (double)ops / phase_seconds, (double)(begin_ns - start_ns) / 1e9, phase_cpu, live_bytes,
         intact ? "true" : "false", stalls.max);
  print("stall_ns", &stalls);
#if defined BENCH_BDWGC
  printf(", ");
  print("pause_ns", &pauses);
#endif
  printf("}\n");
  fflush(stdout);
}
