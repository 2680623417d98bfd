#include "platform/memory_map.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <vector>

#include "platform/memory.h"
#include "tests/unit/support.h"

namespace gcm {
namespace {

Mapping Parsed(const char* line) {
  Mapping m{};
  EXPECT_TRUE(ParseMapping(line, &m)) << line;
  return m;
}

TEST(ParseMapping, UnderstandsTheKernelsLines) {
  Mapping m = Parsed("7f0011000000-7f0011021000 rw-p 00000000 00:00 0 ");
  EXPECT_EQ(m.range.lo, 0x7f0011000000u);
  EXPECT_EQ(m.range.hi, 0x7f0011021000u);
  EXPECT_TRUE(m.readable && m.writable);
  EXPECT_FALSE(m.shared || m.file_backed() || m.device || m.stack || m.executable);
  m = Parsed("55d0c0000000-55d0c0001000 r-xp 00001000 fe:01 1234567                    /usr/bin/cat");
  EXPECT_TRUE(m.readable && m.file_backed() && m.executable);
  EXPECT_FALSE(m.writable || m.shared || m.device);
  m = Parsed("7ffc3a000000-7ffc3a021000 rw-p 00000000 00:00 0                          [stack]");
  EXPECT_TRUE(m.stack);
  m = Parsed("7f0011000000-7f0011021000 rw-s 00000000 00:01 2049                       /memfd:x (deleted)");
  EXPECT_TRUE(m.shared && m.file_backed());
  EXPECT_FALSE(m.device);
  m = Parsed("7f0011000000-7f0011021000 ---p 00000000 00:00 0 ");
  EXPECT_FALSE(m.readable || m.writable);
}

TEST(ParseMapping, TellsDevices) {
  EXPECT_TRUE(Parsed("7f00-7f01 rw-s 00000000 00:05 12 /dev/dri/card0").device);
  EXPECT_TRUE(Parsed("7f00-7f01 rw-s 00000000 00:05 12 /dev/mem").device);
  EXPECT_FALSE(Parsed("7f00-7f01 rw-s 00000000 00:18 12 /dev/shm/some thing").device);
  EXPECT_FALSE(Parsed("7f00-7f01 rw-s 00000000 00:01 12 /dev/zero (deleted)").device);
  EXPECT_FALSE(Parsed("7f00-7f01 rw-s 00000000 00:01 12 /home/dev/x").device);
}

TEST(ParseMapping, TellsKinds) {
  EXPECT_TRUE(Parsed("7f00-7f01 rw-s 00000000 00:10 12 anon_inode:[io_uring]").ring);
  EXPECT_TRUE(Parsed("7f00-7f01 rw-s 00000000 00:13 12 /[aio] (deleted)").ring);
  EXPECT_FALSE(Parsed("7f00-7f01 rw-s 00000000 00:10 12 anon_inode:[perf_event]").ring);
  EXPECT_TRUE(Parsed("7f00-7f01 rw-s 00000000 00:10 12 anon_inode:[vfio-device]").device);
  EXPECT_TRUE(Parsed("7f00-7f01 rw-s 00000000 00:10 12 /sys/devices/x/resource0").device);
  EXPECT_TRUE(Parsed("7f00-7f01 rw-s 00000000 fe:01 12 /var/lib/data").on_disk);
  EXPECT_FALSE(Parsed("7f00-7f01 rw-s 00000000 00:01 12 /memfd:x (deleted)").on_disk);
  EXPECT_TRUE(Parsed("7f00-7f01 rw-s 00000000 00:01 12 /memfd:x (deleted)").memfd);
  EXPECT_TRUE(Parsed("7f00-7f01 rw-p 00000000 00:00 0 [heap]").program_break);
}

TEST(ParseMapping, KnowsTheLibraryThatHidesBlocks) {
  EXPECT_TRUE(Parsed("7f00-7f01 r--p 00000000 fe:01 12 /usr/lib/libswipl.so.9.0.4").hides_blocks);
  EXPECT_FALSE(Parsed("7f00-7f01 r--p 00000000 fe:01 12 /usr/lib/libfontconfig.so.1").hides_blocks);
}

TEST(ParseMapping, LeavesOutTheKernelsOwn) {
  EXPECT_FALSE(Parsed("7ffc3a0d0000-7ffc3a0d4000 r--p 00000000 00:00 0 [vvar]").readable);
  EXPECT_FALSE(Parsed("ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]").readable);
  EXPECT_TRUE(Parsed("5500-5600 rw-p 00000000 00:00 0 [heap]").readable);
}

TEST(ParseMapping, RefusesOtherText) {
  Mapping m;
  for (const char* line : {"", "x", "7f00", "7f00-", "7f00-7f01", "7f00-7f01 rw", "7f00-7f01 rw-p",
                           "7f00-7f01 rw-p 0 00:00", "7f00 7f01 rw-p 00000000 00:00 0", "-7f01 rw-p 00000000 00:00 0",
                           "7f00-7f01 rw-p 00000000 0000 0", "7f00-7f01 rw-p 00000000 00:00 x"}) {
    EXPECT_FALSE(ParseMapping(line, &m)) << line;
  }
}

TEST(MemoryMap, ShowsThisProcess) {
  static int global = 1;
  int local = 2;
  MemoryMap map;
  ASSERT_TRUE(map.ok());
  Mapping m;
  uintptr_t last = 0;
  bool saw_global = false, saw_stack = false, saw_code = false;
  while (map.Next(&m)) {
    ASSERT_GE(m.range.lo, last) << "in the order of addresses";
    ASSERT_LT(m.range.lo, m.range.hi);
    last = m.range.hi;
    saw_global |= m.range.Contains(AddressOf(&global)) && m.writable;
    saw_stack |= m.range.Contains(AddressOf(&local)) && m.stack;
    saw_code |= m.range.Contains(AddressOf(reinterpret_cast<void*>(&ParseMapping))) && m.executable;
  }
  EXPECT_TRUE(saw_global && saw_code);
  EXPECT_TRUE(saw_stack || GCM_TEST_SANITIZED);
}

// Some pages of a mapping are written; the answer must be these.
class PageMapTest : public testing::Test {
 protected:
  static constexpr size_t kPages = 3000;
  size_t page_ = memory::PageSize();
  uintptr_t at_ = 0;

  void SetUp() override {
    at_ = AddressOf(mmap(nullptr, kPages * page_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    madvise(PointerTo(at_), kPages * page_, MADV_NOHUGEPAGE);
  }
  void TearDown() override { munmap(PointerTo(at_), kPages * page_); }

  std::vector<bool> Asked(Range within, bool ahead) {
    auto pages = std::make_unique<PageMap>();
    EXPECT_TRUE(pages->ok());
    std::vector<bool> data(kPages);
    Range rest = within, run;
    while (pages->NextRun(rest, ahead ? within.hi + 64 * page_ : within.hi, &run)) {
      EXPECT_GE(run.lo, rest.lo);
      EXPECT_LT(run.lo, run.hi);
      EXPECT_LE(run.hi, within.hi);
      if (run.lo < rest.lo || run.lo >= run.hi || run.hi > within.hi) break;
      for (uintptr_t p = run.lo; p < run.hi; p += page_) data[(p - at_) / page_] = true;
      rest.lo = run.hi;
    }
    return data;
  }
};

// Some kernels give a page of its own to who reads one that was never written.
bool IsZeroPage(uintptr_t address) {
  const int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  uint64_t entry = 0;
  const bool read = pread(fd, &entry, sizeof(entry), static_cast<off_t>(address / memory::PageSize() * 8)) == 8;
  close(fd);
  constexpr uint64_t kExclusive = uint64_t{1} << 56;
  return read && (entry & kExclusive) == 0;
}

TEST_F(PageMapTest, UntouchedAndReadPagesHoldNothing) {
  Range all{at_, at_ + kPages * page_};
  EXPECT_EQ(Asked(all, false), std::vector<bool>(kPages));
  volatile char sum = 0;
  for (size_t i = 0; i < kPages; i += 3) sum = sum + *PointerTo<volatile char>(at_ + i * page_);
  if (!IsZeroPage(at_)) GTEST_SKIP() << "this kernel has no zero page";
  EXPECT_EQ(Asked(all, true), std::vector<bool>(kPages)) << "the zero page is no data";
}

TEST_F(PageMapTest, FindsExactlyTheWrittenPages) {
  test::Random random(3);
  std::vector<bool> written(kPages);
  for (size_t i = 0; i < kPages; ++i) {
    written[i] = i < 1500 ? i % 2 == 0 : random.OneIn(3);  // more runs than one answer holds
    if (written[i]) *PointerTo<char>(at_ + i * page_ + i % page_) = 1;
  }
  EXPECT_EQ(Asked({at_, at_ + kPages * page_}, false), written);
  EXPECT_EQ(Asked({at_, at_ + kPages * page_}, true), written);
  for (int i = 0; i < 20; ++i) {
    size_t lo = random.Below(kPages), hi = lo + 1 + random.Below(kPages - lo);
    std::vector<bool> part(kPages);
    for (size_t p = lo; p < hi; ++p) part[p] = written[p];
    EXPECT_EQ(Asked({at_ + lo * page_, at_ + hi * page_}, i % 2 == 0), part) << lo << " to " << hi;
  }
}

// One page map, asked again from the start.
TEST_F(PageMapTest, MayBeAskedAgain) {
  for (size_t i : {10, 20, 30}) *PointerTo<char>(at_ + i * page_) = 1;
  auto pages = std::make_unique<PageMap>();
  Range all{at_, at_ + kPages * page_}, run;
  ASSERT_TRUE(pages->NextRun(all, all.hi, &run));
  EXPECT_EQ(run.lo, at_ + 10 * page_);
  ASSERT_TRUE(pages->NextRun({at_ + 25 * page_, all.hi}, all.hi, &run));
  EXPECT_EQ(run.lo, at_ + 30 * page_);
  ASSERT_TRUE(pages->NextRun(all, all.hi, &run));
  EXPECT_EQ(run.lo, at_ + 10 * page_);
}

TEST_F(PageMapTest, FilePagesHoldDataOnceWritten) {
  char path[] = "/tmp/gcmalloc_test_XXXXXX";
  int fd = mkstemp(path);
  unlink(path);
  ASSERT_EQ(ftruncate(fd, static_cast<off_t>(8 * page_)), 0);
  auto* p = static_cast<volatile char*>(
      mmap(PointerTo(at_), 8 * page_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd, 0));
  close(fd);
  volatile char sum = 0;
  for (size_t i = 0; i < 8; ++i) sum = sum + p[i * page_];
  p[3 * page_] = 1;
  std::vector<bool> expected(kPages);
  expected[3] = true;
  EXPECT_EQ(Asked({at_, at_ + 8 * page_}, false), expected);
}

TEST_F(PageMapTest, TouchedPagesOfASharedFile) {
  char path[] = "/tmp/gcmalloc_test_XXXXXX";
  int fd = mkstemp(path);
  unlink(path);
  ASSERT_EQ(ftruncate(fd, static_cast<off_t>(64 * page_)), 0);
  std::vector<char> bytes(64 * page_, 'x');
  ASSERT_EQ(pwrite(fd, bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  void* p = mmap(nullptr, 64 * page_, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  uintptr_t at = AddressOf(p);
  auto pages = std::make_unique<PageMap>(PageMap::Of::kTouched);
  Range all{at, at + 64 * page_}, run;
  EXPECT_FALSE(pages->NextRun(all, all.hi, &run)) << "in the cache, but not ours";
  *PointerTo<char>(at + 40 * page_) = 1;  // the kernel may map neighbours, too
  pages = std::make_unique<PageMap>(PageMap::Of::kTouched);
  bool found = false;
  while (pages->NextRun(all, all.hi, &run)) {
    found |= run.Contains(at + 40 * page_);
    all.lo = run.hi;
  }
  EXPECT_TRUE(found);
  munmap(p, 64 * page_);
}

// [vvar] is made of pages that the kernel does not look up as memory; the processor reads them.
TEST_F(PageMapTest, MemoryThatIsNoneIsReadDirectly) {
  char line[512];
  uint64_t vvar = 0;
  FILE* maps = fopen("/proc/self/maps", "r");
  while (fgets(line, sizeof(line), maps) != nullptr) {
    const char* cursor = line;
    if (strstr(line, "[vvar]") != nullptr) ParseHex(&cursor, &vvar);
  }
  fclose(maps);
  if (vvar == 0) GTEST_SKIP() << "no [vvar] here";
  std::vector<char> buffer(page_);
  EXPECT_EQ(ReadOwnMemory(vvar, buffer.data(), page_), 0);
  EXPECT_EQ(ReadOwnMemoryDirectly(vvar, buffer.data(), 64), 64);
  mprotect(PointerTo(at_), page_, PROT_NONE);
  EXPECT_EQ(ReadOwnMemoryDirectly(at_, buffer.data(), 64), 0);
}

TEST_F(PageMapTest, ResidentPagesOfSharedMemory) {
  void* p = mmap(nullptr, 64 * page_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  *PointerTo<char>(AddressOf(p) + 5 * page_) = 1;
  unsigned char resident[64];
  ASSERT_TRUE(ResidentPages(AddressOf(p), 64, resident));
  for (size_t i = 0; i < 64; ++i) EXPECT_EQ(resident[i] & 1, i == 5) << i;
  munmap(p, 64 * page_);
  EXPECT_FALSE(ResidentPages(AddressOf(p), 64, resident));
}

TEST_F(PageMapTest, OwnMemoryIsReadUpToTheFirstFault) {
  memset(PointerTo(at_), 'a', 4 * page_);
  mprotect(PointerTo(at_ + 2 * page_), page_, PROT_NONE);
  std::vector<char> buffer(4 * page_);
  EXPECT_EQ(ReadOwnMemory(at_, buffer.data(), 4 * page_), static_cast<long>(2 * page_));
  EXPECT_EQ(buffer[2 * page_ - 1], 'a');
  EXPECT_EQ(ReadOwnMemory(at_ + 2 * page_, buffer.data(), page_), 0);
  EXPECT_EQ(ReadOwnMemory(0, buffer.data(), 16), 0);
  ProtectedMemory memory;
  EXPECT_EQ(memory.Read(at_ + 2 * page_, buffer.data(), page_), static_cast<long>(page_));
}

}  // namespace
}  // namespace gcm
