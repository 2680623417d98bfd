// fork, also in the middle of other threads' mallocs.
//
// Law: a forked child allocates, frees, makes threads and exits as if it had been alone from the start; it
// hangs in none of that (each child lives under an alarm), and the parent does not notice.
#include <malloc.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <thread>
#include <vector>

#include "support.h"

extern char** environ;

namespace {

using namespace gcm::test;

std::vector<void*>* inherited = nullptr;

int use_heap() {
  std::vector<void*> blocks;
  for (std::size_t i = 0; i < 3000; ++i) {
    void* p = malloc(opaque(i % 2000));
    GCM_REQUIRE(p != nullptr);
    memset(p, 0x11, i % 2000);
    blocks.push_back(p);
  }
  for (void* p : blocks) free(p);
  void* large = calloc(1, opaque(8 * kMiB));
  GCM_REQUIRE(large != nullptr);
  GCM_REQUIRE(all_bytes(large, 8 * kMiB, 0));
  free(large);
  if (inherited != nullptr) {
    for (std::size_t i = 0; i < inherited->size(); ++i) {
      GCM_REQUIRE(holds((*inherited)[i], 100 + i * 7, i));
      free((*inherited)[i]);
    }
    inherited->clear();
  }
  return 0;
}

int use_heap_in_threads() {
  std::atomic<int> good{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&good] {
      for (int n = 0; n < 5000; ++n) free(malloc(opaque<std::size_t>(static_cast<std::size_t>(n % 500))));
      ++good;
    });
  }
  for (auto& thread : threads) thread.join();
  GCM_REQUIRE(good == 3);
  return use_heap();
}

class Fork : public testing::Test {
 protected:
  void SetUp() override {
    for (std::size_t i = 0; i < 500; ++i) {
      blocks_.push_back(malloc(opaque(100 + i * 7)));
      fill(blocks_.back(), 100 + i * 7, i);
    }
    inherited = &blocks_;
  }
  void TearDown() override {
    inherited = nullptr;
    for (std::size_t i = 0; i < blocks_.size(); ++i) {
      EXPECT_TRUE(holds(blocks_[i], 100 + i * 7, i)) << "the parent's block changed";
      free(blocks_[i]);
    }
  }

  void with_busy_threads(int threads, const std::function<void()>& body) {
    std::atomic<bool> stop{false};
    std::vector<std::thread> busy;
    for (int t = 0; t < threads; ++t) {
      busy.emplace_back([&stop, t] {
        Random random(static_cast<std::uint64_t>(t) + 1);
        std::vector<void*> table(200, nullptr);
        while (!stop) {
          void*& slot = table[random.below(table.size())];
          free(slot);
          slot = malloc(opaque(random.below(random.below(50) == 0 ? 300000 : 2000)));
        }
        for (void* p : table) free(p);
      });
    }
    body();
    stop = true;
    for (auto& thread : busy) thread.join();
  }

 private:
  std::vector<void*> blocks_;
};

TEST_F(Fork, ChildUsesTheHeap) {
  for (int i = 0; i < 10; ++i) ASSERT_EQ(in_child(use_heap), 0);
}

TEST_F(Fork, ChildMakesThreads) {
  for (int i = 0; i < 5; ++i) ASSERT_EQ(in_child(use_heap_in_threads), 0);
}

TEST_F(Fork, UnderContention) {
  with_busy_threads(3, [] {
    for (int i = 0; i < 60; ++i) ASSERT_EQ(in_child(use_heap), 0) << "fork " << i;
  });
}

TEST_F(Fork, UnderContentionWithThreadsInTheChild) {
  with_busy_threads(3, [] {
    for (int i = 0; i < 10; ++i) ASSERT_EQ(in_child(use_heap_in_threads), 0) << "fork " << i;
  });
}

TEST_F(Fork, FromSeveralThreadsAtOnce) {
  with_busy_threads(1, [] {
    std::vector<std::thread> threads;
    std::atomic<int> bad{0};
    for (int t = 0; t < 3; ++t) {
      threads.emplace_back([&bad] {
        for (int i = 0; i < 10; ++i) bad += in_child([] { return use_heap(); }) != 0 ? 1 : 0;
      });
    }
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(bad, 0);
  });
}

TEST_F(Fork, GrandchildrenWork) {
  ASSERT_EQ(in_child([] { return in_child([] { return in_child(use_heap) == 0 ? use_heap() : 3; }); }), 0);
}

TEST_F(Fork, AtforkHandlersMayAllocate) {
  pthread_atfork([] { free(malloc(opaque<std::size_t>(100))); }, [] { free(malloc(opaque<std::size_t>(200))); },
                 [] { free(malloc(opaque<std::size_t>(300))); });
  with_busy_threads(2, [] {
    for (int i = 0; i < 10; ++i) ASSERT_EQ(in_child(use_heap), 0);
  });
}

TEST_F(Fork, ChildExitsNormally) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    alarm(20);
    if (freopen("/dev/null", "w", stdout) == nullptr) _exit(9);
    exit(use_heap());
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

TEST_F(Fork, VforkAndSpawnWork) {
  with_busy_threads(2, [] {
    for (int i = 0; i < 20; ++i) {
      const char* arguments[] = {"true", nullptr};
      pid_t child = 0;
      ASSERT_EQ(posix_spawnp(&child, "true", nullptr, nullptr, const_cast<char**>(arguments), environ), 0);
      int status = -1;
      ASSERT_EQ(waitpid(child, &status, 0), child);
      EXPECT_EQ(status, 0);
      FILE* pipe = popen("echo text", "r");
      ASSERT_NE(pipe, nullptr);
      char line[16] = {};
      EXPECT_NE(fgets(line, sizeof line, pipe), nullptr);
      EXPECT_STREQ(line, "text\n");
      EXPECT_EQ(pclose(pipe), 0);
    }
  });
}

}  // namespace
