#include "forest.h"

#include <string.h>

/* The i-th of a random order of 0..count-1, without a table: four rounds of a Feistel network over
 * an even number of bits, again until the result is in range. */
static uint64_t shuffled(uint64_t i, uint64_t count, unsigned half) {
  uint64_t mask = ((uint64_t)1 << half) - 1;
  do {
    uint64_t left = i >> half, right = i & mask;
    for (uint64_t round = 1; round <= 4; round++) {
      uint64_t mixed = (right + round * 0x9E3779B97F4A7C15u) * 0xD6E8FEB86659FD93u;
      uint64_t next = left ^ ((mixed >> 32) & mask);
      left = right;
      right = next;
    }
    i = left << half | right;
  } while (i >= count);
  return i;
}

static struct position position_of(uint64_t index, uint32_t level) {
  struct position at = {.level = level};
  for (uint32_t i = level; i-- > 0; index /= FANOUT) at.digit[i] = (uint8_t)(index % FANOUT);
  at.tree = (uint32_t)index;
  return at;
}

void forest_build(struct forest *f, uint64_t bytes) {
  uint64_t trees = bytes / sizeof(struct node) / TREE_NODES;
  f->trees = trees < BATCH ? BATCH : (uint32_t)trees;
  f->roots = take(f->trees * sizeof *f->roots);
  memset(f->roots, 0, f->trees * sizeof *f->roots);
  uint64_t first_id = 0, count = f->trees;
  for (uint32_t level = 0; level < LEVELS; level++, first_id += count, count *= FANOUT) {
    unsigned half = 1;
    while ((uint64_t)1 << 2 * half < count) half++;
    for (uint64_t i = 0; i < count; i += BATCH) {
      struct position at[BATCH];
      struct node **slot[BATCH];
      uint64_t index[BATCH];
      for (uint64_t j = 0; j < BATCH; j++) {
        /* The last batch is filled up with positions that have been filled already. */
        index[j] = shuffled(i + j < count ? i + j : 0, count, half);
        at[j] = position_of(index[j], level);
      }
      forest_find(f, at, slot);
      for (uint64_t j = 0; j < BATCH && i + j < count; j++) {
        struct node *n = take(sizeof *n);
        memset(n, 0, sizeof *n);
        n->id = first_id + index[j];
        *slot[j] = n;
      }
    }
  }
}

static void visit(const struct node *n, unsigned level, uint64_t *count, uint64_t *sum, uint64_t *mix) {
  ++*count;
  *sum += n->id;
  *mix ^= n->id * 0x9E3779B97F4A7C15u;
  if (level + 1 == LEVELS) return;
  for (int k = 0; k < FANOUT; k++) __builtin_prefetch(n->child[k]);
  for (int k = 0; k < FANOUT; k++) {
    if (n->child[k]) visit(n->child[k], level + 1, count, sum, mix);
  }
}

bool forest_intact(const struct forest *f) {
  uint64_t count = 0, sum = 0, mix = 0, nodes = forest_nodes(f), expected = 0;
  for (uint32_t t = 0; t < f->trees; t++) {
    if (t + 8 < f->trees) __builtin_prefetch(f->roots[t + 8]);
    visit(f->roots[t], 0, &count, &sum, &mix);
  }
  for (uint64_t id = 0; id < nodes; id++) expected ^= id * 0x9E3779B97F4A7C15u;
  return count == nodes && sum == nodes * (nodes - 1) / 2 && mix == expected;
}
