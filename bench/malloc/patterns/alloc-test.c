/* alloc-test, after its authors' description (ITHare, "Testing memory allocators"): random slots of a large table are
 * filled when they are empty and freed when they are not; sizes grow by powers of two, each half as likely as the one
 * before; few slots are used often, most rarely (Pareto); all memory of a block is written and read. */
#include "pattern.h"

enum { SLOTS = 1 << 15, STEPS = 18000000, LARGEST_BITS = 10 };

struct slot {
  unsigned char *block;
  size_t size;
};
static struct slot *slots;

/* The product of two even chances: low numbers are the ones used often. */
static unsigned some_slot(struct chance *c) {
  uint64_t a = chance_below(c, SLOTS), b = chance_below(c, SLOTS);
  return (unsigned)(a * b / SLOTS);
}

static size_t some_size(struct chance *c) {
  unsigned bits = 4 + (unsigned)__builtin_ctz(chance_below(c, 1u << (LARGEST_BITS - 4)) | (1u << (LARGEST_BITS - 4)));
  return ((size_t)1 << bits) - chance_below(c, 1u << (bits - 1));
}

static uint64_t drop(struct slot *slot) {
  uint64_t sum = 0;
  for (size_t i = 0; i < slot->size; i += 32) sum += slot->block[i];
  give(slot->block);
  slot->block = NULL;
  return sum;
}

static struct outcome run(double scale) {
  struct outcome outcome = {scaled(STEPS, scale), 0};
  struct chance chance = {32};
  slots = take_zeroed(SLOTS, sizeof *slots);
  for (uint64_t step = 0; step < outcome.operations; step++) {
    struct slot *slot = &slots[some_slot(&chance)];
    if (slot->block) {
      outcome.checksum += drop(slot);
    } else {
      slot->size = some_size(&chance);
      slot->block = take(slot->size);
      memset(slot->block, (int)(step & 127), slot->size);
    }
  }
  for (unsigned i = 0; i < SLOTS; i++)
    if (slots[i].block) outcome.checksum += drop(&slots[i]);
  give(slots);
  slots = NULL;
  return outcome;
}

const struct pattern pattern = {"alloc-test", run};
