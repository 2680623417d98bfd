/* cfrac-like: a program that computes with large numbers, each of which is a small block that lives for a
 * moment (cfrac factors by continued fractions; here Fibonacci numbers are added, compared and multiplied).
 * The computation is checked: F(m+n) = F(m) F(n+1) + F(m-1) F(n). */
#include "pattern.h"

struct number {
  uint32_t length;
  uint32_t digits[];
};

static uint64_t made;

static struct number *make(uint32_t length) {
  struct number *n = malloc(sizeof *n + length * sizeof(uint32_t));
  if (!n) abort();
  n->length = length;
  made++;
  return n;
}

static struct number *shorten(struct number *n) {
  while (n->length > 1 && n->digits[n->length - 1] == 0) n->length--;
  return n;
}

static struct number *small(uint32_t value) {
  struct number *n = make(1);
  n->digits[0] = value;
  return n;
}

static struct number *add(const struct number *a, const struct number *b) {
  const uint32_t most = a->length > b->length ? a->length : b->length;
  struct number *sum = make(most + 1);
  uint64_t carry = 0;
  for (uint32_t i = 0; i < most; i++) {
    carry += (uint64_t)(i < a->length ? a->digits[i] : 0) + (i < b->length ? b->digits[i] : 0);
    sum->digits[i] = (uint32_t)carry;
    carry >>= 32;
  }
  sum->digits[most] = (uint32_t)carry;
  return shorten(sum);
}

static struct number *multiply(const struct number *a, const struct number *b) {
  struct number *product = make(a->length + b->length);
  memset(product->digits, 0, product->length * sizeof(uint32_t));
  for (uint32_t i = 0; i < a->length; i++) {
    uint64_t carry = 0;
    for (uint32_t k = 0; k < b->length; k++) {
      carry += (uint64_t)a->digits[i] * b->digits[k] + product->digits[i + k];
      product->digits[i + k] = (uint32_t)carry;
      carry >>= 32;
    }
    product->digits[i + b->length] = (uint32_t)carry;
  }
  return shorten(product);
}

static bool equal(const struct number *a, const struct number *b) {
  return a->length == b->length && memcmp(a->digits, b->digits, a->length * sizeof(uint32_t)) == 0;
}

int main(int argc, char **argv) {
  enum { MOST = 300 };
  const uint64_t rounds = scaled(argc, argv, 400);
  for (uint64_t round = 0; round < rounds; round++) {
    struct number *fibonacci[2 * MOST + 2];
    fibonacci[0] = small(0);
    fibonacci[1] = small(1);
    for (unsigned i = 2; i < 2 * MOST + 2; i++) fibonacci[i] = add(fibonacci[i - 1], fibonacci[i - 2]);
    for (unsigned m = 1; m < MOST; m++) {
      for (unsigned n = m % 4; n < MOST; n += 4) {
        struct number *a = multiply(fibonacci[m], fibonacci[n + 1]), *b = multiply(fibonacci[m - 1], fibonacci[n]);
        struct number *sum = add(a, b);
        if (!equal(sum, fibonacci[m + n])) broken++;
        free(a);
        free(b);
        free(sum);
      }
    }
    for (unsigned i = 0; i < 2 * MOST + 2; i++) free(fibonacci[i]);
  }
  return finish("cfrac", made);
}
