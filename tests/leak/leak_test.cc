// A program that loses all it allocates, beside a live structure that it checks: leak_test KIND THREADS GIB
//
// Law: GIB GiB are allocated in all, nothing is freed, and the peak of resident memory (VmHWM) stays
// below 200 MiB. 20 MiB stay reachable from one global; the structure is changed while the leaking
// goes on, and at the end each of its nodes has the contents and the neighbours that it was given.
// KIND: small (16..256 B), mid (256 B..32 KiB), large (32 KiB..4 MiB), cyclic (pairs and rings),
// chain (lists of 100 000 nodes whose head is dropped).
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "core/api/gcmalloc.h"

namespace {

constexpr size_t kKiB = 1024, kMiB = 1024 * kKiB, kGiB = 1024 * kMiB;
constexpr size_t kPeakLimit = 200 * kMiB;
constexpr size_t kLiveBytes = 20 * kMiB;
constexpr size_t kChainLength = 100000;
constexpr unsigned kMaxThreads = 16;

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15 + 1) {}
  uint64_t Next() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    return state_ ^= state_ << 17;
  }
  // Even over the logarithm, as sizes of blocks are.
  size_t Size(size_t lo, size_t hi) {
    uint64_t r = Next();
    size_t octave = lo;
    unsigned octaves = 0;
    while (octave * 2 <= hi) octave *= 2, ++octaves;
    size_t base = lo << (octaves == 0 ? 0 : r % octaves);
    return base + (r >> 32) % base;
  }

 private:
  uint64_t state_;
};

[[noreturn]] void Fail(const char* what, size_t number) {
  printf("leak_test: %s (%zu)\n", what, number);
  fflush(stdout);
  _exit(1);
}

void* Take(size_t size) {
  void* p = malloc(size);
  if (p == nullptr) Fail("malloc refused", size);
  return p;
}

// The start, a word of each page, and the end, so that the block is resident.
void Touch(void* p, size_t size) {
  auto* bytes = static_cast<volatile char*>(p);
  for (size_t at = 0; at < size; at += 4096) bytes[at] = 1;
  bytes[size - 1] = 1;
}

// The live structure: a table of lists. Each node says where it belongs and what it holds.
struct LiveNode {
  LiveNode* next;
  uint64_t list;
  uint64_t serial;
  uint64_t size;    // of the payload
  uint64_t* payload;
};

struct Live {
  static constexpr size_t kLists = 512;
  LiveNode* heads[kLists];
  uint64_t counts[kLists];
  uint64_t serial;
  uint64_t bytes;
};
Live* g_live;

uint64_t Pattern(uint64_t list, uint64_t serial, size_t i) {
  // Odd and above the address space: no pattern is an address.
  return (list * 0x9e3779b97f4a7c15 ^ serial * 0xc2b2ae3d27d4eb4f ^ i * 0x165667b19e3779f9) | uint64_t{0xabcd} << 48 | 1;
}

void AddLive(Random& random, size_t list) {
  auto* node = static_cast<LiveNode*>(Take(sizeof(LiveNode)));
  node->list = list;
  node->serial = ++g_live->serial;
  node->size = random.Size(16, 8 * kKiB) / 8 * 8;
  node->payload = static_cast<uint64_t*>(Take(node->size));
  for (size_t i = 0; i < node->size / 8; ++i) node->payload[i] = Pattern(list, node->serial, i);
  node->next = g_live->heads[list];
  g_live->heads[list] = node;
  ++g_live->counts[list];
  g_live->bytes += node->size + sizeof(LiveNode);
}

void CheckNode(const LiveNode* node, size_t list) {
  if (node->list != list || node->serial > g_live->serial) Fail("a live node was overwritten", list);
  for (size_t i = 0; i < node->size / 8; ++i) {
    if (node->payload[i] != Pattern(list, node->serial, i)) Fail("a live payload was overwritten", node->serial);
  }
}

void CheckLive() {
  size_t bytes = 0;
  for (size_t list = 0; list < Live::kLists; ++list) {
    uint64_t count = 0;
    for (LiveNode* n = g_live->heads[list]; n != nullptr; n = n->next, ++count) {
      if (count == g_live->counts[list]) Fail("a live list is too long", list);
      CheckNode(n, list);
      bytes += n->size + sizeof(LiveNode);
    }
    if (count != g_live->counts[list]) Fail("a live list is too short", list);
  }
  if (bytes != g_live->bytes) Fail("live bytes are missing", g_live->bytes - bytes);
}

void BuildLive(Random& random) {
  g_live = static_cast<Live*>(calloc(1, sizeof(Live)));
  if (g_live == nullptr) Fail("calloc refused", sizeof(Live));
  while (g_live->bytes < kLiveBytes) AddLive(random, random.Next() % Live::kLists);
}

// One node at the end of a list is lost after a check, others come at its head; some lists turn
// round, so that every node's neighbour changes.
void MutateLive(Random& random) {
  size_t list = random.Next() % Live::kLists;
  LiveNode** link = &g_live->heads[list];
  while (*link != nullptr && (*link)->next != nullptr) link = &(*link)->next;
  if (*link != nullptr) {
    CheckNode(*link, list);
    g_live->bytes -= (*link)->size + sizeof(LiveNode);
    --g_live->counts[list];
    *link = nullptr;
  }
  while (g_live->bytes < kLiveBytes) AddLive(random, list);
  LiveNode* turned = nullptr;
  for (LiveNode* n = g_live->heads[list]; n != nullptr;) {
    LiveNode* next = n->next;
    n->next = turned;
    turned = n;
    n = next;
  }
  g_live->heads[list] = turned;
}

// Each leaks something and returns how many bytes it was.
size_t LeakSmall(Random& random) {
  size_t size = random.Size(16, 256);
  Touch(Take(size), size);
  return size;
}
size_t LeakMid(Random& random) {
  size_t size = random.Size(256, 32 * kKiB);
  Touch(Take(size), size);
  return size;
}
size_t LeakLarge(Random& random) {
  size_t size = random.Size(32 * kKiB, 4 * kMiB);
  Touch(Take(size), size);
  return size;
}

struct Node {
  Node* next;
  Node* other;
  uint64_t value[4];
};

size_t LeakRing(Random& random) {
  uint64_t r = random.Next();
  size_t length = r % 2 == 0 ? 2 : 3 + (r >> 8) % 60;
  size_t bytes = 0;
  Node* first = nullptr;
  Node* last = nullptr;
  for (size_t i = 0; i < length; ++i) {
    size_t size = sizeof(Node) + (random.Next() % 64) * 8;
    auto* node = static_cast<Node*>(Take(size));
    Touch(node, size);
    node->other = last;
    if (last != nullptr) last->next = node;
    if (first == nullptr) first = node;
    last = node;
    bytes += size;
  }
  last->next = first;
  first->other = last;
  return bytes;
}

size_t LeakChain(Random&) {
  Node* head = nullptr;
  for (size_t i = 0; i < kChainLength; ++i) {
    auto* node = static_cast<Node*>(Take(sizeof(Node)));
    node->next = head;
    node->other = nullptr;
    node->value[0] = i;
    head = node;
  }
  return kChainLength * sizeof(Node);
}

struct Kind {
  const char* name;
  size_t (*leak)(Random&);
};
constexpr Kind kKinds[] = {
    {"small", LeakSmall}, {"mid", LeakMid}, {"large", LeakLarge}, {"cyclic", LeakRing}, {"chain", LeakChain},
};

const Kind* g_kind;
size_t g_share;
std::atomic<uint64_t> g_leaked{0};

void* Leaker(void* argument) {
  auto number = reinterpret_cast<uintptr_t>(argument);
  Random random(number + 1);
  size_t leaked = 0, mutated = 0;
  while (leaked < g_share) {
    leaked += g_kind->leak(random);
    // The structure is the first thread's; a change for each MiB.
    for (; number == 0 && mutated < leaked / kMiB; ++mutated) MutateLive(random);
  }
  g_leaked.fetch_add(leaked);
  return nullptr;
}

size_t PeakResident() {
  FILE* f = fopen("/proc/self/status", "r");
  if (f == nullptr) Fail("no /proc/self/status", 0);
  char line[256];
  size_t kib = 0;
  while (fgets(line, sizeof(line), f) != nullptr) {
    if (sscanf(line, "VmHWM: %zu kB", &kib) == 1) break;
  }
  fclose(f);
  return kib * kKiB;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 4) {
    for (const Kind& kind : kKinds) {
      if (strcmp(argv[1], kind.name) == 0) g_kind = &kind;
    }
  }
  unsigned threads = argc == 4 ? static_cast<unsigned>(atoi(argv[2])) : 0;
  if (g_kind == nullptr || threads == 0 || threads > kMaxThreads) {
    fprintf(stderr, "leak_test small|mid|large|cyclic|chain THREADS GIB\n");
    return 2;
  }
  g_share = static_cast<size_t>(atof(argv[3]) * static_cast<double>(kGiB)) / threads;
  Random random(99);
  BuildLive(random);
  pthread_t others[kMaxThreads];
  for (uintptr_t i = 1; i < threads; ++i) {
    if (pthread_create(&others[i], nullptr, Leaker, reinterpret_cast<void*>(i)) != 0) Fail("no thread", i);
  }
  Leaker(nullptr);
  for (unsigned i = 1; i < threads; ++i) pthread_join(others[i], nullptr);
  CheckLive();
  const size_t peak = PeakResident();
  gcmalloc_stats stats{};
  stats.size = sizeof(stats);
  if (gcmalloc_get_stats(&stats) != 0) Fail("no statistics", 0);
  printf("leaked %.2f GiB, peak %zu MiB, %llu cycles, longest pause %.1f ms, all pauses %.2f s\n",
         static_cast<double>(g_leaked.load()) / static_cast<double>(kGiB), peak / kMiB,
         static_cast<unsigned long long>(stats.cycles), static_cast<double>(stats.pause_max_ns) * 1e-6,
         static_cast<double>(stats.pause_total_ns) * 1e-9);
  if (peak >= kPeakLimit) Fail("the peak is too high, in MiB", peak / kMiB);
  return 0;
}
