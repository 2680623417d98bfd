#include "core/heap/arena.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "core/base/metadata.h"
#include "platform/memory.h"
#include "tests/unit/support.h"

namespace gcm {
namespace {

// Arenas are never taken down: what they have reserved stays until the process ends.
Arena& NewArena() { return *new Arena; }

ArenaConfig Small(uintptr_t hint = 0) {
  ArenaConfig config;
  config.first_reservation = kMiB;
  config.hint = hint;
  return config;
}

// Somebody else takes the addresses just behind the last extent.
void BlockTheWay(const Arena& arena) {
  uintptr_t end = arena.extent(arena.extent_count() - 1).end;
  mmap(PointerTo(end), 64 * kKiB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
}

// Ranges that were handed out: they must not overlap, and must be usable.
class Handed {
 public:
  void Add(Range r) {
    ASSERT_GT(r.size(), 0u) << "nothing was handed out";
    for (const Range& old : ranges_) {
      ASSERT_TRUE(r.hi <= old.lo || old.hi <= r.lo) << std::hex << r.lo << " was given out twice";
    }
    for (uintptr_t at = r.lo; at < r.hi; at += kPageSize) {
      ASSERT_EQ(*PointerTo<uint64_t>(at), 0u) << "new memory is not zero";
    }
    memset(PointerTo(r.lo), 0x5a, 8);
    memset(PointerTo(r.hi - 8), 0x5a, 8);
    ranges_.push_back(r);
  }
  size_t bytes() const {
    size_t sum = 0;
    for (const Range& r : ranges_) sum += r.size();
    return sum;
  }
  const std::vector<Range>& ranges() const { return ranges_; }

 private:
  std::vector<Range> ranges_;
};

// Looks up words all over the bounds, and densely around every extent.
bool LookUpEverywhere(const Arena& arena) {
  const uintptr_t lo = arena.lo(), hi = arena.used();
  size_t found = 0;
  auto look = [&](uintptr_t word) {
    found += arena.SpanOf(word) != nullptr;
    found += arena.SpanAround(word) != nullptr;
  };
  for (size_t i = 0; i < arena.extent_count(); ++i) {
    uintptr_t from = arena.extent(i).start - 2 * kChunkSize, to = arena.extent(i).end + 2 * kChunkSize;
    for (uintptr_t at = from; at < to; at += kPageSize) look(at + 8);
  }
  uintptr_t step = RoundUp(Max<uintptr_t>((hi - lo) / 1'000'000, kPageSize), kPageSize);
  for (uintptr_t at = lo; at < hi; at += step) look(at + 16);
  look(lo);
  look(hi - 1);
  look(hi);
  look(0);
  look(UINTPTR_MAX);
  return found == 0;
}

TEST(Arena, IsEmptyBeforeItGrows) {
  Arena& arena = NewArena();
  EXPECT_FALSE(arena.Contains(0));
  EXPECT_FALSE(arena.Contains(UINTPTR_MAX));
  EXPECT_EQ(arena.Grow(kPageSize).size(), 0u) << "without Init there is nothing to give";
  ASSERT_TRUE(arena.Init(Small()));
  EXPECT_EQ(arena.SpanOf(arena.extent(0).start), nullptr);
  EXPECT_EQ(arena.grown_bytes(), 0u);
}

TEST(Arena, GrowsPastItsReservation) {
  Arena& arena = NewArena();
  ASSERT_TRUE(arena.Init(Small()));
  Handed handed;
  for (int i = 0; i < 60; ++i) {
    uintptr_t lo = arena.lo(), used = arena.used();
    Range r = arena.Grow((i % 7 + 1) * 100 * kKiB / kPageSize * kPageSize);
    ASSERT_GE(r.size(), (i % 7 + 1) * 100 * kKiB / kPageSize * kPageSize);
    ASSERT_NO_FATAL_FAILURE(handed.Add(r));
    ASSERT_LE(arena.lo(), lo);
    ASSERT_GE(arena.used(), used);
    ASSERT_LE(arena.lo(), r.lo);
    ASSERT_GE(arena.used(), r.hi);
  }
  EXPECT_EQ(arena.grown_bytes(), handed.bytes());
}

TEST(Arena, ExtentsHoldWhatWasHandedOut) {
  Arena& arena = NewArena();
  ASSERT_TRUE(arena.Init(Small()));
  Handed handed;
  for (int i = 0; i < 30; ++i) {
    if (i % 3 == 0) BlockTheWay(arena);
    ASSERT_NO_FATAL_FAILURE(handed.Add(arena.Grow(700 * kKiB)));
  }
  size_t ready = 0;
  for (size_t i = 0; i < arena.extent_count(); ++i) {
    const Arena::Extent& e = arena.extent(i);
    ASSERT_LE(e.start, e.ready);
    ASSERT_LE(e.ready, e.end);
    ready += e.ready - e.start;
  }
  EXPECT_EQ(ready, handed.bytes());
  for (const Range& r : handed.ranges()) {
    bool inside = false;
    for (size_t i = 0; i < arena.extent_count(); ++i) {
      inside = inside || (r.lo >= arena.extent(i).start && r.hi <= arena.extent(i).ready);
    }
    EXPECT_TRUE(inside);
  }
}

TEST(Arena, TablesCoverTheBoundsWithForeignMappingsBetween) {
  Arena& arena = NewArena();
  ASSERT_TRUE(arena.Init(Small()));
  Handed handed;
  for (int i = 0; i < 24; ++i) {
    BlockTheWay(arena);
    ASSERT_NO_FATAL_FAILURE(handed.Add(arena.Grow(kMiB)));
  }
  EXPECT_EQ(test::OutcomeInChild([&] { return LookUpEverywhere(arena); }), "ok");
}

TEST(Arena, TablesCoverTheRestOfAReservationThatWasTooSmall) {
  Arena& arena = NewArena();
  ArenaConfig config;
  config.first_reservation = 100 * kMiB;
  ASSERT_TRUE(arena.Init(config));
  Handed handed;
  ASSERT_NO_FATAL_FAILURE(handed.Add(arena.Grow(kMiB)));
  BlockTheWay(arena);
  ASSERT_NO_FATAL_FAILURE(handed.Add(arena.Grow(130 * kMiB)));
  EXPECT_EQ(test::OutcomeInChild([&] { return LookUpEverywhere(arena); }), "ok");
  // What was left of the first extent is used, too.
  ASSERT_NO_FATAL_FAILURE(handed.Add(arena.Grow(80 * kMiB)));
  EXPECT_EQ(test::OutcomeInChild([&] { return LookUpEverywhere(arena); }), "ok");
}

TEST(Arena, TablesCoverBoundsThatAreFarApart) {
  Arena& arena = NewArena();
  // Far below where the system places mappings.
  ASSERT_TRUE(arena.Init(Small(uintptr_t{0x1100} << 32)));
  Handed handed;
  for (int i = 0; i < 6; ++i) {
    ASSERT_NO_FATAL_FAILURE(handed.Add(arena.Grow(kMiB)));
    BlockTheWay(arena);
  }
  EXPECT_EQ(test::OutcomeInChild([&] { return LookUpEverywhere(arena); }, 30), "ok");
}

bool SurvivesRequest(size_t size) {
  Arena& arena = NewArena();
  if (!arena.Init(Small()) || arena.Grow(kMiB / 2).size() == 0) return false;
  uintptr_t lo = arena.lo(), used = arena.used();
  size_t grown = arena.grown_bytes();
  if (arena.Grow(size).size() != 0) return false;
  if (arena.lo() != lo || arena.used() != used || arena.grown_bytes() != grown) return false;
  return arena.Grow(kMiB).size() >= kMiB;
}

TEST(Arena, RequestsThatCannotBeGrantedLeaveItWhole) {
  EXPECT_EQ(test::OutcomeInChild([] { return SurvivesRequest(size_t{1} << 60); }), "ok");
  EXPECT_EQ(test::OutcomeInChild([] { return SurvivesRequest(size_t{1} << 47); }), "ok");
}

// The addresses are there, the memory is not.
TEST(Arena, RequestsOfManyTebibytesLeaveItWhole) {
  EXPECT_EQ(test::OutcomeInChild([] { return SurvivesRequest(size_t{1} << 46); }), "ok");
}

// Every single request to the system that a number of Grow calls make is refused once.
TEST(Arena, AnyRefusedRequestLosesNothing) {
  for (long n = 1;; ++n) {
    Arena& arena = NewArena();
    ASSERT_TRUE(arena.Init(Small()));
    Handed handed;
    bool reached;
    {
      test::Refusal refusal(n);
      for (int i = 0; i < 12; ++i) {
        if (i % 4 == 3) BlockTheWay(arena);
        uintptr_t used = arena.used();
        Range r = arena.Grow(600 * kKiB);
        if (r.size() != 0) {
          ASSERT_NO_FATAL_FAILURE(handed.Add(r)) << "refusal " << n;
        } else {
          ASSERT_EQ(arena.used(), used) << "published without being granted, refusal " << n;
        }
      }
      reached = refusal.happened();
    }
    for (int i = 0; i < 4; ++i) {
      Range r = arena.Grow(600 * kKiB);
      ASSERT_NE(r.size(), 0u) << "does not recover from refusal " << n;
      ASSERT_NO_FATAL_FAILURE(handed.Add(r)) << "refusal " << n;
    }
    ASSERT_EQ(arena.grown_bytes(), handed.bytes());
    // The tables of what was handed out are there.
    for (const Range& r : handed.ranges()) {
      arena.tables().MarkBits(r.lo)->store(1);
      arena.tables().MarkBits(RoundDown(r.hi - 16, kPageSize))->store(1);
      arena.tables().Card(r.lo).store(1);
      arena.tables().Card(r.hi - 1).store(1);
      ASSERT_EQ(arena.SpanOf(r.lo), nullptr);
      ASSERT_EQ(arena.SpanOf(r.hi - 1), nullptr);
    }
    if (!reached) break;
    ASSERT_LT(n, 1000);
  }
}

TEST(Arena, InitMayBeRepeatedAfterARefusal) {
  for (long n = 1;; ++n) {
    Arena& arena = NewArena();
    bool reached;
    {
      test::Refusal refusal(n, true);
      bool done = arena.Init(Small());
      reached = refusal.happened();
      ASSERT_EQ(done, !reached);
    }
    ASSERT_TRUE(arena.Init(Small()));
    ASSERT_NE(arena.Grow(kMiB).size(), 0u) << n;
    if (!reached) break;
    ASSERT_LT(n, 100);
  }
}

TEST(Arena, NothingIsMappedTwice) {
  Arena& arena = NewArena();
  ASSERT_TRUE(arena.Init(Small()));
  ASSERT_NE(arena.Grow(kMiB).size(), 0u);
  // The tables for one granule serve all growth in it: metadata does not grow with each step.
  uintptr_t lo = arena.lo();
  size_t before = metadata::MappedBytes();
  EXPECT_TRUE(arena.tables().MapBits(lo, lo + kMiB));
  EXPECT_TRUE(arena.tables().MapCards(lo, lo + kMiB));
  EXPECT_TRUE(arena.tables().MapSpans(lo, lo + kMiB));
  EXPECT_EQ(metadata::MappedBytes(), before);
}

// Another thread looks up words near the bound while it moves.
bool LookUpWhileItGrows() {
  Arena& arena = NewArena();
  ArenaConfig config = Small();
  config.between_steps = [] { std::this_thread::yield(); };
  if (!arena.Init(config) || arena.Grow(kMiB).size() == 0) return false;
  std::atomic<bool> stop{false};
  std::atomic<size_t> found{0};
  std::thread observer([&] {
    test::Random random(3);
    while (!stop.load()) {
      uintptr_t used = arena.used();
      for (uintptr_t at = used - 64 * kKiB; at < used + 4 * kMiB; at += 16 * kKiB) {
        if (arena.SpanOf(at) != nullptr) ++found;
      }
      if (arena.SpanOf(random.Next()) != nullptr) ++found;
    }
  });
  bool grown = true;
  for (int i = 0; i < 100; ++i) {
    if (i % 8 == 7) BlockTheWay(arena);
    grown = grown && arena.Grow(300 * kKiB).size() != 0;
  }
  stop = true;
  observer.join();
  return grown && found.load() == 0;
}

// The number behind `name` in the entry of /proc/self/smaps around an address, or its flags.
std::string InMap(uintptr_t address, const std::string& name) {
  std::ifstream maps("/proc/self/smaps");
  bool here = false;
  for (std::string line; std::getline(maps, line);) {
    uintptr_t lo, hi;
    if (sscanf(line.c_str(), "%lx-%lx ", &lo, &hi) == 2) here = address >= lo && address < hi;
    if (here && line.rfind(name + ":", 0) == 0) return line.substr(name.size() + 1) + " ";
  }
  return "";
}

TEST(Arena, BacksAllOrNothingByHugePages) {
  if (access("/sys/kernel/mm/transparent_hugepage", F_OK) != 0) GTEST_SKIP() << "this kernel knows of none";
  for (HugePages choice : {HugePages::kOn, HugePages::kOff}) {
    Arena& arena = NewArena();
    ArenaConfig config;
    config.first_reservation = 8 * kMiB;
    ASSERT_TRUE(arena.Init(config));
    const Range before = arena.Grow(kMiB);
    arena.SetHugePages(choice);
    const Range behind = arena.Grow(12 * kMiB);  // more than what is reserved
    for (Range r : {before, behind}) {
      const std::string flags = InMap(r.lo, "VmFlags");
      EXPECT_EQ(flags.find(" hg ") != std::string::npos, choice == HugePages::kOn) << flags;
      EXPECT_EQ(flags.find(" nh ") != std::string::npos, choice == HugePages::kOff) << flags;
    }
  }
}

TEST(Arena, GrowsByHugePages) {
  Arena& arena = NewArena();
  ASSERT_TRUE(arena.Init({}));
  arena.SetHugePages(HugePages::kGrowth);
  bool ready = false;
  size_t grown = 0;
  while (grown < 8 * kMiB) {
    grown += arena.Grow(kMiB, &ready).size();
    ASSERT_FALSE(ready) << "the heap is small";
  }
  const Range large = arena.Grow(3 * kMiB, &ready);
  EXPECT_FALSE(ready) << "of a large block pages may never be touched";
  EXPECT_LT(large.size(), 5 * kMiB);
  const Range joins = arena.Grow(kMiB);  // without being asked whether it is ready
  EXPECT_EQ(joins.size(), kMiB);
  arena.Grow(kMiB, &ready);  // up to where a huge page begins
  ready = false;
  const Range whole = arena.Grow(64 * kKiB, &ready);
  EXPECT_TRUE(ready);
  EXPECT_EQ(whole.size(), memory::kHugePage);
  EXPECT_EQ(whole.lo % memory::kHugePage, 0u);
  // The kernel may have none at hand; but later it must not make one of what was given back.
  EXPECT_EQ(InMap(whole.lo, "VmFlags").find(" hg "), std::string::npos);
  for (uintptr_t at = whole.lo; at < whole.hi; at += kPageSize) ASSERT_EQ(*PointerTo<uint64_t>(at), 0u);
}

TEST(Arena, GrowsByHugePagesUpToASize) {
  Arena& arena = NewArena();
  ASSERT_TRUE(arena.Init({}));
  arena.SetHugePages(HugePages::kGrowth, 12 * kMiB);
  size_t ready_bytes = 0;
  while (arena.grown_bytes() < 32 * kMiB) {
    bool ready = false;
    const size_t size = arena.Grow(kMiB, &ready).size();
    if (ready) ready_bytes += size;
  }
  EXPECT_GE(ready_bytes, memory::kHugePage);
  EXPECT_LE(ready_bytes, 6 * kMiB);
}

TEST(Arena, LookUpsMayRunWhileItGrows) {
  EXPECT_EQ(test::OutcomeInChild(LookUpWhileItGrows), "ok");
}

}  // namespace
}  // namespace gcm
