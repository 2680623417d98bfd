/* trees: binary trees, the well-known benchmark: one tree that stretches the heap, one that lives
 * long, and many that live shortly, of every even depth up to --depth. */
#include "bench.h"

enum { LEAST_DEPTH = 4 };

struct tree {
  struct tree *left, *right;
};

static struct tree *lasting;

static struct tree *make(unsigned depth) {
  struct tree *t = take(sizeof *t);
  t->left = depth ? make(depth - 1) : NULL;
  t->right = depth ? make(depth - 1) : NULL;
  stall_tick_some();
  return t;
}

static uint64_t count(const struct tree *t) { return t->left ? 1 + count(t->left) + count(t->right) : 1; }

static void drop(struct tree *t) {
#if defined BENCH_FREE
  if (t->left) {
    drop(t->left);
    drop(t->right);
  }
  stall_tick_some();
#endif
  LOSE(t);
}

static uint64_t nodes_of(unsigned depth) { return ((uint64_t)2 << depth) - 1; }

/* Not inlined, so that the tree's address does not stay in a frame that lives on. */
static __attribute__((noinline)) uint64_t make_and_drop(unsigned depth) {
  struct tree *t = make(depth);
  uint64_t nodes = count(t);
  drop(t);
  return nodes;
}

int main(int argc, char **argv) {
  double depth = 18;
  const struct option options[] = {{"depth", &depth}, {NULL, NULL}};
  parse_options(argc, argv, options);
  if (!(depth >= LEAST_DEPTH && depth <= 30)) fail("--depth is 4 to 30");
  unsigned deepest = (unsigned)depth;
  bench_start();
  phase_begin();
  uint64_t nodes = make_and_drop(deepest + 1), expected = nodes_of(deepest + 1);
  lasting = make(deepest);
  for (unsigned d = LEAST_DEPTH; d <= deepest; d += 2) {
    uint64_t times = (uint64_t)1 << (deepest - d + LEAST_DEPTH);
    for (uint64_t i = 0; i < times; i++) nodes += make_and_drop(d);
    expected += times * nodes_of(d);
  }
  nodes += count(lasting);
  expected += nodes_of(deepest);
  phase_stop();
  /* The most that is alive at once: the stretching tree, or the lasting one and one of its size. */
  phase_end("trees", expected, nodes_of(deepest + 1) * sizeof(struct tree), nodes == expected);
}
