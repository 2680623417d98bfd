// Which words of a piece of memory are worth a closer look.
#pragma once

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

#include "platform/base.h"

namespace gcm {

// A bit for each of the sixteen 32-bit words at `at` (any address) that lies in [first, first +
// span].
GCM_INLINE uint32_t WordsWithin(uintptr_t at, uint32_t first, uint32_t span) {
#if defined(__x86_64__)
  // There are signed comparisons only: both sides are moved by half of the range.
  const __m128i base = _mm_set1_epi32(static_cast<int>(first + 0x80000000u));
  const __m128i most = _mm_set1_epi32(static_cast<int>(span ^ 0x80000000u));
  const auto* v = reinterpret_cast<const __m128i*>(at);
  const __m128i a = _mm_cmpgt_epi32(_mm_sub_epi32(_mm_loadu_si128(v), base), most);
  const __m128i b = _mm_cmpgt_epi32(_mm_sub_epi32(_mm_loadu_si128(v + 1), base), most);
  const __m128i c = _mm_cmpgt_epi32(_mm_sub_epi32(_mm_loadu_si128(v + 2), base), most);
  const __m128i d = _mm_cmpgt_epi32(_mm_sub_epi32(_mm_loadu_si128(v + 3), base), most);
  const __m128i outside = _mm_packs_epi16(_mm_packs_epi32(a, b), _mm_packs_epi32(c, d));
  return static_cast<uint32_t>(_mm_movemask_epi8(outside)) ^ 0xffff;
#else
  typedef uint32_t Unaligned __attribute__((aligned(1), may_alias));
  uint32_t bits = 0;
  for (unsigned i = 0; i < 16; ++i) {
    const uint32_t word = *reinterpret_cast<const Unaligned*>(at + 4 * i);
    bits |= static_cast<uint32_t>(word - first <= span) << i;
  }
  return bits;
#endif
}

}  // namespace gcm
