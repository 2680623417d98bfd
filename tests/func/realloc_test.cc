// realloc and reallocarray.
//
// Law: the first min(old, new) bytes survive every resize; a resize that fails leaves the old block as it was;
// realloc(p, 0) frees p and returns NULL.
#include <malloc.h>

#include <algorithm>
#include <vector>

#include "support.h"

namespace {

using namespace gcm::test;

constexpr std::size_t kSteps[] = {1,     8,     15,    16,    17,     24,     32,     48,      100,
                                  250,   500,   1000,  1024,  2000,   4096,   5000,   8192,    10000,
                                  16384, 32768, 33000, 65536, 131072, 200000, 262144, 600000,  1048576,
                                  3 * kMiB};

TEST(Realloc, KeepsContentsAcrossAllPairsOfSizes) {
  for (std::size_t from : kSteps) {
    for (std::size_t to : kSteps) {
      void* p = malloc(opaque(from));
      ASSERT_NE(p, nullptr);
      fill(p, from, from);
      void* q = realloc(p, opaque(to));
      ASSERT_NE(q, nullptr);
      ASSERT_TRUE(is_aligned(q, 16));
      ASSERT_GE(malloc_usable_size(q), to);
      const std::size_t kept = std::min(from, to);
      ASSERT_TRUE(holds(q, kept / 8 * 8, from)) << from << " to " << to;
      memset(q, 0xEE, malloc_usable_size(q));
      free(q);
    }
  }
}

TEST(Realloc, OfNullAllocates) {
  void* p = realloc(nullptr, opaque<std::size_t>(100));
  ASSERT_NE(p, nullptr);
  memset(p, 1, 100);
  free(p);
}

TEST(Realloc, ToZeroFreesAndReturnsNull) {
  for (std::size_t size : {std::size_t{1}, std::size_t{1000}, std::size_t{200000}, 10 * kMiB}) {
    void* p = malloc(opaque(size));
    ASSERT_NE(p, nullptr);
    errno = 99;
    EXPECT_EQ(realloc(p, opaque<std::size_t>(0)), nullptr);
    EXPECT_EQ(errno, 99);
  }
  const std::size_t before = resident_bytes();
  for (int i = 0; i < 100; ++i) {
    void* p = malloc(opaque(10 * kMiB));
    ASSERT_NE(p, nullptr);
    memset(p, 1, 10 * kMiB);
    EXPECT_EQ(realloc(p, opaque<std::size_t>(0)), nullptr);
  }
  EXPECT_LT(resident_bytes(), before + 200 * kMiB) << "realloc(p, 0) must free";
}

TEST(Realloc, FailureKeepsTheOldBlock) {
  for (std::size_t size : {std::size_t{10}, std::size_t{1000}, std::size_t{200000}, 5 * kMiB}) {
    void* p = malloc(opaque(size));
    ASSERT_NE(p, nullptr);
    fill(p, size, size);
    const std::size_t usable = malloc_usable_size(p);
    for (std::size_t wanted : {kMaxObject, kMaxObject + 1, SIZE_MAX, SIZE_MAX - 4096, std::size_t{1} << 60}) {
      errno = 0;
      void* q = realloc(opaque(p), opaque(wanted));
      ASSERT_EQ(q, nullptr) << wanted;
      EXPECT_EQ(errno, ENOMEM);
    }
    p = opaque(p);
    EXPECT_TRUE(holds(p, size, size));
    EXPECT_EQ(malloc_usable_size(p), usable);
    free(p);
  }
}

TEST(Realloc, GrowsAndShrinksLargeBlocksInSteps) {
  std::size_t size = 100000;
  void* p = malloc(opaque(size));
  ASSERT_NE(p, nullptr);
  fill(p, size, 1);
  while (size < 64 * kMiB) {
    const std::size_t larger = size + size / 2;
    p = realloc(p, opaque(larger));
    ASSERT_NE(p, nullptr);
    ASSERT_TRUE(holds(p, 100000, 1)) << larger;
    // The new part belongs to us up to its last byte.
    memset(static_cast<char*>(p) + size, 0x77, larger - size);
    size = larger;
  }
  while (size > 100000) {
    const std::size_t smaller = std::max<std::size_t>(size / 3, 100000);
    p = realloc(p, opaque(smaller));
    ASSERT_NE(p, nullptr);
    ASSERT_TRUE(holds(p, 100000, 1)) << smaller;
    EXPECT_GE(malloc_usable_size(p), smaller);
    EXPECT_LE(malloc_usable_size(p), smaller * 2) << "a shrunk large block keeps its old memory";
    size = smaller;
  }
  free(p);
}

TEST(Realloc, LargeBlocksKeepTheirNeighbours) {
  constexpr int kBlocks = 12;
  std::vector<void*> blocks(kBlocks);
  std::vector<std::size_t> sizes(kBlocks);
  Random random(5);
  for (int i = 0; i < kBlocks; ++i) {
    sizes[i] = 50000 + random.below(400000);
    blocks[i] = malloc(opaque(sizes[i]));
    ASSERT_NE(blocks[i], nullptr);
    fill(blocks[i], sizes[i], i);
  }
  for (int step = 0; step < 300; ++step) {
    const auto i = random.below(kBlocks);
    const std::size_t size = 50000 + random.below(step % 10 == 0 ? 4000000 : 400000);
    ASSERT_TRUE(holds(blocks[i], sizes[i], i)) << "step " << step;
    void* p = realloc(blocks[i], opaque(size));
    ASSERT_NE(p, nullptr);
    ASSERT_TRUE(holds(p, std::min(size, sizes[i]) / 8 * 8, i)) << "step " << step;
    fill(p, size, i);
    blocks[i] = p;
    sizes[i] = size;
  }
  for (int i = 0; i < kBlocks; ++i) {
    EXPECT_TRUE(holds(blocks[i], sizes[i], i));
    free(blocks[i]);
  }
}

TEST(Realloc, HugeBlocksMoveWithoutBeingCopiedIntoMemory) {
  const std::size_t before = resident_bytes();
  auto* p = static_cast<char*>(malloc(opaque(512 * kMiB)));
  ASSERT_NE(p, nullptr);
  p[0] = 'a';
  p[300 * kMiB] = 'b';
  void* wall = malloc(opaque(512 * kMiB));  // so that growing in place may be impossible
  p = static_cast<char*>(realloc(p, opaque(3 * kGiB)));
  ASSERT_NE(p, nullptr);
  EXPECT_EQ(p[0], 'a');
  EXPECT_EQ(p[300 * kMiB], 'b');
  p[2 * kGiB] = 'c';
  EXPECT_LT(resident_bytes(), before + 128 * kMiB) << "a huge untouched block was copied page by page";
  p = static_cast<char*>(realloc(p, opaque(301 * kMiB)));
  ASSERT_NE(p, nullptr);
  EXPECT_EQ(p[0], 'a');
  EXPECT_EQ(p[300 * kMiB], 'b');
  p = static_cast<char*>(realloc(p, opaque<std::size_t>(100)));
  ASSERT_NE(p, nullptr);
  EXPECT_EQ(p[0], 'a');
  free(p);
  free(wall);
}

TEST(Realloc, OnePastGrowthByBytesKeepsEveryByte) {
  std::size_t size = 1;
  auto* p = static_cast<unsigned char*>(malloc(opaque(size)));
  ASSERT_NE(p, nullptr);
  p[0] = 0;
  for (size = 2; size < 20000; ++size) {
    p = static_cast<unsigned char*>(realloc(p, opaque(size)));
    ASSERT_NE(p, nullptr);
    p[size - 1] = static_cast<unsigned char>((size - 1) * 7);
  }
  for (std::size_t i = 1; i < 19999; ++i) ASSERT_EQ(p[i], static_cast<unsigned char>(i * 7)) << i;
  free(p);
}

TEST(Reallocarray, MultipliesAndRefusesOverflow) {
  auto* p = reallocarray(nullptr, opaque<std::size_t>(10), opaque<std::size_t>(30));
  ASSERT_NE(p, nullptr);
  EXPECT_GE(malloc_usable_size(p), 300u);
  fill(p, 300, 3);
  void* q = reallocarray(opaque(p), opaque<std::size_t>(1000), opaque<std::size_t>(30));
  ASSERT_NE(q, nullptr);
  EXPECT_TRUE(holds(q, 296, 3));
  EXPECT_GE(malloc_usable_size(q), 30000u);
  errno = 0;
  void* r = reallocarray(opaque(q), opaque(SIZE_MAX / 2), opaque<std::size_t>(3));
  EXPECT_EQ(r, nullptr);
  EXPECT_EQ(errno, ENOMEM);
  q = opaque(q);
  EXPECT_TRUE(holds(q, 296, 3));
  EXPECT_EQ(reallocarray(q, opaque<std::size_t>(0), opaque<std::size_t>(10)), nullptr) << "as realloc(p, 0)";
}

}  // namespace
