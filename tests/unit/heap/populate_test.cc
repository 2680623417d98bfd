// Memory that is made resident before it is used: for small spans, some pages at a time.
#include <sys/mman.h>

#include "core/heap/page_heap.h"
#include "platform/memory.h"
#include "tests/unit/support.h"

namespace gcm {
namespace {

constexpr size_t kSmall = 2;

PageHeap& HeapInUse(size_t bytes, bool populates) {
  auto& heap = *new PageHeap;
  ArenaConfig config;
  config.first_reservation = 64 * kMiB;
  EXPECT_TRUE(heap.Init(config));
  heap.SetPopulates(populates);
  Span* span = heap.Allocate(bytes / kPageSize, kPageSize, 0);
  heap.Publish(span);
  return heap;
}

bool IsResident(uintptr_t page) {
  unsigned char there = 0;
  EXPECT_EQ(mincore(PointerTo(page), kPageSize, &there), 0);
  return (there & 1) != 0;
}

size_t ResidentFrom(uintptr_t page) {
  size_t count = 0;
  while (IsResident(page + count * kPageSize)) ++count;
  return count;
}

bool KernelPopulates() {
  void* p = mmap(nullptr, kPageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  const bool works = memory::Populate(AddressOf(p), kPageSize) && IsResident(AddressOf(p));
  munmap(p, kPageSize);
  return works;
}

TEST(Populate, SmallSpansFindTheirPagesResident) {
  if (!KernelPopulates()) GTEST_SKIP() << "this kernel cannot";
  PageHeap& heap = HeapInUse(8 * kMiB, true);
  const Span* first = heap.Allocate(kSmall, kPageSize, 1);
  EXPECT_TRUE(first->zero);
  EXPECT_EQ(ResidentFrom(first->start), 8 * kMiB / kPageSize / 128) << "a 128th of what is in use";
  const Span* second = heap.Allocate(kSmall, kPageSize, 1);
  EXPECT_EQ(second->start, first->end());
  EXPECT_EQ(heap.Count().resident_free_pages, 8 * kMiB / kPageSize / 128 - 2 * kSmall);
  EXPECT_GT(heap.Scavenge(UINT64_MAX, 0), 0u) << "and what is not used goes back";
  EXPECT_FALSE(IsResident(second->end()));
}

TEST(Populate, NoMoreThanIsLittle) {
  if (!KernelPopulates()) GTEST_SKIP() << "this kernel cannot";
  PageHeap& large = HeapInUse(48 * kMiB, true);
  EXPECT_EQ(ResidentFrom(large.Allocate(kSmall, kPageSize, 1)->start), 128 * kKiB / kPageSize);
  PageHeap& small = HeapInUse(kMiB, true);
  EXPECT_FALSE(IsResident(small.Allocate(kSmall, kPageSize, 1)->start));
}

TEST(Populate, NotForLargeBlocks) {
  PageHeap& heap = HeapInUse(8 * kMiB, true);
  EXPECT_FALSE(IsResident(heap.Allocate(16, kPageSize, 0)->start)) << "they may never be touched";
}

TEST(Populate, NotAgainWhereItIsSwitchedOff) {
  PageHeap& heap = HeapInUse(8 * kMiB, false);
  EXPECT_FALSE(IsResident(heap.Allocate(kSmall, kPageSize, 1)->start));
}

// A run as long as what is populated is taken whole.
TEST(Populate, TakesWhatThereIs) {
  if (!KernelPopulates()) GTEST_SKIP() << "this kernel cannot";
  PageHeap& heap = HeapInUse(8 * kMiB, true);
  const size_t batch = 8 * kMiB / kPageSize / 128;
  Span* run = heap.Allocate(batch, kPageSize, 0);
  Span* wall = heap.Allocate(16, kPageSize, 0);
  heap.Publish(run);
  heap.Publish(wall);
  const uintptr_t start = run->start;
  heap.Free(run);
  heap.Scavenge(UINT64_MAX, 0);
  Span* span = heap.Allocate(kSmall, kPageSize, 1);
  EXPECT_EQ(span->start, start);
  EXPECT_EQ(heap.Count().resident_free_pages, batch - kSmall);
}

}  // namespace
}  // namespace gcm
