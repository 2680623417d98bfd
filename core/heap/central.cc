#include "core/heap/central.h"

#include "core/heap/heap.h"

namespace gcm {

Span* CentralLists::Take(unsigned size_class, uintptr_t owner) {
  List& list = lists_[size_class];
  if (list.partial.LooksEmpty()) return nullptr;  // as it is nearly always
  LockGuard guard(list.lock);
  Span* span = list.partial.PopFront();
  if (span == nullptr) return nullptr;
  span->list = SpanList::kNone;
  // pairs with: the acquire in Heap::SettleRemote
  span->owner.store(owner, std::memory_order_release);
  return span;
}

// Lists the span by its bits. True: it is empty and on no list, and the caller's to give back.
bool CentralLists::ListByFree(List& list, Span* span) {
  if (span->list == SpanList::kPartial) list.partial.Remove(span);
  span->list = SpanList::kNone;
  unsigned free = span->CountFree();
  if (free == span->slots) {
    span->owner.store(kOwnerLeaving, std::memory_order_relaxed);
    return true;
  }
  if (free != 0) {
    span->list = SpanList::kPartial;
    list.partial.PushFront(span);
  }
  return false;
}

void CentralLists::Give(Span* span) {
  List& list = lists_[span->size_class];
  bool empty;
  {
    LockGuard guard(list.lock);
    span->list = SpanList::kNone;
    span->LeaveBin();
    // pairs with: the acquire in Heap::SettleRemote
    span->owner.store(kOwnerNone, std::memory_order_release);
    heap().FoldRemote(span);
    empty = ListByFree(list, span);
  }
  if (empty) heap().pages().Free(span);
}

bool CentralLists::IsUnowned(const Span* span, unsigned size_class) {
  // pairs with: InsertRun, and Give before a former holder of the lock let it go
  if (span->owner.load(std::memory_order_acquire) != kOwnerNone) return false;
  // pairs with: Allocate in the page heap
  if (span->state.load(std::memory_order_acquire) != SpanState::kInUse) return false;
  // pairs with: NewSlots and InsertRun
  if (__atomic_load_n(&span->size_class, __ATOMIC_ACQUIRE) != size_class) return false;
  // A class of the next life: its owner came before.
  return span->owner.load(std::memory_order_relaxed) == kOwnerNone;
}

bool CentralLists::Settle(Span* span) {
  // The span may be given back and get another life at any moment; then others have taken over
  // what the caller knew of, and what is done here does no harm.
  unsigned size_class = LoadRelaxed(&span->size_class);
  if (size_class >= kClasses) return true;
  List& list = lists_[size_class];
  bool empty;
  {
    LockGuard guard(list.lock);
    if (!IsUnowned(span, size_class)) return !span->InUse();
    heap().FoldRemote(span);
    empty = ListByFree(list, span);
  }
  if (empty) heap().pages().Free(span);
  return true;
}

void CentralLists::LockAll() {
  for (List& list : lists_) list.lock.Lock();
}
void CentralLists::UnlockAll() {
  for (unsigned i = kClasses; i-- > 0;) lists_[i].lock.Unlock();
}
void CentralLists::ResetLocks(bool own_only) {
  for (List& list : lists_) list.lock.Reset(own_only);
}

}  // namespace gcm
