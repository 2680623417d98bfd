// Spans that are put together from resident and released runs.
#include "core/heap/page_heap.h"
#include "tests/unit/support.h"

namespace gcm {
namespace {

constexpr size_t kEach = 64;

// Four spans side by side, of which the second has been released, and the first and the third are
// free and resident.
class MixedRuns : public testing::Test {
 protected:
  void SetUp() override {
    ArenaConfig config;
    config.first_reservation = 16 * kMiB;
    ASSERT_TRUE(heap_.Init(config));
    Span* spans[4];
    for (Span*& span : spans) {
      span = Allocate(kEach);
      ASSERT_NE(span, nullptr);
    }
    start_ = spans[0]->start;
    last_ = spans[3];
    ASSERT_EQ(last_->start, start_ + 3 * kEach * kPageSize);
    heap_.Free(spans[1]);
    heap_.Scavenge(UINT64_MAX, 0);
    for (Span* span : {spans[0], spans[2]}) {
      *PointerTo<char>(span->start) = 1;
      heap_.Free(span);
    }
    ASSERT_EQ(heap_.Count().resident_free_pages, 2 * kEach);
  }

  Span* Allocate(size_t pages, bool mixed = true, size_t alignment = kPageSize) {
    Span* span = heap_.Allocate(pages, alignment, 0, mixed);
    if (span != nullptr) heap_.Publish(span);
    return span;
  }
  bool InTheGap(const Span* span) const { return span->start >= start_ && span->end() <= last_->start; }
  // All is free, joined, and found where it was.
  void FreeAll(Span* span) {
    heap_.Free(span);
    heap_.Free(last_);
    heap_.Scavenge(UINT64_MAX, 0);
    const PageHeap::Counters c = heap_.Count();
    EXPECT_EQ(c.runs, 1u);
    EXPECT_EQ(c.released_free_pages, heap_.arena().grown_bytes() / kPageSize);
  }

  PageHeap& heap_ = *new PageHeap;
  uintptr_t start_ = 0;
  Span* last_ = nullptr;
};

TEST_F(MixedRuns, WhatIsLargerThanAddressesIsNotFound) {
  // A resident run with free ones on both sides.
  Span* more = Allocate(4 * kEach + 1);
  ASSERT_NE(more, nullptr);
  heap_.Free(last_);
  heap_.Free(more);
  for (size_t pages = (size_t{1} << 48) / kPageSize; pages < SIZE_MAX / kPageSize; pages *= 2)
    EXPECT_EQ(Allocate(pages + 1), nullptr) << pages;
  Span* span = Allocate(4 * kEach);
  ASSERT_NE(span, nullptr);
  EXPECT_EQ(span->start, start_);
}

TEST_F(MixedRuns, AreTakenTogether) {
  const size_t released = heap_.Count().released_free_pages;
  Span* span = Allocate(3 * kEach);
  ASSERT_NE(span, nullptr);
  EXPECT_EQ(span->start, start_);
  EXPECT_FALSE(span->zero);
  EXPECT_EQ(heap_.Count().resident_free_pages, 0u);
  EXPECT_EQ(heap_.Count().released_free_pages, released - kEach);
  FreeAll(span);
}

TEST_F(MixedRuns, WhatIsLeftOfThemStaysWhatItWas) {
  const size_t released = heap_.Count().released_free_pages;
  Span* two = Allocate(2 * kEach - 10);
  ASSERT_NE(two, nullptr);
  EXPECT_TRUE(InTheGap(two));
  EXPECT_EQ(heap_.Count().resident_free_pages, kEach);
  EXPECT_EQ(heap_.Count().released_free_pages, released - kEach + 10);
  heap_.Free(two);
  Span* more = Allocate(3 * kEach - 10);
  ASSERT_NE(more, nullptr);
  EXPECT_TRUE(InTheGap(more));
  EXPECT_EQ(more->pages, 3 * kEach - 10);
  EXPECT_EQ(heap_.Count().resident_free_pages, 10u);
  EXPECT_EQ(heap_.Count().released_free_pages, released - kEach);
  FreeAll(more);
}

TEST_F(MixedRuns, MayBeAligned) {
  Span* span = Allocate(kEach + 8, true, 16 * kPageSize);
  ASSERT_NE(span, nullptr);
  EXPECT_TRUE(InTheGap(span));
  EXPECT_EQ(span->start % (16 * kPageSize), 0u);
  FreeAll(span);
}

TEST_F(MixedRuns, AreNotTakenForWhatIsToReadAsZero) {
  Span* span = Allocate(2 * kEach, false);
  ASSERT_NE(span, nullptr);
  EXPECT_TRUE(span->zero);
  for (uintptr_t at = span->start; at < span->end(); at += 8) ASSERT_EQ(*PointerTo<uint64_t>(at), 0u);
  FreeAll(span);
}

}  // namespace
}  // namespace gcm
