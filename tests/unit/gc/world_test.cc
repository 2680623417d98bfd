#include "core/gc/world.h"

#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <vector>

#include "platform/clock.h"
#include "platform/process.h"
#include "platform/signal.h"
#include "platform/syscall.h"
#include "tests/unit/support.h"

namespace gcm {
namespace {

// Threads that count while they may run.
class Counters {
 public:
  explicit Counters(int n, void (*prepare)() = nullptr) : counts_(static_cast<size_t>(n)) {
    for (auto& c : counts_) c = std::make_unique<std::atomic<uint64_t>>(0);
    for (size_t i = 0; i < counts_.size(); ++i) {
      threads_.emplace_back([this, i, prepare] {
        if (prepare != nullptr) prepare();
        while (!stop_.load(std::memory_order_relaxed)) counts_[i]->fetch_add(1, std::memory_order_relaxed);
      });
    }
    AwaitMoves();
  }
  ~Counters() {
    stop_ = true;
    for (std::thread& t : threads_) t.join();
  }
  std::vector<uint64_t> Read() const {
    std::vector<uint64_t> values;
    for (auto& c : counts_) values.push_back(c->load());
    return values;
  }
  uint64_t Sum() const {
    uint64_t sum = 0;
    for (auto& c : counts_) sum += c->load();
    return sum;
  }
  size_t size() const { return counts_.size(); }
  // Returns when each has counted on.
  void AwaitMoves() const {
    std::vector<uint64_t> before = Read();
    for (size_t i = 0; i < before.size(); ++i) {
      while (counts_[i]->load() == before[i]) std::this_thread::yield();
    }
  }

 private:
  std::vector<std::unique_ptr<std::atomic<uint64_t>>> counts_;
  std::vector<std::thread> threads_;
  std::atomic<bool> stop_{false};
};

// Stops the world, looks for a while, starts it. Nothing may allocate meanwhile: a stopped thread
// may hold the lock of the C library's heap.
void ExpectStandstill(const Counters& counters) {
  const char* why = nullptr;
  uint64_t begin = clock::Now();
  bool stopped = world().Stop(&why);
  uint64_t took = clock::Now() - begin;
  size_t threads = world().thread_count();
  uint64_t first = counters.Sum();
  while (stopped && clock::Now() < begin + took + 20 * clock::kMillisecond) {
  }
  uint64_t second = counters.Sum();
  if (stopped) world().Start();
  ASSERT_TRUE(stopped) << (why == nullptr ? "without a reason" : why);
  EXPECT_EQ(first, second) << "a thread went on";
  EXPECT_GE(threads, counters.size());
  EXPECT_LT(took, 2 * clock::kSecond);
}

TEST(World, StopsWithoutOtherThreads) {
  const char* why = nullptr;
  ASSERT_TRUE(world().Stop(&why));
  EXPECT_TRUE(world().IsAlive(process::ThreadId()));
  world().Start();
}

TEST(World, SpinningThreadsStandStill) {
  static std::atomic<uint64_t> counts[6];
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (auto& c : counts) {
    threads.emplace_back([&] {
      while (!stop.load(std::memory_order_relaxed)) c.fetch_add(1, std::memory_order_relaxed);
    });
  }
  for (int round = 0; round < 5; ++round) {
    for (auto& c : counts) {
      uint64_t before = c.load();
      while (c.load() == before) std::this_thread::yield();
    }
    uint64_t first[6], second[6];
    const char* why = nullptr;
    bool stopped = world().Stop(&why);
    size_t known = world().thread_count();
    for (int i = 0; i < 6; ++i) first[i] = counts[i].load();
    uint64_t until = clock::Now() + 20 * clock::kMillisecond;
    while (stopped && clock::Now() < until) {
    }
    for (int i = 0; i < 6; ++i) second[i] = counts[i].load();
    if (stopped) world().Start();
    ASSERT_TRUE(stopped) << why;
    EXPECT_GE(known, 6u);
    for (int i = 0; i < 6; ++i) EXPECT_EQ(first[i], second[i]) << "a thread went on";
  }
  stop = true;
  for (std::thread& t : threads) t.join();
}

TEST(World, ThreadsThatMaskEverySignalStop) {
  if (GCM_TSAN) GTEST_SKIP() << "there the stop uses a signal that programs can mask";
  Counters counters(3, [] {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
  });
  ExpectStandstill(counters);
  counters.AwaitMoves();
}

TEST(World, BlockedThreadsStopAndTheirCallsGoOn) {
  if (GCM_TSAN) GTEST_SKIP() << "ThreadSanitizer puts handlers off until the call returns";
  int pipe_ends[2];
  ASSERT_EQ(pipe(pipe_ends), 0);
  ssize_t got = 0;
  int error = 0;
  std::atomic<int> tid{0};
  char byte = 0;
  std::thread reader([&] {
    tid = process::ThreadId();
    got = read(pipe_ends[0], &byte, 1);
    error = errno;
  });
  while (tid.load() == 0 || process::ThreadState(tid.load()) != 'S') usleep(1000);
  for (int i = 0; i < 5; ++i) {
    const char* why = nullptr;
    ASSERT_TRUE(world().Stop(&why));
    bool alive = world().IsAlive(tid.load());
    world().Start();
    EXPECT_TRUE(alive);
    usleep(2000);
  }
  ASSERT_EQ(write(pipe_ends[1], "x", 1), 1);
  reader.join();
  EXPECT_EQ(got, 1) << "errno " << error;
  EXPECT_EQ(byte, 'x');
  close(pipe_ends[0]);
  close(pipe_ends[1]);
}

TEST(World, RecordsStackPointersOnTheThreadsStacks) {
  static std::atomic<uintptr_t> local{0};
  std::atomic<bool> stop{false};
  std::atomic<int> tid{0};
  std::thread t([&] {
    char here = 0;
    local = AddressOf(&here);
    tid = process::ThreadId();
    while (!stop.load(std::memory_order_relaxed)) {
    }
  });
  while (tid.load() == 0) std::this_thread::yield();
  const char* why = nullptr;
  ASSERT_TRUE(world().Stop(&why));
  StoppedThread found{};
  for (size_t i = 0; i < world().thread_count(); ++i) {
    if (world().thread(i).tid == tid.load()) found = world().thread(i);
  }
  world().Start();
  stop = true;
  t.join();
  EXPECT_EQ(found.tid, tid.load());
  EXPECT_LT(found.sp, local.load() + 4 * kKiB);
  EXPECT_GT(found.sp, local.load() - 64 * kKiB);
  EXPECT_NE(found.tls, 0u);
  EXPECT_GE(found.saved.size(), GCM_TSAN ? 0u : 513u) << "general and floating point registers";
}

TEST(World, DeadThreadsAreNotAlive) {
  std::atomic<int> tid{0};
  std::thread([&] { tid = process::ThreadId(); }).join();
  const char* why = nullptr;
  ASSERT_TRUE(world().Stop(&why));
  bool alive = world().IsAlive(tid.load());
  world().Start();
  EXPECT_FALSE(alive);
}

TEST(World, ThreadsInACriticalSectionStopAtItsEnd) {
  std::atomic<int> phase{0};
  std::atomic<uint64_t> inside{0};
  std::thread t = test::HeapThread([&] {
    heap().Free(heap().Allocate(10), "test");
    while (phase.load() != 9) {
      CriticalSection critical(t_cache);
      inside = 1;
      for (int i = 0; i < 20000; ++i) std::atomic_signal_fence(std::memory_order_seq_cst);
      inside = 0;
      phase = 1;
    }
  });
  while (phase.load() == 0) std::this_thread::yield();
  for (int i = 0; i < 100; ++i) {
    const char* why = nullptr;
    ASSERT_TRUE(world().Stop(&why));
    uint64_t seen = inside.load();
    world().Start();
    ASSERT_EQ(seen, 0u) << "stopped inside";
  }
  phase = 9;
  t.join();
}

TEST(World, StopsThousandsOfTimesWhileThreadsComeAndGo) {
  std::atomic<bool> stop{false};
  std::thread maker([&] {
    while (!stop.load()) std::thread([] {}).join();
  });
  uint64_t until = clock::Now() + 500 * clock::kMillisecond;
  int stops = 0;
  while (clock::Now() < until) {
    const char* why = nullptr;
    ASSERT_TRUE(world().Stop(&why)) << why;
    world().Start();
    ++stops;
  }
  stop = true;
  maker.join();
  EXPECT_GT(stops, 10);
}

// A thread that masks even the number that programs cannot name.
TEST(World, GivesUpOnAThreadThatCannotBeStopped) {
  if (GCM_TSAN) GTEST_SKIP() << "the sanitizer defers signals of its own";
  Counters counters(2);
  std::atomic<int> phase{0};
  std::thread stubborn([&] {
    uint64_t all = ~uint64_t{0}, old = 0;
    Syscall(SYS_rt_sigprocmask, SIG_BLOCK, &all, &old, sizeof(all));
    phase = 1;
    while (phase.load() == 1) std::this_thread::yield();
    Syscall(SYS_rt_sigprocmask, SIG_SETMASK, &old, nullptr, sizeof(old));
  });
  while (phase.load() != 1) std::this_thread::yield();
  const char* why = nullptr;
  EXPECT_FALSE(world().Stop(&why));
  EXPECT_STREQ(why, "a thread blocks all signals by a system call of its own");
  counters.AwaitMoves();
  phase = 2;
  stubborn.join();
  ExpectStandstill(counters);
}

// Runs alone on a processor for a time, once *go is 1; 2 when it does. False: it may not.
bool RunAlone(int processor, std::atomic<int>* go, uint64_t time) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(processor, &one);
  const sched_param param{1};
  if (sched_setaffinity(0, sizeof(one), &one) != 0) return false;
  while (go->load() == 0) usleep(1000);
  if (sched_setscheduler(0, SCHED_FIFO, &param) != 0) return false;
  *go = 2;
  for (const uint64_t until = clock::Now() + time; clock::Now() < until;) {
  }
  return true;
}

// One that has all signals blocked for a moment, and is not let run at that moment, is waited for.
TEST(World, WaitsForAThreadThatIsNotLetRun) {
  if (GCM_TSAN) GTEST_SKIP() << "the sanitizer defers signals of its own";
  cpu_set_t all;
  ASSERT_EQ(sched_getaffinity(0, sizeof(all), &all), 0);
  if (CPU_COUNT(&all) < 2) GTEST_SKIP() << "needs two processors";
  int processor = 0;
  while (!CPU_ISSET(processor, &all)) ++processor;
  auto* go = static_cast<std::atomic<int>*>(
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(go, MAP_FAILED);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) _exit(RunAlone(processor, go, clock::kSecond * 2 / 5) ? 0 : 1);
  std::atomic<bool> over{false};
  std::thread preempted([&] {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(processor, &one);
    sched_setaffinity(0, sizeof(one), &one);
    {
      SignalsBlocked section;
      *go = 1;
      while (go->load() == 1) {
      }
    }
    while (!over.load()) std::this_thread::yield();
  });
  int status = 0;
  pid_t ended = 0;
  while (go->load() != 2 && (ended = waitpid(child, &status, WNOHANG)) == 0) usleep(1000);
  const char* why = "";
  bool stopped = false;
  if (ended == 0) {
    stopped = world().Stop(&why);
    if (stopped) world().Start();
    waitpid(child, &status, 0);
  }
  *go = 2;
  over = true;
  preempted.join();
  munmap(go, 4096);
  if (ended != 0) GTEST_SKIP() << "needs the right to run before others";
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(stopped) << why;
}

}  // namespace
}  // namespace gcm
