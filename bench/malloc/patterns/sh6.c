/* sh6, in the manner of MicroQuill's published sh6bench: runs of blocks of one size, small sizes in longer runs, go
 * through a table of pointers. When the table is full a part is freed, now from its oldest end, now from its newest,
 * and what stays is old by then: lifetimes are mixed on every page. Two threads, each with a table of its own. */
#include "pattern.h"

enum { TABLE = 6000, SIZES = 60, LONGEST_RUN = 120, PASSES = 27000 };

struct worker {
  uint64_t passes, operations, checksum;
  unsigned char *table[TABLE];
  unsigned filled;
  char apart[128]; /* where a table begins in a cache line is chance: what is written beside it must not be the other's */
};
static struct worker *workers;

static void drop(struct worker *w, unsigned from, unsigned to) {
  for (unsigned i = from; i < to; i++) {
    w->checksum += w->table[i][0];
    give(w->table[i]);
  }
  memmove(w->table + from, w->table + to, (w->filled - to) * sizeof *w->table);
  w->filled -= to - from;
  w->operations += to - from;
}

/* Newest first: what was allocated last is freed first. */
static void drop_newest(struct worker *w, unsigned count) {
  for (; count; count--) {
    w->checksum += w->table[--w->filled][0];
    give(w->table[w->filled]);
    w->operations++;
  }
}

static void *work(void *argument) {
  struct worker *w = argument;
  for (uint64_t pass = 0; pass < w->passes; pass++) {
    for (unsigned n = 1; n <= SIZES; n++) {
      size_t size = n * n / 4 + 8; /* 8 to 908 */
      for (unsigned run = LONGEST_RUN / n + 4; run; run--) {
        if (w->filled == TABLE) {
          if (pass % 3 == 0) drop(w, 0, TABLE / 3);
          else if (pass % 3 == 1) drop_newest(w, TABLE / 3);
          else drop(w, TABLE / 3, 2 * TABLE / 3);
        }
        w->table[w->filled++] = take_marked(size, (unsigned char)(size + pass));
        w->operations++;
      }
    }
    drop_newest(w, w->filled / 4);
  }
  drop(w, 0, w->filled);
  return NULL;
}

static struct outcome run(double scale) {
  struct outcome outcome = {0, 0};
  workers = take_zeroed(THREADS, sizeof *workers);
  for (unsigned i = 0; i < THREADS; i++) workers[i].passes = scaled(PASSES, scale);
  run_threads(work, workers, sizeof *workers, THREADS);
  for (unsigned i = 0; i < THREADS; i++) {
    outcome.operations += workers[i].operations;
    outcome.checksum += workers[i].checksum;
  }
  give(workers);
  workers = NULL;
  return outcome;
}

const struct pattern pattern = {"sh6", run};
