#include "platform/dirty_mprotect.h"

#include <gtest/gtest.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <set>
#include <thread>
#include <vector>

#include "platform/fault_chain.h"
#include "platform/memory.h"
#include "tests/unit/support.h"

namespace gcm {
namespace {

using Pages = std::set<size_t>;

class DirtyMprotectTest : public testing::Test {
 protected:
  static constexpr size_t kPages = 3000;
  const size_t page_ = memory::PageSize();
  uintptr_t at_ = 0;
  DirtyPages dirty_;

  void SetUp() override {
    ASSERT_EQ(dirty_.Start(DirtySource::kMprotect), DirtySource::kMprotect);
    // On a boundary of what one fault opens.
    at_ = RoundUp(memory::Map((kPages + 16) * page_, "test"), 16 * page_);
    memset(PointerTo(at_), 1, kPages * page_);
    ASSERT_TRUE(dirty_.Track(All()));
  }
  void TearDown() override {
    dirty_.Untrack(All());
    memset(PointerTo(at_), 2, kPages * page_);
    dirty_.Stop();
    memory::Release(at_, kPages * page_);
  }

  Range Of(size_t first, size_t count) const {
    return {at_ + first * page_, at_ + (first + count) * page_};
  }
  Range All() const { return Of(0, kPages); }
  void Write(size_t n) { StoreRelaxed(PointerTo<int>(at_ + n * page_ + 64), 2); }
  Pages Fetch(bool rearm = false) { return Fetch(All(), rearm); }
  Pages Fetch(Range range, bool rearm) {
    struct Found {
      uintptr_t origin;
      size_t page;
      Pages pages;
    } found{at_, page_, {}};
    auto note = [](void* data, Range run) {
      auto* f = static_cast<Found*>(data);
      for (; run.lo < run.hi; run.lo += f->page) f->pages.insert((run.lo - f->origin) / f->page);
      return true;
    };
    EXPECT_EQ(dirty_.Fetch(range, rearm, note, &found), range.hi);
    return found.pages;
  }
  // What a write to these pages opens.
  static Pages Groups(std::initializer_list<size_t> written) {
    Pages pages;
    for (size_t n : written) {
      for (size_t i = n / 16 * 16; i < n / 16 * 16 + 16 && i < kPages; ++i) pages.insert(i);
    }
    return pages;
  }
};

TEST_F(DirtyMprotectTest, ReportsWhatWasWritten) {
  EXPECT_TRUE(dirty_.rearms());
  EXPECT_EQ(Fetch().size(), kPages);
  ASSERT_TRUE(dirty_.Arm(All()));
  EXPECT_EQ(Fetch(), Pages{});
  for (size_t n : {0, 7, 100, 2999}) Write(n);
  EXPECT_EQ(Fetch(), Groups({0, 100, 2999}));
  EXPECT_EQ(Fetch(true), Groups({0, 100, 2999}));
  EXPECT_EQ(Fetch(), Pages{});
  Write(8);
  EXPECT_EQ(Fetch(), Groups({8}));
  dirty_.Disarm(Of(4, 16));
  Write(17);
  EXPECT_EQ(Fetch(Of(0, 100), false).size(), 20u);
}

TEST_F(DirtyMprotectTest, KeepsWhatAVisitorLeaves) {
  ASSERT_TRUE(dirty_.Arm(All()));
  for (size_t n : {32, 64, 96, 128}) Write(n);
  int visits = 0;
  auto second = [](void* data, Range) { return ++*static_cast<int*>(data) < 2; };
  EXPECT_EQ(dirty_.Fetch(All(), false, second, &visits), Of(80, 0).lo);
  EXPECT_EQ(Fetch(), Groups({32, 64, 96, 128}));
  // With re-arming it gets what was fetched at once, and the rest stays written.
  struct Seen {
    uintptr_t lo;
    Pages pages;
  } seen{All().lo, {}};
  auto few = [](void* data, Range run) {
    auto* s = static_cast<Seen*>(data);
    for (uintptr_t at = run.lo; at < run.hi; at += memory::PageSize())
      s->pages.insert((at - s->lo) / memory::PageSize());
    return s->pages.size() < 20;
  };
  dirty_.Fetch(All(), true, few, &seen);
  EXPECT_GE(seen.pages.size(), 20u);
  Pages left = Groups({32, 64, 96, 128});
  for (size_t n : seen.pages) EXPECT_EQ(left.erase(n), 1u) << n;
  EXPECT_EQ(Fetch(), left);
}

TEST_F(DirtyMprotectTest, TracksOnlyPlainMemory) {
  const struct {
    int protection, flags;
  } kinds[] = {
      {PROT_READ, MAP_PRIVATE}, {PROT_NONE, MAP_PRIVATE}, {PROT_READ | PROT_WRITE, MAP_SHARED}};
  for (auto kind : kinds) {
    void* p = mmap(nullptr, 2 * page_, kind.protection, kind.flags | MAP_ANONYMOUS, -1, 0);
    EXPECT_FALSE(dirty_.Track({AddressOf(p), AddressOf(p) + page_}));
    EXPECT_FALSE(dirty_.Arm({AddressOf(p), AddressOf(p) + page_}));
    munmap(p, 2 * page_);
    EXPECT_FALSE(dirty_.Track({AddressOf(p), AddressOf(p) + page_})) << "no mapping";
  }
  ASSERT_TRUE(dirty_.Arm(All()));
  EXPECT_TRUE(dirty_.Track(All())) << "again, while it is armed";
  EXPECT_EQ(Fetch(), Pages{});
  dirty_.Untrack(Of(100, 50));
  EXPECT_FALSE(dirty_.Arm(Of(140, 20)));
  EXPECT_EQ(Fetch(true).size(), 50u);
  for (size_t n = 0; n < kPages; ++n) Write(n);
}

// Memory that grows is tracked in parts, of which the earlier ones stay armed.
TEST_F(DirtyMprotectTest, GrowsWhatItTracks) {
  dirty_.Untrack(All());
  ASSERT_TRUE(dirty_.Track(Of(0, 100)));
  ASSERT_TRUE(dirty_.Arm(Of(0, 100)));
  ASSERT_TRUE(dirty_.Track(Of(200, 100)));
  ASSERT_TRUE(dirty_.Track(Of(0, 300)));
  EXPECT_EQ(Fetch(Of(0, 100), false), Pages{});
  ASSERT_TRUE(dirty_.Arm(Of(100, 200)));
  EXPECT_EQ(Fetch(Of(0, 300), false), Pages{});
  Write(150);
  EXPECT_EQ(Fetch(Of(0, 300), false), Groups({150}));
}

TEST_F(DirtyMprotectTest, OpensAllForSystemCalls) {
  ASSERT_TRUE(dirty_.Arm(All()));
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  ASSERT_EQ(write(ends[1], "abc", 3), 3);
  EXPECT_EQ(read(ends[0], PointerTo(at_), 3), -1);
  EXPECT_EQ(errno, EFAULT);
  EXPECT_TRUE(dirty_mprotect::OpenAll());
  EXPECT_FALSE(dirty_mprotect::OpenAll());
  EXPECT_EQ(read(ends[0], PointerTo(at_), 3), 3);
  EXPECT_EQ(Fetch(true).size(), kPages);
  EXPECT_EQ(Fetch(), Pages{});
  close(ends[0]);
  close(ends[1]);
}

TEST_F(DirtyMprotectTest, MovedPagesAreWritable) {
  ASSERT_TRUE(dirty_.Arm(All()));
  ASSERT_TRUE(memory::MovePages(at_, at_ + 1000 * page_, 500 * page_));
  for (size_t n = 0; n < kPages; ++n) Write(n);
}

GCM_NO_SANITIZE void Poke(uintptr_t address) {
  asm volatile("" : "+r"(address));
  *PointerTo<volatile int>(address) = 1;
}

sigjmp_buf g_back;
siginfo_t g_info;
sigset_t g_mask;
void OnFault(int, siginfo_t* info, void*) {
  g_info = *info;
  pthread_sigmask(SIG_SETMASK, nullptr, &g_mask);
  siglongjmp(g_back, 1);
}

// As preload/handlers.cc does it.
int SetAction(const struct sigaction* set, struct sigaction* old) {
  SignalsBlocked blocked;
  return fault_chain::SetProgramAction(set, old, sigaction);
}

TEST_F(DirtyMprotectTest, LeavesOtherFaultsToTheProgram) {
  ASSERT_TRUE(dirty_.Arm(All()));
  struct sigaction mine {
  }, before, shown;
  mine.sa_sigaction = OnFault;
  mine.sa_flags = SA_SIGINFO;
  sigaddset(&mine.sa_mask, SIGUSR1);
  ASSERT_EQ(SetAction(&mine, &before), 0);
  ASSERT_EQ(SetAction(nullptr, &shown), 0);
  EXPECT_EQ(shown.sa_sigaction, OnFault);
  EXPECT_EQ(shown.sa_flags & (SA_SIGINFO | SA_NODEFER), SA_SIGINFO);
  EXPECT_TRUE(sigismember(&shown.sa_mask, SIGUSR1));
  void* p = mmap(nullptr, page_, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  // Its own read-only page, one of tracked memory that is not armed, and none.
  dirty_.Disarm(Of(600, 1));
  mprotect(PointerTo(at_ + 600 * page_), page_, PROT_READ);
  for (uintptr_t address : {AddressOf(p), at_ + 600 * page_, uintptr_t{16}}) {
    g_info = {};
    if (sigsetjmp(g_back, 1) == 0) {
      Poke(address);
      ADD_FAILURE() << "no fault";
    }
    EXPECT_EQ(AddressOf(g_info.si_addr), address);
    EXPECT_EQ(g_info.si_code, address == 16 ? SEGV_MAPERR : SEGV_ACCERR);
    EXPECT_TRUE(sigismember(&g_mask, SIGSEGV));
    EXPECT_TRUE(sigismember(&g_mask, SIGUSR1));
    EXPECT_FALSE(sigismember(&g_mask, SIGUSR2));
  }
  Write(7);
  EXPECT_TRUE(Fetch().count(7)) << "ours is still first";
  // Once only.
  mine.sa_flags = SA_SIGINFO | static_cast<int>(SA_RESETHAND) | SA_NODEFER;
  ASSERT_EQ(SetAction(&mine, nullptr), 0);
  if (sigsetjmp(g_back, 1) == 0) Poke(16);
  EXPECT_FALSE(sigismember(&g_mask, SIGSEGV));
  ASSERT_EQ(SetAction(nullptr, &shown), 0);
  EXPECT_EQ(shown.sa_handler, SIG_DFL);
  ASSERT_EQ(SetAction(&before, nullptr), 0);
  mprotect(PointerTo(at_ + 600 * page_), page_, PROT_READ | PROT_WRITE);
  munmap(p, page_);
}

TEST_F(DirtyMprotectTest, TheProgramsHandlerStaysWhenItIsStopped) {
  struct sigaction mine {
  }, before, shown;
  mine.sa_sigaction = OnFault;
  mine.sa_flags = SA_SIGINFO;
  ASSERT_EQ(SetAction(&mine, &before), 0);
  dirty_.Untrack(All());
  dirty_.Stop();
  ASSERT_EQ(sigaction(SIGSEGV, nullptr, &shown), 0);
  EXPECT_EQ(shown.sa_sigaction, OnFault);
  if (sigsetjmp(g_back, 1) == 0) Poke(24);
  EXPECT_EQ(AddressOf(g_info.si_addr), 24u);
  sigaction(SIGSEGV, &before, nullptr);
}

std::string OutcomeWith(sighandler_t disposition, void (*fn)()) {
  return test::OutcomeInChild([=] {
    struct sigaction action {};
    action.sa_handler = disposition;
    SetAction(&action, nullptr);
    fn();
    return true;
  });
}

TEST_F(DirtyMprotectTest, DefaultAndIgnoredDispositionsAreTheKernels) {
  ASSERT_TRUE(dirty_.Arm(All()));
  auto fault = [] { Poke(16); };
  auto send = [] { raise(SIGSEGV); };
  EXPECT_EQ(OutcomeWith(SIG_DFL, fault), "signal 11");
  EXPECT_EQ(OutcomeWith(SIG_IGN, fault), "signal 11");
  EXPECT_EQ(OutcomeWith(SIG_DFL, send), "signal 11");
  EXPECT_EQ(OutcomeWith(SIG_IGN, send), "ok");
}

TEST_F(DirtyMprotectTest, AForkedChildHasItsOwn) {
  ASSERT_TRUE(dirty_.Arm(All()));
  EXPECT_EQ(test::OutcomeInChild([&] {
              Write(5);  // before it has called
              dirty_.AfterForkInChild();
              if (dirty_.source() != DirtySource::kNone) return false;
              for (size_t n = 0; n < kPages; ++n) Write(n);
              if (dirty_.Start(DirtySource::kMprotect) != DirtySource::kMprotect) return false;
              if (!dirty_.Track(All()) || !dirty_.Arm(All())) return false;
              Write(40);
              return Fetch() == Groups({40});
            }),
            "ok");
  EXPECT_EQ(Fetch(), Pages{});
}

TEST_F(DirtyMprotectTest, IsNeverChosenByItself) {
  dirty_.Untrack(All());
  EXPECT_NE(dirty_.Start(DirtySource::kAuto), DirtySource::kMprotect);
}

// More alternating pages than a process may have mappings: all is opened, and nothing is lost.
TEST_F(DirtyMprotectTest, SurvivesTheLimitOfMappings) {
  const size_t pages = size_t{16} * 70000, size = pages * page_;
  const uintptr_t big = RoundUp(memory::Map(size + 16 * page_, "test"), 16 * page_);
  ASSERT_TRUE(dirty_.Track({big, big + size}));
  ASSERT_TRUE(dirty_.Arm({big, big + size}));
  for (size_t n = 0; n < pages; n += 32) StoreRelaxed(PointerTo<int>(big + n * page_), 1);
  size_t found = 0;
  auto count = [](void* data, Range run) {
    *static_cast<size_t*>(data) += run.size();
    return true;
  };
  dirty_.Fetch({big, big + size}, false, count, &found);
  EXPECT_GE(found, size / 2);
  dirty_.Untrack({big, big + size});
  memory::Release(big, size);
}

// Threads write, others fetch: a copy of what was reported is the memory itself in the end.
TEST_F(DirtyMprotectTest, LosesNoWriteUnderLoad) {
  ASSERT_TRUE(dirty_.Arm(All()));
  std::vector<uint64_t> copy(kPages);
  auto word = [&](size_t n) { return PointerTo<uint64_t>(at_ + n * page_); };
  for (size_t n = 0; n < kPages; ++n) copy[n] = LoadRelaxed(word(n));
  std::atomic<bool> ends{false};
  std::vector<std::thread> writers, fetchers;
  for (int w = 0; w < 2; ++w) {
    writers.emplace_back([&, w] {
      test::Random random(static_cast<uint64_t>(w));
      while (!ends.load(std::memory_order_relaxed)) {
        StoreRelaxed(word(random.Below(kPages)), random.Next());
      }
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
  for (size_t f = 0; f < 2; ++f) {
    fetchers.emplace_back([&, f] {
      for (int round = 0; round < 50; ++round) {
        dirty_.Fetch(Of(f * kPages / 2, kPages / 2), true, take, &copying);
        if (round % 16 == 8) dirty_mprotect::OpenAll();
      }
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
