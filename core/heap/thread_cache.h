// The per-thread cache: the fast paths of malloc and free, free of locks and atomics.
//
// For each size class a bin: the last few blocks that the thread has freed, which malloc hands out
// first, the last one before all others; and a cursor at one 64-bit word of the current span's free
// bits, of which malloc takes the lowest. What is freed beyond the few gets its free bit back. So
// a program that frees and allocates in turn does not touch the lists of spans, wherever its
// blocks lie. What is handed out gets its live bit, which free looks at and takes back.
//
// Laws:
//  - In malloc the block's address is in a register before it leaves the bin or its free bit is
//    cleared, and in free the pointer stays in one until the block is in the bin or that bit is
//    set: a thread may be stopped between any two instructions, and the collector must see each
//    block as free, as kept here or as reachable.
//  - What a bin keeps has neither its live nor its free bit, is of a span of this cache, and counts
//    as marked when a cycle ends (BlackenCurrent): nobody else takes it for a block, for garbage,
//    or for free.
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

// A block that was freed, and its live bit: the word, and the bit in it.
struct CachedBlock {
  uintptr_t block;
  uint64_t* word;
  uint64_t bit;
};

// One cache line.
struct alignas(64) Bin {
  CachedBlock* top;    // the last block at hand; below the first is an entry of zeros
  CachedBlock* limit;  // `top` when there is no room
  uint64_t* word;      // the cursor; never null: an empty cache points at a word of zeros
  uint64_t* live;      // the live bits beside it
  uintptr_t base;      // address of the slot of bit 0
  uint32_t size;       // of a slot
  uint32_t reciprocal;
  uint64_t freed;  // blocks, since the start
};

class alignas(64) ThreadCache {
 public:
  // Empty. `zero` is never anything but zero. Without room for blocks at hand, which is zero as
  // well, nothing can be freed into it.
  constexpr ThreadCache(CachedBlock* zero, CachedBlock* room) {
    for (unsigned i = 0; i < kClasses; ++i) {
      const SizeClass& k = kSizeClasses.classes[i];
      bins_[i].top = bins_[i].limit = room != nullptr ? room : zero;
      bins_[i].word = bins_[i].live = &zero->bit;
      bins_[i].reciprocal = k.reciprocal;
      if (room == nullptr) continue;
      bins_[i].limit += k.cached;
      room += 1 + k.cached;
    }
  }
  // Entries for which the second argument has room.
  static constexpr size_t kRoom = [] {
    size_t room = 0;
    for (const SizeClass& k : kSizeClasses.classes) room += 1 + k.cached;
    return room;
  }();

  GCM_INLINE void* AllocateFast(unsigned size_class) {
    Bin& bin = bins_[size_class];
    CachedBlock* top = LoadRelaxed(&bin.top);
    uintptr_t block = top->block;
    if (GCM_LIKELY(block != 0)) {
      uint64_t* word = top->word;
      const uint64_t bit = top->bit;
      GCM_KEEP_ALIVE(block);  // all of the entry first: a handler may free into its place
      StoreRelaxed(&bin.top, top - 1);
      FlipBits(word, bit);
      return PointerTo(block);
    }
    const uint64_t bits = LoadRelaxed(bin.word);
    if (GCM_UNLIKELY(bits == 0)) return nullptr;
    block = bin.base + static_cast<unsigned>(__builtin_ctzll(bits)) * uint64_t{bin.size};
    GCM_KEEP_ALIVE(block);  // the address first, then the bits
    FlipBits(bin.word, bits & -bits);
    FlipBits(bin.live, bits & -bits);
    return PointerTo(block);
  }

  // `span` belongs to this cache. True when the block was freed. False: nothing was done, and the
  // slow path must look; so it does while frees by others are pending in the span, one of which may
  // be this block's.
  GCM_INLINE bool FreeFast(Span* span, void* p) {
    Bin& bin = bins_[LoadRelaxed(&span->size_class)];
    const uint32_t offset = static_cast<uint32_t>(AddressOf(p)) - span->start_low;
    const uint64_t product = uint64_t{offset} * bin.reciprocal;
    if (GCM_UNLIKELY(static_cast<uint32_t>(product) >= bin.reciprocal)) return false;
    const auto index = static_cast<unsigned>(product >> 32);
    uint64_t* word = span->live_bits() + index / 64;
    const uint64_t bit = uint64_t{1} << index % 64;
    if (GCM_UNLIKELY((LoadRelaxed(word) & bit) == 0)) return false;
    if (GCM_UNLIKELY(span->remote_queued.load(std::memory_order_relaxed) != 0)) return false;
    IncrementRelaxed(&bin.freed);
    CachedBlock* top = LoadRelaxed(&bin.top);
    if (GCM_UNLIKELY(top == bin.limit)) {
      FreeSlot(span, word, bit, p);
      return true;
    }
    FlipBits(word, bit);
    *++top = {AddressOf(p), word, bit};
    asm volatile("" : : : "memory");  // the entry first, then the top
    StoreRelaxed(&bin.top, top);
    GCM_KEEP_ALIVE(p);
    return true;
  }

  // Within a CriticalSection, all of them:

  // A slot, or nullptr when there is no memory.
  void* AllocateSlow(unsigned size_class);
  // The block's span belongs to this cache, and the slot is a block. Sets its bit.
  void FreeLocal(Span* span, unsigned index);
  // Takes over what other threads have freed in spans of this cache.
  void DrainRemote();
  // What is at hand becomes free. Without `relist` the caller lists all spans anew.
  void FlushCached(bool relist);
  void CountFreed(size_t bytes, unsigned objects = 1) {
    StoreRelaxed(&freed_objects_, freed_objects_ + objects);
    StoreRelaxed(&freed_bytes_, freed_bytes_ + bytes);
  }
  // The block at p, whose live bit that is, becomes a free slot.
  GCM_NOINLINE void FreeSlot(Span* span, uint64_t* word, uint64_t bit, void* p);
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
  // Of the thread that has the cache.
  int tid() const { return tid_; }
  uintptr_t thread_pointer() const { return thread_pointer_; }

  // Since the start; by any thread.
  uint64_t freed_objects() const;
  uint64_t freed_bytes() const;

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

  void NoteFreed(Span* span);
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

  Bin bins_[kClasses]{};
  uint64_t freed_objects_ = 0;  // beside those that the bins count
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
extern CachedBlock g_zeros;

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
