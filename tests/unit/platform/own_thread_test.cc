// The sanitizers do not know threads that the C library has not made, and their own storage lies
// where such a thread has nothing: all of this is skipped there.
#include "platform/own_thread.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <cstring>
#include <memory>
#include <set>
#include <vector>

#include "platform/mutex.h"
#include "platform/process.h"
#include "platform/syscall.h"
#include "tests/unit/support.h"

namespace gcm {
namespace {

constexpr size_t kMemory = 64 * kKiB + OwnThread::kStorage;

// A thread that lives until it is let go, and what it finds.
class Living {
 public:
  Living() {
    void* p = mmap(nullptr, kMemory, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memory_ = {AddressOf(p), AddressOf(p) + kMemory};
  }
  ~Living() {
    LetGo();
    munmap(PointerTo(memory_.lo), kMemory);
  }
  bool Start() {
    go_ = 0;
    ready_ = 0;
    return thread_.Start(Run, this, memory_, false);
  }
  void AwaitReady() {
    while (ready_.load() == 0) usleep(200);
  }
  void LetGo() {
    go_ = 1;
    FutexWake(&go_, 1);
    thread_.Join();
  }
  OwnThread& thread() { return thread_; }
  int tid() const { return tid_.load(); }
  bool here() const { return here_.load(); }
  uint64_t mask() const { return mask_.load(); }
  int descriptors() const { return descriptors_.load(); }

 private:
  static void Run(void* data) {
    auto* self = static_cast<Living*>(data);
    self->tid_ = process::ThreadId();
    self->here_ = OwnThread::IsHere();
    uint64_t mask = 0;
    Syscall(SYS_rt_sigprocmask, 0, nullptr, &mask, sizeof(mask));
    self->mask_ = mask;
    int open = 0;
    for (int fd = 0; fd < 256; ++fd) open += Syscall(SYS_fcntl, fd, F_GETFD) >= 0;
    self->descriptors_ = open;
    self->ready_ = 1;
    while (self->go_.load() == 0) FutexWait(&self->go_, 0);
  }

  Range memory_{};
  OwnThread thread_;
  std::atomic<uint32_t> go_{0}, ready_{0};
  std::atomic<int> tid_{0}, descriptors_{-1};
  std::atomic<bool> here_{false};
  std::atomic<uint64_t> mask_{0};
};

class OwnThreadTest : public testing::Test {
 protected:
  void SetUp() override {
    if (GCM_TEST_SANITIZED) GTEST_SKIP() << "the sanitizers do not know threads of our own";
  }
};

TEST_F(OwnThreadTest, RunsUntilItEnds) {
  Living living;
  EXPECT_FALSE(living.thread().running());
  EXPECT_EQ(OwnThread::Count(), 0u);
  ASSERT_TRUE(living.Start());
  living.AwaitReady();
  EXPECT_TRUE(living.thread().running());
  EXPECT_TRUE(living.here());
  EXPECT_FALSE(OwnThread::IsHere());
  EXPECT_NE(living.tid(), process::ThreadId());
  EXPECT_EQ(OwnThread::Count(), 1u);
  EXPECT_TRUE(OwnThread::IsOne(living.tid()));
  EXPECT_FALSE(OwnThread::IsOne(process::ThreadId()));
  living.LetGo();
  EXPECT_FALSE(living.thread().running());
  EXPECT_EQ(OwnThread::Count(), 0u);
  EXPECT_FALSE(OwnThread::IsOne(living.tid()));
  EXPECT_NE(kill(getpid(), 0), -1);
  EXPECT_EQ(syscall(SYS_tgkill, getpid(), living.tid(), 0), -1) << "it is still there";
}

TEST_F(OwnThreadTest, IsNoThreadOfTheProgram) {
  auto tids = [] {
    std::set<int> found;
    EXPECT_TRUE(process::ForEachThread(
        [](void* data, int tid) { static_cast<std::set<int>*>(data)->insert(tid); }, &found));
    return found;
  };
  const std::set<int> before = tids();
  const unsigned count = process::ThreadCount();
  ASSERT_EQ(before.size(), count);
  Living living[3];
  for (Living& l : living) {
    ASSERT_TRUE(l.Start());
    l.AwaitReady();
  }
  EXPECT_EQ(tids(), before);
  EXPECT_EQ(process::ThreadCount(), count);
  for (Living& l : living) EXPECT_FALSE(before.contains(l.tid()));
  for (Living& l : living) l.LetGo();
  EXPECT_EQ(process::ThreadCount(), count);
}

TEST_F(OwnThreadTest, BlocksAllSignals) {
  Living living;
  ASSERT_TRUE(living.Start());
  living.AwaitReady();
  constexpr uint64_t kNever = uint64_t{1} << (SIGKILL - 1) | uint64_t{1} << (SIGSTOP - 1);
  EXPECT_EQ(living.mask() | kNever, ~uint64_t{0});
  sigset_t mask;
  pthread_sigmask(SIG_BLOCK, nullptr, &mask);
  EXPECT_FALSE(sigismember(&mask, SIGUSR1)) << "the starter has its own mask again";
}

// Whoever reads a pipe learns that its writers are gone, although such a thread was made meanwhile.
TEST_F(OwnThreadTest, KeepsNoDescriptorOfTheProgram) {
  for (int round = 0; round < 50; ++round) {
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    Living living;
    ASSERT_TRUE(living.Start());
    if (round % 2 == 0) living.AwaitReady();
    close(ends[1]);
    pollfd p{ends[0], POLLIN, 0};
    ASSERT_EQ(poll(&p, 1, 5000), 1) << "the thread keeps the pipe open";
    char c;
    EXPECT_EQ(read(ends[0], &c, 1), 0);
    EXPECT_TRUE(living.thread().running());
    living.AwaitReady();
    EXPECT_EQ(living.descriptors(), 0);
    close(ends[0]);
  }
}

TEST_F(OwnThreadTest, LeavesTheProgramItsDescriptors) {
  const int fd = open("/dev/null", O_RDONLY);
  Living living;
  ASSERT_TRUE(living.Start());
  living.AwaitReady();
  EXPECT_NE(fcntl(fd, F_GETFD), -1);
  EXPECT_NE(fcntl(2, F_GETFD), -1);
  living.LetGo();
  EXPECT_NE(fcntl(fd, F_GETFD), -1);
  close(fd);
}

bool WritesToStandardError() {
  int ends[2];
  if (pipe(ends) != 0) return false;
  dup2(ends[1], 2);
  close(ends[1]);
  OwnThread::KeepStandardError();
  static OwnThread thread;
  void* p = mmap(nullptr, kMemory, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  auto say = [](void*) { Syscall(SYS_write, 2, "said", 4); };
  if (!thread.Start(say, nullptr, {AddressOf(p), AddressOf(p) + kMemory}, false)) return false;
  thread.Join();
  close(2);
  char text[16] = {};
  return read(ends[0], text, sizeof(text)) == 4 && memcmp(text, "said", 4) == 0;
}

TEST_F(OwnThreadTest, KeepsStandardErrorWhenItIsToWriteThere) {
  EXPECT_EQ(test::OutcomeInChild(WritesToStandardError), "ok");
}

TEST_F(OwnThreadTest, ManyInARow) {
  Living living;
  std::set<int> seen;
  for (int i = 0; i < 500; ++i) {
    ASSERT_TRUE(living.Start()) << i;
    if (i % 2 == 0) living.AwaitReady();
    living.LetGo();
    seen.insert(living.tid());
    ASSERT_EQ(OwnThread::Count(), 0u);
  }
  EXPECT_GT(seen.size(), 1u);
}

TEST_F(OwnThreadTest, AsManyAtOnceAsThereIsRoomFor) {
  std::vector<std::unique_ptr<Living>> all;
  for (int i = 0; i < 200; ++i) {
    auto one = std::make_unique<Living>();
    if (!one->Start()) break;
    all.push_back(std::move(one));
  }
  ASSERT_GE(all.size(), 32u);
  EXPECT_LT(all.size(), 200u);
  EXPECT_EQ(OwnThread::Count(), all.size());
  all.front()->LetGo();
  EXPECT_TRUE(all.front()->Start()) << "the place of one that has ended is free";
  all.clear();
  EXPECT_EQ(OwnThread::Count(), 0u);
}

TEST_F(OwnThreadTest, AForkedChildHasNone) {
  Living living;
  ASSERT_TRUE(living.Start());
  living.AwaitReady();
  auto none = [&] {
    OwnThread::AfterForkInChild();
    living.thread().Forget();
    if (OwnThread::Count() != 0 || living.thread().running()) return false;
    living.thread().Join();
    Living another;
    if (!another.Start()) return false;
    another.AwaitReady();
    return process::ThreadCount() == 1;
  };
  EXPECT_EQ(test::OutcomeInChild(none), "ok");
}

}  // namespace
}  // namespace gcm
