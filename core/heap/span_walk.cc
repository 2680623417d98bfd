#include "core/heap/span_walk.h"

#include "core/heap/heap.h"
#include "platform/test_skip.h"

namespace gcm {
namespace {

constexpr size_t kLooks = 1024;  // under one hold of the lock
constexpr size_t kResets = 64;
// Pages between two spans to be armed at once: two calls take longer.
constexpr size_t kGap = 4 * kPageSize;

}  // namespace

void SpanWalk::Begin() {
  Unstoppable unstoppable(t_cache);
  LockGuard guard(heap().pages().lock());
  const Arena& arena = heap().pages().arena();
  extent_ = 0;
  at_ = 0;
  extents_ = arena.extent_count();
  last_ready_ = extents_ == 0 ? 0 : arena.extent(extents_ - 1).ready;
}

// True: the end was reached.
template <typename Fn>
bool SpanWalk::ForSome(size_t capacity, Fn fn) {
  Unstoppable unstoppable(t_cache);
  LockGuard guard(heap().pages().lock());
  const Arena& arena = heap().pages().arena();
  size_t count = 0, looks = 0;
  for (; extent_ < extents_; ++extent_, at_ = 0) {
    const Arena::Extent& extent = arena.extent(extent_);
    const uintptr_t end = extent_ + 1 == extents_ ? last_ready_ : extent.ready;
    at_ = Max(at_, extent.start);
    while (at_ < end) {
      if (count == capacity || ++looks > kLooks) return false;
      Span* span = arena.tables().SpanAround(at_);
      if (span == nullptr) {  // taken from the page heap, not yet published: one page at a time
        at_ += kPageSize;
        continue;
      }
      at_ = span->end();
      // A span that lies across two adjoining extents belongs to the one that it starts in.
      if (!span->InUse() || span->start < extent.start) continue;
      fn(span);
      ++count;
    }
  }
  return true;
}

size_t SpanWalk::Take(Seen* out, size_t capacity, bool* over) {
  size_t count = 0;
  *over = ForSome(capacity, [&](Span* span) {
    out[count++] = {span, span->start, span->pages * kPageSize, span->size_class,
                    span->arming.load(std::memory_order_relaxed)};
  });
  *over = *over && count == 0;
  return count;
}

bool SpanWalk::ResetSome(bool keep, bool armed) {
  return ForSome(kResets, [=](Span* span) {
    if (!armed) span->arming.store(SpanArming::kNone, std::memory_order_relaxed);
    if (keep) {
      heap().Blacken(span);
    } else {
      heap().ResetMarks(span);
    }
  });
}

size_t SpanWalk::AgeSome(Armed armed, Aged* out, size_t capacity, bool* over) {
  size_t count = 0;
  *over = ForSome(Min(capacity, kResets), [&](Span* span) {
    const Aging aging = heap().Age(span, armed);
    if (aging == Aging::kNone) return;
    const Range pages{span->start, span->end()};
    const bool arm = aging == Aging::kArm;
    if (count != 0 && out[count - 1].pages.hi == pages.lo && out[count - 1].arm == arm) {
      out[count - 1].pages.hi = pages.hi;
    } else {
      out[count++] = {pages, arm};
    }
  });
  return count;
}

// What is free in between is armed, too, and what is born there until then. No others: what was
// written to pages that were armed before would be forgotten.
size_t SpanWalk::ArmSome(Arming arming, Range* out, size_t capacity, bool* over) {
  size_t count = 0;
  bool joins = false;
  *over = ForSome(Min(capacity, kResets), [&](Span* span) {
    const bool stays = arming == Arming::kLateBesideKept && heap().StaysArmed(span);
    if (stays) span->arming.store(SpanArming::kEarly, std::memory_order_relaxed);
    if (stays || !(arming == Arming::kEarly ? heap().ArmEarly(span) : heap().ArmLate(span))) {
      joins = joins && Skips(Skip::armed_again);
      return;
    }
    if (joins && span->start - out[count - 1].hi <= kGap) {
      out[count - 1].hi = span->end();
    } else {
      out[count++] = {span->start, span->end()};
    }
    joins = true;
  });
  return count;
}

}  // namespace gcm
