/* espresso-like: sets of bits in lists that grow and shrink (espresso minimises logic functions): covers are
 * intersected cube by cube, cubes that others contain are dropped, arrays grow by realloc. */
#include "pattern.h"

struct cube {
  uint32_t words;
  uint32_t bits[];
};
struct cover {
  uint32_t count, room;
  struct cube **cubes;
};

static uint64_t made;

static struct cube *new_cube(uint32_t words) {
  struct cube *c = malloc(sizeof *c + words * sizeof(uint32_t));
  if (!c) abort();
  c->words = words;
  made++;
  return c;
}

static void append(struct cover *cover, struct cube *c) {
  if (cover->count == cover->room) {
    cover->room = cover->room ? cover->room * 3 / 2 + 1 : 4;
    cover->cubes = realloc(cover->cubes, cover->room * sizeof *cover->cubes);
    if (!cover->cubes) abort();
  }
  cover->cubes[cover->count++] = c;
}

static void drop(struct cover *cover) {
  for (uint32_t i = 0; i < cover->count; i++) free(cover->cubes[i]);
  free(cover->cubes);
}

static struct cover draw(uint64_t *random, uint32_t count, uint32_t words) {
  struct cover cover = {0, 0, NULL};
  for (uint32_t i = 0; i < count; i++) {
    struct cube *c = new_cube(words);
    for (uint32_t w = 0; w < words; w++) c->bits[w] = (uint32_t)(next_random(random) | next_random(random));
    append(&cover, c);
  }
  return cover;
}

static bool contains(const struct cube *a, const struct cube *b) {
  for (uint32_t w = 0; w < a->words; w++) {
    if ((b->bits[w] & ~a->bits[w]) != 0) return false;
  }
  return true;
}

/* All products of two cubes, without those that an earlier one contains. */
static struct cover intersect(const struct cover *a, const struct cover *b) {
  struct cover result = {0, 0, NULL};
  for (uint32_t i = 0; i < a->count; i++) {
    for (uint32_t k = 0; k < b->count; k++) {
      struct cube *c = new_cube(a->cubes[i]->words);
      for (uint32_t w = 0; w < c->words; w++) c->bits[w] = a->cubes[i]->bits[w] & b->cubes[k]->bits[w];
      bool known = false;
      for (uint32_t n = result.count; !known && n-- > 0 && n + 8 > result.count;) known = contains(result.cubes[n], c);
      if (known) {
        free(c);
      } else {
        append(&result, c);
      }
    }
  }
  return result;
}

int main(int argc, char **argv) {
  const uint64_t rounds = scaled(argc, argv, 6000);
  uint64_t random = seed(1), sum = 0;
  for (uint64_t round = 0; round < rounds; round++) {
    const uint32_t words = 1 + (uint32_t)below(&random, 24);
    struct cover a = draw(&random, 20 + (uint32_t)below(&random, 60), words);
    struct cover b = draw(&random, 20 + (uint32_t)below(&random, 60), words);
    struct cover c = intersect(&a, &b);
    sum += c.count;
    drop(&a);
    drop(&b);
    drop(&c);
  }
  if (sum == 0) broken++;
  return finish("espresso", made);
}
