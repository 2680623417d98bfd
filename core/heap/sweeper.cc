#include "core/heap/sweeper.h"

#include <cstring>

#include "core/heap/heap.h"
#include "platform/clock.h"
#include "platform/test_skip.h"

namespace gcm {
namespace {

constexpr size_t kBatch = 64;

// What the program left in a block must not be taken for pointers when the slot is handed out
// again, uninitialised: a chain of such blocks would keep itself alive.
void Scrub(uintptr_t slot, size_t size) {
  memset(PointerTo(slot), heap().poison() ? 0xDB : 0, size);
}

}  // namespace

bool Sweeper::IsSwept(const Span* span) const {
  return span->swept.load(std::memory_order_relaxed) == heap().pages().sweep_epoch();
}

bool Sweeper::Empties(const Span* span) const {
  if (heap().poison() || IsProtected(span)) return false;
  const std::atomic<uint64_t>* marks = heap().pages().arena().tables().MarkBits(span->start);
  for (unsigned w = 0; w < span->words(); ++w) {
    const uint64_t garbage = span->Blocks(w) & ~marks[w].load(std::memory_order_relaxed);
    // A slot that is free stays so; who gets the pages looks for himself.
    const uint64_t free =
        LoadRelaxed(&span->free_bits()[w]) | span->remote_bits()[w].load(std::memory_order_relaxed);
    if ((~(garbage | free) & span->ValidBits(w)) != 0) return false;
  }
  return true;
}

bool Sweeper::IsProtected(const Span* span) const {
  return protected_ != nullptr && protected_->Overlaps({span->start, span->end()});
}

template <typename Use>
bool Sweeper::SweepSlots(Span* span, bool scrub, Use use) {
  span->swept.store(heap().pages().sweep_epoch(), std::memory_order_relaxed);
  const bool is_protected = IsProtected(span);
  const std::atomic<uint64_t>* marks = heap().pages().arena().tables().MarkBits(span->start);
  bool any = false;
  for (unsigned w = 0; w < span->words() && !is_protected; ++w) {
    // What the owner frees meanwhile, or hands out, was marked.
    const uint64_t garbage = span->Blocks(w) & ~marks[w].load(std::memory_order_relaxed);
    if (garbage == 0) continue;
    for (uint64_t rest = scrub ? garbage : 0; rest != 0;) {  // slots side by side at once
      const auto first = static_cast<unsigned>(__builtin_ctzll(rest));
      const uint64_t behind = ~(rest >> first);
      const unsigned n = behind == 0 ? 64 : static_cast<unsigned>(__builtin_ctzll(behind));
      Scrub(span->start + (w * 64 + uintptr_t{first}) * span->slot_size, n * span->slot_size);
      rest &= first + n == 64 ? 0 : ~uint64_t{0} << (first + n);
    }
    const auto count = static_cast<unsigned>(__builtin_popcountll(garbage));
    objects_.fetch_add(count, std::memory_order_relaxed);
    bytes_.fetch_add(uint64_t{count} * span->slot_size, std::memory_order_relaxed);
    use(w, garbage);
    any = true;
  }
  if (heap().marks_stay()) heap().ForgetFree(span);
  return any;
}

void Sweeper::Begin(const ProtectedRanges* protected_ranges) {
  protected_ = protected_ranges;
  heap().pages().NextSweepEpoch();
  before_ = total();
  walk_.Begin();
  if (!Skips(Skip::black)) {
    heap().registry().ForEach([](ThreadCache* cache) { cache->BlackenCurrent(); });
  }
}

void Sweeper::SweepBeforeUse(Span* span) {
  if (IsSwept(span) || Skips(Skip::black)) return;
  SweepSlots(span, true, [span](unsigned w, uint64_t garbage) { span->MakeFree(w, garbage); });
}

bool ThreadCache::Sweep(Span* span, Sweeper* sweeper, bool stopped) {
  LockGuard guard(lock_);
  const uintptr_t owner = span->owner.load(std::memory_order_relaxed) & ~kOwnerCareful;
  if (owner != AddressOf(this)) return false;
  if (!span->InUse() || sweeper->IsSwept(span)) return true;
  // Nobody allocates from it, and so it will be given back, below.
  const bool empties = span->list != SpanList::kCurrent && sweeper->Empties(span);
  if (stopped) {
    const bool changed = heap().FoldRemote(span) || span->list == SpanList::kSpare;
    const bool any = sweeper->SweepSlots(
        span, !empties, [span](unsigned w, uint64_t garbage) { span->MakeFree(w, garbage); });
    if ((changed || any) && Relist(span, false)) {
      span->garbage = empties && any;
      heap().pages().Free(span);
    }
    return true;
  }
  const bool any = sweeper->SweepSlots(span, !empties, [span](unsigned w, uint64_t garbage) {
    // pairs with: the exchange in FoldRemote
    span->remote_bits()[w].fetch_or(garbage, std::memory_order_release);
  });
  if (RelistSwept(span)) {
    span->garbage = empties && any;
    heap().pages().Free(span);
  }
  return true;
}

void Sweeper::SweepLarge(Span* span) {
  PageHeap& pages = heap().pages();
  LockGuard guard(pages.lock());
  if (!span->InUse() || !span->large() || IsSwept(span)) return;
  span->swept.store(pages.sweep_epoch(), std::memory_order_relaxed);
  if ((pages.arena().tables().MarkBits(span->start)[0].load(std::memory_order_relaxed) & 1) != 0)
    return;
  if (protected_ != nullptr && protected_->Overlaps({span->start, span->end()})) return;
  objects_.fetch_add(1, std::memory_order_relaxed);
  bytes_.fetch_add(span->BlockSize(), std::memory_order_relaxed);
  if (heap().poison()) memset(PointerTo(span->start), 0xDB, span->BlockSize());
  pages.FreeLocked(span, clock::Coarse());
}

// False: the span's owner changes at this moment, and is to be asked again.
bool Sweeper::SweepOne(Span* span, bool stopped) {
  if (!span->InUse() || IsSwept(span)) return true;
  if (span->large()) {
    SweepLarge(span);
    return true;
  }
  // pairs with: the releases in CentralLists
  const uintptr_t owner = span->owner.load(std::memory_order_acquire) & ~kOwnerCareful;
  if (owner == kOwnerLeaving) return true;
  if (owner == 0) return heap().central().Sweep(span, this);
  return PointerTo<ThreadCache>(owner)->Sweep(span, this, stopped);
}

bool CentralLists::Sweep(Span* span, Sweeper* sweeper) {
  const unsigned size_class = LoadRelaxed(&span->size_class);
  if (size_class >= kClasses) return !span->InUse();
  List& list = lists_[size_class];
  bool empty;
  {
    LockGuard guard(list.lock);
    if (!IsUnowned(span, size_class)) return !span->InUse();
    if (sweeper->IsSwept(span)) return true;
    const bool empties = sweeper->Empties(span);
    const bool changed = heap().FoldRemote(span);
    const bool any = sweeper->SweepSlots(
        span, !empties, [span](unsigned w, uint64_t garbage) { span->MakeFree(w, garbage); });
    span->garbage = empties && any;
    empty = (changed || any) && ListByFree(list, span);
  }
  if (empty) heap().pages().Free(span);
  return true;
}

bool Sweeper::Step(uint64_t deadline, bool stopped) {
  Unstoppable unstoppable(t_cache);
  SpanWalk::Seen batch[kBatch];
  do {
    bool over;
    const size_t n = walk_.Take(batch, kBatch, &over);
    if (over) return true;
    for (size_t i = 0; i < n; ++i) {
      while (!SweepOne(batch[i].span, stopped)) {
      }
    }
  } while (clock::Now() < deadline);
  return false;
}

}  // namespace gcm
