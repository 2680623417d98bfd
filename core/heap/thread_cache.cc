#include "core/heap/thread_cache.h"

#include "core/heap/heap.h"
#include "platform/process.h"
#include "platform/processor.h"
#include "platform/test_skip.h"

namespace gcm {
namespace {

// Local frees of the current span need no attention.
constexpr int16_t kEndless = INT16_MAX;
// The queue of a cache that is closing.
Span* Closed() { return PointerTo<Span>(1); }

}  // namespace

constinit std::atomic<void (*)()> Unstoppable::park{nullptr};

bool Unstoppable::Defer() {
  ThreadCache* cache = t_cache;
  if (cache == &g_empty_cache || cache->critical_.load(std::memory_order_relaxed) == 0) {
    return false;
  }
  // A bare clone may share the thread-local storage of the one that is in the section.
  if (cache->tid_ != process::ThreadId()) return false;
  cache->stop_pending_.store(true, std::memory_order_relaxed);
  return true;
}

void Unstoppable::Park(ThreadCache* cache) {
  cache->stop_pending_.store(false, std::memory_order_relaxed);
  void (*fn)() = park.load(std::memory_order_relaxed);
  if (fn != nullptr) fn();
}

void SetThreadCache(ThreadCache* cache) {
  // What goes, first: nobody else is to have these bins while the thread may still use them.
  if (cache == &g_empty_cache) t_cache = cache;
  for (size_t row = 0; row < kQuickRows; ++row) {
    // Of a cache without any they are not looked for: its pages were never touched.
    Bin* bin = cache->any_bin_ ? &cache->bin(ClassOfRow(row)) : nullptr;
    t_bins.of[row] = bin == nullptr || bin->cache == nullptr ? &g_no_bin.bin : bin;
  }
  t_cache = cache;
}

void ThreadCache::PrepareBin(unsigned size_class) {
  Bin& b = bin(size_class);
  if (b.cache == this) return;
  const SizeClass& k = kSizeClasses.classes[size_class];
  b.reciprocal = ~uint64_t{0} / k.size + 1;
  b.size = k.size;
  b.cache = this;
  b.free_distance = Span::FreeDistance(k.capacity);
  b.word = NoneFree();
  b.limit = b.Entries() + k.cached;
  b.Entries()[-1].word = &b.Entries()[-1].bit;
  any_bin_ = true;
  b.top = b.Entries();
  if (t_cache != this) return;
  for (size_t row = 0; row < kQuickRows; ++row) {
    if (ClassOfRow(row) == size_class) t_bins.of[row] = &b;
  }
}

void ThreadCache::TakeBin(Span* span) {
  if (heap().careful()) return;  // every free comes by the slow path
  if (span->owner.load(std::memory_order_relaxed) != AddressOf(this)) return;
  span->bin.store(&bin(span->size_class), std::memory_order_relaxed);
  FullFence();  // pairs with: FreeSmall
  if (heap().HasRemote(span)) span->LeaveBin();
}

void ThreadCache::ClearCursor(unsigned size_class) { bin(size_class).word = NoneFree(); }

void ThreadCache::SetCursor(unsigned size_class, Span* span, unsigned word) {
  lists_[size_class].word = word;
  if (heap().careful()) return;  // every allocation comes by the slow path
  Bin& b = bin(size_class);
  b.word = NoneFree();
  b.live = span->live_bits() + word;
  b.base = span->start + word * 64ul * span->slot_size;
  b.word = span->free_bits() + word;
}

// Points the cursor at a word of the current span that has free slots. False: it has none.
bool ThreadCache::FindBits(ClassLists& lists, unsigned size_class) {
  Span* span = lists.current;
  for (unsigned i = 0, w = lists.word; i < span->words(); ++i) {
    if (LoadRelaxed(&span->free_bits()[w]) != 0) {
      SetCursor(size_class, span, w);
      return true;
    }
    if (++w == span->words()) w = 0;
  }
  return false;
}

void ThreadCache::MakeCurrent(Span* span) {
  heap().FoldRemote(span);  // what was swept, above all
  heap().PrepareForUse(span);
  taken_ = true;
  heap().CountTaken(uint64_t{span->CountFree()} * span->slot_size);
  ClassLists& lists = lists_[span->size_class];
  lists.current = span;
  lists.word = 0;
  span->list = SpanList::kCurrent;
  span->credit = kEndless;
  TakeBin(span);
}

void ThreadCache::LeaveCurrent(unsigned size_class) {
  ClassLists& lists = lists_[size_class];
  Span* span = lists.current;
  lists.current = nullptr;
  ClearCursor(size_class);
  ListByFree(span, span->CountFree());
}

// Lists a span, so many slots of which are free; not all of them.
void ThreadCache::ListByFree(Span* span, unsigned free) {
  ClassLists& lists = lists_[span->size_class];
  if (free == 0) {
    span->list = SpanList::kFull;
    span->credit = 1;
    lists.full.PushFront(span);
  } else {
    span->list = SpanList::kPartial;
    span->credit = static_cast<int16_t>(span->slots - free);
    lists.partial.PushFront(span);
  }
}

uint64_t ThreadCache::freed_objects() const {
  uint64_t sum = LoadRelaxed(&freed_objects_);
  for (unsigned c = 0; c < kClasses; ++c) sum += LoadRelaxed(&bin(c).freed);
  return sum;
}

uint64_t ThreadCache::freed_bytes() const {
  uint64_t sum = LoadRelaxed(&freed_bytes_);
  for (unsigned c = 0; c < kClasses; ++c)
    sum += LoadRelaxed(&bin(c).freed) * kSizeClasses.classes[c].size;
  return sum;
}

// Takes over what other threads have freed in `span`.
void ThreadCache::Collect(Span* span) {
  if (!heap().FoldRemote(span)) return;
  if (span->list == SpanList::kCurrent) return;
  bool gone = Relist(span);
  if (gone) heap().pages().Free(span);
}

// Lists a span anew after its bits have changed. True if it is on no list any more, because it is
// empty, and the caller's to give back.
bool ThreadCache::Relist(Span* span, bool may_stay) {
  if (span->list == SpanList::kCurrent) return false;
  heap().FoldRemote(span);
  Unlist(span);
  const unsigned free = span->CountFree();
  if (free == span->slots) return !(may_stay && KeepSpare(span));
  ListByFree(span, free);
  return false;
}

void ThreadCache::Unlist(Span* span) {
  if (span->list == SpanList::kSpare) spare_pages_ -= span->pages;
  lists_[span->size_class].Of(span->list).Remove(span);
  span->list = SpanList::kNone;
}

// As Relist, by the sweeper, while the owner allocates and frees: its bits are not written. That
// nothing in the span is in use any more holds for good, because nobody allocates from it.
bool ThreadCache::RelistSwept(Span* span) {
  if (span->list == SpanList::kCurrent) return false;
  ClassLists& lists = lists_[span->size_class];
  bool empty = true, some = false;
  for (unsigned w = 0; w < span->words(); ++w) {
    // pairs with: the releases in MakeFree and FreeSmall
    const uint64_t mine = __atomic_load_n(&span->free_bits()[w], __ATOMIC_ACQUIRE);
    const uint64_t free = mine | span->remote_bits()[w].load(std::memory_order_acquire);
    empty = empty && (~free & span->ValidBits(w)) == 0;
    some = some || (free & span->ValidBits(w)) != 0;
  }
  if (!empty && (!some || span->list == SpanList::kPartial)) return false;
  Unlist(span);
  if (empty) return true;
  span->list = SpanList::kPartial;
  StoreRelaxed(&span->credit, int16_t{1});  // the owner's next free counts anew
  lists.partial.PushFront(span);
  return false;
}

void ThreadCache::BlackenCurrent() {
  for (const ClassLists& lists : lists_) {
    if (lists.current != nullptr) heap().Blacken(lists.current);
  }
  if (Skips(Skip::cached)) return;
  for (unsigned c = 0; c < kClasses; ++c) {
    Bin& b = bin(c);
    for (const CachedBlock* at = b.Entries(); at < b.top; ++at) heap().BlackenBlock(at->block);
  }
}

void ThreadCache::FlushCached(bool relist) {
  for (unsigned c = 0; c < kClasses; ++c) {
    Bin& b = bin(c);
    for (; b.top > b.Entries(); StoreRelaxed(&b.top, b.top - 1)) {
      const CachedBlock& last = b.top[-1];
      if (HasBits(last.word, last.bit)) continue;  // on its way to the program
      Span* span = heap().pages().arena().SpanOf(last.block);
      FlipBits(span->free_bits() + (last.word - span->live_bits()), last.bit);
      if (relist) NoteFreed(span);
    }
  }
}

size_t ThreadCache::Unqueue(Span** chain, Span** batch) {
  size_t n = 0;
  Span* span = *chain;
  while (n < kDrainBatch && span != nullptr && span != Closed()) {
    batch[n++] = span;
    Span* next = span->next_remote;
    span->next_remote = nullptr;
    // pairs with: the exchange in QueueRemote, behind which the link is written again
    span->remote_queued.store(0, std::memory_order_release);
    // What is folded below needs no closer look; what is freed from here on ends that again.
    if (span->owner.load(std::memory_order_relaxed) == AddressOf(this))
      span->bin.store(&bin(span->size_class), std::memory_order_relaxed);
    span = next;
  }
  *chain = span;
  // The flags and the bins first, then the bits: who freed something is seen, or sees them.
  // pairs with: FreeSmall and QueueRemote
  FullFence();
  return n;
}

void ThreadCache::DrainRemote() {
  undrained_ = 0;
  if (remote_.load(std::memory_order_relaxed) == nullptr) return;
  // pairs with: the release in QueueRemote
  Span* chain = remote_.exchange(nullptr, std::memory_order_acquire);
  Span* batch[kDrainBatch];
  while (const size_t n = Unqueue(&chain, batch)) {
    for (size_t i = 0; i < n; ++i) {
      Span* span = batch[i];
      uintptr_t owner = span->owner.load(std::memory_order_relaxed) & ~kOwnerCareful;
      if (owner == AddressOf(this)) {
        Collect(span);
      } else if (span->InUse() && !span->large() && heap().HasRemote(span)) {
        heap().SettleRemote(span, this);  // the descriptor has another life by now
      }
    }
  }
}

bool ThreadCache::QueueRemote(Span* span) {
  // Whose flag it is has queued the span, or is about to; who takes it from there sees the bit that
  // was set before this look. So most frees write nothing here.
  // pairs with: the fence in Unqueue
  if (span->remote_queued.load(std::memory_order_seq_cst) != 0 ||
      span->remote_queued.exchange(1, std::memory_order_seq_cst) != 0) {
    return true;
  }
  Span* head = remote_.load(std::memory_order_relaxed);
  do {
    if (head == Closed()) {
      // pairs with: the exchange above, in who queues it next
      span->remote_queued.store(0, std::memory_order_release);
      // Others have seen the flag meanwhile: their bits are the caller's to settle.
      FullFence();  // pairs with: the looks above
      return false;
    }
    span->next_remote = head;
    // pairs with: the acquires in DrainRemote and Retire
  } while (!remote_.compare_exchange_weak(head, span, std::memory_order_release,
                                          std::memory_order_relaxed));
  return true;
}

bool ThreadCache::Refill(unsigned size_class) {
  PrepareBin(size_class);
  ClassLists& lists = lists_[size_class];
  for (;;) {
    if (lists.current != nullptr) {
      if (FindBits(lists, size_class)) return true;
      if (heap().FoldRemote(lists.current)) continue;
      LeaveCurrent(size_class);
    }
    // While there is something to allocate from, what others have freed may wait, for a while.
    if (lists.partial.empty() || ++undrained_ >= kDrainEvery) DrainRemote();
    Span* span = lists.partial.PopFront();
    if (span == nullptr && (span = lists.spare.PopFront()) != nullptr) spare_pages_ -= span->pages;
    if (span == nullptr) span = heap().central().Take(size_class, heap().OwnerWord(this));
    if (span == nullptr) span = heap().NewSlots(size_class, heap().OwnerWord(this));
    if (span == nullptr) return false;
    MakeCurrent(span);
  }
}

void* ThreadCache::AllocateSlow(unsigned size_class) {
  if (!Refill(size_class)) return nullptr;
  ClassLists& lists = lists_[size_class];
  Span* span = lists.current;
  uint64_t* word = span->free_bits() + lists.word;
  uint64_t bits = LoadRelaxed(word);
  unsigned index = lists.word * 64 + static_cast<unsigned>(__builtin_ctzll(bits));
  FlipBits(word, bits & -bits);
  FlipBits(span->live_bits() + lists.word, bits & -bits);
  return PointerTo(span->start + uintptr_t{index} * span->slot_size);
}

void ThreadCache::FreeLocal(Span* span, unsigned index) {
  span->MakeFree(index / 64, uint64_t{1} << index % 64);
  CountFreed(span->slot_size);
  NoteFreed(span);
}

// A free bit of a span of this cache has been set.
void ThreadCache::NoteFreed(Span* span) {
  if (span->list != SpanList::kCurrent && --span->credit <= 0 && Relist(span)) {
    heap().pages().Free(span);
  }
}

void ThreadCache::CreditSpent(Span* span) {
  CriticalSection critical(this);
  // The collector may have acted on the span meanwhile: what its bits say counts.
  if ((span->owner.load(std::memory_order_relaxed) & ~kOwnerCareful) != AddressOf(this)) return;
  if (!span->InUse() || span->large()) return;
  if (span->list == SpanList::kCurrent) {
    span->credit = kEndless;
  } else if (Relist(span)) {
    heap().pages().Free(span);
  }
}

void ThreadCache::Retire() {
  // pairs with: the release in QueueRemote
  Span* queued = remote_.exchange(Closed(), std::memory_order_acquire);
  Span* batch[kDrainBatch];
  while (const size_t n = Unqueue(&queued, batch)) {
    for (size_t i = 0; i < n; ++i) {
      Span* span = batch[i];
      uintptr_t owner = span->owner.load(std::memory_order_relaxed) & ~kOwnerCareful;
      if (owner != AddressOf(this) && span->InUse() && !span->large()) {
        heap().SettleRemote(span, this);
      }
    }
  }
  FlushCached(false);
  for (unsigned c = 0; c < kClasses; ++c) {
    ClassLists& lists = lists_[c];
    ClearCursor(c);
    if (Span* span = lists.current) {
      lists.current = nullptr;
      heap().central().Give(span);
    }
    while (Span* span = lists.partial.PopFront()) heap().central().Give(span);
    while (Span* span = lists.full.PopFront()) heap().central().Give(span);
    while (Span* span = lists.spare.PopFront()) heap().central().Give(span);
  }
  spare_pages_ = 0;
}

constinit EmptyBin g_no_bin{};
constinit ThreadCache g_empty_cache{};
constinit GCM_TLS ThreadCache* t_cache = &g_empty_cache;
constinit GCM_TLS Bins t_bins;

}  // namespace gcm
