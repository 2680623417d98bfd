#include "core/heap/size_class.h"

#include <gtest/gtest.h>

#include <map>

namespace gcm {
namespace {

const SizeClass& Class(unsigned c) { return kSizeClasses.classes[c]; }

unsigned SmallestCommonClass(size_t bytes) {
  unsigned best = kLargeClass;
  for (unsigned c = 0; c < kCommonClasses; ++c) {
    if (Class(c).size >= bytes && (best == kLargeClass || Class(c).size < Class(best).size)) best = c;
  }
  return best;
}

TEST(SizeClass, CommonClassesAscendInSteps) {
  EXPECT_EQ(Class(0).size, 16u);
  for (unsigned c = 1; c < kCommonClasses; ++c) {
    EXPECT_GT(Class(c).size, Class(c - 1).size) << c;
    EXPECT_EQ(Class(c).size % 16, 0u) << c;
  }
  EXPECT_GE(Class(kCommonClasses - 1).size, kMaxSmallRequest + 1);
}

TEST(SizeClass, EveryRequestFits) {
  for (size_t n = 0; n <= kMaxSmallRequest; ++n) {
    unsigned c = ClassFor(n);
    ASSERT_LT(c, kCommonClasses) << n;
    ASSERT_GE(Class(c).size, n + 1) << n;
  }
}

// Reports each class of mistakes once, not thirty thousand times.
TEST(SizeClass, EveryRequestGetsTheSmallestClass) {
  size_t wrong = 0, first = 0;
  for (size_t n = 0; n <= kMaxSmallRequest; ++n) {
    if (ClassFor(n) != SmallestCommonClass(n + 1) && wrong++ == 0) first = n;
  }
  EXPECT_EQ(wrong, 0u) << "the first: a request of " << first << " bytes gets a slot of "
                       << Class(ClassFor(first)).size << ", "
                       << Class(SmallestCommonClass(first + 1)).size << " would do";
}

TEST(SizeClass, WasteIsAtMostAnEighth) {
  for (size_t n = 0; n <= kMaxSmallRequest; ++n) {
    size_t slot = Class(ClassFor(n)).size;
    size_t waste = slot - (n + 1);
    // An eighth of the slot, or 16 bytes and the 16 bytes of padding.
    ASSERT_TRUE(waste * 8 <= slot || waste <= 32) << n << " in " << slot;
  }
}

TEST(SizeClass, RoundRequestsWasteLittle) {
  for (size_t n : {256, 512, 1024, 2048, 4096, 8192, 16384, 32768}) {
    EXPECT_EQ(Class(ClassFor(n)).size, n + 16) << n;
  }
}

TEST(SizeClass, ReciprocalIsExactForEveryOffset) {
  for (unsigned c = 0; c < kClasses; ++c) {
    const SizeClass& k = Class(c);
    for (uint64_t offset = 0; offset < k.pages * kPageSize; ++offset) {
      const uint64_t product = offset * k.reciprocal;
      ASSERT_EQ(product >> 32, offset / k.size) << "size " << k.size << " at " << offset;
      const bool starts = offset % k.size == 0;
      ASSERT_EQ(static_cast<uint32_t>(product) < k.reciprocal, starts) << "size " << k.size << " at " << offset;
      // What lies behind the slots starts none, but has a bit: it is never set.
      ASSERT_TRUE(!starts || offset / k.size < 64u * k.words) << "size " << k.size << " at " << offset;
    }
  }
}

TEST(SizeClass, SpansHoldTheirSlots) {
  for (unsigned c = 0; c < kClasses; ++c) {
    const SizeClass& k = Class(c);
    EXPECT_GE(k.slots, 1u) << k.size;
    EXPECT_LE(k.slots, kMaxObjectsPerSpan) << k.size;
    EXPECT_EQ(k.words, (k.slots + 63u) / 64) << k.size;
    EXPECT_LE(k.words, 8u) << k.size;
    size_t bytes = k.pages * kPageSize;
    EXPECT_LE(size_t{k.slots} * k.size, bytes) << k.size;
    // No slot is left out for want of a bit, and the tail is small.
    size_t tail = bytes - size_t{k.slots} * k.size;
    EXPECT_LT(tail, k.size) << k.size;
    EXPECT_LE(tail * 8, bytes) << k.size;
  }
}

TEST(SizeClass, AlignedClassesAreTheBest) {
  for (size_t alignment = 32; alignment <= kPageSize; alignment *= 2) {
    for (size_t n = 0; n < kMaxSmallRequest; n += n < 2048 ? 1 : 61) {
      unsigned c = ClassForAligned(n, alignment);
      size_t best = SIZE_MAX;
      for (unsigned i = 0; i < kClasses; ++i) {
        if (Class(i).size >= n + 1 && Class(i).size % alignment == 0 && Class(i).size < best) {
          best = Class(i).size;
        }
      }
      if (best == SIZE_MAX) {
        ASSERT_EQ(c, kLargeClass) << n << " at " << alignment;
        continue;
      }
      ASSERT_LT(c, kClasses) << n << " at " << alignment;
      ASSERT_EQ(Class(c).size, best) << n << " at " << alignment;
    }
  }
}

TEST(SizeClass, AlignedRequestsOfAPageSizeExist) {
  for (size_t alignment = 32; alignment <= kPageSize; alignment *= 2) {
    // A span starts on a page, so a slot is aligned when its size is a multiple.
    EXPECT_NE(ClassForAligned(alignment - 1, alignment), kLargeClass) << alignment;
    EXPECT_NE(ClassForAligned(alignment, alignment), kLargeClass) << alignment;
    EXPECT_NE(ClassForAligned(16 * kKiB, alignment), kLargeClass) << alignment;
  }
}

TEST(SizeClass, AllSizesDifferAmongTheCommon) {
  std::map<size_t, unsigned> seen;
  for (unsigned c = 0; c < kCommonClasses; ++c) EXPECT_TRUE(seen.emplace(Class(c).size, c).second);
}

}  // namespace
}  // namespace gcm
