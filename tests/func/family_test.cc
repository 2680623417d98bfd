// The family as a set: every name is there, all from one object, and blocks pass freely among the members.
//
// Law: a program that mixes two allocators corrupts its heap, so no name of the family may be left to libc.
#include <malloc.h>

#include <vector>

#include "support.h"

namespace {

using namespace gcm::test;

constexpr const char* kFamily[] = {
    "malloc",        "free",          "calloc",        "realloc",            "reallocarray",
    "memalign",      "posix_memalign", "aligned_alloc", "valloc",            "pvalloc",
    "cfree",         "malloc_usable_size", "free_sized", "free_aligned_sized", "mallinfo",
    "mallinfo2",     "malloc_stats",  "malloc_info",   "malloc_trim",        "mallopt",
    "__libc_malloc", "__libc_free",   "__libc_calloc", "__libc_realloc",     "__libc_memalign",
    "__libc_valloc", "__libc_pvalloc", "__posix_memalign",
    "_Znwm", "_Znam", "_ZnwmRKSt9nothrow_t", "_ZnamRKSt9nothrow_t",
    "_ZnwmSt11align_val_t", "_ZnamSt11align_val_t",
    "_ZnwmSt11align_val_tRKSt9nothrow_t", "_ZnamSt11align_val_tRKSt9nothrow_t",
    "_ZdlPv", "_ZdaPv", "_ZdlPvm", "_ZdaPvm", "_ZdlPvRKSt9nothrow_t", "_ZdaPvRKSt9nothrow_t",
    "_ZdlPvSt11align_val_t", "_ZdaPvSt11align_val_t", "_ZdlPvmSt11align_val_t", "_ZdaPvmSt11align_val_t",
    "_ZdlPvSt11align_val_tRKSt9nothrow_t", "_ZdaPvSt11align_val_tRKSt9nothrow_t"};

TEST(Family, EveryNameIsOursAndFromOneObject) {
  GCM_ONLY_OURS("names are spread over libc and libstdc++");
  Dl_info ours_info;
  ASSERT_NE(dladdr(dlsym(RTLD_DEFAULT, "gcmalloc_version"), &ours_info), 0);
  for (const char* name : kFamily) {
    void* function = dlsym(RTLD_DEFAULT, name);
    ASSERT_NE(function, nullptr) << name << " is missing";
    Dl_info info;
    ASSERT_NE(dladdr(function, &info), 0) << name;
    EXPECT_EQ(info.dli_fbase, ours_info.dli_fbase) << name << " comes from " << info.dli_fname;
  }
}

TEST(Family, VersionIsAText) {
  auto* version = lookup<const char* (*)()>("gcmalloc_version");
  if (version == nullptr) GTEST_SKIP() << "another allocator";
  ASSERT_NE(version(), nullptr);
  EXPECT_NE(strlen(version()), 0u);
}

TEST(Cfree, Frees) {
  GCM_ONLY_OURS("not in glibc for new programs");
  auto* release = lookup<void (*)(void*)>("cfree");
  ASSERT_NE(release, nullptr);
  release(malloc(opaque<std::size_t>(100)));
  release(malloc(opaque(3 * kMiB)));
  release(nullptr);
}

TEST(FreeSized, FreesAndKeepsErrno) {
  auto* free_sized = lookup<void (*)(void*, std::size_t)>("free_sized");
  if (free_sized == nullptr) GTEST_SKIP() << "not in this libc";
  errno = 31;
  for (std::size_t size : kSizes) {
    free_sized(malloc(opaque(size)), size);
    free_sized(calloc(1, opaque(size)), size);
    free_sized(realloc(malloc(opaque<std::size_t>(3)), opaque(size + 1)), size + 1);
  }
  free_sized(nullptr, 100);
  free_sized(nullptr, 0);
  EXPECT_EQ(errno, 31);
}

TEST(FreeSized, MemoryIsReused) {
  auto* free_sized = lookup<void (*)(void*, std::size_t)>("free_sized");
  if (free_sized == nullptr) GTEST_SKIP() << "not in this libc";
  const std::size_t before = resident_bytes();
  for (int i = 0; i < 200; ++i) {
    void* p = malloc(opaque(2 * kMiB));
    ASSERT_NE(p, nullptr);
    memset(p, 1, 2 * kMiB);
    free_sized(p, 2 * kMiB);
  }
  EXPECT_LT(resident_bytes(), before + 100 * kMiB);
}

TEST(FreeAlignedSized, Frees) {
  auto* release = lookup<void (*)(void*, std::size_t, std::size_t)>("free_aligned_sized");
  if (release == nullptr) GTEST_SKIP() << "not in this libc";
  errno = 32;
  for (std::size_t alignment = 8; alignment <= kMiB; alignment *= 2) {
    for (std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{100}, std::size_t{5000}, kMiB}) {
      void* p = aligned_alloc(opaque(alignment), opaque(size));
      ASSERT_NE(p, nullptr);
      release(p, alignment, size);
    }
  }
  release(nullptr, 64, 100);
  EXPECT_EQ(errno, 32);
}

TEST(LibcAliases, AllocateFromTheSameHeap) {
  auto* allocate = lookup<void* (*)(std::size_t)>("__libc_malloc");
  auto* zeroed = lookup<void* (*)(std::size_t, std::size_t)>("__libc_calloc");
  auto* resize = lookup<void* (*)(void*, std::size_t)>("__libc_realloc");
  auto* align = lookup<void* (*)(std::size_t, std::size_t)>("__libc_memalign");
  auto* release = lookup<void (*)(void*)>("__libc_free");
  if (allocate == nullptr || zeroed == nullptr || resize == nullptr || align == nullptr || release == nullptr) {
    ASSERT_FALSE(ours()) << "the __libc_ names are missing";
    GTEST_SKIP() << "not in this libc";
  }
  void* p = allocate(opaque<std::size_t>(100));
  ASSERT_NE(p, nullptr);
  EXPECT_GE(malloc_usable_size(p), 100u);
  fill(p, 100, 9);
  p = realloc(p, opaque<std::size_t>(3000));
  ASSERT_NE(p, nullptr);
  p = resize(p, opaque<std::size_t>(100000));
  ASSERT_NE(p, nullptr);
  EXPECT_TRUE(holds(p, 96, 9));
  free(p);
  p = zeroed(opaque<std::size_t>(10), opaque<std::size_t>(50));
  ASSERT_NE(p, nullptr);
  EXPECT_TRUE(all_bytes(p, 500, 0));
  free(p);
  p = align(opaque<std::size_t>(512), opaque<std::size_t>(50));
  ASSERT_NE(p, nullptr);
  EXPECT_TRUE(is_aligned(p, 512));
  free(p);
  release(malloc(opaque<std::size_t>(77)));
  release(nullptr);
}

TEST(LibcAliases, PageForms) {
  GCM_ONLY_OURS("spelled as in glibc");
  auto* page = lookup<void* (*)(std::size_t)>("__libc_valloc");
  auto* pages = lookup<void* (*)(std::size_t)>("__libc_pvalloc");
  auto* posix = lookup<int (*)(void**, std::size_t, std::size_t)>("__posix_memalign");
  ASSERT_TRUE(page != nullptr && pages != nullptr && posix != nullptr);
  void* p = page(opaque<std::size_t>(10));
  void* q = pages(opaque<std::size_t>(10));
  void* r = nullptr;
  EXPECT_EQ(posix(&r, 128, opaque<std::size_t>(10)), 0);
  EXPECT_TRUE(is_aligned(p, 4096));
  EXPECT_TRUE(is_aligned(q, 4096));
  EXPECT_TRUE(is_aligned(r, 128));
  free(p);
  free(q);
  free(r);
}

TEST(Base, FindsTheBlockAroundAnAddress) {
  auto* base = lookup<void* (*)(const void*)>("gcmalloc_base");
  if (base == nullptr) GTEST_SKIP() << "another allocator";
  for (std::size_t size : kSizes) {
    auto* p = static_cast<char*>(malloc(opaque(size)));
    EXPECT_EQ(base(p), p) << size;
    if (size > 0) {
      EXPECT_EQ(base(p + size / 2), p) << size;
      EXPECT_EQ(base(p + size - 1), p) << size;
    }
    free(p);
  }
  int local = 0;
  static int fixed = 0;
  EXPECT_EQ(base(nullptr), nullptr);
  EXPECT_EQ(base(&local), nullptr);
  EXPECT_EQ(base(&fixed), nullptr);
  EXPECT_EQ(base(reinterpret_cast<void*>(0x1234567890)), nullptr);
  EXPECT_EQ(base(reinterpret_cast<void*>(~std::uintptr_t{0})), nullptr);
}

// strdup, getline, asprintf, open_memstream and realpath hand out blocks that the program frees.
TEST(Family, BlocksThatLibcAllocatesCanBeFreed) {
  for (int i = 0; i < 100; ++i) {
    char* copy = strdup("a string that libc copies");
    ASSERT_NE(copy, nullptr);
    EXPECT_GE(malloc_usable_size(copy), 26u);
    free(copy);
    char* text = nullptr;
    ASSERT_GT(asprintf(&text, "%d %s", i, "text"), 0);
    free(text);
    char* path = realpath("/proc/self/exe", nullptr);
    ASSERT_NE(path, nullptr);
    free(path);
  }
  FILE* file = fopen("/proc/self/maps", "re");
  ASSERT_NE(file, nullptr);
  char* line = nullptr;
  std::size_t size = 0;
  while (getline(&line, &size, file) > 0) {
  }
  free(line);
  fclose(file);
}

}  // namespace
