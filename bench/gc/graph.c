/* graph: one mutator replaces random nodes of a large linked heap, and loses the old ones.
 *
 * An operation allocates a node, copies the old one into it, and puts it into the place of another
 * node of its level that is replaced too: the two change places. So live pointers move between
 * nodes all the time, from what a concurrent marker has not yet seen to what it has. It also
 * stamps two neighbours: four pages are written, three of them at random.
 * With --lookups N, N batches only look at nodes for each batch that replaces. With --rate N, N
 * operations/s are due; a batch's time counts from when it was due.
 * With --quiet 1 no collection starts while the heap is built.
 */
#include "forest.h"

enum { STAMPED = 2 };

/* Static data: the one root. */
static struct forest forest;
static uint64_t seen;

/* Uniform over all nodes; two neighbours of a batch share the level, so that they can change places. */
static void draw(struct position *at, struct chance *c) {
  for (uint32_t j = 0; j < BATCH; j++) {
    uint64_t r = chance_next(c);
    at[j].tree = forest_tree(&forest, c, j);
    if (j % 2 == 1) {
      at[j].level = at[j - 1].level;
    } else {
      uint32_t n = (uint32_t)(((r >> 40) * TREE_NODES) >> 24);
      at[j].level = n < 1296 ? 4 : n < 1512 ? 3 : n < 1548 ? 2 : n < 1554 ? 1 : 0;
    }
    for (uint32_t i = 0; i + 1 < LEVELS; i++) at[j].digit[i] = (uint8_t)((((r >> (8 * i)) & 255) * FANOUT) >> 8);
  }
}

static void look(struct chance *c) {
  struct position at[BATCH];
  struct node **slot[BATCH];
  draw(at, c);
  forest_find(&forest, at, slot);
  for (int j = 0; j < BATCH; j++) __builtin_prefetch(*slot[j]);
  for (int j = 0; j < BATCH; j++) seen += (*slot[j])->id;
}

/* The i-th neighbour of the node in a slot, at a level below the top: the slot's node begins with its children. */
static struct node *neighbour(struct node **slot, const struct position *at, uint32_t i) {
  uint32_t digit = at->digit[at->level - 1];
  return slot[(int)((digit + i) % FANOUT) - (int)digit];
}

static void replace(struct chance *c) {
  struct position at[BATCH];
  struct node **slot[BATCH], *old[BATCH];
  draw(at, c);
  forest_find(&forest, at, slot);
  for (int j = 0; j < BATCH; j++) {
    old[j] = *slot[j];
    __builtin_prefetch(old[j]);
    for (uint32_t i = 1; at[j].level && i <= STAMPED; i++) __builtin_prefetch(neighbour(slot[j], &at[j], i), 1);
  }
  for (int j = 0; j < BATCH; j++) {
    struct node *fresh = take(sizeof *fresh);
    *fresh = *old[j];
    fresh->stamp++;
    *slot[j ^ 1] = fresh;
    for (uint32_t i = 1; at[j].level && i <= STAMPED; i++) neighbour(slot[j], &at[j], i)->stamp++;
  }
  for (int j = 0; j < BATCH; j++) LOSE(old[j]);
}

/* Sleeps, and for the last bit watches the clock: a sleep ends 50 us late. */
static void wait_until(uint64_t due) {
  const uint64_t watch = 100000;
  uint64_t now = now_ns();
  if (due > now + watch) {
    struct timespec t = {.tv_sec = (time_t)((due - watch) / 1000000000u), .tv_nsec = (long)((due - watch) % 1000000000u)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
  }
  while (now_ns() < due) continue;
}

int main(int argc, char **argv) {
  double size = 1024, seconds = 5, limit = 0, rate = 0, lookups = 0, quiet = 0;
  const struct option options[] = {{"size", &size}, {"seconds", &seconds}, {"ops", &limit}, {"rate", &rate},
                                   {"lookups", &lookups}, {"quiet", &quiet}, {NULL, NULL}};
  parse_options(argc, argv, options);
  bench_start();
  struct chance c = {88172645463325252u};
  if (quiet) collections_allowed(false);
  forest_build(&forest, (uint64_t)(size * 1048576));
  if (quiet) collections_allowed(true);
  phase_begin();
  uint64_t begin = now_ns(), replaced = 0;
  while (limit ? (double)replaced < limit : (double)phase_elapsed_ns() < seconds * 1e9) {
    if (rate) {
      uint64_t due = begin + (uint64_t)((double)replaced * 1e9 / rate);
      wait_until(due);
      stall_from(due);
    }
    replace(&c);
    replaced += BATCH;
    stall_tick();
    for (int i = 0; i < (int)lookups; i++) {
      look(&c);
      stall_tick();
    }
  }
  uint64_t live = forest_nodes(&forest) * sizeof(struct node) + forest.trees * sizeof *forest.roots;
  phase_stop();
  phase_end("graph", replaced, live, forest_intact(&forest) && seen != 1);
}
