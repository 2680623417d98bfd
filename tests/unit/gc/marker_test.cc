#include "core/gc/marker.h"

#include <sys/mman.h>

#include <cstring>
#include <memory>
#include <vector>

#include "tests/unit/support.h"

namespace gcm {
namespace {

// A cycle's beginning, with one marker: marking needs that nobody else uses the heap.
struct OneMarker {
  explicit OneMarker(unsigned stride = 8) {
    marking.stride = stride;
    test::ResetMarks();
    marker.Begin(&marking, &pages);
  }
  ~OneMarker() { marker.End(); }
  // What waits is looked up and scanned.
  void Drain() { EXPECT_TRUE(marker.Drain(UINT64_MAX)); }
  uint64_t objects() const { return marker.counts().objects; }
  PageMap pages;
  Marking marking;
  Marker marker;
};
std::unique_ptr<OneMarker> NewMarker(unsigned stride = 8) {
  return std::make_unique<OneMarker>(stride);
}

bool IsMarked(const void* p) {
  uintptr_t address = AddressOf(p);
  Span* span = heap().pages().arena().SpanAround(address);
  return Marker::IsMarked(span, span->large() ? 0 : span->IndexOf(address - span->start));
}
uintptr_t* Block(size_t words) { return static_cast<uintptr_t*>(heap().AllocateZeroed(words * 8)); }

TEST(Marker, FindsABlockByAnyWordIntoIt) {
  for (size_t words : {1, 3, 12, 130, 4000, 5000, 100000}) {
    uintptr_t* p = Block(words);
    for (uintptr_t offset : {size_t{0}, size_t{1}, size_t{7}, words * 4, words * 8 - 1, words * 8, words * 8 + 7}) {
      auto m = NewMarker();
      EXPECT_FALSE(IsMarked(p));
      m->marker.MarkWord(AddressOf(p) + offset);
      m->Drain();
      EXPECT_TRUE(IsMarked(p)) << words << " words at " << offset;
      EXPECT_EQ(m->objects(), 1u);
      EXPECT_GE(m->marker.counts().bytes, words * 8);
      m->marker.MarkWord(AddressOf(p));
      m->Drain();
      EXPECT_EQ(m->objects(), 1u) << "marked twice";
    }
    heap().Free(p, "test");
  }
}

TEST(Marker, LeavesNeighboursAlone) {
  std::vector<uintptr_t*> blocks;
  for (int i = 0; i < 100; ++i) blocks.push_back(Block(6));
  for (uintptr_t* p : blocks) {
    auto m = NewMarker();
    m->marker.MarkWord(AddressOf(p) + 48);  // one past its end
    m->Drain();
    for (uintptr_t* q : blocks) ASSERT_EQ(IsMarked(q), q == p);
  }
  for (uintptr_t* p : blocks) heap().Free(p, "test");
}

TEST(Marker, IgnoresFreeSlots) {
  uintptr_t* mine = Block(10);
  uintptr_t* stays = Block(10);
  uintptr_t* theirs = Block(10);
  uintptr_t* large = Block(100000);
  heap().Free(mine, "test");
  heap().Free(large, "test");
  test::HeapThread([&] { heap().Free(theirs, "test"); }).join();  // a bit among the remote ones
  auto m = NewMarker();
  // Their bits are set from the beginning, so that words into them are passed over.
  EXPECT_TRUE(IsMarked(mine));
  EXPECT_TRUE(IsMarked(theirs));
  EXPECT_FALSE(IsMarked(stays));
  for (uintptr_t* p : {mine, theirs, large}) {
    for (uintptr_t offset = 0; offset <= 80; offset += 8) m->marker.MarkWord(AddressOf(p) + offset);
  }
  m->Drain();
  EXPECT_EQ(m->objects(), 0u);
  EXPECT_EQ(m->marker.counts().bytes, 0u);
  EXPECT_FALSE(IsMarked(stays));
  heap().Free(stays, "test");
}

bool MarkArbitraryWords() {
  std::vector<void*> blocks;
  test::Random random(1);
  for (int i = 0; i < 2000; ++i) blocks.push_back(heap().Allocate(random.Below(70000)));
  auto m = NewMarker();
  const Arena& arena = heap().pages().arena();
  for (int i = 0; i < 2'000'000; ++i) {
    uintptr_t word = random.Next();
    if (i % 2 == 0) word = arena.lo() - kMiB + word % (arena.used() - arena.lo() + 2 * kMiB);
    m->marker.MarkWord(word);
  }
  for (void* p : blocks) m->marker.MarkWord(AddressOf(p));
  m->Drain();
  for (void* p : blocks) {
    if (!IsMarked(p)) return false;
  }
  return m->objects() >= blocks.size();
}

TEST(Marker, TakesAnyWord) { EXPECT_EQ(test::OutcomeInChild(MarkArbitraryWords), "ok"); }

TEST(Marker, FollowsChains) {
  uintptr_t* head = nullptr;
  for (int i = 0; i < 100000; ++i) {
    uintptr_t* p = Block(3);
    p[i % 3] = AddressOf(head);
    head = p;
  }
  auto m = NewMarker();
  m->marker.MarkWord(AddressOf(head));
  m->Drain();
  EXPECT_EQ(m->objects(), 100000u);
  while (head != nullptr) {
    uintptr_t next = head[0] | head[1] | head[2];
    heap().Free(head, "test");
    head = PointerTo<uintptr_t>(next);
  }
}

// A block that points to many, each of which points to one more.
struct Wide {
  explicit Wide(size_t width, size_t words = 4) : root(Block(width)), width(width), words(words) {
    for (size_t i = 0; i < width; ++i) {
      uintptr_t* p = Block(words);
      p[words - 1] = AddressOf(Block(words / 2)) + 5;
      root[i] = AddressOf(p);
    }
  }
  ~Wide() {
    for (size_t i = 0; i < width; ++i) {
      heap().Free(PointerTo(PointerTo<uintptr_t>(root[i])[words - 1] - 5), "test");
      heap().Free(PointerTo(root[i]), "test");
    }
    heap().Free(root, "test");
  }
  uintptr_t* root;
  size_t width, words;
};

TEST(Marker, ListsHaveManySegments) {
  Wide wide(100000);
  auto m = NewMarker();
  for (int cycle = 0; cycle < 3; ++cycle) {
    m->marker.End();
    test::ResetMarks();
    m->marker.Begin(&m->marking, &m->pages);
    m->marker.MarkWord(AddressOf(wide.root));
    m->Drain();
    EXPECT_EQ(m->objects(), 200001u);
    EXPECT_FALSE(m->marking.overflowed.load());
  }
}

// As Cycle does when a list could not grow: all marked blocks again, until nothing is missing.
void ScanMarkedAgain(OneMarker* m) {
  while (m->marking.overflowed.exchange(false)) {
    SpanWalk walk;
    walk.Begin();
    SpanWalk::Seen spans[64];
    for (bool over = false; !over;) {
      const size_t n = walk.Take(spans, 64, &over);
      for (size_t i = 0; i < n; ++i) {
        m->marker.ScanMarked(spans[i]);
        m->Drain();
      }
    }
  }
}

bool MarksAllWithoutMemory(long nth) {
  Wide wide(30000, 1);  // the smallest blocks wait one by one
  auto m = NewMarker();
  test::Refusal refusal(nth, true);
  for (size_t i = 0; i < 30000; ++i) m->marker.MarkWord(wide.root[i]);
  m->marker.MarkWord(AddressOf(wide.root));
  m->Drain();
  ScanMarkedAgain(m.get());
  if (m->objects() != 60001u) fprintf(stderr, "%lu marked\n", m->objects());
  return m->objects() == 60001u && refusal.happened();
}

TEST(Marker, MarksAllWithoutMemoryForItsLists) {
  for (long nth : {1, 2, 3}) {
    EXPECT_EQ(test::OutcomeInChild([&] { return MarksAllWithoutMemory(nth); }), "ok") << nth;
  }
}

TEST(Marker, FindsPointersAtUnalignedAddressesWhenAsked) {
  char* holder = static_cast<char*>(heap().AllocateZeroed(64));
  uintptr_t* p = Block(2);
  for (size_t at : {1, 3, 4, 12, 13}) {
    memset(holder, 0, 64);
    uintptr_t word = AddressOf(p);
    memcpy(holder + at, &word, 8);
    for (unsigned stride : {8, 4, 1}) {
      auto m = NewMarker(stride);
      m->marker.MarkWord(AddressOf(holder));
      m->Drain();
      EXPECT_EQ(IsMarked(p), at % stride == 0) << at << " with stride " << stride;
    }
  }
  heap().Free(holder, "test");
  heap().Free(p, "test");
}

TEST(Marker, FollowsPointersInProtectedBlocks) {
  uintptr_t* secret = static_cast<uintptr_t*>(heap().AllocateAligned(64 * kKiB, 4096));
  uintptr_t* target = Block(5);
  memset(secret, 0, 64 * kKiB);
  secret[3000] = AddressOf(target);
  ASSERT_EQ(mprotect(secret, 64 * kKiB, PROT_NONE), 0);
  auto m = NewMarker();
  m->marking.protected_ranges.Add({AddressOf(secret), AddressOf(secret) + 64 * kKiB});
  m->marker.MarkWord(AddressOf(secret) + 17);
  m->Drain();
  ASSERT_EQ(mprotect(secret, 64 * kKiB, PROT_READ | PROT_WRITE), 0);
  EXPECT_TRUE(IsMarked(target));
  heap().Free(secret, "test");
  heap().Free(target, "test");
}

TEST(ProtectedRanges, Overlap) {
  auto ranges = std::make_unique<ProtectedRanges>();
  EXPECT_FALSE(ranges->Overlaps({0, UINTPTR_MAX}));
  ranges->Add({0x1000, 0x2000});
  ranges->Add({0x5000, 0x6000});
  EXPECT_TRUE(ranges->Overlaps({0x1fff, 0x3000}));
  EXPECT_TRUE(ranges->Overlaps({0, 0x1001}));
  EXPECT_TRUE(ranges->Overlaps({0x1100, 0x1200}));
  EXPECT_TRUE(ranges->Overlaps({0, 0x9000}));
  EXPECT_FALSE(ranges->Overlaps({0x2000, 0x5000})) << "they only touch";
  for (size_t i = 0; i < ProtectedRanges::kCapacity - 2; ++i) ranges->Add({0x10000, 0x10001});
  EXPECT_FALSE(ranges->Overlaps({0x2000, 0x5000}));
  ranges->Add({0x7000, 0x7001});
  EXPECT_TRUE(ranges->Overlaps({0x2000, 0x5000})) << "the list is full: everything may be protected";
}

}  // namespace
}  // namespace gcm
