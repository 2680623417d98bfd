// Blocks that only other blocks point to, and the forms that a pointer may have.
//
// Law: a block is reached by any word that lies in it or one past its end, also with a tag in the low three
// bits; every byte of malloc_usable_size is scanned.
#include "cases.h"
#include "roots.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static void *volatile roots[kBlocks];
static void *volatile *volatile root;

static void hold_in_block(void *block, size_t offset) {
  MUST(block != NULL);
  root = block;
  fill_slots((void *volatile *)((char *)block + offset), kBlocks);
  judge();
  root = NULL;
}

void case_heap_block(void) { hold_in_block(calloc(1, kBlocks * sizeof(void *)), 0); }
void case_heap_calloc(void) { hold_in_block(calloc(kBlocks + 10, sizeof(void *)), 80); }
void case_heap_aligned(void) { hold_in_block(memset(memalign(4096, 5000), 0, 5000), 4096 - 64); }
void case_heap_large_array(void) { hold_in_block(calloc(1, 8 << 20), (8 << 20) - kBlocks * sizeof(void *)); }

static void fill_at(size_t (*offset)(void *block, size_t size)) {
  for (int i = 0; i < kBlocks; ++i) {
    const size_t size = (size_t)8 << (i % 16);
    char *holder = calloc(1, size);
    MUST(holder != NULL);
    roots[i] = holder;
    fill_slots((void *volatile *)(holder + offset(holder, size)), 1);
  }
  hide();
  judge();
}

static size_t last_word(void *block, size_t size) {
  (void)block;
  return size - 8;
}
static size_t last_usable_word(void *block, size_t size) {
  (void)size;
  return malloc_usable_size(block) / 8 * 8 - 8;
}
void case_heap_last_word(void) { fill_at(last_word); }
void case_heap_usable_excess(void) { fill_at(last_usable_word); }

// The pointers move with the block, without a write of the program.
void case_heap_resized(void) {
  char *block = calloc(1, 200000);
  MUST(block != NULL);
  fill_slots((void *volatile *)(block + 100000), kBlocks);
  for (size_t size = 400000; size < 100000000; size *= 4) {
    block = realloc(block, size);
    MUST(block != NULL);
    root = (void *)block;
    collect();
  }
  judge();
}

struct node {
  struct node *volatile next;
  uint64_t cookie;
};

static struct node *volatile head;

// Notes the address of some nodes as blocks of 16 bytes, whose pattern nobody asks for.
static void note(struct node *node) {
  hidden[blocks] = (uint64_t)(uintptr_t)node ^ kKey;
  sizes[blocks] = 0;
  ++blocks;
}

enum { kNodes = 1000000, kPieces = 50 };

static GCM_NOINLINE struct node *build_piece(int nodes, bool ring) {
  struct node *first = NULL;
  struct node *last = NULL;
  for (int i = 0; i < nodes; ++i) {
    struct node *node = malloc(sizeof *node);
    MUST(node != NULL);
    node->next = first;
    node->cookie = 0xF00D000000000000u + (uint64_t)i;
    first = node;
    if (last == NULL) last = node;
    if (i % 1000 == 500) note(node);
  }
  if (ring) last->next = first;
  return first;
}

// One of a million nodes; in a control many shorter ones, since one stale word may keep a whole one.
static void build(bool ring) {
  if (!dropping) head = build_piece(kNodes, ring);
  for (int i = 0; dropping && i < kPieces; ++i) {
    build_piece(kNodes / kPieces, ring);
    hide();
  }
}

static void judge_nodes(void) {
  hide();
  judge();
  if (dropping) return;
  const struct node *node = head;
  for (int i = kNodes - 1; i >= 0; --i) {
    if (node == NULL || node->cookie != 0xF00D000000000000u + (uint64_t)i) fail("the chain is broken at %d", i);
    node = node->next;
  }
}

void case_heap_chain(void) {
  build(false);
  judge_nodes();
}

void case_heap_ring(void) {
  build(true);
  judge_nodes();
}

struct tree {
  struct tree *volatile child[2];
  void *volatile block;
};

static GCM_NOINLINE struct tree *grow(int depth) {
  struct tree *tree = calloc(1, sizeof *tree);
  MUST(tree != NULL);
  if (depth == 0) {
    tree->block = new_block();
  } else {
    tree->child[0] = grow(depth - 1);
    tree->child[1] = grow(depth - 1);
  }
  return tree;
}

static int planted;

static GCM_NOINLINE void plant(void) {
  struct tree *tree = grow(5);
  roots[planted++] = dropping ? NULL : tree;
}

void case_heap_tree(void) {
  for (int i = 0; i < 16; ++i) {
    plant();
    hide();
  }
  judge();
}

// Forms of pointers.

static void *to_interior(void *p, int number) { return (char *)p + sizes[number] / 2; }
static void *to_last_byte(void *p, int number) { return (char *)p + sizes[number] - 1; }
static void *to_end(void *p, int number) { return (char *)p + sizes[number]; }
static void *to_usable_end(void *p, int number) {
  (void)number;
  return (char *)p + malloc_usable_size(p);
}
static void *tagged(void *p, int number) { return (char *)p + 1 + number % 7; }
static void *tagged_interior(void *p, int number) { return (char *)p + sizes[number] / 16 * 8 + number % 8; }
static void *tagged_end(void *p, int number) { return (char *)p + sizes[number] + number % 8; }

static void judge_form(void *(*change)(void *, int)) {
  fill_slots_with(roots, kBlocks, change);
  judge();
}

void case_pointer_interior(void) { judge_form(to_interior); }
void case_pointer_last_byte(void) { judge_form(to_last_byte); }
void case_pointer_past_end(void) { judge_form(to_end); }
void case_pointer_past_usable(void) { judge_form(to_usable_end); }
void case_pointer_tagged(void) { judge_form(tagged); }
void case_pointer_tagged_interior(void) { judge_form(tagged_interior); }
void case_pointer_tagged_past_end(void) { judge_form(tagged_end); }

// Pointers at odd addresses, which are seen when GCMALLOC_ALIGN says so: the runner sets it.
static char packed[kBlocks * 16 + 16];

static GCM_NOINLINE void pack(size_t offset, size_t stride) {
  for (int i = 0; i < kBlocks; ++i) {
    void *p = new_block();
    if (!dropping) memcpy(packed + offset + (size_t)i * stride, &p, sizeof p);
  }
}

static void judge_packed(size_t offset, size_t stride) {
  pack(offset + (8 - (uintptr_t)packed % 8) % 8, stride);
  hide();
  judge();
}

void case_unaligned_by_4(void) { judge_packed(4, 8); }
void case_unaligned_by_1(void) { judge_packed(3, 11); }

// A block that the program has made unreadable holds what it held.
void case_heap_protected(void) {
  static void *volatile *kept;
  const size_t length = 65536;
  kept = aligned_alloc(4096, length);
  MUST(kept != NULL);
  fill_slots(kept, kBlocks);
  MUST(mprotect((void *)kept, length, PROT_NONE) == 0);
  judge();
  MUST(mprotect((void *)kept, length, PROT_READ | PROT_WRITE) == 0);
  for (int i = 0; i < kBlocks && !dropping; ++i) MUST(kept[i] == (void *)(uintptr_t)(hidden[i] ^ kKey));
}
