// The per-thread cache: the fast paths of malloc and free, free of locks and atomics.
//
// For each size class a cursor points at one 64-bit word of the current span's free bits; malloc
// takes its lowest bit. free sets the bit again, when the span belongs to this cache.
//
// Laws:
//  - In malloc the block's address is in a register before its bit is cleared, and in free the
//    pointer stays in one until the bit is set: a thread may be stopped between any two
//    instructions, and the collector must see each block as free or as reachable.
//  - All else happens in a CriticalSection, in which the thread is not stopped.
//  - A span's free bits are written by the owner; the collector writes them while the owner is
//    stopped (see span.h).
#pragma once

#include <atomic>

#include "core/heap/arena.h"
#include "core/heap/blocked_state.h"
#include "core/heap/span.h"
#include "platform/mutex.h"
#include "platform/signal.h"

namespace gcm {

class Sweeper;

struct Cursor {
  uint64_t* word;  // never null; an empty cache points at a word that is zero for ever
  uintptr_t base;  // address of the slot of bit 0
  uint64_t size;   // of a slot
};

class alignas(64) ThreadCache {
 public:
  // Empty: each cursor points at `zero`, a word that is never anything but zero.
  constexpr explicit ThreadCache(uint64_t* zero) {
    for (Cursor& c : cursors_) c = {zero, 0, 0};
  }

  GCM_INLINE void* AllocateFast(unsigned size_class) {
    Cursor& c = cursors_[size_class];
    uint64_t bits = LoadRelaxed(c.word);
    if (GCM_UNLIKELY(bits == 0)) return nullptr;
    uintptr_t block = c.base + static_cast<unsigned>(__builtin_ctzll(bits)) * c.size;
    asm volatile("" : "+r"(block) : : "memory");  // the address first, then the bit
    StoreRelaxed(c.word, bits & (bits - 1));
    return PointerTo(block);
  }

  // True when the block was freed. False: nothing was done, and the slow path must look; so it
  // does while frees by others are pending in the span, one of which may be this block's.
  GCM_INLINE bool FreeFast(Span* span, void* p) {
    uintptr_t offset = AddressOf(p) - span->start;
    unsigned index = span->IndexOf(offset);
    uint64_t* word = span->free_bits() + index / 64;
    uint64_t bit = uint64_t{1} << index % 64;
    if (GCM_UNLIKELY(index * uint64_t{span->slot_size} != offset || index >= span->slots)) {
      return false;
    }
    uint64_t bits = LoadRelaxed(word);
    if (GCM_UNLIKELY((bits & bit) != 0)) return false;
    if (GCM_UNLIKELY(span->remote_queued.load(std::memory_order_relaxed) != 0)) return false;
    StoreRelaxed(&freed_objects_, freed_objects_ + 1);
    StoreRelaxed(&freed_bytes_, freed_bytes_ + span->slot_size);
    const int32_t credit = LoadRelaxed(&span->credit) - 1;
    StoreRelaxed(&span->credit, credit);
    // The bit last: with it the span may be empty, and the sweeper's to give back.
    // pairs with: the looks at free bits in RelistSwept
    __atomic_store_n(word, bits | bit, __ATOMIC_RELEASE);
    GCM_KEEP_ALIVE(p);
    if (GCM_UNLIKELY(credit <= 0)) CreditSpent(span);
    return true;
  }

  // Within a CriticalSection, all of them:

  // A slot, or nullptr when there is no memory.
  void* AllocateSlow(unsigned size_class);
  // The block's span belongs to this cache, and the slot is a block. Sets its bit.
  void FreeLocal(Span* span, unsigned index);
  // Takes over what other threads have freed in spans of this cache.
  void DrainRemote();
  void CountFreed(size_t bytes, unsigned objects = 1) {
    StoreRelaxed(&freed_objects_, freed_objects_ + objects);
    StoreRelaxed(&freed_bytes_, freed_bytes_ + bytes);
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
  // With the world stopped: what is allocated next counts as marked.
  void BlackenCurrent();

  BlockedState& blocked() { return blocked_; }
  // Of the thread that has the cache.
  int tid() const { return tid_; }
  uintptr_t thread_pointer() const { return thread_pointer_; }

  uint64_t freed_objects() const { return LoadRelaxed(&freed_objects_); }
  uint64_t freed_bytes() const { return LoadRelaxed(&freed_bytes_); }

 private:
  friend class CacheRegistry;
  friend class CriticalSection;
  friend class Unstoppable;

  struct ClassLists {
    Span* current = nullptr;
    unsigned word = 0;  // the cursor's, in the current span
    SpanQueue partial;
    SpanQueue full;
  };

  bool Relist(Span* span);
  bool RelistSwept(Span* span);
  void SetCursor(unsigned size_class, Span* span, unsigned word);
  void ClearCursor(unsigned size_class);
  bool Refill(unsigned size_class);
  bool FindBits(ClassLists& lists, unsigned size_class);
  void MakeCurrent(Span* span);
  void LeaveCurrent(unsigned size_class);
  void Collect(Span* span);
  void ListByFree(Span* span);

  Cursor cursors_[kClasses]{};
  uint64_t freed_objects_ = 0;
  uint64_t freed_bytes_ = 0;
  // Shared with other threads:
  alignas(64) std::atomic<Span*> remote_{nullptr};
  std::atomic<uint32_t> critical_{0};  // depth; written by the owner, read by its stop handler
  std::atomic<bool> stop_pending_{false};
  BlockedState blocked_;
  Mutex lock_;  // of all below, and of the lists of spans
  ClassLists lists_[kClasses];
  // The registry's:
  int tid_ = 0;
  uintptr_t thread_pointer_ = 0;
  bool live_ = false;
  ThreadCache* next_ = nullptr;
};

// The calling thread's cache; never null. A thread that has none yet has the empty one, whose
// cursors give nothing and which owns no span.
extern constinit GCM_TLS ThreadCache* t_cache;
extern ThreadCache g_empty_cache;
extern uint64_t g_zero_word;

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
