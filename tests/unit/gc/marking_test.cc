// Several markers, and what is scanned again: what a cycle builds on.
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "core/gc/marker.h"
#include "platform/clock.h"
#include "tests/unit/support.h"

namespace gcm {
namespace {

uintptr_t* Block(size_t words) { return static_cast<uintptr_t*>(heap().AllocateZeroed(words * 8)); }
Span* SpanOf(uintptr_t address) { return heap().pages().arena().SpanAround(address); }
unsigned IndexOf(uintptr_t address) {
  Span* span = SpanOf(address);
  return span->large() ? 0 : span->IndexOf(address - span->start);
}
bool IsMarked(const void* p) { return Marker::IsMarked(SpanOf(AddressOf(p)), IndexOf(AddressOf(p))); }
// The bit alone: what the block holds has been scanned long ago, or was written behind the marker.
void SetMark(const void* p) {
  const uintptr_t address = AddressOf(p);
  heap().pages().arena().tables().MarkBits(SpanOf(address)->start)[IndexOf(address) / 64].fetch_or(
      uint64_t{1} << IndexOf(address) % 64);
}

struct Markers {
  explicit Markers(unsigned count = 1) : marker(count) {
    for (Marker& m : marker) {
      pages.push_back(std::make_unique<PageMap>());
      m.Begin(&marking, pages.back().get());
    }
  }
  ~Markers() {
    for (Marker& m : marker) m.End();
    marking.shared.Clear(&marking.pool);
    marking.pool.Trim();
  }
  void Drain() { EXPECT_TRUE(marker[0].Drain(UINT64_MAX)); }
  void Mark(const void* p) { marker[0].MarkWord(AddressOf(p)); }
  uint64_t objects() const {
    uint64_t sum = 0;
    for (const Marker& m : marker) sum += m.counts().objects;
    return sum;
  }
  Marking marking;
  std::vector<std::unique_ptr<PageMap>> pages;
  std::vector<Marker> marker;
};

// Blocks of all kinds that point to each other, without order.
struct Graph {
  explicit Graph(size_t count) {
    test::Random random(3);
    for (size_t i = 0; i < count; ++i) {
      const size_t words = random.OneIn(300) ? 5000 + random.Below(60000) : 1 + random.Below(random.OneIn(20) ? 900 : 12);
      blocks.push_back(Block(words));
      // From one of those before, so that all can be reached; and some more edges.
      if (i != 0) {
        size_t from;
        do {
          from = random.OneIn(4) ? random.Below(i) : i - 1 - random.Below(Min<size_t>(i, 30));
        } while (free_words[from] == 0);
        blocks[from][--free_words[from]] = AddressOf(blocks[i]) + random.Below(8);
      }
      free_words.push_back(words);
      if (words > 3) blocks[i][--free_words[i]] = AddressOf(blocks[random.Below(i + 1)]);
    }
  }
  ~Graph() {
    for (uintptr_t* p : blocks) heap().Free(p, "test");
  }
  std::vector<uintptr_t*> blocks;
  std::vector<size_t> free_words;
};

TEST(Marking, MarkersMarkEverythingOnceTogether) {
  Graph graph(GCM_TEST_SANITIZED ? 20000 : 100000);
  constexpr unsigned kMembers = 4;
  for (int round = 0; round < 8; ++round) {
    test::ResetMarks();
    Markers m(kMembers);
    m.marking.stopped = round % 2 == 0;
    m.marker[round % kMembers].MarkWord(AddressOf(graph.blocks[0]));
    m.marking.shared.Begin(kMembers);
    std::atomic<unsigned> complete{0};
    std::vector<std::thread> threads;
    for (Marker& marker : m.marker) {
      threads.emplace_back([&] { complete += marker.DrainTogether(UINT64_MAX); });
    }
    for (std::thread& t : threads) t.join();
    EXPECT_EQ(complete.load(), kMembers);
    EXPECT_EQ(m.objects(), graph.blocks.size());
    for (uintptr_t* p : graph.blocks) ASSERT_TRUE(IsMarked(p));
    for (Marker& marker : m.marker) EXPECT_TRUE(marker.idle());
    EXPECT_TRUE(m.marking.shared.empty());
  }
}

TEST(Marking, MarkersThatRunOutOfTimeGoOnLater) {
  Graph graph(GCM_TEST_SANITIZED ? 20000 : 100000);
  constexpr unsigned kMembers = 3;
  test::ResetMarks();
  Markers m(kMembers);
  m.marker[0].MarkWord(AddressOf(graph.blocks[0]));
  for (int runs = 0;; ++runs) {
    ASSERT_LT(runs, 1000000);
    // Not always the same ones: what another has left is found in the end, too.
    const unsigned members = 1 + runs % kMembers;
    m.marking.shared.Begin(members);
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < members; ++i) {
      threads.emplace_back([&, i] { m.marker[i].DrainTogether(clock::Now() + 100 * clock::kMicrosecond); });
    }
    for (std::thread& t : threads) t.join();
    bool idle = m.marking.shared.empty();
    for (Marker& marker : m.marker) idle = idle && marker.idle();
    if (idle) break;
  }
  EXPECT_EQ(m.objects(), graph.blocks.size());
  for (uintptr_t* p : graph.blocks) ASSERT_TRUE(IsMarked(p));
}

// What covers a whole chunk of the tables has one entry for it.
TEST(Marking, BlocksLargerThanAChunkAreMarkedByAnyWord) {
  constexpr size_t kWords = 3 * kChunkSize / 8;
  uintptr_t* huge = Block(kWords);
  uintptr_t* target = Block(5);
  uintptr_t* other = Block(6);
  huge[kWords / 2] = AddressOf(target);
  for (size_t at = 0; at < kWords; at += kWords / 16 - 3) {
    test::ResetMarks();
    Markers m;
    m.marker[0].MarkWord(AddressOf(&huge[at]));
    m.Drain();
    EXPECT_TRUE(IsMarked(huge)) << at;
    EXPECT_TRUE(IsMarked(target)) << at;
    EXPECT_EQ(m.objects(), 2u);
    huge[kWords / 2 + 1] = AddressOf(other);
    const uintptr_t card = RoundDown(AddressOf(&huge[kWords / 2]), kCardSize);
    m.marker[0].ScanCards(card, card + kCardSize);
    m.Drain();
    EXPECT_TRUE(IsMarked(other)) << at;
    huge[kWords / 2 + 1] = 0;
  }
  for (uintptr_t* p : {huge, target, other}) heap().Free(p, "test");
}

// Holders, every second of which is marked, each with a block of its own behind its fourth word.
struct Holders {
  static constexpr size_t kWords = 7;
  explicit Holders(size_t count) {
    for (size_t i = 0; i < count; ++i) {
      holders.push_back(Block(kWords));
      targets.push_back(Block(20));
      holders[i][3] = AddressOf(targets[i]);
    }
  }
  ~Holders() {
    for (uintptr_t* p : holders) heap().Free(p, "test");
    for (uintptr_t* p : targets) heap().Free(p, "test");
  }
  std::vector<uintptr_t*> holders, targets;
};

TEST(Marking, CardsShowWhatIsOnThemOfMarkedBlocks) {
  Holders h(2000);
  for (size_t size : {kCardSize, kPageSize}) {
    const uintptr_t lo = RoundDown(AddressOf(h.holders[500]), size);
    test::ResetMarks();
    Markers m;
    for (size_t i = 0; i < h.holders.size(); i += 2) SetMark(h.holders[i]);
    m.marker[0].ScanCards(lo, lo + size);
    m.Drain();
    size_t expected = 0;
    for (size_t i = 0; i < h.holders.size(); ++i) {
      const uintptr_t word = AddressOf(&h.holders[i][3]);
      const bool on_card = word >= lo && word < lo + size;
      ASSERT_EQ(IsMarked(h.targets[i]), on_card && i % 2 == 0) << i;
      expected += on_card && i % 2 == 0;
    }
    EXPECT_GE(expected, size / 64 / 2 - 1);
    EXPECT_EQ(m.objects(), expected);
    EXPECT_EQ(m.marker[0].counts().rescanned, size);
  }
}

TEST(Marking, CardsOfLargeBlocks) {
  uintptr_t* large = Block(100000);
  uintptr_t* targets[10];
  for (size_t i = 0; i < 10; ++i) large[i * 10000 + 77] = AddressOf(targets[i] = Block(5));
  for (bool marked : {false, true}) {
    test::ResetMarks();
    Markers m;
    if (marked) SetMark(large);
    const uintptr_t card = RoundDown(AddressOf(&large[30077]), kCardSize);
    m.marker[0].ScanCards(card, card + kCardSize);
    m.Drain();
    for (size_t i = 0; i < 10; ++i) EXPECT_EQ(IsMarked(targets[i]), marked && i == 3) << i;
  }
  // Where it ends, and where nothing is any more.
  test::ResetMarks();
  Markers m;
  SetMark(large);
  const Span* span = SpanOf(AddressOf(large));
  m.marker[0].ScanCards(span->end() - kPageSize, span->end());
  const uintptr_t start = span->start;
  heap().Free(large, "test");
  m.marker[0].ScanCards(start, start + kPageSize);
  m.Drain();
  EXPECT_EQ(m.objects(), 0u);
  for (uintptr_t* p : targets) heap().Free(p, "test");
}

// A word may lie across the border of two cards when pointers are unaligned: found by either.
TEST(Marking, CardsShowWordsThatCrossTheirBorder) {
  uintptr_t* large = Block(100000);
  uintptr_t* target = Block(5);
  const uintptr_t border = RoundUp(AddressOf(large) + 3 * kPageSize, kPageSize);
  const uintptr_t word = AddressOf(target);
  memcpy(PointerTo(border - 4), &word, 8);
  for (uintptr_t lo : {border - kCardSize, border}) {
    test::ResetMarks();
    Markers m;
    m.marker[0].End();
    m.marking.stride = 4;
    m.marker[0].Begin(&m.marking, m.pages[0].get());
    SetMark(large);
    m.marker[0].ScanCards(lo, lo + kCardSize);
    m.Drain();
    EXPECT_TRUE(IsMarked(target));
  }
  heap().Free(large, "test");
  heap().Free(target, "test");
}

TEST(Marking, ScanMarkedScansWhatWasScannedBefore) {
  uintptr_t* small = Block(10);
  uintptr_t* large = Block(100000);
  uintptr_t* targets[2] = {Block(5), Block(5)};
  test::ResetMarks();
  Markers m;
  m.Mark(small);
  m.Mark(large);
  m.Drain();
  EXPECT_EQ(m.objects(), 2u);
  small[4] = AddressOf(targets[0]);
  large[70000] = AddressOf(targets[1]);
  SpanWalk walk;
  walk.Begin();
  SpanWalk::Seen spans[32];
  for (bool over = false; !over;) {
    const size_t n = walk.Take(spans, 32, &over);
    for (size_t i = 0; i < n; ++i) m.marker[0].ScanMarked(spans[i]);
    m.Drain();
  }
  EXPECT_EQ(m.objects(), 4u);
  for (uintptr_t* p : targets) {
    EXPECT_TRUE(IsMarked(p));
    heap().Free(p, "test");
  }
  heap().Free(small, "test");
  heap().Free(large, "test");
}

// A cycle that is given up leaves spans that say that they wait.
TEST(Marking, AnAbandonedCycleDoesNoHarm) {
  Graph graph(20000);
  {
    test::ResetMarks();
    Markers m;
    for (uintptr_t* p : graph.blocks) m.Mark(p);
  }
  size_t queued = 0;
  heap().pages().ForEachSpan([&](Span* span) {
    queued += !span->large() &&
              (heap().pages().arena().tables().Info(span->start).load() & PageInfo::kQueued) != 0;
  });
  ASSERT_GT(queued, 10u);
  test::ResetMarks();
  Markers m;
  m.Mark(graph.blocks[0]);
  m.Drain();
  EXPECT_EQ(m.objects(), graph.blocks.size());
  for (uintptr_t* p : graph.blocks) ASSERT_TRUE(IsMarked(p));
}

// While the program runs, a word may be on its way to the mark bits when the last block of its span
// is freed, and the span given back: its page is nobody's then, and further words to it lead nowhere.
TEST(Marking, AWordMayOutliveItsSpan) {
  std::vector<uintptr_t*> blocks;
  for (int i = 0; i < 4000; ++i) blocks.push_back(Block(20));
  uintptr_t* others[64];
  for (uintptr_t*& p : others) p = Block(1000);
  test::ResetMarks();
  Markers m;
  m.Mark(blocks[1000]);
  for (uintptr_t* p : blocks) heap().Free(p, "test");
  ASSERT_FALSE(heap().pages().arena().SpanAround(AddressOf(blocks[1000])) != nullptr &&
               SpanOf(AddressOf(blocks[1000]))->InUse());
  for (uintptr_t* p : others) m.Mark(p);  // the first is settled
  for (int i = 0; i < 600; ++i) m.Mark(blocks[1000 - i]);  // not those that the thread keeps at hand
  m.marker[0].ScanCards(RoundDown(AddressOf(blocks[1000]), kPageSize),
                        RoundDown(AddressOf(blocks[1000]), kPageSize) + kPageSize);
  m.Drain();
  EXPECT_LE(m.objects(), 65u);
  // The pages are used again, for blocks of another size.
  for (uintptr_t*& p : blocks) p = Block(40);
  test::ResetMarks();
  Markers again;
  for (uintptr_t* p : blocks) again.Mark(p);
  again.Drain();
  EXPECT_EQ(again.objects(), blocks.size());
  for (uintptr_t* p : blocks) heap().Free(p, "test");
  for (uintptr_t* p : others) heap().Free(p, "test");
}

}  // namespace
}  // namespace gcm
