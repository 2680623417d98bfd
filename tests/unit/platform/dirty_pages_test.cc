#include "platform/dirty_pages.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cstring>
#include <set>
#include <thread>
#include <vector>

#include "platform/memory.h"
#include "tests/unit/support.h"

namespace gcm {
namespace {

using Pages = std::set<size_t>;

TEST(DirtySource, HasTheNamesOfTheSpecification) {
  EXPECT_STREQ(NameOf(DirtySource::kAuto), "auto");
  EXPECT_STREQ(NameOf(DirtySource::kUffd), "uffd");
  EXPECT_STREQ(NameOf(DirtySource::kSoftDirty), "softdirty");
  EXPECT_STREQ(NameOf(DirtySource::kMprotect), "mprotect");
  EXPECT_STREQ(NameOf(DirtySource::kNone), "none");
}

TEST(DirtyPages, WithoutASourceReportsAll) {
  DirtyPages dirty;
  EXPECT_EQ(dirty.Start(DirtySource::kNone), DirtySource::kNone);
  EXPECT_FALSE(dirty.rearms());
  EXPECT_FALSE(dirty.Track({0x10000, 0x20000}));
  EXPECT_FALSE(dirty.Arm({0x10000, 0x20000}));
  Range seen;
  auto note = [](void* data, Range run) {
    *static_cast<Range*>(data) = run;
    return true;
  };
  EXPECT_EQ(dirty.Fetch({0x10000, 0x20000}, true, note, &seen), 0x20000u);
  EXPECT_EQ(seen.lo, 0x10000u);
  EXPECT_EQ(seen.hi, 0x20000u);
}

// A mapping with 3000 present pages, tracked by the first source that works at all.
class DirtyPagesTest : public testing::Test {
 protected:
  static constexpr size_t kPages = 3000;
  const size_t page_ = memory::PageSize();
  uintptr_t at_ = 0;
  DirtyPages dirty_;

  void SetUp() override {
    if (dirty_.Start(DirtySource::kUffd) != DirtySource::kUffd)
      GTEST_SKIP() << "not on this kernel";
    at_ = Mapped(kPages);
    ASSERT_TRUE(dirty_.Track(All()));
  }
  void TearDown() override {
    if (at_ != 0) {
      dirty_.Untrack(All());
      munmap(PointerTo(at_), kPages * page_);
    }
    dirty_.Stop();
  }

  uintptr_t Mapped(size_t pages) {
    void* p =
        mmap(nullptr, pages * page_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    madvise(p, pages * page_, MADV_NOHUGEPAGE);
    memset(p, 1, pages * page_);
    return AddressOf(p);
  }
  Range Of(size_t first, size_t count) const {
    return {at_ + first * page_, at_ + (first + count) * page_};
  }
  Range All() const { return Of(0, kPages); }
  void Write(size_t n) { StoreRelaxed(PointerTo<int>(at_ + n * page_ + 64), 2); }

  Pages Fetch(Range range, bool rearm) {
    struct Found {
      DirtyPagesTest* test;
      Range range;
      Pages pages;
      uintptr_t last;
    } found{this, range, {}, range.lo};
    auto note = [](void* data, Range run) {
      auto* f = static_cast<Found*>(data);
      EXPECT_GE(run.lo, f->last) << "in the order of addresses";
      EXPECT_LT(run.lo, run.hi);
      EXPECT_LE(run.hi, f->range.hi);
      f->last = run.hi;
      for (uintptr_t at = run.lo; at < run.hi; at += f->test->page_)
        f->pages.insert((at - f->test->at_) / f->test->page_);
      return true;
    };
    EXPECT_EQ(dirty_.Fetch(range, rearm, note, &found), range.hi);
    return found.pages;
  }
  Pages Fetch(bool rearm = false) { return Fetch(All(), rearm); }
  static Pages Count(size_t first, size_t count) {
    Pages pages;
    for (size_t i = 0; i < count; ++i) pages.insert(first + i);
    return pages;
  }
  // The descriptors of this process that refer to `target`, as /proc shows it.
  static std::vector<int> Descriptors(const char* target) {
    std::vector<int> found;
    for (int fd = 0; fd < 1024; ++fd) {
      char link[256] = {};
      if (readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), link, sizeof(link) - 1) <= 0)
        continue;
      if (strstr(link, target) != nullptr) found.push_back(fd);
    }
    return found;
  }
};

TEST_F(DirtyPagesTest, ReportsEverythingBeforeItIsArmed) { EXPECT_EQ(Fetch(), Count(0, kPages)); }

TEST_F(DirtyPagesTest, ReportsWhatWasWritten) {
  EXPECT_TRUE(dirty_.rearms());
  ASSERT_TRUE(dirty_.Arm(All()));
  EXPECT_EQ(Fetch(), Pages{});
  for (size_t n : {0, 7, 8, 9, 1000, 2999}) Write(n);
  const Pages written{0, 7, 8, 9, 1000, 2999};
  EXPECT_EQ(Fetch(), written);
  EXPECT_EQ(Fetch(), written) << "still, without re-arming";
  EXPECT_EQ(Fetch(Of(8, 10), false), (Pages{8, 9})) << "of a part";
  EXPECT_EQ(Fetch(true), written);
  EXPECT_EQ(Fetch(), Pages{});
  Write(8);
  EXPECT_EQ(Fetch(), Pages{8});
}

TEST_F(DirtyPagesTest, ReportsAnySet) {
  ASSERT_TRUE(dirty_.Arm(All()));
  test::Random random(1);
  Pages left;
  for (int round = 0; round < 50; ++round) {
    for (size_t i = random.Below(1 + random.Below(4000)); i > 0; --i) {
      const size_t n = random.Below(kPages);
      Write(n);
      left.insert(n);
    }
    const size_t first = random.Below(kPages), count = 1 + random.Below(kPages - first);
    const bool rearm = random.OneIn(2);
    Pages expected(left.lower_bound(first), left.lower_bound(first + count));
    ASSERT_EQ(Fetch(Of(first, count), rearm), expected) << round;
    if (rearm) left.erase(left.lower_bound(first), left.lower_bound(first + count));
  }
  EXPECT_EQ(Fetch(), left);
}

TEST_F(DirtyPagesTest, GoesOnWhereItsBufferWasFull) {
  ASSERT_TRUE(dirty_.Arm(All()));
  Pages written;
  for (size_t n = 0; n < kPages; n += 2) {
    Write(n);
    written.insert(n);
  }
  EXPECT_EQ(Fetch(true), written);
  EXPECT_EQ(Fetch(true), Pages{});
}

TEST_F(DirtyPagesTest, KeepsWhatAVisitorLeaves) {
  ASSERT_TRUE(dirty_.Arm(All()));
  Pages written;
  for (size_t n = 10; n < kPages; n += 10) {
    Write(n);
    written.insert(n);
  }
  int visits = 0;
  auto third = [](void* data, Range) { return ++*static_cast<int*>(data) < 3; };
  EXPECT_EQ(dirty_.Fetch(All(), false, third, &visits), Of(30, 1).hi);
  EXPECT_EQ(Fetch(), written);
  // What a visitor is told again after it wanted no more is not told anybody else.
  struct Seen {
    uintptr_t lo, behind;
    Pages pages;
  } seen{All().lo, 0, {}};
  auto few = [](void* data, Range run) {
    auto* s = static_cast<Seen*>(data);
    for (uintptr_t at = run.lo; at < run.hi; at += memory::PageSize())
      s->pages.insert((at - s->lo) / memory::PageSize());
    s->behind = run.hi;
    return s->pages.size() < 3;
  };
  EXPECT_GE(dirty_.Fetch(All(), true, few, &seen), seen.behind);
  EXPECT_GE(seen.pages.size(), 3u);
  for (size_t n : seen.pages) EXPECT_EQ(written.erase(n), 1u) << n;
  EXPECT_EQ(Fetch(), written);
}

TEST_F(DirtyPagesTest, SeesTheKernelsWrites) {
  ASSERT_TRUE(dirty_.Arm(All()));
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  ASSERT_EQ(write(ends[1], "abc", 3), 3);
  EXPECT_EQ(read(ends[0], PointerTo(at_ + 5 * page_), 3), 3);
  close(ends[0]);
  close(ends[1]);
  timespec time{1, 2};
  iovec from{&time, sizeof(time)}, to{PointerTo(at_ + 7 * page_), sizeof(time)};
  EXPECT_EQ(process_vm_writev(getpid(), &from, 1, &to, 1, 0), static_cast<ssize_t>(sizeof(time)));
  EXPECT_EQ(Fetch(true), (Pages{5, 7}));
  EXPECT_EQ(Fetch(), Pages{});
}

TEST_F(DirtyPagesTest, DisarmedPagesCountAsWritten) {
  ASSERT_TRUE(dirty_.Arm(All()));
  dirty_.Disarm(Of(100, 50));
  EXPECT_EQ(Fetch(), Count(100, 50));
  ASSERT_TRUE(dirty_.Arm(Of(120, 10)));
  Pages expected = Count(100, 50);
  for (size_t n = 120; n < 130; ++n) expected.erase(n);
  EXPECT_EQ(Fetch(), expected);
}

TEST_F(DirtyPagesTest, UntrackedPagesCountAsWritten) {
  ASSERT_TRUE(dirty_.Arm(All()));
  dirty_.Untrack(Of(100, 50));
  Pages found = Fetch(Of(90, 100), true);
  for (size_t n = 100; n < 150; ++n) EXPECT_TRUE(found.count(n)) << n;
  EXPECT_FALSE(dirty_.Arm(Of(90, 100)));
  found = Fetch(Of(90, 100), false);
  EXPECT_EQ(found, Count(90, 100)) << "all, where arming has failed";
  EXPECT_EQ(Fetch(Of(0, 90), false), Pages{});
}

TEST_F(DirtyPagesTest, PassesHoles) {
  ASSERT_TRUE(dirty_.Arm(All()));
  munmap(PointerTo(at_ + 1000 * page_), 500 * page_);
  Write(999);
  Write(1500);
  EXPECT_EQ(Fetch(true), (Pages{999, 1500}));
  EXPECT_EQ(Fetch(Of(1100, 100), true), Pages{});
  EXPECT_TRUE(dirty_.Track(All()));
  EXPECT_TRUE(dirty_.Arm(All()));
  dirty_.Disarm(Of(990, 520));
  Pages expected = Count(990, 10);
  expected.merge(Count(1500, 10));
  EXPECT_EQ(Fetch(), expected);
  EXPECT_FALSE(dirty_.Track(Of(1100, 100)));
  dirty_.Untrack(Of(1000, 500));
  dirty_.Disarm(Of(1000, 500));
}

TEST_F(DirtyPagesTest, ReportsMemoryMappedAnew) {
  ASSERT_TRUE(dirty_.Arm(All()));
  mmap(PointerTo(at_ + 1000 * page_), 500 * page_, PROT_READ | PROT_WRITE,
       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  for (size_t n : {3, 1003, 2003}) Write(n);
  const Pages found = Fetch(true);
  for (size_t n : {3, 1003, 2003}) EXPECT_TRUE(found.count(n)) << n;
  Write(2003);
  Pages expected = Count(1000, 500);
  expected.insert(2003);
  EXPECT_EQ(Fetch(), expected) << "what is not tracked, and of the rest what was written";
  ASSERT_TRUE(dirty_.Track(All()));
  ASSERT_TRUE(dirty_.Arm(All()));
  EXPECT_EQ(Fetch(), Pages{});
}

TEST_F(DirtyPagesTest, ReportsMemoryThatWasMoved) {
  const uintptr_t other = Mapped(64);
  ASSERT_TRUE(dirty_.Arm(All()));
  ASSERT_EQ(mremap(PointerTo(at_), 64 * page_, 64 * page_, MREMAP_MAYMOVE | MREMAP_FIXED,
                   PointerTo(other)),
            PointerTo(other));
  Write(64);
  EXPECT_EQ(Fetch(true), Pages{64});
  // What is untracked at its new place: at_ is the origin of the numbers.
  const uintptr_t before = at_;
  at_ = other;
  EXPECT_EQ(Fetch(Of(0, 64), false), Count(0, 64));
  munmap(PointerTo(other), 64 * page_);
  at_ = before;
}

TEST_F(DirtyPagesTest, ReportsWhatWasGivenBackAndUsedAgain) {
  ASSERT_TRUE(dirty_.Arm(All()));
  ASSERT_TRUE(memory::Decommit(at_ + 100 * page_, 10 * page_));
  Write(105);
  const Pages found = Fetch(true);
  EXPECT_TRUE(found.count(105));
  for (size_t n : found) EXPECT_TRUE(n >= 100 && n < 110) << n;
  Write(104);
  EXPECT_TRUE(Fetch().count(104));
}

// What is filled later is found, and is then a page like others.
TEST_F(DirtyPagesTest, LeavesAloneWhatIsNotThere) {
  ASSERT_TRUE(memory::Decommit(at_ + 100 * page_, 10 * page_));
  ASSERT_TRUE(dirty_.Arm(All()));
  EXPECT_EQ(Fetch(), Pages{});
  EXPECT_EQ(Fetch(true), Pages{});
  unsigned char there[10] = {};
  ASSERT_EQ(mincore(PointerTo(at_ + 100 * page_), 10 * page_, there), 0);
  for (unsigned char page : there) EXPECT_EQ(page & 1, 0);
  Write(103);
  EXPECT_EQ(Fetch(), Pages{103});
  Write(108);
  EXPECT_EQ(Fetch(true), (Pages{103, 108}));
  EXPECT_EQ(Fetch(true), Pages{});
  Write(103);
  EXPECT_EQ(Fetch(true), Pages{103});
}

TEST_F(DirtyPagesTest, TracksWhatIsOnlyReserved) {
  const size_t size = 1024 * page_;
  const uintptr_t reserved = memory::Reserve(size, 0, "test");
  ASSERT_NE(reserved, 0u);
  ASSERT_TRUE(dirty_.Track({reserved, reserved + size}));
  ASSERT_TRUE(memory::Prepare(reserved, size / 2));
  ASSERT_TRUE(dirty_.Arm({reserved, reserved + size}));
  const uintptr_t before = at_;
  at_ = reserved;
  Write(17);
  EXPECT_TRUE(Fetch(Of(0, 1024), true).count(17));
  EXPECT_FALSE(Fetch(Of(0, 1024), false).count(17));
  Write(17);
  Write(500);
  const Pages found = Fetch(Of(0, 1024), false);
  EXPECT_TRUE(found.count(17) && found.count(500));
  dirty_.Untrack(Of(0, 1024));
  at_ = before;
  memory::Release(reserved, size);
}

TEST_F(DirtyPagesTest, TracksHugePages) {
  const size_t huge = 2 * kMiB, size = 16 * huge;
  void* p = mmap(nullptr, size + huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  const uintptr_t before = at_;
  at_ = RoundUp(AddressOf(p), huge);
  madvise(PointerTo(at_), size, MADV_HUGEPAGE);
  memset(PointerTo(at_), 1, size);
  const size_t pages = size / page_, each = huge / page_;
  ASSERT_TRUE(dirty_.Track(Of(0, pages)));
  EXPECT_EQ(Fetch(Of(0, pages), false), Count(0, pages));
  ASSERT_TRUE(dirty_.Arm(Of(0, pages)));
  EXPECT_EQ(Fetch(Of(0, pages), false), Pages{});
  Write(3 * each + 7);
  EXPECT_TRUE(Fetch(Of(0, pages), true).count(3 * each + 7));
  EXPECT_EQ(Fetch(Of(0, pages), false), Pages{});
  ASSERT_TRUE(dirty_.Arm(Of(5 * each + 5, each)));  // parts of huge pages
  dirty_.Disarm(Of(5 * each + 5, each));
  EXPECT_EQ(Fetch(Of(0, pages), true), Count(5 * each + 5, each));
  dirty_.Untrack(Of(0, pages));
  at_ = before;
  munmap(p, size + huge);
}

TEST_F(DirtyPagesTest, BelievesNoUserfaultfdThatWasClosed) {
  ASSERT_TRUE(dirty_.Arm(All()));
  ASSERT_EQ(Descriptors("[userfaultfd]").size(), 1u);
  close(Descriptors("[userfaultfd]")[0]);
  EXPECT_EQ(Fetch(true), Count(0, kPages));
  EXPECT_FALSE(dirty_.Arm(All()));
  EXPECT_EQ(dirty_.Start(DirtySource::kAuto), DirtySource::kUffd) << "opened again";
  EXPECT_EQ(Fetch(), Count(0, kPages));
  ASSERT_TRUE(dirty_.Track(All()));
  ASSERT_TRUE(dirty_.Arm(All()));
  EXPECT_EQ(Fetch(), Pages{});
}

TEST_F(DirtyPagesTest, BelievesNoPageMapThatWasReplaced) {
  ASSERT_TRUE(dirty_.Arm(All()));
  ASSERT_EQ(Descriptors("/pagemap").size(), 1u);
  const int fd = Descriptors("/pagemap")[0];
  const int other = open("/dev/null", O_RDONLY | O_CLOEXEC);
  dup2(other, fd);
  close(other);
  EXPECT_EQ(Fetch(true), Count(0, kPages));
  EXPECT_FALSE(dirty_.Arm(All()));
  EXPECT_EQ(dirty_.Start(DirtySource::kUffd), DirtySource::kUffd);
  EXPECT_EQ(fcntl(fd, F_GETFD), 0) << "what is not ours is not closed";
  close(fd);
}

TEST_F(DirtyPagesTest, KeepsItsDescriptorsOutOfTheWay) {
  for (const char* name : {"[userfaultfd]", "/pagemap"}) {
    for (int fd : Descriptors(name)) {
      EXPECT_GE(fd, 48) << name;
      EXPECT_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC) << name;
    }
  }
  dirty_.Untrack(All());
  dirty_.Stop();
  EXPECT_TRUE(Descriptors("[userfaultfd]").empty());
  EXPECT_TRUE(Descriptors("/pagemap").empty());
}

TEST_F(DirtyPagesTest, ComesWhenADescriptorIsFree) {
  dirty_.Untrack(All());
  dirty_.Stop();
  rlimit before, none;
  getrlimit(RLIMIT_NOFILE, &before);
  none = before;
  none.rlim_cur = static_cast<rlim_t>(open("/", O_RDONLY | O_CLOEXEC));
  close(static_cast<int>(none.rlim_cur));
  setrlimit(RLIMIT_NOFILE, &none);
  EXPECT_EQ(dirty_.Start(DirtySource::kUffd), DirtySource::kNone);
  ++none.rlim_cur;  // one of two
  setrlimit(RLIMIT_NOFILE, &none);
  EXPECT_EQ(dirty_.Start(DirtySource::kUffd), DirtySource::kNone);
  setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_TRUE(Descriptors("[userfaultfd]").empty());
  EXPECT_EQ(dirty_.Start(DirtySource::kUffd), DirtySource::kUffd);
}

TEST_F(DirtyPagesTest, AForkedChildHasItsOwn) {
  ASSERT_TRUE(dirty_.Arm(All()));
  Write(1);
  EXPECT_EQ(test::OutcomeInChild([&] {
              dirty_.AfterForkInChild();
              if (dirty_.source() != DirtySource::kNone || !Descriptors("[userfaultfd]").empty())
                return false;
              if (Fetch() != Count(0, kPages)) return false;
              if (dirty_.Start(DirtySource::kAuto) != DirtySource::kUffd) return false;
              if (!dirty_.Track(All()) || !dirty_.Arm(All()) || Fetch() != Pages{}) return false;
              Write(2);
              return Fetch(true) == Pages{2} && Fetch() == Pages{};
            }),
            "ok");
  Write(3);
  EXPECT_EQ(Fetch(), (Pages{1, 3}));
}

// Threads write, others fetch: a copy of what was reported is the memory itself in the end.
TEST_F(DirtyPagesTest, LosesNoWriteUnderLoad) {
  constexpr int kWriters = 2, kFetchers = 2;
  ASSERT_TRUE(dirty_.Arm(All()));
  std::vector<uint64_t> copy(kPages);
  auto word = [&](size_t n) { return PointerTo<uint64_t>(at_ + n * page_); };
  for (size_t n = 0; n < kPages; ++n) copy[n] = LoadRelaxed(word(n));
  std::atomic<bool> ends{false};
  std::vector<std::thread> writers, fetchers;
  for (int w = 0; w < kWriters; ++w) {
    writers.emplace_back([&, w] {
      test::Random random(static_cast<uint64_t>(w));
      while (!ends.load(std::memory_order_relaxed))
        StoreRelaxed(word(random.Below(kPages)), random.Next());
    });
  }
  struct Copying {
    std::vector<uint64_t>* copy;
    uintptr_t origin;
    size_t page;
  } copying{&copy, at_, page_};
  auto take = [](void* data, Range run) {
    auto* c = static_cast<Copying*>(data);
    for (uintptr_t at = run.lo; at < run.hi; at += c->page) {
      (*c->copy)[(at - c->origin) / c->page] = LoadRelaxed(PointerTo<uint64_t>(at));
    }
    return true;
  };
  for (size_t f = 0; f < kFetchers; ++f) {
    fetchers.emplace_back([&, f] {
      const Range share = Of(f * kPages / kFetchers, kPages / kFetchers);
      for (int round = 0; round < 300; ++round) dirty_.Fetch(share, true, take, &copying);
    });
  }
  for (auto& thread : fetchers) thread.join();
  ends = true;
  for (auto& thread : writers) thread.join();
  dirty_.Fetch(All(), false, take, &copying);
  for (size_t n = 0; n < kPages; ++n) ASSERT_EQ(copy[n], *word(n)) << n;
}

}  // namespace
}  // namespace gcm
