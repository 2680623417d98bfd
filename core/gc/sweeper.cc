#include "core/gc/sweeper.h"

#include <cstring>

#include "platform/clock.h"

namespace gcm {
namespace {

// What the program left in a block must not be taken for pointers when the slot is handed out
// again, uninitialised: a chain of such blocks would keep itself alive.
void Scrub(uintptr_t slot, size_t size) {
  memset(PointerTo(slot), heap().poison() ? 0xDB : 0, size);
}

void SweepSlots(Span* span, const ProtectedRanges& protected_ranges, uint64_t now,
                SweepResult* result) {
  const std::atomic<uint64_t>* marks = heap().pages().arena().tables().MarkBits(span->start);
  bool changed = heap().FoldRemote(span);
  bool guarded =
      protected_ranges.count != 0 && protected_ranges.Overlaps({span->start, span->end()});
  for (unsigned w = 0; w < span->words; ++w) {
    uint64_t free = LoadRelaxed(&span->free_bits()[w]);
    uint64_t garbage = ~free & ~marks[w].load(std::memory_order_relaxed) & span->ValidBits(w);
    if (garbage == 0 || guarded) continue;
    unsigned count = static_cast<unsigned>(__builtin_popcountll(garbage));
    result->reclaimed_objects += count;
    result->reclaimed_bytes += uint64_t{count} * span->slot_size;
    for (uint64_t rest = garbage; rest != 0; rest &= rest - 1) {
      unsigned index = w * 64 + static_cast<unsigned>(__builtin_ctzll(rest));
      Scrub(span->start + uintptr_t{index} * span->slot_size, span->slot_size);
    }
    StoreRelaxed(&span->free_bits()[w], free | garbage);
    changed = true;
  }
  if (!changed) return;
  uintptr_t owner = span->owner.load(std::memory_order_relaxed) & ~kOwnerCareful;
  bool empty =
      owner != 0 ? PointerTo<ThreadCache>(owner)->Relist(span) : heap().central().Relist(span);
  if (empty) heap().pages().FreeLocked(span, now);
}

}  // namespace

SweepResult Sweep(const ProtectedRanges& protected_ranges) {
  SweepResult result{};
  const uint64_t now = clock::Coarse();
  PageHeap& pages = heap().pages();
  LockGuard guard(pages.lock());
  pages.ForEachSpan([&](Span* span) {
    if (!span->large()) {
      SweepSlots(span, protected_ranges, now, &result);
    } else if (!Marker::IsMarked(span, 0) &&
               !protected_ranges.Overlaps({span->start, span->end()})) {
      ++result.reclaimed_objects;
      result.reclaimed_bytes += span->BlockSize();
      if (heap().poison()) memset(PointerTo(span->start), 0xDB, span->BlockSize());
      pages.FreeLocked(span, now);
    }
  });
  return result;
}

}  // namespace gcm
