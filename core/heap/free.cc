// How blocks are freed that the fast path does not take: because the block is another thread's,
// large, or none at all.
#include <cstring>

#include "core/base/misuse.h"
#include "core/heap/heap.h"

namespace gcm {
namespace {

constexpr int kPoisonByte = 0xDB;

}  // namespace

bool ThreadCache::FreeClosely(Span* span, void* p) {
  if (span->owner.load(std::memory_order_relaxed) != AddressOf(this)) return false;
  if (++undrained_ >= kDrainEvery) return false;
  // Of a block that was freed before, the span may be given back at this moment.
  const unsigned size_class = LoadRelaxed(&span->size_class);
  if (size_class >= kClasses) return false;
  Bin& b = bin(size_class);
  if (b.cache != this) return false;
  uint64_t* word;
  uint64_t bit;
  if (!b.Find(span, p, &word, &bit)) return false;
  // What another thread has freed before this free is seen: its bit came before the program went
  // on.
  if ((span->remote_bits()[word - span->live_bits()].load(std::memory_order_relaxed) & bit) != 0)
    return false;
  FreeFound(&b, span, word, bit, p);
  return true;
}

void Heap::FreeRest(Span* span, void* p, const char* function) {
  if (!t_cache->FreeClosely(span, p)) heap().FreeChecked(p, function);
}

void Heap::FreeSlow(void* p, const char* function) {
  if (p == nullptr) return;
  Span* span = heap().pages_.arena().SpanOf(AddressOf(p));
  if (span == nullptr) return heap().FreeChecked(p, function);
  if (!ThreadCache::FreeFast(span, p)) FreeRest(span, p, function);
}

void Heap::FreeChecked(void* p, const char* function) {
  ThreadCache* cache = Cache();
  unsigned index;
  Span* span = CheckedSpan(p, function, &index);
  if (span == nullptr) return;
  if (poison_ || clean_) memset(p, poison_ ? kPoisonByte : 0, span->BlockSize() - 1);
  if (span->large()) {
    FreeLarge(cache, span);
  } else {
    FreeSmall(cache, span, p, index);
  }
  GCM_KEEP_ALIVE(p);
}

void Heap::FreeSmall(ThreadCache* cache, Span* span, void* p, unsigned index) {
  uintptr_t owner = span->owner.load(std::memory_order_relaxed) & ~kOwnerCareful;
  if (owner == AddressOf(cache)) {
    CriticalSection critical(cache);
    cache->DrainRemote();
    cache->TakeBin(span);
    // Of its own spans a thread is the only one that frees by free_bits, so the check still holds,
    // unless a collection took the cache's spans away meanwhile.
    cache->FreeLocal(span, index);
    return;
  }
  size_t usable = span->slot_size - 1;
  uint64_t bit = uint64_t{1} << index % 64;
  bool twice;
  {
    Unstoppable unstoppable(cache);
    // The bit first, then the looks at what the owner does, at the bin here and at the queue in
    // QueueRemote: the owner sees the bit, or is seen. All three are seq_cst instead of a fence
    // between them, which would cost as much again as the first.
    // pairs with: the fences in TakeBin and Unqueue, and the exchange in FoldRemote
    twice = (span->remote_bits()[index / 64].fetch_or(bit, std::memory_order_seq_cst) & bit) != 0;
    span->LeaveBin();
    if (!twice) {
      // The span may have another life by now.
      if (cache != &g_empty_cache) cache->CountFreed(usable + 1);
      SettleRemote(span, nullptr);
    }
  }
  if (twice) misuse::DoubleFree("free", p, usable);
}

}  // namespace gcm
