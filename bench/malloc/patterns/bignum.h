/* Natural numbers of any length, each a block of its own: every result is a new block, freed when it is done with. */
#ifndef BIGNUM_H
#define BIGNUM_H

#include <stdint.h>

struct bignum {
  uint32_t length; /* words in use; the highest is not 0 */
  uint32_t words[];
};

struct bignum *bignum_of(uint64_t value);
struct bignum *bignum_copy(const struct bignum *a);
struct bignum *bignum_parse(const char *decimal);
void bignum_free(struct bignum *a);

/* Less than, equal to, greater than 0, as a is to b. */
int bignum_compare(const struct bignum *a, const struct bignum *b);
struct bignum *bignum_add(const struct bignum *a, const struct bignum *b);
/* a is not less than b. */
struct bignum *bignum_subtract(const struct bignum *a, const struct bignum *b);
struct bignum *bignum_multiply(const struct bignum *a, const struct bignum *b);
/* The quotient; *rest, when asked for, is what remains. b is not 0. */
struct bignum *bignum_divide(const struct bignum *a, const struct bignum *b, struct bignum **rest);
uint32_t bignum_rest_of_small(const struct bignum *a, uint32_t b);
/* The largest number whose square is not above a. */
struct bignum *bignum_root(const struct bignum *a);
/* a * b modulo n */
struct bignum *bignum_multiply_modulo(const struct bignum *a, const struct bignum *b, const struct bignum *n);
struct bignum *bignum_common_divisor(const struct bignum *a, const struct bignum *b);

static inline int bignum_is(const struct bignum *a, uint32_t value) {
  return value ? a->length == 1 && a->words[0] == value : a->length == 0;
}
/* *a becomes b; what it was is freed. */
static inline void bignum_replace(struct bignum **a, struct bignum *b) {
  bignum_free(*a);
  *a = b;
}

#endif
