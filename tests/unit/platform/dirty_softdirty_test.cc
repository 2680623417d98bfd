#include "platform/dirty_softdirty.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "platform/memory.h"

namespace gcm {
namespace {

constexpr uint64_t kPresent = uint64_t{1} << 63, kSwapped = uint64_t{1} << 62,
                   kDirty = uint64_t{1} << 55;

// All runs, as "first-last ".
std::string Runs(const std::vector<uint64_t>& entries) {
  std::string runs;
  for (size_t first, last = 0;
       dirty_softdirty::NextRun(entries.data(), entries.size(), last, &first, &last);) {
    runs += std::to_string(first) + "-" + std::to_string(last) + " ";
  }
  return runs;
}

TEST(SoftDirtyEntries, AreWrittenWhenDirtyAndThere) {
  const uint64_t frame = 0x12345;
  EXPECT_EQ(Runs({}), "");
  EXPECT_EQ(Runs({0}), "");
  EXPECT_EQ(Runs({kDirty}), "") << "of a new mapping, without a page";
  EXPECT_EQ(Runs({kPresent | frame}), "");
  EXPECT_EQ(Runs({kSwapped | frame}), "");
  EXPECT_EQ(Runs({kPresent | kDirty | frame}), "0-1 ");
  EXPECT_EQ(Runs({kSwapped | kDirty | frame}), "0-1 ");
}

TEST(SoftDirtyEntries, FormRuns) {
  const uint64_t w = kPresent | kDirty, s = kSwapped | kDirty, c = kPresent;
  EXPECT_EQ(Runs({w, w, s}), "0-3 ");
  EXPECT_EQ(Runs({c, w, s, c, 0, w}), "1-3 5-6 ");
  EXPECT_EQ(Runs({w, c, w, kDirty, w}), "0-1 2-3 4-5 ");
}

// A sparse file stands for the page map, of 5000 pages in the middle of nowhere.
class SoftDirtyFetchTest : public testing::Test {
 protected:
  static constexpr size_t kPages = 5000;
  static constexpr uintptr_t kOrigin = uintptr_t{1} << 40;
  const size_t page_ = memory::PageSize();
  dirty::Tracker tracker_;

  void SetUp() override {
    tracker_.pagemap = memfd_create("pagemap", MFD_CLOEXEC);
    ASSERT_TRUE(descriptor::Identify(tracker_.pagemap, &tracker_.pagemap_identity));
    tracker_.armed = dirty::Armed::kYes;
    std::vector<uint64_t> clean(kPages, kPresent);
    const auto size = static_cast<ssize_t>(kPages * sizeof(uint64_t));
    ASSERT_EQ(pwrite(tracker_.pagemap, clean.data(), kPages * sizeof(uint64_t), Offset(0)), size);
  }
  void TearDown() override { tracker_.Close(); }

  off_t Offset(size_t n) const {
    return static_cast<off_t>((kOrigin / page_ + n) * sizeof(uint64_t));
  }
  void Write(size_t n) {
    const uint64_t entry = kPresent | kDirty;
    ASSERT_EQ(pwrite(tracker_.pagemap, &entry, sizeof(entry), Offset(n)), 8);
  }
  // All runs, as "first-last ", and where the fetch has ended.
  std::string Fetch(size_t first, size_t last, int visits = 1000) {
    struct Found {
      size_t page;
      int visits;
      std::string runs;
    } found{page_, visits, ""};
    auto note = [](void* data, Range run) {
      auto* f = static_cast<Found*>(data);
      f->runs += std::to_string((run.lo - kOrigin) / f->page) + "-" +
                 std::to_string((run.hi - kOrigin) / f->page) + " ";
      return --f->visits > 0;
    };
    const Range range{kOrigin + first * page_, kOrigin + last * page_};
    const uintptr_t end = dirty_softdirty::Fetch(tracker_, range, note, &found);
    return found.runs + "to " + std::to_string((end - kOrigin) / page_);
  }
};

TEST_F(SoftDirtyFetchTest, ReportsRuns) {
  EXPECT_EQ(Fetch(0, kPages), "to 5000");
  for (size_t n : {0, 1, 2, 1500, 4999}) Write(n);
  EXPECT_EQ(Fetch(0, kPages), "0-3 1500-1501 4999-5000 to 5000");
  EXPECT_EQ(Fetch(1, 1500), "1-3 to 1500");
  EXPECT_EQ(Fetch(0, kPages, 2), "0-3 1500-1501 to 1501");
}

TEST_F(SoftDirtyFetchTest, ReportsAllThatCannotBeTold) {
  Write(3);
  EXPECT_EQ(Fetch(0, kPages + 100), "3-4 5000-5100 to 5100") << "the file has ended";
  dirty_softdirty::Disarm(&tracker_);
  EXPECT_EQ(Fetch(10, 20), "10-20 to 20") << "disarmed";
  EXPECT_FALSE(dirty_softdirty::Arm(&tracker_)) << "a second clearing would lose writes";
  tracker_.armed = dirty::Armed::kYes;
  ++tracker_.pagemap_identity.inode;
  EXPECT_EQ(Fetch(10, 20), "10-20 to 20") << "the descriptor is another's";
  --tracker_.pagemap_identity.inode;
}

// The kernel's word: a page of a new mapping is soft-dirty once it is written.
bool KernelHasSoftDirty() {
  const size_t page = memory::PageSize();
  const uintptr_t at = memory::Map(page, "test");
  StoreRelaxed(PointerTo<int>(at), 1);
  uint64_t entry = 0;
  const int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  EXPECT_EQ(pread(fd, &entry, sizeof(entry), static_cast<off_t>(at / page * sizeof(entry))),
            static_cast<ssize_t>(sizeof(entry)));
  close(fd);
  memory::Release(at, page);
  return (entry & kDirty) != 0;
}

// Clearing succeeds on kernels without the bits, too.
TEST(SoftDirty, IsRefusedWhereTheKernelHasNone) {
  const int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
  if (fd < 0) GTEST_SKIP() << "no /proc/self/clear_refs";
  EXPECT_EQ(write(fd, "4", 1), 1);
  close(fd);
  DirtyPages dirty;
  EXPECT_EQ(dirty.Start(DirtySource::kSoftDirty),
            KernelHasSoftDirty() ? DirtySource::kSoftDirty : DirtySource::kNone);
  EXPECT_FALSE(dirty.rearms());
  dirty.Stop();
}

}  // namespace
}  // namespace gcm
