// Mark bits that outlive their cycle, and what the next one has to do with a page.
#include <algorithm>
#include <set>
#include <vector>

#include "tests/unit/support.h"

namespace gcm {
namespace {

constexpr size_t kSize = 40;

struct KeepsMarks {
  KeepsMarks() { heap().SetMarksStay(true); }
  ~KeepsMarks() { heap().SetMarksStay(false); }
};

Span* SpanOf(const void* p) { return heap().pages().arena().SpanAround(AddressOf(p)); }
unsigned IndexOf(const void* p) { return SpanOf(p)->IndexOf(AddressOf(p) - SpanOf(p)->start); }
std::atomic<uint64_t>* Marks(const Span* span) { return heap().pages().arena().tables().MarkBits(span->start); }
bool Bit(const std::atomic<uint64_t>* words, unsigned i) { return (words[i / 64].load() >> i % 64 & 1) != 0; }
uint32_t Flags(uintptr_t page) {
  return heap().pages().arena().tables().Info(page).load() &
         (PageInfo::kArmed | PageInfo::kUnscanned | PageInfo::kWritten);
}
void SetFlag(const Span* span, uint32_t flag) {
  heap().pages().arena().tables().Info(span->start).fetch_or(flag);
}

// A span, all of whose slots are blocks.
struct FullSpan {
  FullSpan() {
    heap().FlushCache();
    for (;;) {
      void* p = heap().Allocate(kSize);
      blocks.push_back(p);
      span = SpanOf(p);
      if (span->CountFree() + 1 != span->slots) continue;
      mine.assign(1, p);
      while (mine.size() < span->slots) {
        void* next = heap().Allocate(kSize);
        blocks.push_back(next);
        if (SpanOf(next) == span) mine.push_back(next);
      }
      MarkFirst(0);
      heap().Age(span, Armed::kKept);
      return;
    }
  }
  ~FullSpan() {
    for (void* p : blocks) heap().Free(p, "test");
  }
  void MarkFirst(size_t count) {
    for (unsigned w = 0; w < span->words(); ++w) {
      const uint64_t bits = count >= (w + 1) * 64u ? ~uint64_t{0}
                            : count <= w * 64u     ? 0
                                                   : (uint64_t{1} << (count - w * 64u)) - 1;
      Marks(span)[w].store(bits & span->ValidBits(w));
      Marks(span)[span->words() + w].store(bits & span->ValidBits(w));
    }
  }
  std::vector<void*> blocks, mine;
  Span* span;
};

TEST(Marks, StayOverTheBeginningOfAMinorCycle) {
  FullSpan full;
  full.MarkFirst(3);
  heap().Blacken(full.span);
  for (unsigned i = 0; i < full.span->slots; ++i) {
    EXPECT_EQ(Bit(Marks(full.span), i), i < 3) << i;
    EXPECT_EQ(Bit(Marks(full.span) + full.span->words(), i), i < 3) << i;
  }
}

TEST(Marks, OfWhatIsFreeAreSetForACycleAndForgottenByItsSweep) {
  FullSpan full;
  full.MarkFirst(3);
  void* freed = full.mine.back();
  const unsigned index = IndexOf(freed);
  heap().Free(freed, "test");
  heap().FlushCache();
  heap().Blacken(full.span);
  EXPECT_TRUE(Bit(Marks(full.span), index));
  EXPECT_TRUE(Bit(Marks(full.span) + full.span->words(), index));
  heap().ForgetFree(full.span);
  for (unsigned i = 0; i < full.span->slots; ++i) {
    EXPECT_EQ(Bit(Marks(full.span), i), i < 3) << i;
    // What is not marked must not count as scanned: it would never be.
    EXPECT_EQ(Bit(Marks(full.span) + full.span->words(), i), i < 3) << i;
  }
  for (void*& p : full.blocks) {
    if (p == freed) p = nullptr;
  }
}

TEST(Marks, OfANewSpanAreClearWhateverWasThere) {
  KeepsMarks keeps;
  std::set<uintptr_t> starts;
  std::vector<void*> blocks;
  for (int i = 0; i < 20000; ++i) {
    blocks.push_back(heap().Allocate(kSize));
    const Span* span = SpanOf(blocks.back());
    starts.insert(span->start);
    for (unsigned w = 0; w < 2 * span->words(); ++w) Marks(span)[w].store(~uint64_t{0});
  }
  const unsigned slot_size = SpanOf(blocks[0])->slot_size;
  for (void* p : blocks) heap().Free(p, "test");
  heap().FlushCache();
  blocks.clear();
  size_t seen = 0;
  for (int i = 0; i < 20000; ++i) {
    blocks.push_back(heap().Allocate(150));
    const Span* span = SpanOf(blocks.back());
    if (starts.erase(span->start) == 0 || span->slot_size == slot_size) continue;
    ++seen;
    for (unsigned w = 0; w < 2 * span->words(); ++w) EXPECT_EQ(Marks(span)[w].load(), 0u);
  }
  for (void* p : blocks) heap().Free(p, "test");
  EXPECT_GE(seen, 10u);
}

TEST(Marks, AFullSpanIsArmedAndScannedOnceMore) {
  FullSpan full;
  full.MarkFirst(full.span->slots);
  EXPECT_EQ(heap().Age(full.span, Armed::kKept), Aging::kArm);
  EXPECT_EQ(Flags(full.span->start), PageInfo::kArmed | PageInfo::kUnscanned);
  // The next cycle has scanned it.
  EXPECT_EQ(heap().Age(full.span, Armed::kKept), Aging::kNone);
  EXPECT_EQ(Flags(full.span->start), PageInfo::kArmed);
  // It was written, and has not been armed since.
  SetFlag(full.span, PageInfo::kWritten);
  EXPECT_EQ(heap().Age(full.span, Armed::kKept), Aging::kArm);
  EXPECT_EQ(Flags(full.span->start), PageInfo::kArmed | PageInfo::kUnscanned);
}

TEST(Marks, ASpanWithRoomIsScannedAlways) {
  FullSpan full;
  full.MarkFirst(2);
  EXPECT_EQ(heap().Age(full.span, Armed::kKept), Aging::kNone);
  EXPECT_EQ(Flags(full.span->start), PageInfo::kUnscanned);
  EXPECT_EQ(heap().Age(full.span, Armed::kAll), Aging::kDisarm);
  EXPECT_EQ(Flags(full.span->start), PageInfo::kUnscanned);
}

TEST(Marks, WithoutAnyASpanIsLeftAlone) {
  FullSpan full;
  full.MarkFirst(0);
  EXPECT_EQ(heap().Age(full.span, Armed::kKept), Aging::kNone);
  EXPECT_EQ(Flags(full.span->start), 0u);
  full.MarkFirst(full.span->slots);
  EXPECT_EQ(heap().Age(full.span, Armed::kAll), Aging::kNone);
  EXPECT_EQ(Flags(full.span->start), PageInfo::kArmed);
  full.MarkFirst(0);
  EXPECT_EQ(heap().Age(full.span, Armed::kKept), Aging::kDisarm);
  EXPECT_EQ(Flags(full.span->start), 0u);
}

// A block may be born there before the sweep comes.
TEST(Marks, BitsOfFreeSlotsCount) {
  FullSpan full;
  full.MarkFirst(0);
  heap().Free(full.mine.back(), "test");
  for (void*& p : full.blocks) {
    if (p == full.mine.back()) p = nullptr;
  }
  heap().FlushCache();
  heap().Blacken(full.span);
  heap().Age(full.span, Armed::kKept);
  EXPECT_EQ(Flags(full.span->start), PageInfo::kUnscanned);
}

TEST(Marks, ALargeBlockIsTrackedWhileItIsMarked) {
  void* p = heap().Allocate(100 * kKiB);
  Span* span = SpanOf(p);
  Marks(span)[0].store(1);
  EXPECT_EQ(heap().Age(span, Armed::kAll), Aging::kNone);
  Marks(span)[0].store(0);
  EXPECT_EQ(heap().Age(span, Armed::kAll), Aging::kDisarm);
  EXPECT_EQ(heap().Age(span, Armed::kKept), Aging::kNone);
  heap().Free(p, "test");
}

TEST(Marks, SpansOfOldBlocksAreArmedEarly) {
  FullSpan full;
  full.MarkFirst(full.span->slots);
  EXPECT_TRUE(heap().ArmEarly(full.span));
  EXPECT_EQ(full.span->arming.load(), SpanArming::kEarly);
  EXPECT_FALSE(heap().ArmLate(full.span)) << "what was written since would be forgotten";
  full.MarkFirst(2);
  EXPECT_FALSE(heap().ArmEarly(full.span));
  EXPECT_EQ(full.span->arming.load(), SpanArming::kNone);
}

TEST(Marks, AllOthersWithMarksAreArmedLate) {
  FullSpan full;
  full.MarkFirst(0);
  EXPECT_FALSE(heap().ArmEarly(full.span));
  EXPECT_FALSE(heap().ArmLate(full.span)) << "it holds garbage only, as far as is known";
  full.MarkFirst(1);
  EXPECT_TRUE(heap().ArmLate(full.span));
  EXPECT_EQ(full.span->arming.load(), SpanArming::kLate);
  EXPECT_FALSE(heap().ArmLate(full.span));
}

// At the end of a cycle that notes what it arms.
TEST(Marks, OnlyWhatWasArmedIsDisarmed) {
  FullSpan full;
  const auto age = [&](unsigned marked, SpanArming arming) {
    full.MarkFirst(marked);
    full.span->arming = arming;
    const Aging aging = heap().Age(full.span, Armed::kNoted);
    EXPECT_EQ(full.span->arming.load(), SpanArming::kNone);
    return aging;
  };
  const unsigned all = full.span->slots;
  for (SpanArming arming : {SpanArming::kEarly, SpanArming::kLate}) {
    EXPECT_EQ(age(all, arming), Aging::kNone);
    EXPECT_EQ(Flags(full.span->start), PageInfo::kArmed);
    EXPECT_EQ(age(1, arming), Aging::kDisarm);
    EXPECT_EQ(Flags(full.span->start), PageInfo::kUnscanned);
  }
  for (SpanArming arming : {SpanArming::kNone, SpanArming::kSome}) {
    EXPECT_EQ(age(all, arming), Aging::kArm);
    EXPECT_EQ(Flags(full.span->start), PageInfo::kArmed | PageInfo::kUnscanned);
  }
  // The flags are of an earlier cycle here, and say nothing.
  EXPECT_EQ(age(1, SpanArming::kNone), Aging::kNone);
  EXPECT_EQ(age(1, SpanArming::kSome), Aging::kDisarm);
}

// Its new pages may be those of a span that is about to be armed.
TEST(Marks, WhatABlockGrowsByHasItsCardsSet) {
  const SideTables& tables = heap().pages().arena().tables();
  for (bool cycle : {false, true}) {
    auto* p = static_cast<char*>(heap().Allocate(100 * kKiB));
    const uintptr_t end = SpanOf(p)->end();
    heap().SetPhase(cycle ? Phase::kMarking : Phase::kIdle);
    char* grown = static_cast<char*>(heap().Reallocate(p, 200 * kKiB, "test"));
    heap().SetPhase(Phase::kIdle);
    ASSERT_EQ(grown, p) << "there is nothing behind it";
    for (uintptr_t page = end; page < SpanOf(grown)->end(); page += kPageSize)
      EXPECT_EQ(tables.Cards(page).exchange(0), cycle ? ~uint64_t{0} : 0) << page - end;
    EXPECT_EQ(tables.HasCards(end).exchange(0) != 0, cycle);
    heap().Free(grown, "test");
  }
}

// What was armed early is in none of the runs that are armed late, not even between two spans of one.
TEST(Marks, WhatWasArmedIsNotArmedAgain) {
  std::vector<void*> blocks;
  for (int i = 0; i < 5000; ++i) blocks.push_back(heap().Allocate(kSize));
  std::set<Span*> early, late;
  for (void* p : blocks) {
    Span* span = SpanOf(p);
    Marks(span)[0].store(1);
    const bool old = span->start / kPageSize / 8 % 3 == 0;
    span->arming = old ? SpanArming::kEarly : SpanArming::kNone;
    (old ? early : late).insert(span);
  }
  ASSERT_FALSE(early.empty());
  std::vector<Range> armed;
  SpanWalk walk;
  walk.Begin();
  Range runs[64];
  for (bool over = false; !over;) {
    const size_t count = walk.ArmSome(SpanWalk::Arming::kLate, runs, 64, &over);
    armed.insert(armed.end(), runs, runs + count);
  }
  const auto in = [&](const Span* span) {
    return std::any_of(armed.begin(), armed.end(), [&](Range r) { return r.lo < span->end() && span->start < r.hi; });
  };
  for (const Span* span : early) EXPECT_FALSE(in(span));
  for (const Span* span : late) EXPECT_TRUE(in(span));
  for (const Span* span : late) EXPECT_EQ(span->arming.load(), SpanArming::kLate);
  test::ResetMarks();
  for (const Span* span : early) EXPECT_EQ(span->arming.load(), SpanArming::kNone) << "a cycle forgets the last one";
  for (void* p : blocks) heap().Free(p, "test");
}

}  // namespace
}  // namespace gcm
