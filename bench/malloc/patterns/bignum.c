#include "bignum.h"

#include "pattern.h"

static struct bignum *room(uint32_t words) {
  struct bignum *a = take(sizeof *a + words * sizeof(uint32_t));
  a->length = words;
  return a;
}

static struct bignum *trim(struct bignum *a) {
  while (a->length && a->words[a->length - 1] == 0) a->length--;
  return a;
}

struct bignum *bignum_of(uint64_t value) {
  struct bignum *a = room(2);
  a->words[0] = (uint32_t)value;
  a->words[1] = (uint32_t)(value >> 32);
  return trim(a);
}

struct bignum *bignum_copy(const struct bignum *a) {
  struct bignum *b = room(a->length);
  memcpy(b->words, a->words, a->length * sizeof(uint32_t));
  return b;
}

void bignum_free(struct bignum *a) { give(a); }

int bignum_compare(const struct bignum *a, const struct bignum *b) {
  if (a->length != b->length) return a->length < b->length ? -1 : 1;
  for (uint32_t i = a->length; i-- > 0;)
    if (a->words[i] != b->words[i]) return a->words[i] < b->words[i] ? -1 : 1;
  return 0;
}

struct bignum *bignum_add(const struct bignum *a, const struct bignum *b) {
  if (a->length < b->length) return bignum_add(b, a);
  struct bignum *sum = room(a->length + 1);
  uint64_t carry = 0;
  for (uint32_t i = 0; i < a->length; i++) {
    carry += (uint64_t)a->words[i] + (i < b->length ? b->words[i] : 0);
    sum->words[i] = (uint32_t)carry;
    carry >>= 32;
  }
  sum->words[a->length] = (uint32_t)carry;
  return trim(sum);
}

struct bignum *bignum_subtract(const struct bignum *a, const struct bignum *b) {
  struct bignum *difference = room(a->length);
  int64_t borrow = 0;
  for (uint32_t i = 0; i < a->length; i++) {
    borrow += (int64_t)a->words[i] - (i < b->length ? b->words[i] : 0);
    difference->words[i] = (uint32_t)borrow;
    borrow >>= 32;
  }
  return trim(difference);
}

struct bignum *bignum_multiply(const struct bignum *a, const struct bignum *b) {
  struct bignum *product = room(a->length + b->length);
  memset(product->words, 0, product->length * sizeof(uint32_t));
  for (uint32_t i = 0; i < a->length; i++) {
    uint64_t carry = 0;
    for (uint32_t j = 0; j < b->length; j++) {
      carry += product->words[i + j] + (uint64_t)a->words[i] * b->words[j];
      product->words[i + j] = (uint32_t)carry;
      carry >>= 32;
    }
    product->words[i + b->length] = (uint32_t)carry;
  }
  return trim(product);
}

static struct bignum *shifted(const struct bignum *a, unsigned bits) {
  struct bignum *b = room(a->length + 1);
  b->words[a->length] = 0;
  for (uint32_t i = 0; i < a->length; i++) {
    uint64_t wide = (uint64_t)a->words[i] << bits;
    b->words[i] = i ? b->words[i] | (uint32_t)wide : (uint32_t)wide;
    b->words[i + 1] = (uint32_t)(wide >> 32);
  }
  return b;
}

static struct bignum *divide_by_small(const struct bignum *a, uint32_t b, struct bignum **rest) {
  struct bignum *quotient = room(a->length);
  uint64_t carry = 0;
  for (uint32_t i = a->length; i-- > 0;) {
    carry = carry << 32 | a->words[i];
    quotient->words[i] = (uint32_t)(carry / b);
    carry %= b;
  }
  if (rest) *rest = bignum_of(carry);
  return trim(quotient);
}

/* Subtracts b times `digit` from the words at `at`; says whether the result would be negative. */
static int subtract_times(uint32_t *at, const struct bignum *b, uint32_t length, uint64_t digit) {
  uint64_t carry = 0;
  int64_t borrow = 0;
  for (uint32_t i = 0; i < length; i++) {
    carry += digit * b->words[i];
    borrow += (int64_t)at[i] - (uint32_t)carry;
    at[i] = (uint32_t)borrow;
    carry >>= 32;
    borrow >>= 32;
  }
  borrow += (int64_t)at[length] - (int64_t)carry;
  at[length] = (uint32_t)borrow;
  return borrow < 0;
}

static void add_back(uint32_t *at, const struct bignum *b, uint32_t length) {
  uint64_t carry = 0;
  for (uint32_t i = 0; i < length; i++) {
    carry += (uint64_t)at[i] + b->words[i];
    at[i] = (uint32_t)carry;
    carry >>= 32;
  }
  at[length] += (uint32_t)carry;
}

/* Long division, in the form of Knuth's Algorithm D (The Art of Computer Programming, 4.3.1). */
struct bignum *bignum_divide(const struct bignum *a, const struct bignum *b, struct bignum **rest) {
  if (bignum_compare(a, b) < 0) {
    if (rest) *rest = bignum_copy(a);
    return bignum_of(0);
  }
  if (b->length == 1) return divide_by_small(a, b->words[0], rest);
  unsigned bits = (unsigned)__builtin_clz(b->words[b->length - 1]);
  uint32_t n = b->length, m = a->length - n;
  struct bignum *u = shifted(a, bits), *v = shifted(b, bits), *quotient = room(m + 1);
  for (uint32_t j = m + 1; j-- > 0;) {
    uint64_t top = (uint64_t)u->words[j + n] << 32 | u->words[j + n - 1];
    uint64_t digit = top / v->words[n - 1], left = top % v->words[n - 1];
    while (digit >> 32 || digit * v->words[n - 2] > (left << 32 | u->words[j + n - 2])) {
      digit--;
      left += v->words[n - 1];
      if (left >> 32) break;
    }
    if (subtract_times(u->words + j, v, n, digit)) {
      digit--;
      add_back(u->words + j, v, n);
    }
    quotient->words[j] = (uint32_t)digit;
  }
  if (rest) {
    struct bignum *r = *rest = room(n);
    for (uint32_t i = 0; i < n; i++) r->words[i] = (uint32_t)(((uint64_t)u->words[i + 1] << 32 | u->words[i]) >> bits);
    trim(r);
  }
  bignum_free(u);
  bignum_free(v);
  return trim(quotient);
}

uint32_t bignum_rest_of_small(const struct bignum *a, uint32_t b) {
  uint64_t carry = 0;
  for (uint32_t i = a->length; i-- > 0;) carry = (carry << 32 | a->words[i]) % b;
  return (uint32_t)carry;
}

/* Newton's iteration, from above. */
struct bignum *bignum_root(const struct bignum *a) {
  struct bignum *two = bignum_of(2), *x = room(a->length / 2 + 1);
  memset(x->words, 0xff, x->length * sizeof(uint32_t));
  for (;;) {
    struct bignum *quotient = bignum_divide(a, x, NULL), *sum = bignum_add(x, quotient);
    struct bignum *next = bignum_divide(sum, two, NULL);
    bignum_free(quotient);
    bignum_free(sum);
    if (bignum_compare(next, x) >= 0) {
      bignum_free(next);
      bignum_free(two);
      return x;
    }
    bignum_replace(&x, next);
  }
}

struct bignum *bignum_multiply_modulo(const struct bignum *a, const struct bignum *b, const struct bignum *n) {
  struct bignum *product = bignum_multiply(a, b), *rest;
  bignum_free(bignum_divide(product, n, &rest));
  bignum_free(product);
  return rest;
}

struct bignum *bignum_common_divisor(const struct bignum *a, const struct bignum *b) {
  struct bignum *x = bignum_copy(a), *y = bignum_copy(b);
  while (y->length) {
    struct bignum *rest;
    bignum_free(bignum_divide(x, y, &rest));
    bignum_replace(&x, y);
    y = rest;
  }
  bignum_free(y);
  return x;
}

struct bignum *bignum_parse(const char *decimal) {
  struct bignum *value = bignum_of(0), *ten = bignum_of(10);
  for (; *decimal; decimal++) {
    struct bignum *digit = bignum_of((uint64_t)(*decimal - '0')), *product = bignum_multiply(value, ten);
    bignum_replace(&value, bignum_add(product, digit));
    bignum_free(product);
    bignum_free(digit);
  }
  bignum_free(ten);
  return value;
}
