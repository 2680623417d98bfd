// The aligned forms: posix_memalign, aligned_alloc, memalign, valloc, pvalloc.
//
// Law: the alignment asked for is met exactly; what is not a valid alignment is refused, or rounded up, as the
// table in the contract says; a large alignment costs addresses, not memory.
#include <malloc.h>
#include <unistd.h>

#include <vector>

#include "support.h"

namespace {

using namespace gcm::test;

const std::size_t kPage = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));

TEST(PosixMemalign, BadAlignmentsAreRefusedAndThePointerIsUntouched) {
  const std::size_t alignments[] = {0,  1,  2,  3,  4,  5,  6,  7,   9,   12,   15,  17,
                                    24, 40, 48, 56, 72, 96, 100, 4095, 4097, 6000, SIZE_MAX, SIZE_MAX - 7};
  for (std::size_t alignment : alignments) {
    for (std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{100}, 10 * kMiB}) {
      void* p = reinterpret_cast<void*>(0x1234);
      EXPECT_EQ(posix_memalign(&p, opaque(alignment), opaque(size)), EINVAL) << alignment;
      EXPECT_EQ(p, reinterpret_cast<void*>(0x1234)) << alignment;
    }
  }
}

TEST(PosixMemalign, TooLargeIsEnomemAndThePointerIsUntouched) {
  for (std::size_t alignment : {std::size_t{8}, std::size_t{16}, std::size_t{64}, std::size_t{4096}, kMiB}) {
    for (std::size_t size : {kMaxObject, kMaxObject + 1, SIZE_MAX, SIZE_MAX - 64, SIZE_MAX - 4096}) {
      void* p = reinterpret_cast<void*>(0x1234);
      EXPECT_EQ(posix_memalign(&p, opaque(alignment), opaque(size)), ENOMEM) << alignment << ' ' << size;
      EXPECT_EQ(p, reinterpret_cast<void*>(0x1234));
    }
  }
}

TEST(Aligned, EveryPowerOfTwoIsMetForManySizes) {
  for (std::size_t alignment = 8; alignment <= kMiB; alignment *= 2) {
    std::vector<void*> blocks;
    std::vector<std::size_t> sizes;
    for (std::size_t size : {0, 1, 8, 16, 24, 40, 64, 100, 500, 1000, 4096, 5000, 20000, 70000}) {
      void* p = nullptr;
      ASSERT_EQ(posix_memalign(&p, opaque(alignment), opaque(size)), 0) << alignment << ' ' << size;
      blocks.push_back(p);
      blocks.push_back(aligned_alloc(opaque(alignment), opaque(size)));
      blocks.push_back(memalign(opaque(alignment), opaque(size)));
      sizes.insert(sizes.end(), 3, size);
    }
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      ASSERT_NE(blocks[i], nullptr);
      ASSERT_TRUE(is_aligned(blocks[i], alignment)) << alignment << ' ' << sizes[i];
      ASSERT_TRUE(is_aligned(blocks[i], 16)) << alignment << ' ' << sizes[i];
      ASSERT_GE(malloc_usable_size(blocks[i]), sizes[i]);
      fill(blocks[i], malloc_usable_size(blocks[i]), i);
    }
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      ASSERT_TRUE(holds(blocks[i], malloc_usable_size(blocks[i]), i)) << "blocks overlap at " << alignment;
      free(blocks[i]);
    }
  }
}

TEST(Aligned, UpToOneGibibyteWithoutTouchingMemory) {
  const std::size_t before = resident_bytes();
  for (std::size_t alignment = 2 * kMiB; alignment <= kGiB; alignment *= 2) {
    for (std::size_t size : {std::size_t{64}, std::size_t{100000}, 4 * kMiB}) {
      void* p = aligned_alloc(opaque(alignment), opaque(size));
      ASSERT_NE(p, nullptr) << alignment;
      EXPECT_TRUE(is_aligned(p, alignment));
      EXPECT_GE(malloc_usable_size(p), size);
      static_cast<volatile char*>(p)[0] = 1;
      static_cast<volatile char*>(p)[size - 1] = 1;
      free(p);
    }
  }
  EXPECT_LT(resident_bytes(), before + 64 * kMiB);
}

TEST(Aligned, ManyAtOnceWithLargeAlignments) {
  std::vector<void*> blocks;
  for (int i = 0; i < 8; ++i) {
    for (std::size_t alignment = 64 * kKiB; alignment <= 256 * kMiB; alignment *= 4) {
      void* p = nullptr;
      ASSERT_EQ(posix_memalign(&p, opaque(alignment), 1000), 0) << alignment;
      ASSERT_TRUE(is_aligned(p, alignment));
      fill(p, 1000, blocks.size());
      blocks.push_back(p);
    }
  }
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    EXPECT_TRUE(holds(blocks[i], 1000, i));
    free(blocks[i]);
  }
}

TEST(Aligned, BeyondAnyMemoryIsRefusedNotMisaligned) {
  const std::size_t before = mappings();
  for (std::size_t alignment = 2 * kGiB; alignment != 0; alignment *= 2) {
    errno = 0;
    void* p = aligned_alloc(opaque(alignment), 64);
    if (p != nullptr) {
      EXPECT_TRUE(is_aligned(p, alignment)) << alignment;
      free(p);
    } else {
      EXPECT_EQ(errno, ENOMEM) << alignment;
    }
    ASSERT_LT(mappings(), before + 1000) << "an alignment of " << alignment << " uses up the process's mappings";
  }
}

TEST(AlignedAlloc, NotAPowerOfTwoIsRefused) {
  GCM_ONLY_OURS("glibc before 2.38 rounds up");
  for (std::size_t alignment : {std::size_t{0}, std::size_t{3}, std::size_t{5}, std::size_t{24}, std::size_t{48},
                                std::size_t{100}, std::size_t{4095}, SIZE_MAX, SIZE_MAX / 2}) {
    errno = 0;
    EXPECT_EQ(aligned_alloc(opaque(alignment), 96), nullptr) << alignment;
    EXPECT_EQ(errno, EINVAL) << alignment;
  }
}

TEST(AlignedAlloc, SizeNeedNotBeAMultiple) {
  void* p = aligned_alloc(opaque<std::size_t>(256), opaque<std::size_t>(100));
  ASSERT_NE(p, nullptr);
  EXPECT_TRUE(is_aligned(p, 256));
  free(p);
  for (std::size_t alignment : {1, 2, 4}) {
    p = aligned_alloc(opaque(alignment), opaque<std::size_t>(100));
    ASSERT_NE(p, nullptr) << alignment;
    EXPECT_TRUE(is_aligned(p, 16));
    free(p);
  }
}

TEST(AlignedAlloc, TooLargeIsEnomem) {
  for (std::size_t alignment : {std::size_t{16}, std::size_t{64}, std::size_t{4096}, kMiB, kGiB}) {
    for (std::size_t size : {kMaxObject, kMaxObject + 1, SIZE_MAX, SIZE_MAX - alignment, SIZE_MAX - alignment + 1}) {
      errno = 0;
      EXPECT_EQ(aligned_alloc(opaque(alignment), opaque(size)), nullptr) << alignment << ' ' << size;
      EXPECT_EQ(errno, ENOMEM) << alignment << ' ' << size;
      errno = 0;
      EXPECT_EQ(memalign(opaque(alignment), opaque(size)), nullptr) << alignment << ' ' << size;
      EXPECT_EQ(errno, ENOMEM) << alignment << ' ' << size;
    }
  }
}

TEST(Memalign, OtherAlignmentsAreRoundedUp) {
  const std::size_t pairs[][2] = {{0, 16},  {1, 16},   {3, 16},     {5, 16},     {17, 32},
                                  {24, 32}, {48, 64},  {65, 128},   {100, 128},  {1000, 1024},
                                  {4095, 4096}, {4097, 8192}, {100000, 131072}};
  for (const auto& pair : pairs) {
    for (int i = 0; i < 20; ++i) {
      void* p = memalign(opaque(pair[0]), opaque<std::size_t>(40));
      ASSERT_NE(p, nullptr) << pair[0];
      EXPECT_TRUE(is_aligned(p, pair[1])) << pair[0];
      free(p);
    }
  }
}

TEST(Memalign, AlignmentThatCannotBeRoundedIsEinval) {
  errno = 0;
  EXPECT_EQ(memalign(opaque(SIZE_MAX / 2 + 2), 40), nullptr);
  EXPECT_EQ(errno, EINVAL);
  errno = 0;
  EXPECT_EQ(memalign(opaque(SIZE_MAX), 40), nullptr);
  EXPECT_EQ(errno, EINVAL);
}

TEST(Valloc, IsPageAligned) {
  for (std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{100}, kPage, kPage + 1, 10 * kPage}) {
    void* p = valloc(opaque(size));
    ASSERT_NE(p, nullptr);
    EXPECT_TRUE(is_aligned(p, kPage));
    EXPECT_GE(malloc_usable_size(p), size);
    memset(p, 1, malloc_usable_size(p));
    free(p);
  }
}

TEST(Pvalloc, RoundsTheSizeUpToAPage) {
  for (std::size_t size : {std::size_t{1}, std::size_t{100}, kPage, kPage + 1, 10 * kPage - 1}) {
    void* p = pvalloc(opaque(size));
    ASSERT_NE(p, nullptr);
    EXPECT_TRUE(is_aligned(p, kPage));
    const std::size_t rounded = (size + kPage - 1) / kPage * kPage;
    EXPECT_GE(malloc_usable_size(p), rounded) << size;
    memset(p, 1, rounded);
    free(p);
  }
  errno = 0;
  EXPECT_EQ(pvalloc(opaque(SIZE_MAX - 100)), nullptr);
  EXPECT_EQ(errno, ENOMEM);
}

TEST(Aligned, BlocksCanBeResized) {
  for (std::size_t alignment = 32; alignment <= 64 * kKiB; alignment *= 4) {
    void* p = memalign(opaque(alignment), 1000);
    ASSERT_NE(p, nullptr);
    fill(p, 1000, alignment);
    p = realloc(p, opaque<std::size_t>(50000));
    ASSERT_NE(p, nullptr);
    EXPECT_TRUE(holds(p, 1000, alignment));
    p = realloc(p, opaque<std::size_t>(10));
    ASSERT_NE(p, nullptr);
    EXPECT_TRUE(holds(p, 8, alignment));
    free(p);
  }
}

}  // namespace
