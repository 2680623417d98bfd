/* espresso: the other load of Zorn's allocator studies, two-level minimization of logic (Brayton et al., 1984). A function
 * is a cover: a growing array of cubes, each a small block of its own. The complement of a random cover is found by
 * Shannon expansion, cofactor by cofactor; thousands of covers of a few cubes are alive for a moment, in stack order.
 *
 * A cube holds two bits for each variable: it allows 0, it allows 1. A variable that allows neither makes it empty. */
#include "pattern.h"

enum { VARIABLES = 40, CUBE_WORDS = 2, CUBES = 9, FUNCTIONS = 2000, EVERY = 3 };

typedef uint64_t cube;
struct cover {
  unsigned count, room;
  cube **cubes;
};

static struct cover *cover_new(void) { return take_zeroed(1, sizeof(struct cover)); }

static void cover_add(struct cover *c, cube *made) {
  if (c->count == c->room) {
    c->room = c->room ? 2 * c->room : 4;
    c->cubes = retake(c->cubes, c->room * sizeof *c->cubes);
  }
  c->cubes[c->count++] = made;
}

static void cover_free(struct cover *c) {
  for (unsigned i = 0; i < c->count; i++) give(c->cubes[i]);
  if (c->cubes) give(c->cubes);
  give(c);
}

static unsigned get(const cube *a, unsigned variable) { return a[variable / 32] >> variable % 32 * 2 & 3; }
static void set(cube *a, unsigned variable, unsigned value) {
  unsigned shift = variable % 32 * 2;
  a[variable / 32] = (a[variable / 32] & ~((uint64_t)3 << shift)) | (uint64_t)value << shift;
}

static cube *cube_full(void) {
  cube *a = take(CUBE_WORDS * sizeof *a);
  memset(a, 0xff, CUBE_WORDS * sizeof *a);
  return a;
}

static cube *cube_copy(const cube *a) {
  cube *b = take(CUBE_WORDS * sizeof *b);
  memcpy(b, a, CUBE_WORDS * sizeof *b);
  return b;
}

static bool is_full(const cube *a) { return (a[0] & a[1]) == ~(uint64_t)0; }
static bool contains(const cube *a, const cube *b) { return (b[0] & ~a[0]) == 0 && (b[1] & ~a[1]) == 0; }

/* What the function is where the variable has the value (1: it is 0, 2: it is 1). */
static struct cover *cofactor(const struct cover *f, unsigned variable, unsigned value) {
  struct cover *result = cover_new();
  for (unsigned i = 0; i < f->count; i++) {
    if (!(get(f->cubes[i], variable) & value)) continue;
    cube *a = cube_copy(f->cubes[i]);
    set(a, variable, 3);
    cover_add(result, a);
  }
  return result;
}

/* The variable that most cubes depend on. */
static unsigned most_binate(const struct cover *f) {
  unsigned best = 0, most = 0;
  for (unsigned v = 0; v < VARIABLES; v++) {
    unsigned count = 0;
    for (unsigned i = 0; i < f->count; i++) count += get(f->cubes[i], v) != 3;
    if (count > most) {
      most = count;
      best = v;
    }
  }
  return best;
}

/* What one cube leaves out: a cube for each variable it restricts. */
static struct cover *complement_of_cube(const cube *a) {
  struct cover *result = cover_new();
  for (unsigned v = 0; v < VARIABLES; v++) {
    if (get(a, v) == 3) continue;
    cube *b = cube_full();
    set(b, v, 3 & ~get(a, v));
    cover_add(result, b);
  }
  return result;
}

/* Cubes that are within another go. */
static void absorb(struct cover *f) {
  for (unsigned i = 0; i < f->count; i++)
    for (unsigned j = 0; j < f->count; j++) {
      if (i == j || !contains(f->cubes[j], f->cubes[i])) continue;
      give(f->cubes[i]);
      f->cubes[i--] = f->cubes[--f->count];
      break;
    }
}

/* x' F0 + x F1, where what both have is written once; takes both. */
static struct cover *merge(struct cover *f0, struct cover *f1, unsigned variable) {
  struct cover *result = cover_new();
  for (unsigned i = 0; i < f0->count; i++) {
    bool both = false;
    for (unsigned j = 0; j < f1->count && !both; j++) both = memcmp(f0->cubes[i], f1->cubes[j], CUBE_WORDS * sizeof(cube)) == 0;
    cube *a = cube_copy(f0->cubes[i]);
    if (!both) set(a, variable, 1);
    cover_add(result, a);
  }
  for (unsigned j = 0; j < f1->count; j++) {
    cube *a = cube_copy(f1->cubes[j]);
    set(a, variable, 2);
    cover_add(result, a);
  }
  cover_free(f0);
  cover_free(f1);
  if (result->count <= 64) absorb(result);
  return result;
}

static uint64_t operations;

static struct cover *complement(const struct cover *f) {
  operations++;
  if (f->count == 0) {
    struct cover *all = cover_new();
    cover_add(all, cube_full());
    return all;
  }
  for (unsigned i = 0; i < f->count; i++)
    if (is_full(f->cubes[i])) return cover_new();
  if (f->count == 1) return complement_of_cube(f->cubes[0]);
  unsigned variable = most_binate(f);
  struct cover *f0 = cofactor(f, variable, 1), *f1 = cofactor(f, variable, 2);
  struct cover *c0 = complement(f0), *c1 = complement(f1);
  cover_free(f0);
  cover_free(f1);
  return merge(c0, c1, variable);
}

static struct cover *some_cover(struct chance *chance) {
  struct cover *f = cover_new();
  for (unsigned i = 0; i < CUBES; i++) {
    cube *a = cube_full();
    for (unsigned v = 0; v < VARIABLES; v++)
      if (chance_below(chance, EVERY) == 0) set(a, v, 1 + chance_below(chance, 2));
    cover_add(f, a);
  }
  return f;
}

/* No cube of the complement meets one of the function. */
static void check(const struct cover *f, const struct cover *g) {
  for (unsigned i = 0; i < f->count; i++)
    for (unsigned j = 0; j < g->count; j += 97) {
      bool empty = false;
      for (unsigned v = 0; v < VARIABLES && !empty; v++) empty = !(get(f->cubes[i], v) & get(g->cubes[j], v));
      if (!empty) fail("espresso: the complement meets the function");
    }
}

static struct outcome run(double scale) {
  struct outcome outcome = {0, 0};
  struct chance chance = {1984};
  operations = 0;
  for (uint64_t n = scaled(FUNCTIONS, scale); n; n--) {
    struct cover *f = some_cover(&chance), *g = complement(f);
    check(f, g);
    outcome.checksum = outcome.checksum * 31 + g->count;
    for (unsigned i = 0; i < g->count; i++) outcome.checksum += g->cubes[i][0] ^ g->cubes[i][1];
    cover_free(f);
    cover_free(g);
  }
  outcome.operations = operations;
  return outcome;
}

const struct pattern pattern = {"espresso", run};
