#include "core/heap/page_heap.h"

#include <cstring>

#include "platform/clock.h"
#include "platform/memory.h"

namespace gcm {
namespace {

constexpr size_t kIdleAllowance = 16 * kMiB / kPageSize;
constexpr size_t kHugePages = 32 * kMiB / kPageSize;
// Shorter spans hardly ever find no resident run, and are not worth the look at many.
constexpr size_t kMixedFrom = 64 * kKiB / kPageSize;
constexpr unsigned kMostLooked = 32;
// Garbage that is joined with what is none.
constexpr size_t kScrubbedAtOnce = 64 * kKiB / kPageSize;

}  // namespace

// Out of the index and out of the tables: no entry may be left inside of what it becomes part of.
void PageHeap::RemoveRun(Span* run) {
  IndexOf(run).Remove(run);
  arena_.tables().SetRun(run->start, run->end(), nullptr);
}

void PageHeap::InsertRun(Span* run) {
  run->state.store(SpanState::kFree, std::memory_order_relaxed);
  // pairs with: the acquires in IsUnowned, both
  run->owner.store(kOwnerNone, std::memory_order_release);
  __atomic_store_n(&run->size_class, kLargeClass, __ATOMIC_RELEASE);
  run->LeaveBin();
  StoreRelaxed(&run->slots, uint16_t{0});
  run = Join(run, run->end());
  run = Join(run, run->start - 1);
  arena_.tables().SetRun(run->start, run->end(), run);
  IndexOf(run).Add(run);
}

// Joins `run`, which is not in an index, with the free run that `neighbour` lies in, if it is one
// of the same kind.
Span* PageHeap::Join(Span* run, uintptr_t neighbour) {
  Span* other = arena_.SpanOf(neighbour);
  if (other == nullptr || other->state.load(std::memory_order_relaxed) != SpanState::kFree ||
      other->resident != run->resident) {
    return run;
  }
  if (other->end() != run->start && run->end() != other->start) return run;  // a stale entry
  RemoveRun(other);
  // Else all of it would have to be scrubbed in the end.
  Span* garbage = run->garbage ? run : other;
  if (run->garbage != other->garbage && garbage->pages <= kScrubbedAtOnce) {
    memset(PointerTo(garbage->start), 0, garbage->pages * kPageSize);
    garbage->garbage = false;
  }
  run->start = Min(run->start, other->start);
  run->pages += other->pages;
  run->zero = run->zero && other->zero;
  run->garbage = run->garbage || other->garbage;
  run->freed_at = Max(run->freed_at, other->freed_at);
  DeleteSpan(other);
  return run;
}

// With `ready` what comes may be resident already.
bool PageHeap::GrowBy(size_t pages, bool ready) {
  Span* run = NewSpan(0);
  if (run == nullptr) return false;
  bool resident = false;
  const Range fresh = arena_.Grow(pages * kPageSize, ready ? &resident : nullptr);
  if (fresh.size() == 0) {
    DeleteSpan(run);
    return false;
  }
  run->start = fresh.lo;
  run->pages = fresh.size() / kPageSize;
  run->zero = true;
  run->resident = resident;
  run->freed_at = resident && scavenge_delay_ != UINT64_MAX ? clock::Coarse() : 0;
  InsertRun(run);
  return true;
}

// The free run that `address` lies in, if there is one.
Span* PageHeap::FreeRunAt(uintptr_t address) const {
  Span* run = arena_.SpanOf(address);
  if (run == nullptr || run->state.load(std::memory_order_relaxed) != SpanState::kFree ||
      address < run->start || address >= run->end()) {
    return nullptr;
  }
  return run;
}

// Adds to `whole`, which is in no index, what of its neighbour `other` lies in `area`. The rest of
// that stays what it is.
void PageHeap::Absorb(Span* whole, Span* other, Range area) {
  RemoveRun(other);
  const Range part{Max(other->start, area.lo), Min(other->end(), area.hi)};
  whole->start = Min(whole->start, part.lo);
  whole->pages += part.size() / kPageSize;
  whole->garbage = whole->garbage || other->garbage;
  whole->freed_at = Max(whole->freed_at, other->freed_at);
  other->pages -= part.size() / kPageSize;
  if (other->pages == 0) return DeleteSpan(other);
  if (other->start == part.lo) other->start = part.hi;
  arena_.tables().SetRun(other->start, other->end(), other);
  IndexOf(other).Add(other);
}

// Makes one resident run of several that lie side by side, of both kinds: of the places that are
// long enough the one where the most is resident. So what is too short alone is used, instead of
// being given back, or lying about beside other pages that are taken now.
Span* PageHeap::FindMixed(size_t pages) {
  // What is larger may be larger than addresses are.
  if (pages > resident_.pages() + released_.pages()) return nullptr;
  const size_t size = pages * kPageSize;
  Range best{};
  Span* whole = nullptr;
  size_t most = 0;
  unsigned looked = 0;
  resident_.ForLongest([&](Span* run) {
    Range area{run->start, run->end()};
    size_t resident = area.size();
    while (area.size() < size) {
      const Span* next = FreeRunAt(area.hi);
      if (next == nullptr) break;
      area.hi = Min(next->end(), area.lo + size);
      if (next->resident) resident += area.hi - next->start;
    }
    while (area.size() < size) {
      const Span* before = FreeRunAt(area.lo - 1);
      if (before == nullptr) break;
      area.lo = Max(before->start, area.hi - size);
      if (before->resident) resident += before->end() - area.lo;
    }
    if (area.size() >= size && resident > most) {
      most = resident;
      best = area;
      whole = run;
    }
    return ++looked < kMostLooked;
  });
  if (whole == nullptr) return nullptr;
  RemoveRun(whole);
  while (whole->end() < best.hi) Absorb(whole, FreeRunAt(whole->end()), best);
  while (whole->start > best.lo) Absorb(whole, FreeRunAt(whole->start - 1), best);
  whole->zero = false;
  InsertRun(whole);
  return resident_.Find(pages);
}

Span* PageHeap::Find(size_t pages, bool mixed) {
  if (Span* run = resident_.Find(pages)) return run;
  // What is resident and of no use must not add up with what is taken now.
  if (resident_.pages() > in_use_pages() / 2 + kIdleAllowance) ScavengeLocked(UINT64_MAX, 0);
  if (mixed && pages >= kMixedFrom) {
    if (Span* run = FindMixed(pages)) return run;
  }
  if (Span* run = FindReleased(pages)) return run;
  // Much lies about in pieces that are too short: as much is released as is taken now, or all of
  // it, where that lets them join.
  size_t idle = resident_.pages();
  if (pages >= 16 && idle >= pages && idle >= in_use_pages() / 8) {
    ScavengeLocked(UINT64_MAX, 0, mixed ? pages * kPageSize : SIZE_MAX);
    if (Span* run = FindReleased(pages)) return run;
  }
  if (!GrowBy(pages, true)) {
    // Refused: whatever is free and joins.
    ScavengeLocked(UINT64_MAX, 0);
    return FindReleased(pages);
  }
  Span* run = FindReleased(pages);
  return run != nullptr ? run : resident_.Find(pages);
}

// Cuts `pages` pages off the front of `run`, which is in no index, and gives back the rest.
Span* PageHeap::TakeFront(Span* run, size_t pages, unsigned words) {
  if (run->pages == pages && run->capacity == CapacityFor(words) && InOwnLane(run)) return run;
  Span* span = NewSpan(words);
  if (span == nullptr) return nullptr;
  span->start = run->start;
  span->pages = pages;
  span->zero = run->zero;
  span->garbage = run->garbage;
  span->resident = run->resident;
  span->freed_at = run->freed_at;
  if (run->pages == pages) {
    DeleteSpan(run);
    return span;
  }
  run->start += pages * kPageSize;
  run->pages -= pages;
  arena_.tables().SetRun(run->start, run->end(), run);
  IndexOf(run).Add(run);
  return span;
}

Span* PageHeap::Allocate(size_t pages, size_t alignment, unsigned words, bool mixed) {
  LockGuard guard(lock_);
  size_t slack = alignment > kPageSize ? alignment / kPageSize - 1 : 0;
  if (pages + slack < pages) return nullptr;
  Span* run = Find(pages + slack, mixed);
  if (run == nullptr) return nullptr;
  RemoveRun(run);
  if (slack != 0) {
    size_t lead = (RoundUp(run->start, alignment) - run->start) / kPageSize;
    if (lead != 0) {
      Span* front = NewSpan(0);
      if (front == nullptr) {
        InsertRun(run);
        return nullptr;
      }
      front->start = run->start;
      front->pages = lead;
      front->zero = run->zero;
      front->garbage = run->garbage;
      front->resident = run->resident;
      front->freed_at = run->freed_at;
      front->state.store(SpanState::kFree, std::memory_order_relaxed);
      run->start += lead * kPageSize;
      run->pages -= lead;
      arena_.tables().SetRun(front->start, front->end(), front);
      IndexOf(front).Add(front);
    }
  }
  Span* span = TakeFront(run, pages, words);
  if (span == nullptr) {
    InsertRun(run);
    return nullptr;
  }
  span->swept.store(sweep_epoch(), std::memory_order_relaxed);
  // pairs with: the acquire in IsUnowned
  span->state.store(SpanState::kInUse, std::memory_order_release);
  in_use_pages_.store(in_use_pages() + pages, std::memory_order_relaxed);
  return span;
}

void PageHeap::Publish(Span* span) {
  arena_.tables().SetSpan(span->start, span->end(), span);
  if (!span->large()) {
    arena_.tables().SetInfo(span->start, span->end(), PageInfo::Make(span->size_class, 0));
  }
}

void PageHeap::Free(Span* span) {
  uint64_t now = scavenge_delay_ == UINT64_MAX ? 0 : clock::Coarse();
  LockGuard guard(lock_);
  FreeLocked(span, now);
  ScavengeSometimes(now);
}

void PageHeap::FreeLocked(Span* span, uint64_t now) {
  if (!span->large()) arena_.tables().SetInfo(span->start, span->end(), 0);
  arena_.tables().SetSpan(span->start, span->end(), nullptr);
  in_use_pages_.store(in_use_pages() - span->pages, std::memory_order_relaxed);
  span->freed_at = now;
  span->resident = true;
  span->zero = false;
  // What is huge goes back at once, as glibc's largest blocks do.
  if (scavenge_delay_ == 0 || span->pages >= kHugePages) ReleaseRun(span);
  InsertRun(span);
}

bool PageHeap::Extend(Span* span, size_t extra) {
  LockGuard guard(lock_);
  Span* next = arena_.SpanOf(span->end());
  if (next == nullptr || next->state.load(std::memory_order_relaxed) != SpanState::kFree ||
      next->start != span->end()) {
    next = nullptr;
  }
  size_t have = next == nullptr ? 0 : next->pages;
  if (have < extra) {
    // At the end of what has been grown, more may come directly behind.
    size_t n = arena_.extent_count();
    const Arena::Extent& last = arena_.extent(n - 1);
    uintptr_t tail = next == nullptr ? span->end() : next->end();
    if (last.ready != tail || last.end - last.ready < (extra - have) * kPageSize) return false;
    if (!GrowBy(extra - have, false)) return false;  // it joins what is released
    next = arena_.SpanOf(span->end());
    if (next == nullptr || next->start != span->end()) return false;
    if (next->pages < extra) {
      // The new run is released, the one before it resident: make them one.
      if (!next->resident) return false;
      RemoveRun(next);
      ReleaseRun(next);
      InsertRun(next);
      next = arena_.SpanOf(span->end());
      if (next == nullptr || next->start != span->end() || next->pages < extra) return false;
    }
  }
  RemoveRun(next);
  if (next->garbage) memset(PointerTo(next->start), 0, extra * kPageSize);
  if (next->pages == extra) {
    DeleteSpan(next);
  } else {
    next->start += extra * kPageSize;
    next->pages -= extra;
    arena_.tables().SetRun(next->start, next->end(), next);
    IndexOf(next).Add(next);
  }
  uintptr_t old_end = span->end();
  span->pages += extra;
  span->zero = false;
  // A chunk that the block now covers wholly gets its one entry, too.
  arena_.tables().SetSpan(Max(span->start, RoundDown(old_end - 1, kChunkSize)), span->end(), span);
  in_use_pages_.store(in_use_pages() + extra, std::memory_order_relaxed);
  return true;
}

void PageHeap::Trim(Span* span, size_t pages) {
  Span* tail = NewSpan(0);
  if (tail == nullptr) return;  // the pages stay with the block
  uint64_t now = clock::Coarse();
  LockGuard guard(lock_);
  tail->start = span->start + pages * kPageSize;
  tail->pages = span->pages - pages;
  tail->state.store(SpanState::kInUse, std::memory_order_relaxed);
  uintptr_t old_end = span->end();
  // The chunk in which the cut lies is no longer covered wholly: its entries one by one.
  arena_.tables().SetSpan(RoundDown(tail->start, kChunkSize) >= span->start
                              ? RoundDown(tail->start, kChunkSize)
                              : tail->start,
                          old_end, nullptr);
  span->pages = pages;
  arena_.tables().SetSpan(Max(span->start, RoundDown(span->end() - 1, kChunkSize)), span->end(),
                          span);
  FreeLocked(tail, now);
}

size_t PageHeap::ReleaseRun(Span* run) {
  if (!memory::Decommit(run->start, run->pages * kPageSize)) return 0;
  run->resident = run->garbage = false;
  run->zero = true;
  released_total_ += run->pages * kPageSize;
  return run->pages * kPageSize;
}

size_t PageHeap::ScavengeLocked(uint64_t now, uint64_t age, size_t most) {
  size_t released = 0;
  resident_.ForEach([&](Span* run) {
    if (released >= most || now < run->freed_at || now - run->freed_at < age) return;
    RemoveRun(run);
    released += ReleaseRun(run);
    // Joining may take runs out of the released index only, so the walk over the resident one
    // goes on; a run that could not be released returns to where it was.
    InsertRun(run);
  });
  return released;
}

void PageHeap::ScavengeSometimes(uint64_t now) {
  if (scavenge_delay_ == UINT64_MAX || scavenge_delay_ == 0 || now < next_scavenge_) return;
  next_scavenge_ = now + Max(clock::kSecond / 4, scavenge_delay_ / 8);
  ScavengeLocked(now, scavenge_delay_);
}

void PageHeap::ScavengeIfDue(uint64_t now) {
  LockGuard guard(lock_);
  ScavengeSometimes(now);
}

size_t PageHeap::Scavenge(uint64_t now, uint64_t age) {
  LockGuard guard(lock_);
  return ScavengeLocked(now, age);
}

PageHeap::Counters PageHeap::Count() {
  LockGuard guard(lock_);
  Counters c{};
  c.in_use_pages = in_use_pages();
  c.resident_free_pages = resident_.pages();
  c.released_free_pages = released_.pages();
  c.released_total_bytes = released_total_;
  resident_.ForEach([&](Span*) { ++c.runs; });
  released_.ForEach([&](Span*) { ++c.runs; });
  return c;
}

}  // namespace gcm
