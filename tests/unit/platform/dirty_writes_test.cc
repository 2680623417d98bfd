// DirtyPages::Writes: where it is the same as before, a fetch would find nothing.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <thread>

#include "platform/dirty_pages.h"
#include "platform/memory.h"

namespace gcm {
namespace {

TEST(DirtyWrites, WithoutASourceAreAlwaysOthers) {
  DirtyPages dirty;
  dirty.Start(DirtySource::kNone);
  const uint64_t before = dirty.Writes();
  EXPECT_NE(dirty.Writes(), before);
}

class DirtyWritesTest : public testing::Test {
 protected:
  static constexpr size_t kPages = 512;
  const size_t page_ = memory::PageSize();
  Range range_{};
  DirtyPages dirty_;

  void SetUp() override {
    if (dirty_.Start(DirtySource::kUffd) != DirtySource::kUffd)
      GTEST_SKIP() << "not on this kernel";
    void* p =
        mmap(nullptr, kPages * page_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    madvise(p, kPages * page_, MADV_NOHUGEPAGE);
    range_ = {AddressOf(p), AddressOf(p) + kPages * page_};
    // The upper half is not there yet.
    memset(p, 1, kPages / 2 * page_);
    ASSERT_TRUE(dirty_.Track(range_));
    ASSERT_TRUE(dirty_.Arm(range_));
  }
  void TearDown() override {
    if (range_.lo == 0) return;
    dirty_.Untrack(range_);
    munmap(PointerTo(range_.lo), range_.size());
    dirty_.Stop();
  }

  char* At(size_t n) const { return PointerTo<char>(range_.lo + n * page_ + 64); }
  static void Write(char* at) { StoreRelaxed(reinterpret_cast<int*>(at), 2); }
  size_t Fetch(bool rearm) {
    size_t pages = 0;
    auto count = [](void* data, Range run) {
      *static_cast<size_t*>(data) += run.size() / memory::PageSize();
      return true;
    };
    EXPECT_EQ(dirty_.Fetch(range_, rearm, count, &pages), range_.hi);
    return pages;
  }
};

TEST_F(DirtyWritesTest, AreTheSameWhileNobodyWrites) {
  // What the test itself has not touched before faults, too: the first times.
  bool same = false;
  for (int i = 0; i < 10 && !same; ++i) {
    const uint64_t before = dirty_.Writes();
    Fetch(true);
    same = dirty_.Writes() == before;
  }
  EXPECT_TRUE(same);
}

TEST_F(DirtyWritesTest, AreOthersWhoeverWrites) {
  uint64_t before = dirty_.Writes();
  Write(At(3));
  EXPECT_NE(dirty_.Writes(), before) << "the thread itself";

  Fetch(true);
  before = dirty_.Writes();
  Write(At(3));
  EXPECT_NE(dirty_.Writes(), before) << "to what was armed again";

  before = dirty_.Writes();
  Write(At(kPages - 1));
  EXPECT_NE(dirty_.Writes(), before) << "to what was not there";

  int pipes[2];
  ASSERT_EQ(pipe(pipes), 0);
  ASSERT_EQ(write(pipes[1], "x", 1), 1);
  before = dirty_.Writes();
  ASSERT_EQ(read(pipes[0], At(5), 1), 1);
  EXPECT_NE(dirty_.Writes(), before) << "the kernel, by copying";
  close(pipes[0]);
  close(pipes[1]);

  char byte = 2;
  const iovec from{&byte, 1}, to{At(6), 1};
  before = dirty_.Writes();
  ASSERT_EQ(process_vm_writev(getpid(), &from, 1, &to, 1, 0), 1);
  EXPECT_NE(dirty_.Writes(), before) << "the kernel, by looking pages up";
}

TEST_F(DirtyWritesTest, AreOthersBehindAThreadThatHasEnded) {
  std::atomic<int> stage{0};
  std::thread writer([&] {
    stage = 1;
    while (stage != 2) std::this_thread::yield();
    Write(At(9));
    stage = 3;
    while (stage != 4) std::this_thread::yield();
  });
  while (stage != 1) std::this_thread::yield();
  const uint64_t before = dirty_.Writes();
  stage = 2;
  while (stage != 3) std::this_thread::yield();
  const uint64_t alive = dirty_.Writes();
  EXPECT_NE(alive, before);
  stage = 4;
  writer.join();
  EXPECT_GE(dirty_.Writes(), alive) << "what it counted is not forgotten";
}

// As a cycle does it: asks, fetches all while others write, stops them, asks again.
TEST_F(DirtyWritesTest, AreOthersWhereAFetchWouldFindSomething) {
  size_t same = 0, found = 0;
  for (unsigned i = 0; i < 3000; ++i) {
    std::atomic<bool> stop{false};
    uint64_t before = 0;
    std::thread writer([&, i] {
      // Some end before the fetch, some during it, and some not before they are told.
      for (unsigned n = i % 7 * 400; n > 0 && !stop.load(std::memory_order_relaxed); --n)
        Write(At((i * 31 + n * 17) % kPages));
    });
    if (i % 3 == 0) std::this_thread::yield();
    before = dirty_.Writes();
    Fetch(true);
    stop = true;
    writer.join();
    const bool equal = dirty_.Writes() == before;
    const size_t pages = Fetch(false);
    ASSERT_TRUE(!equal || pages == 0) << pages << " pages";
    same += equal;
    found += pages != 0;
  }
  EXPECT_NE(found, 0u) << "nobody ever wrote in time";
  RecordProperty("same", static_cast<int>(same));
}

}  // namespace
}  // namespace gcm
