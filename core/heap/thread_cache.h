// The per-thread cache: the fast paths of malloc and free, free of locks and atomics.
//
// For each size class a bin (bin.h): the last few blocks that the thread has freed, which malloc
// hands out first, the last one before all others; and a cursor at one 64-bit word of the current
// span's free bits, of which malloc takes the lowest. What is freed beyond the few gets its free
// bit back. So a program that frees and allocates in turn does not touch the lists of spans,
// wherever its blocks lie. What is handed out gets its live bit, which free looks at and takes
// back.
//
// Laws, beside those of bins:
//  - All else happens in a CriticalSection, in which the thread is not stopped.
//  - A span's free bits are written by the owner; the collector writes them while the owner is
//    stopped (see span.h).
//  - A thread's bins are its cache's, or all of them the empty one: t_bins follows t_cache.
#pragma once

#include <atomic>

#include "core/heap/arena.h"
#include "core/heap/bin.h"
#include "core/heap/blocked_state.h"
#include "core/heap/span.h"
#include "platform/mutex.h"
#include "platform/signal.h"

namespace gcm {

class Sweeper;

// Gives the calling thread a cache, or the empty one.
void SetThreadCache(ThreadCache* cache);

class alignas(64) ThreadCache {
 public:
  // Empty, all zeros: bins are prepared when they are used first, and not looked into before.
  constexpr ThreadCache() : bins_{} {}
  // In memory that is all zeros already, of which nothing is touched that is not used.
  enum class Zeroed { kMemory };
  explicit ThreadCache(Zeroed) {}

  Bin& bin(unsigned size_class) {
    return *PointerTo<Bin>(AddressOf(this) + kBinPlaces.at[size_class]);
  }
  const Bin& bin(unsigned size_class) const {
    return const_cast<ThreadCache*>(this)->bin(size_class);
  }

  GCM_INLINE void* AllocateFast(unsigned size_class) {
    Bin& b = bin(size_class);
    if (GCM_UNLIKELY(b.cache == nullptr)) return nullptr;
    if (void* p = b.Pop(); GCM_LIKELY(p != nullptr)) return p;
    return b.TakeFree();
  }
  // True when the block was freed. False: nothing was done, and it must be looked at more closely.
  static GCM_INLINE bool FreeFast(Span* span, void* p) {
    Bin* bin = span->bin.load(std::memory_order_relaxed);
    if (GCM_UNLIKELY(LoadOperand(&bin->cache) != t_cache)) return false;
    uint64_t* live_word;
    uint64_t bit;
    if (GCM_UNLIKELY(!bin->Find(span, p, &live_word, &bit))) return false;
    FreeFound(bin, span, live_word, bit, p);
    return true;
  }

  // Within a CriticalSection, all of them:

  // A slot, or nullptr when there is no memory.
  void* AllocateSlow(unsigned size_class);
  // The block's span belongs to this cache, and the slot is a block. Sets its bit.
  void FreeLocal(Span* span, unsigned index);
  // Takes over what other threads have freed in spans of this cache.
  void DrainRemote();
  // Lets frees in a span of this cache take the fast path, unless others have freed there.
  void TakeBin(Span* span);
  // What is at hand becomes free. Without `relist` the caller lists all spans anew.
  void FlushCached(bool relist);
  // The empty spans go back to the page heap.
  void GiveSpare();
  void CountFreed(size_t bytes, unsigned objects = 1) {
    StoreRelaxed(&freed_objects_, freed_objects_ + objects);
    StoreRelaxed(&freed_bytes_, freed_bytes_ + bytes);
  }
  // The block at p, whose live bit that is, goes to its bin, or back to its span.
  static GCM_INLINE void FreeFound(Bin* bin, Span* span, uint64_t* live_word, uint64_t bit,
                                   void* p) {
    IncrementRelaxed(&bin->freed);
    CachedBlock* next = LoadRelaxed(&bin->top);
    if (GCM_LIKELY(next != LoadOperand(&bin->limit))) return bin->Keep(next, live_word, bit, p);
    if (GCM_UNLIKELY(!bin->MakeFree(span, live_word, bit, p))) t_cache->CreditSpent(span);
  }
  // The owner acts on a span whose credit is spent; enters its own CriticalSection.
  GCM_NOINLINE void CreditSpent(Span* span);

  // Any thread: `span`, owned by this cache, got a bit in its remote bits. False: the cache is
  // closing, and the span's owner will change.
  bool QueueRemote(Span* span);

  // Everything goes to the central lists. By the thread itself when it ends, or by the collector
  // when it is gone.
  void Retire();
  // Takes part in remote frees again.
  void Reopen() { remote_.store(nullptr, std::memory_order_relaxed); }
  // Returns when a Retire that is under way is done.
  void WaitUntilRetired() {
    lock_.Lock();
    lock_.Unlock();
  }

  // By any thread: sweeps a span that this cache owns. False: it does not (any more).
  bool Sweep(Span* span, Sweeper* sweeper, bool stopped);
  // With the world stopped: what is allocated next counts as marked, and so does what is at hand.
  void BlackenCurrent();

  BlockedState& blocked() { return blocked_; }
  // Whether the thread has taken a span to allocate from since it was asked last.
  bool TellTaken() {
    if (!taken_) return false;
    taken_ = false;
    return true;
  }
  // Counts caches, from 1 on; of the empty one 0.
  unsigned number() const { return number_; }
  // Of the thread that has the cache.
  int tid() const { return tid_; }
  uintptr_t thread_pointer() const { return thread_pointer_; }

  // Since the start; by any thread.
  uint64_t freed_objects() const;
  uint64_t freed_bytes() const;

 private:
  friend class CacheRegistry;
  friend class CriticalSection;
  friend class Heap;
  friend void SetThreadCache(ThreadCache* cache);
  friend class Unstoppable;

  struct ClassLists {
    Span* current = nullptr;
    unsigned word = 0;  // the cursor's, in the current span
    SpanQueue partial;
    SpanQueue full;
    SpanQueue spare;
    SpanQueue& Of(SpanList list) {
      return list == SpanList::kFull ? full : list == SpanList::kSpare ? spare : partial;
    }
  };

  // Spans that are taken off the queue at once, for one fence.
  static constexpr size_t kDrainBatch = 32;
  // Occasions after which the queue is drained, refills and closer looks: until then each costs
  // less than to drain spans and to see others free there again.
  static constexpr unsigned kDrainEvery = 32;

  // A block of a span of this cache that another thread has freed in: only whether it has freed
  // this one is looked at. False: nothing was done, and it must be looked at more closely still.
  bool FreeClosely(Span* span, void* p);
  // Takes up to kDrainBatch spans off a chain of queued ones. Others may queue them again; what
  // they have freed before is in the remote bits.
  size_t Unqueue(Span** chain, Span** batch);
  void PrepareBin(unsigned size_class);
  void NoteFreed(Span* span);
  bool Relist(Span* span, bool may_stay = true);
  bool RelistSwept(Span* span);
  void SetCursor(unsigned size_class, Span* span, unsigned word);
  void ClearCursor(unsigned size_class);
  bool Refill(unsigned size_class);
  bool FindBits(ClassLists& lists, unsigned size_class);
  void MakeCurrent(Span* span);
  void LeaveCurrent(unsigned size_class);
  void Collect(Span* span);
  void ListByFree(Span* span, unsigned free);
  void Unlist(Span* span);
  bool KeepSpare(Span* span);

  alignas(Bin) unsigned char bins_[kBinPlaces.size];  // at the beginning: bin()
  uint64_t freed_objects_ = 0;                        // beside those that the bins count
  uint64_t freed_bytes_ = 0;
  size_t spare_pages_ = 0;  // under the cache's lock
  bool taken_ = false;
  unsigned undrained_ = 0;  // occasions to drain the queue that were left, since it was drained
  // Shared with other threads. What those write has a line of its own.
  alignas(64) std::atomic<Span*> remote_{nullptr};
  alignas(64) std::atomic<uint32_t> critical_{0};  // depth; by the owner, read by its stop handler
  std::atomic<bool> stop_pending_{false};
  BlockedState blocked_;
  Mutex lock_;  // of all below, and of the lists of spans
  ClassLists lists_[kClasses];
  // The registry's:
  unsigned number_ = 0;
  int tid_ = 0;
  uintptr_t thread_pointer_ = 0;
  bool live_ = false;
  bool any_bin_ = false;  // one was prepared, ever
  ThreadCache* next_ = nullptr;
};

extern GCM_HIDDEN ThreadCache g_empty_cache;

// The thread is not stopped between construction and destruction: a stop that is asked for
// meanwhile happens at the end. What takes a lock of the heap does so inside of one. With the empty
// cache, which many threads share, all signals are blocked instead.
class Unstoppable {
 public:
  Unstoppable();  // with the calling thread's own cache
  explicit Unstoppable(ThreadCache* cache) : cache_(cache) {
    if (GCM_UNLIKELY(cache_ == &g_empty_cache)) {
      mask_ = BlockSignals();
      return;
    }
    cache_->critical_.store(cache_->critical_.load(std::memory_order_relaxed) + 1,
                            std::memory_order_relaxed);
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }
  ~Unstoppable() {
    if (GCM_UNLIKELY(cache_ == &g_empty_cache)) {
      RestoreSignals(mask_);
      return;
    }
    std::atomic_signal_fence(std::memory_order_seq_cst);
    uint32_t depth = cache_->critical_.load(std::memory_order_relaxed) - 1;
    cache_->critical_.store(depth, std::memory_order_relaxed);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    if (GCM_UNLIKELY(depth == 0 && cache_->stop_pending_.load(std::memory_order_relaxed)))
      Park(cache_);
  }
  Unstoppable(const Unstoppable&) = delete;
  Unstoppable& operator=(const Unstoppable&) = delete;

  // In the stop handler: true if the thread is in a section; then it parks when it leaves it.
  static bool Defer();
  // True in a signal handler that has interrupted a section of its own thread.
  static bool IsInside() {
    ThreadCache* cache = t_cache;
    return cache != &g_empty_cache && cache->critical_.load(std::memory_order_relaxed) != 0;
  }
  // What a thread calls to be stopped at the end of a section; set by the collector.
  static std::atomic<void (*)()> park;

 private:
  GCM_COLD static void Park(ThreadCache* cache);
  ThreadCache* cache_;
  uint64_t mask_ = 0;
};

// As Unstoppable, and holds the cache's lock.
class CriticalSection {
 public:
  explicit CriticalSection(ThreadCache* cache) : unstoppable_(cache), cache_(cache) {
    if (cache_ != &g_empty_cache) cache_->lock_.Lock();
  }
  ~CriticalSection() {
    if (cache_ != &g_empty_cache) cache_->lock_.Unlock();
  }
  CriticalSection(const CriticalSection&) = delete;
  CriticalSection& operator=(const CriticalSection&) = delete;

 private:
  Unstoppable unstoppable_;
  ThreadCache* cache_;
};

}  // namespace gcm
