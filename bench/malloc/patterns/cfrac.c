/* cfrac: the load of Barrett's and Zorn's allocator studies, factoring by continued fractions (Morrison and Brillhart,
 * Mathematics of Computation 29, 1975). Every number is a block; millions of them live for a few operations each.
 *
 * The expansion of the root of N gives A(k) with A(k)^2 = (-1)^(k+1) Q(k+1) modulo N, Q below twice the root. Those whose
 * Q has only small prime factors are kept; where the exponents of some of them add up to even numbers, a product of A
 * and the root of the product of Q have equal squares, and half of such pairs give a factor. */
#include "bignum.h"
#include "pattern.h"

/* Two primes each, of about the same length. */
static const char *const NUMBERS[] = {"853973422269143962071642661", "3872983346207533186182231422957",
                                      "31622776601684018383091367499501"};
enum { PRIMES = 192, RELATIONS = PRIMES + 24, LARGEST = 20000, WORDS = (RELATIONS + 63) / 64 };

/* A congruence: its A, the exponents of its Q (the first is that of -1), and which others went into its row. */
struct relation {
  struct bignum *a;
  unsigned char *exponents;
  uint64_t parity[PRIMES / 64 + 1], of[WORDS];
};

struct search {
  struct bignum *n;
  uint32_t primes[PRIMES];
  unsigned prime_count, relation_count;
  uint64_t steps;
  struct relation *relations[RELATIONS];
};

static uint32_t power(uint64_t base, uint32_t exponent, uint32_t modulus) {
  uint64_t result = 1;
  for (base %= modulus; exponent; exponent >>= 1, base = base * base % modulus)
    if (exponent & 1) result = result * base % modulus;
  return (uint32_t)result;
}

/* 2, and the primes modulo which N is a square: no other divides a Q. */
static void choose_primes(struct search *s) {
  s->primes[s->prime_count++] = 2;
  for (uint32_t p = 3; p < LARGEST && s->prime_count < PRIMES; p += 2) {
    uint32_t d = 3;
    while (d * d <= p && p % d) d += 2;
    if (d * d > p && power(bignum_rest_of_small(s->n, p), (p - 1) / 2, p) <= 1) s->primes[s->prime_count++] = p;
  }
}

/* Keeps the congruence if all factors of q are known. */
static void try_relation(struct search *s, const struct bignum *a, const struct bignum *q, bool negative) {
  unsigned char exponents[PRIMES + 1] = {negative};
  struct bignum *left = bignum_copy(q);
  for (unsigned i = 0; i < s->prime_count && !bignum_is(left, 1); i++)
    while (bignum_rest_of_small(left, s->primes[i]) == 0) {
      struct bignum *p = bignum_of(s->primes[i]);
      bignum_replace(&left, bignum_divide(left, p, NULL));
      bignum_free(p);
      exponents[i + 1]++;
    }
  if (bignum_is(left, 1)) {
    struct relation *r = take_zeroed(1, sizeof *r);
    r->a = bignum_copy(a);
    r->exponents = take(sizeof exponents);
    memcpy(r->exponents, exponents, sizeof exponents);
    for (unsigned i = 0; i <= s->prime_count; i++)
      if (exponents[i] & 1) r->parity[i / 64] |= (uint64_t)1 << i % 64;
    r->of[s->relation_count / 64] |= (uint64_t)1 << s->relation_count % 64;
    s->relations[s->relation_count++] = r;
  }
  bignum_free(left);
}

/* The expansion, until there are enough congruences or `limit` steps are done. */
static void expand(struct search *s, uint64_t limit) {
  struct bignum *root = bignum_root(s->n), *square = bignum_multiply(root, root), *p = bignum_copy(root);
  struct bignum *q_before = bignum_of(1), *q = bignum_subtract(s->n, square), *a_before = bignum_of(1), *a = bignum_copy(root);
  for (uint64_t k = 1; k <= limit && s->relation_count < s->prime_count + 24 && q->length; k++) {
    try_relation(s, a, q, k & 1);
    s->steps++;
    struct bignum *sum = bignum_add(root, p), *rest, *b = bignum_divide(sum, q, &rest);
    struct bignum *p_next = bignum_subtract(root, rest), *times_a = bignum_multiply_modulo(b, a, s->n);
    struct bignum *a_sum = bignum_add(times_a, a_before), *a_next;
    bignum_free(bignum_divide(a_sum, s->n, &a_next));
    /* Q(k+1) = Q(k-1) + b (P(k) - P(k+1)) */
    bool less = bignum_compare(p, p_next) < 0;
    struct bignum *change = less ? bignum_subtract(p_next, p) : bignum_subtract(p, p_next);
    struct bignum *amount = bignum_multiply(b, change);
    struct bignum *q_next = less ? bignum_subtract(q_before, amount) : bignum_add(q_before, amount);
    struct bignum *done[] = {sum, rest, b, times_a, a_sum, change, amount, p, q_before, a_before};
    for (unsigned i = 0; i < sizeof done / sizeof *done; i++) bignum_free(done[i]);
    p = p_next;
    q_before = q, q = q_next;
    a_before = a, a = a_next;
  }
  struct bignum *done[] = {root, square, p, q_before, q, a_before, a};
  for (unsigned i = 0; i < sizeof done / sizeof *done; i++) bignum_free(done[i]);
}

/* A factor of N from the rows that a dependency consists of, or NULL. */
static struct bignum *factor_of(const struct search *s, const uint64_t *of) {
  struct bignum *x = bignum_of(1), *y = bignum_of(1), *factor = NULL;
  unsigned total[PRIMES + 1] = {0};
  for (unsigned r = 0; r < s->relation_count; r++) {
    if (!(of[r / 64] >> r % 64 & 1)) continue;
    bignum_replace(&x, bignum_multiply_modulo(x, s->relations[r]->a, s->n));
    for (unsigned i = 0; i <= s->prime_count; i++) total[i] += s->relations[r]->exponents[i];
  }
  for (unsigned i = 1; i <= s->prime_count; i++)
    for (unsigned n = total[i] / 2; n; n--) {
      struct bignum *p = bignum_of(s->primes[i - 1]);
      bignum_replace(&y, bignum_multiply_modulo(y, p, s->n));
      bignum_free(p);
    }
  bool less = bignum_compare(x, y) < 0;
  struct bignum *difference = less ? bignum_subtract(y, x) : bignum_subtract(x, y);
  if (difference->length) {
    factor = bignum_common_divisor(s->n, difference);
    if (bignum_is(factor, 1)) bignum_replace(&factor, NULL);
  }
  bignum_free(difference);
  bignum_free(x);
  bignum_free(y);
  return factor;
}

static bool is_odd(const struct search *s, unsigned row, unsigned column) {
  return s->relations[row]->parity[column / 64] >> column % 64 & 1;
}

/* Elimination modulo 2; each row that becomes zero is a dependency. */
static struct bignum *solve(struct search *s) {
  bool used[RELATIONS] = {false};
  for (unsigned column = 0; column <= s->prime_count; column++) {
    unsigned pivot = 0;
    while (pivot < s->relation_count && (used[pivot] || !is_odd(s, pivot, column))) pivot++;
    if (pivot == s->relation_count) continue;
    used[pivot] = true;
    for (unsigned r = 0; r < s->relation_count; r++) {
      if (r == pivot || !is_odd(s, r, column)) continue;
      for (unsigned w = 0; w < PRIMES / 64 + 1; w++) s->relations[r]->parity[w] ^= s->relations[pivot]->parity[w];
      for (unsigned w = 0; w < WORDS; w++) s->relations[r]->of[w] ^= s->relations[pivot]->of[w];
    }
  }
  for (unsigned r = 0; r < s->relation_count; r++) {
    if (used[r]) continue;
    struct bignum *factor = factor_of(s, s->relations[r]->of);
    if (factor) return factor;
  }
  return NULL;
}

static struct outcome run(double scale) {
  struct outcome outcome = {0, 0};
  uint64_t limit = scaled(400000, scale);
  for (unsigned i = 0; i < sizeof NUMBERS / sizeof *NUMBERS; i++) {
    struct search *s = take_zeroed(1, sizeof *s);
    s->n = bignum_parse(NUMBERS[i]);
    choose_primes(s);
    expand(s, limit);
    struct bignum *factor = solve(s);
    outcome.operations += s->steps;
    if (factor) {
      outcome.checksum = outcome.checksum * 31 + bignum_rest_of_small(factor, 4294967291u);
      if (bignum_compare(factor, s->n) >= 0) fail("cfrac: not a factor");
      struct bignum *rest;
      bignum_free(bignum_divide(s->n, factor, &rest));
      if (rest->length) fail("cfrac: not a factor");
      bignum_free(rest);
      bignum_free(factor);
    }
    outcome.checksum = outcome.checksum * 31 + s->relation_count;
    for (unsigned r = 0; r < s->relation_count; r++) {
      bignum_free(s->relations[r]->a);
      give(s->relations[r]->exponents);
      give(s->relations[r]);
    }
    bignum_free(s->n);
    give(s);
  }
  return outcome;
}

const struct pattern pattern = {"cfrac", run};
