// malloc, calloc, free and malloc_usable_size over all sizes.
//
// Law: a request is met in full, aligned to 16, disjoint from every other block, or refused with NULL and
// ENOMEM; free leaves errno alone.
#include <malloc.h>

#include <algorithm>
#include <vector>

#include "support.h"

namespace {

using namespace gcm::test;

TEST(Malloc, EverySizeIsMetAlignedAndWritable) {
  for (std::size_t size : kSizes) {
    std::vector<void*> blocks(size < 10000 ? 100 : 3);
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      blocks[i] = malloc(opaque(size));
      ASSERT_NE(blocks[i], nullptr) << size;
      ASSERT_TRUE(is_aligned(blocks[i], 16)) << size;
      ASSERT_GE(malloc_usable_size(blocks[i]), size);
      fill(blocks[i], malloc_usable_size(blocks[i]), i);
    }
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      ASSERT_TRUE(holds(blocks[i], malloc_usable_size(blocks[i]), i)) << size << ": blocks overlap";
      free(blocks[i]);
    }
  }
}

TEST(Malloc, EverySmallSizeIsAlignedTo16) {
  for (std::size_t size = 0; size <= 2100; ++size) {
    void* p = malloc(opaque(size));
    ASSERT_NE(p, nullptr);
    ASSERT_TRUE(is_aligned(p, 16)) << size;
    ASSERT_GE(malloc_usable_size(p), size);
    memset(p, 0x5A, malloc_usable_size(p));
    free(p);
  }
}

TEST(Malloc, SizeZeroIsAUniquePointerThatCanBeFreed) {
  std::vector<void*> blocks;
  for (int i = 0; i < 100; ++i) {
    blocks.push_back(malloc(opaque<std::size_t>(0)));
    blocks.push_back(calloc(opaque<std::size_t>(0), 8));
    blocks.push_back(calloc(8, opaque<std::size_t>(0)));
    blocks.push_back(realloc(nullptr, opaque<std::size_t>(0)));
    blocks.push_back(reallocarray(nullptr, 0, opaque<std::size_t>(8)));
    blocks.push_back(memalign(64, opaque<std::size_t>(0)));
    blocks.push_back(aligned_alloc(64, opaque<std::size_t>(0)));
    void* p = nullptr;
    ASSERT_EQ(posix_memalign(&p, 64, opaque<std::size_t>(0)), 0);
    blocks.push_back(p);
  }
  blocks.push_back(valloc(opaque<std::size_t>(0)));
  blocks.push_back(pvalloc(opaque<std::size_t>(0)));
  std::vector<void*> sorted = blocks;
  std::sort(sorted.begin(), sorted.end());
  EXPECT_NE(sorted.front(), nullptr);
  EXPECT_EQ(std::adjacent_find(sorted.begin(), sorted.end()), sorted.end()) << "two blocks share an address";
  for (void* p : blocks) free(p);
}

TEST(Malloc, TooLargeIsRefusedWithEnomem) {
  const std::size_t sizes[] = {kMaxObject,       kMaxObject - 1,   kMaxObject - 15,  kMaxObject - 4096,
                               kMaxObject + 1,   kMaxObject + 17,  SIZE_MAX / 2 + 2, SIZE_MAX - 65536,
                               SIZE_MAX - 4097,  SIZE_MAX - 4096,  SIZE_MAX - 4095,  SIZE_MAX - 32,
                               SIZE_MAX - 16,    SIZE_MAX - 15,    SIZE_MAX - 8,     SIZE_MAX - 1,
                               SIZE_MAX,         std::size_t{1} << 62, std::size_t{1} << 55};
  for (std::size_t size : sizes) {
    errno = 0;
    EXPECT_EQ(malloc(opaque(size)), nullptr) << size;
    EXPECT_EQ(errno, ENOMEM) << size;
    errno = 0;
    EXPECT_EQ(calloc(1, opaque(size)), nullptr) << size;
    EXPECT_EQ(errno, ENOMEM) << size;
    errno = 0;
    EXPECT_EQ(realloc(nullptr, opaque(size)), nullptr) << size;
    EXPECT_EQ(errno, ENOMEM) << size;
    errno = 0;
    EXPECT_EQ(valloc(opaque(size)), nullptr) << size;
    EXPECT_EQ(errno, ENOMEM) << size;
    errno = 0;
    EXPECT_EQ(pvalloc(opaque(size)), nullptr) << size;
    EXPECT_EQ(errno, ENOMEM) << size;
  }
}

TEST(Malloc, WorksAfterARefusal) {
  EXPECT_EQ(malloc(opaque(SIZE_MAX)), nullptr);
  void* p = malloc(opaque<std::size_t>(100));
  ASSERT_NE(p, nullptr);
  fill(p, 100, 1);
  EXPECT_EQ(calloc(opaque(SIZE_MAX), 2), nullptr);
  EXPECT_TRUE(holds(p, 100, 1));
  free(p);
}

TEST(Calloc, ProductsThatOverflowAreRefused) {
  const std::size_t half = std::size_t{1} << 32;
  const std::size_t pairs[][2] = {{half, half},         {SIZE_MAX, 2},       {2, SIZE_MAX},
                                  {SIZE_MAX, SIZE_MAX}, {SIZE_MAX / 2, 3},   {3, SIZE_MAX / 2},
                                  {half + 1, half + 1}, {SIZE_MAX / 8, 9},   {kMaxObject, 2},
                                  {half, half / 2},     {SIZE_MAX / 16 + 1, 16}, {kMaxObject / 3 + 1, 3}};
  for (const auto& pair : pairs) {
    errno = 0;
    EXPECT_EQ(calloc(opaque(pair[0]), opaque(pair[1])), nullptr) << pair[0] << " x " << pair[1];
    EXPECT_EQ(errno, ENOMEM);
    errno = 0;
    EXPECT_EQ(reallocarray(nullptr, opaque(pair[0]), opaque(pair[1])), nullptr);
    EXPECT_EQ(errno, ENOMEM);
  }
}

TEST(Calloc, FreshMemoryIsZero) {
  for (std::size_t size : kSizes) {
    auto* p = static_cast<unsigned char*>(calloc(1, opaque(size)));
    ASSERT_NE(p, nullptr);
    ASSERT_TRUE(is_aligned(p, 16));
    ASSERT_TRUE(all_bytes(p, size, 0)) << size;
    free(p);
  }
}

TEST(Calloc, RecycledMemoryIsZero) {
  for (std::size_t size : kSizes) {
    std::vector<void*> blocks(size < 10000 ? 200 : 4);
    for (int round = 0; round < 3; ++round) {
      for (void*& p : blocks) {
        p = malloc(opaque(size));
        ASSERT_NE(p, nullptr);
        memset(p, 0xFF, malloc_usable_size(p));
      }
      for (void* p : blocks) free(p);
      for (void*& p : blocks) {
        p = calloc(opaque(size), 1);
        ASSERT_NE(p, nullptr);
        ASSERT_TRUE(all_bytes(p, size, 0)) << "recycled block of " << size;
        memset(p, 0xFF, malloc_usable_size(p));
      }
      for (void* p : blocks) free(p);
    }
  }
}

TEST(Calloc, RecycledMemoryIsZeroAcrossSizes) {
  // Memory dirtied as blocks of one size comes back as blocks of another.
  Random random(77);
  for (int round = 0; round < 40; ++round) {
    std::vector<void*> blocks(60);
    for (void*& p : blocks) {
      const std::size_t size = random.below(1) + random.below(std::size_t{1} << (4 + random.below(14)));
      p = calloc(1, opaque(size));
      ASSERT_NE(p, nullptr);
      ASSERT_TRUE(all_bytes(p, size, 0)) << size;
      memset(p, 0xFF, malloc_usable_size(p));
    }
    for (void* p : blocks) free(p);
  }
}

TEST(Calloc, ElementCountAndSizeMultiply) {
  auto* p = static_cast<unsigned char*>(calloc(opaque<std::size_t>(100), opaque<std::size_t>(33)));
  ASSERT_NE(p, nullptr);
  EXPECT_GE(malloc_usable_size(p), 3300u);
  EXPECT_TRUE(all_bytes(p, 3300, 0));
  free(p);
}

TEST(Free, KeepsErrno) {
  for (std::size_t size : {std::size_t{1}, std::size_t{100}, std::size_t{5000}, std::size_t{200000}, 5 * kMiB,
                           100 * kMiB, kGiB}) {
    void* p = malloc(opaque(size));
    ASSERT_NE(p, nullptr) << size;
    static_cast<volatile char*>(p)[0] = 1;
    errno = 12345;
    free(p);
    EXPECT_EQ(errno, 12345) << size;
  }
  errno = 54321;
  free(nullptr);
  EXPECT_EQ(errno, 54321);
}

TEST(Free, KeepsErrnoForManyBlocks) {
  std::vector<void*> blocks(20000);
  for (std::size_t i = 0; i < blocks.size(); ++i) blocks[i] = malloc(opaque(i % 3000));
  errno = 4242;
  bool kept = true;
  for (void* p : blocks) {
    free(p);
    kept = kept && errno == 4242;
  }
  EXPECT_TRUE(kept);
}

TEST(Malloc, SuccessDoesNotClearErrno) {
  errno = 77;
  void* small = malloc(opaque<std::size_t>(10));
  void* large = malloc(opaque(10 * kMiB));
  EXPECT_EQ(errno, 77);
  free(large);
  free(small);
}

TEST(UsableSize, OfNullIsZeroAndOfABlockIsConstant) {
  EXPECT_EQ(malloc_usable_size(nullptr), 0u);
  for (std::size_t size : kSizes) {
    void* p = malloc(opaque(size));
    const std::size_t usable = malloc_usable_size(p);
    memset(p, 0xAB, usable);
    EXPECT_EQ(malloc_usable_size(p), usable);
    free(p);
  }
}

TEST(UsableSize, WasteIsBounded) {
  GCM_ONLY_OURS("its classes are its own affair");
  for (std::size_t size : kSizes) {
    if (size < 128) continue;
    void* p = malloc(opaque(size));
    EXPECT_LE(malloc_usable_size(p), size + size / 4 + 4096) << size;
    free(p);
  }
}

TEST(Malloc, LargeBlocksTouchOnlyWhatIsWritten) {
  const std::size_t before = resident_bytes();
  void* p = malloc(opaque(2 * kGiB));
  ASSERT_NE(p, nullptr);
  static_cast<volatile char*>(p)[kGiB] = 1;
  EXPECT_LT(resident_bytes(), before + 64 * kMiB);
  free(p);
  p = calloc(1, opaque(2 * kGiB));
  ASSERT_NE(p, nullptr);
  EXPECT_EQ(static_cast<volatile char*>(p)[kGiB], 0);
  EXPECT_LT(resident_bytes(), before + 64 * kMiB);
  free(p);
}

}  // namespace
