// Threads that come and go: blocks outlive their threads, destructors of thread-local data allocate and free.
//
// Law: the heap serves a thread from its first instruction to its last, and takes everything back afterwards.
#include <malloc.h>
#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "support.h"

namespace {

using namespace gcm::test;

TEST(Threads, LiveBlocksOutliveTheirThread) {
  for (int round = 0; round < 20; ++round) {
    std::vector<void*> blocks(400, nullptr);
    std::thread([&blocks] {
      for (std::size_t i = 0; i < blocks.size(); ++i) {
        blocks[i] = malloc(opaque<std::size_t>(16 + i * 50));
        fill(blocks[i], 16 + i * 50, i);
      }
    }).join();
    for (std::size_t i = 0; i < blocks.size(); ++i) ASSERT_TRUE(holds(blocks[i], 16 + i * 50, i));
    std::thread([&blocks] {
      for (std::size_t i = 0; i < blocks.size(); i += 2) free(blocks[i]);
    }).join();
    for (std::size_t i = 1; i < blocks.size(); i += 2) {
      ASSERT_TRUE(holds(blocks[i], 16 + i * 50, i));
      blocks[i] = realloc(blocks[i], opaque<std::size_t>(100));
      ASSERT_TRUE(holds(blocks[i], 16, i));
      free(blocks[i]);
    }
  }
}

TEST(Threads, ShortLivedThreadsLeaveNothingBehind) {
  auto burst = [] {
    for (int i = 0; i < 300; ++i) {
      std::thread([] {
        std::vector<void*> blocks;
        for (std::size_t n = 0; n < 200; ++n) blocks.push_back(malloc(opaque(n * 20)));
        for (void* p : blocks) free(p);
      }).join();
    }
  };
  burst();
  const std::size_t before = resident_bytes();
  for (int i = 0; i < 4; ++i) burst();
  EXPECT_LT(resident_bytes(), before + 32 * kMiB);
}

std::atomic<int> tls_destroyed{0};

struct AllocatesWhenDestroyed {
  std::string* text = nullptr;
  std::vector<void*> blocks;
  ~AllocatesWhenDestroyed() {
    for (int i = 0; i < 100; ++i) {
      void* p = malloc(opaque<std::size_t>(300));
      memset(p, 1, 300);
      free(p);
    }
    for (void* p : blocks) free(p);
    delete text;
    text = new std::string(1000, 'x');
    if (text->size() == 1000) ++tls_destroyed;
    delete text;
  }
};

thread_local AllocatesWhenDestroyed in_tls;

TEST(Threads, TlsDestructorsMayAllocateAndFree) {
  tls_destroyed = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([] {
      in_tls.text = new std::string(500, 'y');
      for (std::size_t i = 0; i < 50; ++i) in_tls.blocks.push_back(malloc(opaque(i * 40)));
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(tls_destroyed, 8);
}

pthread_key_t key;
std::atomic<int> key_destroyed{0};

// Runs in each of the last rounds of key destructors, long after the allocator's own may have run.
void destroy_key(void* value) {
  auto* rounds = static_cast<int*>(value);
  const int left = *rounds - 1;
  free(value);
  void* p = calloc(1, opaque<std::size_t>(5000));
  if (all_bytes(p, 5000, 0)) ++key_destroyed;
  memset(p, 0xEE, 5000);
  free(p);
  if (left > 0) {
    auto* next = static_cast<int*>(malloc(opaque(sizeof(int))));
    *next = left;
    pthread_setspecific(key, next);
  }
}

TEST(Threads, KeyDestructorsMayAllocateAndFreeInEveryRound) {
  ASSERT_EQ(pthread_key_create(&key, destroy_key), 0);
  key_destroyed = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([] {
      auto* rounds = static_cast<int*>(malloc(opaque(sizeof(int))));
      *rounds = 4;
      pthread_setspecific(key, rounds);
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(key_destroyed, 32);
  pthread_key_delete(key);
}

TEST(Threads, ManyAtOnce) {
  std::vector<std::thread> threads;
  std::atomic<int> good{0};
  for (std::uint64_t t = 0; t < 200; ++t) {
    threads.emplace_back([t, &good] {
      std::vector<void*> blocks;
      for (std::size_t i = 0; i < 100; ++i) {
        blocks.push_back(malloc(opaque<std::size_t>(100)));
        fill(blocks.back(), 100, t * 1000 + i);
      }
      bool all = true;
      for (std::size_t i = 0; i < 100; ++i) {
        all = all && holds(blocks[i], 100, t * 1000 + i);
        free(blocks[i]);
      }
      if (all) ++good;
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(good, 200);
}

TEST(Threads, DetachedAndCancelledThreads) {
  for (int i = 0; i < 50; ++i) {
    pthread_t thread;
    ASSERT_EQ(pthread_create(&thread, nullptr, [](void*) -> void* {
      for (;;) {
        void* p = malloc(opaque<std::size_t>(100));
        memset(p, 1, 100);
        free(p);
        pthread_testcancel();
      }
    }, nullptr), 0);
    ASSERT_EQ(pthread_cancel(thread), 0);
    ASSERT_EQ(pthread_join(thread, nullptr), 0);
  }
}

TEST(Threads, SmallStacksAreEnough) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 32 * kKiB);
  for (int i = 0; i < 20; ++i) {
    pthread_t thread;
    ASSERT_EQ(pthread_create(&thread, &attributes, [](void*) -> void* {
      void* first = malloc(opaque<std::size_t>(100));
      void* second = calloc(1, opaque(5 * kMiB));
      second = realloc(second, opaque(10 * kMiB));
      free(first);
      free(second);
      return second == nullptr ? nullptr : &key;
    }, nullptr), 0);
    void* result = nullptr;
    ASSERT_EQ(pthread_join(thread, &result), 0);
    EXPECT_EQ(result, &key);
  }
  pthread_attr_destroy(&attributes);
}

// malloc inside a signal handler is not promised by POSIX; a handler that interrupts code outside of malloc is
// fine with every allocator.
TEST(Threads, SignalsThatInterruptPlainCodeMayAllocate) {
  static std::atomic<int> handled{0};
  struct sigaction action = {};
  action.sa_handler = [](int) {
    void* p = malloc(opaque<std::size_t>(100));
    free(p);
    ++handled;
  };
  struct sigaction previous;
  ASSERT_EQ(sigaction(SIGUSR1, &action, &previous), 0);
  for (int i = 0; i < 100; ++i) raise(SIGUSR1);
  EXPECT_EQ(handled, 100);
  sigaction(SIGUSR1, &previous, nullptr);
}

}  // namespace
