// Which spans a cycle arms, before it marks and behind that, and what becomes of them at its end.
#include "core/heap/heap.h"
#include "platform/test_skip.h"

namespace gcm {
namespace {

// A span of which no more than this part is free, or about to be, is full.
constexpr unsigned kFewFree = 4;

bool IsFull(const Span* span, unsigned marked) {
  return marked >= span->slots - span->slots / kFewFree;
}

bool AllArmed(SpanArming arming) {
  return arming == SpanArming::kEarly || arming == SpanArming::kLate;
}

}  // namespace

unsigned Heap::CountMarked(const Span* span, bool* any) const {
  const std::atomic<uint64_t>* marks = pages_.arena().tables().MarkBits(span->start);
  uint64_t all = 0;
  unsigned marked = 0;
  for (unsigned w = 0; w < span->words(); ++w) {
    const uint64_t bits = marks[w].load(std::memory_order_relaxed) & span->ValidBits(w);
    all |= bits;
    marked += static_cast<unsigned>(__builtin_popcountll(bits & span->Blocks(w)));
  }
  *any = all != 0;
  return marked;
}

// What was marked once will be again, most often, and old blocks are written seldom: armed before,
// they need not be scanned twice. A wrong guess costs only time.
bool Heap::ArmEarly(Span* span) {
  bool any;
  const bool early = span->large() ? HasMarks(span) : IsFull(span, CountMarked(span, &any));
  span->arming.store(early ? SpanArming::kEarly : SpanArming::kNone, std::memory_order_relaxed);
  return early;
}

bool Heap::ArmLate(Span* span) {
  if (AllArmed(span->arming.load(std::memory_order_relaxed)) || !HasMarks(span)) return false;
  span->arming.store(SpanArming::kLate, std::memory_order_relaxed);
  return true;
}

bool Heap::HasMarks(const Span* span) const {
  const std::atomic<uint64_t>* marks = pages_.arena().tables().MarkBits(span->start);
  if (span->large()) return (marks[0].load(std::memory_order_relaxed) & 1) != 0;
  bool any;
  CountMarked(span, &any);
  return any;
}

bool Heap::StaysArmed(const Span* span) const {
  if (span->large()) return false;
  const SideTables& tables = pages_.arena().tables();
  for (uintptr_t page = span->start; page < span->end(); page += kPageSize) {
    const uint32_t info = tables.Info(page).load(std::memory_order_relaxed);
    if ((info & (PageInfo::kArmed | PageInfo::kUnscanned)) != PageInfo::kArmed) return false;
  }
  return true;
}

// Mostly marked blocks: written seldom, and the allocator has little to write there. What is armed
// only now, or anew, may have been written since it was scanned, and is scanned once more. Bits of
// free slots count as well as those of blocks: a block may be born there before the span is swept.
Aging Heap::Age(Span* span, Armed armed) {
  const SideTables& tables = pages_.arena().tables();
  const SpanArming arming = span->arming.load(std::memory_order_relaxed);
  span->arming.store(SpanArming::kNone, std::memory_order_relaxed);
  if (span->large()) {
    const bool some =
        armed == Armed::kAll || armed == Armed::kKeptOfAll || arming != SpanArming::kNone;
    return some && !HasMarks(span) ? Aging::kDisarm : Aging::kNone;
  }
  bool any;
  const unsigned marked = CountMarked(span, &any);
  constexpr uint32_t kFlags = PageInfo::kArmed | PageInfo::kUnscanned | PageInfo::kWritten;
  uint32_t before = 0;
  for (uintptr_t page = span->start; page < span->end(); page += kPageSize)
    before |= tables.Info(page).load(std::memory_order_relaxed) & kFlags;
  const bool all = armed == Armed::kAll || AllArmed(arming) ||
                   ((armed == Armed::kKept || armed == Armed::kKeptOfAll) &&
                    (before & (PageInfo::kArmed | PageInfo::kWritten)) == PageInfo::kArmed);
  const bool some = all || arming == SpanArming::kSome;
  const bool full = IsFull(span, marked);
  uint32_t flags = full ? PageInfo::kArmed : any ? PageInfo::kUnscanned : 0;
  if (full && !all && !Skips(Skip::promoted)) flags |= PageInfo::kUnscanned;
  // Who publishes a span just now writes them page by page: they need not be the same for all.
  for (uintptr_t page = span->start; page < span->end(); page += kPageSize) {
    std::atomic<uint32_t>& info = tables.Info(page);
    if ((info.load(std::memory_order_relaxed) & kFlags) == flags) continue;
    info.fetch_and(~kFlags, std::memory_order_relaxed);
    info.fetch_or(flags, std::memory_order_relaxed);
  }
  return full ? (all ? Aging::kNone : Aging::kArm) : some ? Aging::kDisarm : Aging::kNone;
}

}  // namespace gcm
