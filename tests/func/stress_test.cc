// Pseudo-random load with cookies: every block carries its size and a pattern, both checked when it is freed.
//
// Law: a run follows from its seed (printed; GCM_TEST_SEED repeats it) up to the interleaving of threads.
// All live blocks are held in a table of plain pointers.
#include <malloc.h>
#include <stdio.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "support.h"

namespace {

using namespace gcm::test;

struct Header {
  std::uint64_t size;
  std::uint64_t seed;
};

std::uint64_t run_seed() {
  static const std::uint64_t seed = [] {
    const char* given = getenv("GCM_TEST_SEED");
    const auto value = given != nullptr ? strtoull(given, nullptr, 0) : static_cast<unsigned long long>(time(nullptr));
    printf("seed: GCM_TEST_SEED=%llu\n", value);
    return value;
  }();
  return seed;
}

std::size_t pick_size(Random& random) {
  const std::size_t kind = random.below(1000);
  if (kind < 700) return sizeof(Header) + random.below(250);
  if (kind < 930) return sizeof(Header) + random.below(4000);
  if (kind < 993) return sizeof(Header) + random.below(60000);
  if (kind < 999) return sizeof(Header) + random.below(600000);
  return sizeof(Header) + random.below(6000000);
}

// Only the head and the tail of a large block are patterned: what is tested is ownership, not memory bandwidth.
constexpr std::size_t kChecked = 256;

void sign(void* p, std::size_t size, std::uint64_t seed) {
  auto* header = static_cast<Header*>(p);
  header->size = size;
  header->seed = seed | 0xF000000000000000ULL;
  char* body = reinterpret_cast<char*>(header + 1);
  const std::size_t length = size - sizeof(Header);
  if (length <= 2 * kChecked) {
    fill(body, length, header->seed);
  } else {
    fill(body, kChecked, header->seed);
    fill(body + length - kChecked, kChecked, header->seed + 1);
  }
}

bool verify(const void* p) {
  const auto* header = static_cast<const Header*>(p);
  const char* body = reinterpret_cast<const char*>(header + 1);
  if (header->size < sizeof(Header) || header->size > malloc_usable_size(const_cast<void*>(p))) return false;
  const std::size_t length = header->size - sizeof(Header);
  if (length <= 2 * kChecked) return holds(body, length, header->seed);
  return holds(body, kChecked, header->seed) && holds(body + length - kChecked, kChecked, header->seed + 1);
}

void* allocate(Random& random) {
  const std::size_t size = pick_size(random);
  void* p = nullptr;
  switch (random.below(8)) {
    case 0:
      p = calloc(1, opaque(size));
      if (p != nullptr && !all_bytes(p, size < 4096 ? size : 4096, 0)) {
        ADD_FAILURE() << "calloc gave memory that is not zero";
      }
      break;
    case 1: {
      const std::size_t alignment = std::size_t{16} << random.below(8);
      p = aligned_alloc(alignment, opaque(size));
      if (!is_aligned(p, alignment)) ADD_FAILURE() << "alignment " << alignment << " was not met";
      break;
    }
    case 2:
      p = ::operator new(opaque(size));
      break;
    default:
      p = malloc(opaque(size));
  }
  if (p == nullptr) {
    ADD_FAILURE() << "no memory for " << size;
    return nullptr;
  }
  sign(p, size, random.next());
  return p;
}

void release(void* p) {
  if (p == nullptr) return;
  if (!verify(p)) {
    ADD_FAILURE() << "block " << p << " was overwritten";
    return;
  }
  free(p);
}

void* resize(void* p, Random& random) {
  if (!verify(p)) {
    ADD_FAILURE() << "block " << p << " was overwritten";
    return p;
  }
  const Header before = *static_cast<Header*>(p);
  const std::size_t size = pick_size(random);
  void* q = realloc(p, opaque(size));
  if (q == nullptr) {
    ADD_FAILURE() << "no memory for a resize to " << size;
    return nullptr;
  }
  const Header after = *static_cast<Header*>(q);
  if (after.size != before.size || after.seed != before.seed) ADD_FAILURE() << "realloc lost the contents";
  const std::size_t kept = std::min<std::size_t>({before.size, size, sizeof(Header) + kChecked}) - sizeof(Header);
  if (!holds(static_cast<Header*>(q) + 1, kept / 8 * 8, before.seed)) ADD_FAILURE() << "realloc lost the contents";
  sign(q, size, random.next());
  return q;
}

// One step of the load on a private table.
void step(std::vector<void*>& table, Random& random) {
  void*& slot = table[random.below(table.size())];
  if (slot == nullptr) {
    slot = allocate(random);
  } else if (random.below(4) == 0) {
    slot = resize(slot, random);
  } else {
    release(slot);
    slot = nullptr;
  }
}

void run_private(std::uint64_t seed, std::size_t slots, int steps) {
  Random random(seed);
  std::vector<void*> table(slots, nullptr);
  for (int i = 0; i < steps && !testing::Test::HasFailure(); ++i) step(table, random);
  for (void* p : table) release(p);
}

TEST(Stress, OneThread) { run_private(run_seed(), 2000, 400000); }

TEST(Stress, FourThreadsApart) {
  std::vector<std::thread> threads;
  for (std::uint64_t i = 0; i < 4; ++i) {
    threads.emplace_back([i] { run_private(run_seed() + 100 + i, 500, 100000); });
  }
  for (auto& thread : threads) thread.join();
}

// All threads exchange blocks through one table, so most blocks are freed by another thread than the one that
// allocated them.
std::atomic<void*> shared_table[3000];

TEST(Stress, FourThreadsFreeEachOthersBlocks) {
  std::vector<std::thread> threads;
  for (std::uint64_t i = 0; i < 4; ++i) {
    threads.emplace_back([i] {
      Random random(run_seed() + 200 + i);
      for (int n = 0; n < 150000 && !testing::Test::HasFailure(); ++n) {
        void* mine = random.below(8) == 0 ? nullptr : allocate(random);
        release(shared_table[random.below(std::size(shared_table))].exchange(mine));
      }
    });
  }
  for (auto& thread : threads) thread.join();
  for (auto& slot : shared_table) release(slot.exchange(nullptr));
}

// One thread only allocates, another only frees: the memory must come back to the first.
TEST(Stress, ProducerAndConsumer) {
  constexpr std::size_t kRing = 1024;
  static std::atomic<void*> ring[kRing];
  const std::size_t before = resident_bytes();
  std::thread consumer([] {
    for (std::size_t n = 0; n < 400000; ++n) {
      void* p = nullptr;
      while ((p = ring[n % kRing].exchange(nullptr)) == nullptr) std::this_thread::yield();
      release(p);
    }
  });
  for (std::size_t n = 0; n < 400000; ++n) {
    void* p = malloc(opaque<std::size_t>(200 + n % 100));
    sign(p, 200 + n % 100, n);
    void* expected = nullptr;
    while (!ring[n % kRing].compare_exchange_weak(expected, p)) {
      expected = nullptr;
      std::this_thread::yield();
    }
  }
  consumer.join();
  EXPECT_LT(resident_bytes(), before + 40 * kMiB) << "remote frees did not come back";
}

// Linked structures that change while the load runs: what a collection must follow.
struct Node {
  Node* left = nullptr;
  Node* right = nullptr;
  std::uint64_t cookie = 0;
};

Node* build(int depth, Random& random) {
  auto* node = static_cast<Node*>(malloc(opaque(sizeof(Node) + random.below(64))));
  node->cookie = 0xF00DF00D00000000ULL + static_cast<std::uint64_t>(depth);
  node->left = depth > 0 ? build(depth - 1, random) : nullptr;
  node->right = depth > 0 ? build(depth - 1, random) : nullptr;
  return node;
}

std::size_t count(const Node* node, int depth) {
  if (node == nullptr) return 0;
  if (node->cookie != 0xF00DF00D00000000ULL + static_cast<std::uint64_t>(depth)) return 1000000;
  return 1 + count(node->left, depth - 1) + count(node->right, depth - 1);
}

void destroy(Node* node) {
  if (node == nullptr) return;
  destroy(node->left);
  destroy(node->right);
  free(node);
}

void run_trees(std::uint64_t seed) {
  Random random(seed);
  std::vector<Node*> trees(16, nullptr);
  for (int i = 0; i < 300; ++i) {
    Node*& tree = trees[random.below(trees.size())];
    if (tree != nullptr) {
      ASSERT_EQ(count(tree, 9), 1023u);
      if (random.below(2) == 0) destroy(tree);  // else it leaks: the collector's, or lost
    }
    tree = build(9, random);
    std::swap(trees[random.below(trees.size())], trees[random.below(trees.size())]);
  }
  for (Node* tree : trees) {
    if (tree != nullptr) {
      ASSERT_EQ(count(tree, 9), 1023u);
    }
    destroy(tree);
  }
}

TEST(Stress, TreesThatLeak) {
  run_trees(run_seed());
  std::vector<std::thread> threads;
  for (std::uint64_t i = 0; i < 4; ++i) threads.emplace_back([i] { run_trees(run_seed() + 300 + i); });
  for (auto& thread : threads) thread.join();
}

}  // namespace
