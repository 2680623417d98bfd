#include "core/heap/heap.h"

#include <cstring>
#include <deque>
#include <mutex>
#include <set>
#include <vector>

#include "tests/unit/support.h"

namespace gcm {
namespace {

// A block with its size and a cookie in all of its bytes.
struct Block {
  char* p = nullptr;
  size_t size = 0;
  unsigned char tag = 0;
  void Fill() { memset(p, tag, size); }
  bool Intact(size_t upto = SIZE_MAX) const {
    for (size_t i = 0; i < Min(size, upto); ++i) {
      if (static_cast<unsigned char>(p[i]) != tag) return false;
    }
    return true;
  }
};

size_t SomeSize(test::Random& random) {
  switch (random.Below(8)) {
    case 0: return random.Below(40 * kKiB);
    case 1: return random.OneIn(10) ? random.Below(600 * kKiB) : random.Below(5000);
    default: return random.Below(400);
  }
}

TEST(Heap, BlocksHaveTheirSizeAndAlignment) {
  for (size_t n : {0, 1, 15, 16, 17, 255, 256, 1024, 1152, 4096, 32767, 32768, 32769, 36863, 36864, 1 << 20}) {
    void* p = heap().Allocate(n);
    ASSERT_NE(p, nullptr);
    EXPECT_EQ(AddressOf(p) % 16, 0u) << n;
    EXPECT_GE(heap().UsableSize(p, "test"), n);
    Range block;
    ASSERT_TRUE(heap().FindBlock(AddressOf(p) + n, &block)) << "one past the end is inside, " << n;
    EXPECT_EQ(block.lo, AddressOf(p));
    memset(p, 0xff, heap().UsableSize(p, "test"));
    heap().Free(p, "test");
    EXPECT_FALSE(heap().FindBlock(AddressOf(p), &block)) << n;
  }
}

TEST(Heap, FreeOfNullDoesNothing) { heap().Free(nullptr, "test"); }

TEST(Heap, ImpossibleSizesAreRefused) {
  EXPECT_EQ(heap().Allocate(size_t{PTRDIFF_MAX} + 1), nullptr);
  EXPECT_EQ(heap().Allocate(SIZE_MAX), nullptr);
  EXPECT_EQ(heap().AllocateZeroed(SIZE_MAX), nullptr);
  EXPECT_EQ(heap().AllocateAligned(16, size_t{1} << 63), nullptr);
  EXPECT_EQ(heap().AllocateAligned(PTRDIFF_MAX, size_t{1} << 62), nullptr);
  void* p = heap().Allocate(100);
  EXPECT_EQ(heap().Reallocate(p, SIZE_MAX, "test"), nullptr);
  heap().Free(p, "test");
}

TEST(Heap, AlignedBlocksAreAligned) {
  std::vector<Block> blocks;
  for (size_t alignment = 1; alignment <= 4 * kMiB; alignment *= 2) {
    for (size_t n : {0, 1, 24, 100, 1000, 5000, 40000}) {
      Block b{static_cast<char*>(heap().AllocateAligned(n, alignment)), n,
              static_cast<unsigned char>(blocks.size())};
      ASSERT_NE(b.p, nullptr);
      ASSERT_EQ(AddressOf(b.p) % alignment, 0u) << n << " at " << alignment;
      b.Fill();
      blocks.push_back(b);
    }
  }
  for (Block& b : blocks) {
    EXPECT_TRUE(b.Intact());
    heap().Free(b.p, "test");
  }
}

TEST(Heap, ZeroedBlocksAreZero) {
  test::Random random(1);
  for (int i = 0; i < 4000; ++i) {
    size_t n = SomeSize(random);
    char* p = static_cast<char*>(heap().AllocateZeroed(n));
    ASSERT_NE(p, nullptr);
    for (size_t k = 0; k < n; ++k) ASSERT_EQ(p[k], 0) << n;
    memset(p, 0xaa, heap().UsableSize(p, "test"));
    heap().Free(p, "test");
    if (i % 1000 == 0) heap().pages().Scavenge(UINT64_MAX, 0);
  }
}

TEST(Heap, RandomOperationsKeepContents) {
  for (uint64_t seed : {1, 2}) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    test::Random random(seed);
    std::vector<Block> live;
    for (int i = 0; i < 60000; ++i) {
      uint64_t what = random.Below(10);
      if (what < 4 || live.empty()) {
        Block b{nullptr, SomeSize(random), static_cast<unsigned char>(random.Next())};
        b.p = static_cast<char*>(what == 0 ? heap().AllocateAligned(b.size, size_t{1} << random.Below(14))
                                           : heap().Allocate(b.size));
        ASSERT_NE(b.p, nullptr);
        b.Fill();
        live.push_back(b);
        continue;
      }
      size_t k = random.Below(live.size());
      Block& b = live[k];
      ASSERT_TRUE(b.Intact());
      if (what < 6) {
        size_t size = Max<size_t>(1, SomeSize(random));
        char* p = static_cast<char*>(heap().Reallocate(b.p, size, "test"));
        ASSERT_NE(p, nullptr);
        size_t kept = Min(size, b.size);
        b.p = p;
        b.size = size;
        ASSERT_TRUE(b.Intact(kept));
        b.Fill();
      } else {
        heap().Free(b.p, "test");
        b = live.back();
        live.pop_back();
      }
    }
    for (Block& b : live) {
      ASSERT_TRUE(b.Intact());
      heap().Free(b.p, "test");
    }
  }
}

TEST(Heap, FindsBlocksByInteriorWords) {
  test::Random random(5);
  std::vector<Block> live;
  for (int i = 0; i < 500; ++i) {
    size_t n = SomeSize(random);
    live.push_back({static_cast<char*>(heap().Allocate(n)), n, 0});
  }
  for (Block& b : live) {
    for (int i = 0; i < 10; ++i) {
      Range found;
      ASSERT_TRUE(heap().FindBlock(AddressOf(b.p) + random.Below(b.size + 1), &found));
      ASSERT_EQ(found.lo, AddressOf(b.p));
      ASSERT_GT(found.size(), b.size);
    }
    Range below;
    bool there = heap().FindBlock(AddressOf(b.p) - 1, &below);
    ASSERT_TRUE(!there || below.hi <= AddressOf(b.p));
  }
  for (Block& b : live) heap().Free(b.p, "test");
  Range found;
  for (Block& b : live) EXPECT_FALSE(heap().FindBlock(AddressOf(b.p), &found));
  for (uintptr_t word : {uintptr_t{0}, uintptr_t{1}, UINTPTR_MAX, AddressOf(&found), AddressOf(&live)}) {
    EXPECT_FALSE(heap().FindBlock(word, &found));
  }
}

TEST(Heap, LargeBlocksGrowAndShrinkInPlaceWhereTheyCan) {
  Block b{static_cast<char*>(heap().Allocate(kMiB)), kMiB, 7};
  b.Fill();
  for (size_t size : {3 * kMiB, 40 * kKiB, 5 * kMiB, 33 * kKiB, 200 * kKiB, 100 * kMiB, 64 * kKiB}) {
    char* p = static_cast<char*>(heap().Reallocate(b.p, size, "test"));
    ASSERT_NE(p, nullptr);
    size_t kept = Min(size, b.size);
    b.p = p;
    b.size = size;
    ASSERT_TRUE(b.Intact(kept)) << size;
    b.Fill();
    EXPECT_GE(heap().UsableSize(p, "test"), size);
    EXPECT_LT(heap().UsableSize(p, "test"), size + 2 * kPageSize) << "the tail was given back";
  }
  heap().Free(b.p, "test");
}

TEST(Heap, EmptySpansGoBack) {
  std::vector<void*> blocks;
  size_t before = heap().pages().in_use_pages();
  for (int i = 0; i < 20000; ++i) blocks.push_back(heap().Allocate(500));
  EXPECT_GE(heap().pages().in_use_pages(), before + 20000 * 500 / kPageSize);
  for (void* p : blocks) heap().Free(p, "test");
  heap().FlushCache();  // empty spans that stay for what comes next
  EXPECT_LE(heap().pages().in_use_pages(), before + 32);
}

TEST(Heap, BlocksOfAThreadThatHasEndedAreFreed) {
  size_t before = heap().pages().in_use_pages();
  std::vector<void*> blocks;
  test::HeapThread([&] {
    for (int i = 0; i < 20000; ++i) blocks.push_back(heap().Allocate(500));
  }).join();
  for (void* p : blocks) heap().Free(p, "test");
  EXPECT_LE(heap().pages().in_use_pages(), before + 32);
}

TEST(Heap, FreedByOthersWhileTheOwnerLives) {
  std::vector<void*> blocks;
  std::atomic<int> phase{0};
  size_t before = 0;
  std::thread owner = test::HeapThread([&] {
    before = heap().pages().in_use_pages();
    for (int i = 0; i < 20000; ++i) blocks.push_back(heap().Allocate(500));
    phase = 1;
    while (phase.load() != 2) std::this_thread::yield();
    // Taken over when the owner needs slots.
    std::vector<void*> more;
    for (int i = 0; i < 20000; ++i) more.push_back(heap().Allocate(500));
    EXPECT_LE(heap().pages().in_use_pages(), before + 20000 * 540 / kPageSize + 64)
        << "what others have freed was not used again";
    for (void* p : more) heap().Free(p, "test");
  });
  while (phase.load() != 1) std::this_thread::yield();
  for (void* p : blocks) heap().Free(p, "test");
  phase = 2;
  owner.join();
  EXPECT_LE(heap().pages().in_use_pages(), before + 64);
}

// The owner, which frees and allocates nothing, looks at each block closely, and now and then at all.
TEST(Heap, FreedByOthersAndTheOwnerInTurn) {
  std::vector<void*> blocks;
  const size_t before = heap().pages().in_use_pages();
  for (int i = 0; i < 4000; ++i) blocks.push_back(heap().Allocate(500));
  for (size_t from = 0; from < 4000; from += 200) {
    test::HeapThread([&] {
      for (size_t i = from; i < from + 200; i += 2) heap().Free(blocks[i], "test");
    }).join();
    for (size_t i = from + 1; i < from + 200; i += 2) heap().Free(blocks[i], "test");
  }
  EXPECT_DEATH(heap().Free(blocks[3998], "test"), "double free|no block is there");
  EXPECT_LE(heap().pages().in_use_pages(), before + 64);
}

// Blocks wander between threads through a few shared boxes, and whoever takes one frees it.
void Wander(int threads, int steps, bool restart) {
  struct Box {
    std::mutex lock;
    std::deque<Block> blocks;
  };
  static Box boxes[4];
  std::atomic<int> broken{0};
  std::vector<std::thread> all;
  for (int t = 0; t < threads; ++t) {
    all.push_back(test::HeapThread([&, t] {
      test::Random random(static_cast<uint64_t>(t) + 100);
      for (int i = 0; i < steps; ++i) {
        Box& box = boxes[random.Below(4)];
        Block b{nullptr, SomeSize(random), static_cast<unsigned char>(random.Next())};
        b.p = static_cast<char*>(heap().Allocate(b.size));
        b.Fill();
        Block other;
        {
          std::lock_guard guard(box.lock);
          box.blocks.push_back(b);
          if (box.blocks.size() > 40) {
            other = box.blocks.front();
            box.blocks.pop_front();
          }
        }
        if (other.p != nullptr) {
          broken += !other.Intact();
          heap().Free(other.p, "test");
        }
        if (restart && random.OneIn(400)) test::EndHeapThread();
      }
    }));
  }
  for (std::thread& t : all) t.join();
  for (Box& box : boxes) {
    for (Block& b : box.blocks) {
      broken += !b.Intact();
      heap().Free(b.p, "test");
    }
    box.blocks.clear();
  }
  EXPECT_EQ(broken.load(), 0);
}

TEST(Heap, ThreadsFreeEachOthersBlocks) { Wander(4, 20000, false); }
TEST(Heap, ThreadsComeAndGo) { Wander(4, 20000, true); }

// The last blocks of spans without an owner are freed by two threads at the same moment: each span
// goes back to the page heap once.
bool FreeLastBlocksTogether(int rounds) {
  constexpr int kSpans = 64;
  std::atomic<int> turn{0}, done{0};
  std::vector<void*> halves[2];
  auto worker = [&](int me) {
    void* own = heap().Allocate(16);  // so that the thread has a cache
    for (int round = 1; round <= rounds; ++round) {
      while (turn.load() < round) {
      }
      for (void* p : halves[me]) heap().Free(p, "test");
      ++done;
      while (done.load() < 2 * round) {
      }
    }
    heap().Free(own, "test");
  };
  std::thread a = test::HeapThread([&] { worker(0); }), b = test::HeapThread([&] { worker(1); });
  size_t before = 0;
  bool good = true;
  for (int round = 1; round <= rounds && good; ++round) {
    halves[0].clear();
    halves[1].clear();
    unsigned slots = kSizeClasses.classes[ClassFor(30000)].slots;
    test::HeapThread([&] {
      for (unsigned i = 0; i < kSpans * slots; ++i) {
        halves[i & 1].push_back(heap().Allocate(30000));
      }
    }).join();
    turn = round;
    while (done.load() < 2 * round) std::this_thread::yield();
    size_t now = heap().pages().in_use_pages();
    if (round == 1) before = now;
    good = now <= before + 64 && now + 64 >= before;
  }
  turn = rounds + 1;
  a.join();
  b.join();
  return good;
}

TEST(Heap, SpansOfNobodyGoBackOnce) {
  EXPECT_EQ(test::OutcomeInChild([] { return FreeLastBlocksTogether(GCM_TEST_SANITIZED ? 60 : 300); }), "ok");
}

TEST(Heap, NoMemoryLosesNothing) {
  std::vector<Block> live;
  test::Random random(9);
  for (long n = 1; n < 40; ++n) {
    test::Refusal refusal(n, true);
    for (int i = 0; i < 50; ++i) {
      Block b{nullptr, 100 * kKiB + random.Below(2 * kMiB), static_cast<unsigned char>(n)};
      b.p = static_cast<char*>(heap().Allocate(b.size));
      if (b.p == nullptr) break;
      b.Fill();
      live.push_back(b);
    }
    if (live.empty()) continue;
    size_t k = random.Below(live.size());
    if (void* p = heap().Reallocate(live[k].p, 20 * kMiB, "test")) {
      live[k].p = static_cast<char*>(p);
    }
    ASSERT_TRUE(live[k].Intact()) << "a realloc that failed changed the block";
    while (live.size() > 20) {
      ASSERT_TRUE(live.back().Intact());
      heap().Free(live.back().p, "test");
      live.pop_back();
    }
  }
  for (Block& b : live) {
    ASSERT_TRUE(b.Intact());
    heap().Free(b.p, "test");
  }
  void* p = heap().Allocate(30 * kMiB);
  EXPECT_NE(p, nullptr) << "recovers";
  heap().Free(p, "test");
}

TEST(HeapDeathTest, MisuseIsNamed) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  char* p = static_cast<char*>(heap().Allocate(100));
  char* large = static_cast<char*>(heap().Allocate(100 * kKiB));
  EXPECT_DEATH((heap().Free(p, "free"), heap().Free(p, "free")), "free\\(0x[0-9a-f]+\\): double free of a block of");
  EXPECT_DEATH((heap().Free(large, "free"), heap().Free(large, "free")), "no block is there");
  EXPECT_DEATH(heap().Free(p + 16, "free"), "16 bytes inside a block of");
  EXPECT_DEATH(heap().Free(large + 8192, "free"), "8192 bytes inside a block of");
  EXPECT_DEATH(heap().Free(&p, "free"), "not an address of gcmalloc's heap");
  EXPECT_DEATH(heap().Reallocate(p + 1, 5, "realloc"), "realloc\\(0x[0-9a-f]+\\): not the start");
  EXPECT_DEATH(heap().UsableSize(PointerTo(16), "malloc_usable_size"), "malloc_usable_size\\(0x10\\)");
  heap().Free(p, "free");
  heap().Free(large, "free");
}

}  // namespace
}  // namespace gcm
