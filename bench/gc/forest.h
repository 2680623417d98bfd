/* A live heap of linked 64-byte nodes that are allocated in random order.
 *
 * Law: every node is found in a few dependent loads from its position, without an index beside
 * the heap. An index of 16 million entries would itself be a root (a hidden one still 128 MiB to
 * scan), and would make every node reachable in one step. So the nodes are complete trees of five
 * levels and six children, thousands of them, under one table of roots: a position is a tree, a
 * level and up to four digits. Positions are looked up sixteen at a time, so that their cache
 * misses overlap and the rate is that of memory, not of its latency.
 * Law: pointers lead downwards only. With parent or cross links one dead node that is held by
 * mistake would hold every version of its neighbours that dies later, without bound, and the
 * figures would depend on luck.
 */
#ifndef FOREST_H
#define FOREST_H

#include "bench.h"

enum { FANOUT = 6, LEVELS = 5, BATCH = 16, TREE_NODES = 1 + 6 + 36 + 216 + 1296 };

struct node {
  struct node *child[FANOUT];
  uint64_t id, stamp;
};

struct forest {
  struct node **roots;
  uint32_t trees;
};

struct position {
  uint32_t tree;
  uint32_t level;
  uint8_t digit[LEVELS - 1];
};

/* Allocates at least BATCH trees, about `bytes` of nodes. */
void forest_build(struct forest *f, uint64_t bytes);
/* Whether every node is there once, in whatever place. */
bool forest_intact(const struct forest *f);
static inline uint64_t forest_nodes(const struct forest *f) { return (uint64_t)f->trees * TREE_NODES; }

/* slot[j] becomes the address of the pointer to the node at at[j]. */
static inline void forest_find(const struct forest *f, const struct position *at, struct node ***slot) {
  for (int j = 0; j < BATCH; j++) {
    slot[j] = &f->roots[at[j].tree];
    __builtin_prefetch(slot[j]);
  }
  for (uint32_t step = 0; step + 1 < LEVELS; step++) {
    for (int j = 0; j < BATCH; j++) {
      if (step >= at[j].level) continue;
      slot[j] = &(*slot[j])->child[at[j].digit[step]];
      __builtin_prefetch(slot[j]);
    }
  }
}

/* The j-th position of a batch lies in the j-th part of the trees: no two have a node in common. */
static inline uint32_t forest_tree(const struct forest *f, struct chance *c, uint32_t j) {
  uint32_t low = (uint32_t)((uint64_t)f->trees * j / BATCH), high = (uint32_t)((uint64_t)f->trees * (j + 1) / BATCH);
  return low + chance_below(c, high - low);
}

#endif
