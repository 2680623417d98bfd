// The per-thread cache: the fast paths of malloc and free, free of locks and atomics.
//
// For each size class a bin: the last few blocks that the thread has freed, which malloc hands out
// first, the last one before all others; and a cursor at one 64-bit word of the current span's free
// bits, of which malloc takes the lowest. What is freed beyond the few gets its free bit back. So
// a program that frees and allocates in turn does not touch the lists of spans, wherever its
// blocks lie.
//
// Laws:
//  - In malloc the block's address is in a register before it leaves the bin or its bit is cleared,
//    and in free the pointer stays in one until the block is in the bin or the bit is set: a thread
//    may be stopped between any two instructions, and the collector must see each block as free,
//    as kept here or as reachable.
//  - What a bin keeps has its cached bit set, is of a span of this cache, and counts as marked when
//    a cycle ends (BlackenCurrent): nobody else takes it for a block, or for garbage.
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

// A block that was freed, and its cached bit: eight times the address of the bit's word, plus the
// bit's number.
struct CachedBlock {
  uintptr_t block;
  uintptr_t bit;
  uint64_t* word() const { return PointerTo<uint64_t>(bit >> 3 & ~uintptr_t{7}); }
  uint64_t mask() const { return uint64_t{1} << bit % 64; }
};

struct Bin {
  uint64_t* word;  // never null; an empty cache points at a word that is zero for ever
  uintptr_t base;  // address of the slot of bit 0
  CachedBlock* cached;
  uint32_t count;  // of blocks at hand
  uint32_t size;   // of a slot
  uint64_t freed;  // blocks, since the start
};

class alignas(64) ThreadCache {
 public:
  // Empty: each cursor points at `zero`, a word that is never anything but zero. Without room for
  // blocks nothing can be freed into it.
  constexpr ThreadCache(uint64_t* zero, CachedBlock* room) {
    for (unsigned i = 0; i < kClasses; ++i) {
      bins_[i] = {zero, 0, room, 0, 0, 0};
      if (room != nullptr) room += kSizeClasses.classes[i].cached;
    }
  }
  // Blocks for which the second argument has room.
  static constexpr size_t kRoom = [] {
    size_t room = 0;
    for (const SizeClass& k : kSizeClasses.classes) room += k.cached;
    return room;
  }();

  GCM_INLINE void* AllocateFast(unsigned size_class) {
    Bin& bin = bins_[size_class];
    if (const uint32_t count = LoadRelaxed(&bin.count); GCM_LIKELY(count != 0)) {
      const CachedBlock last = bin.cached[count - 1];
      uintptr_t block = last.block;
      asm volatile("" : "+r"(block) : : "memory");  // the address first, then all else
      StoreRelaxed(&bin.count, count - 1);
      StoreRelaxed(last.word(), LoadRelaxed(last.word()) & ~last.mask());
      return PointerTo(block);
    }
    uint64_t bits = LoadRelaxed(bin.word);
    if (GCM_UNLIKELY(bits == 0)) return nullptr;
    uintptr_t block = bin.base + static_cast<unsigned>(__builtin_ctzll(bits)) * uint64_t{bin.size};
    asm volatile("" : "+r"(block) : : "memory");  // the address first, then the bit
    StoreRelaxed(bin.word, bits & (bits - 1));
    return PointerTo(block);
  }

  // `span` belongs to this cache, and `info` is the summary of p's page. True when the block was
  // freed. False: nothing was done, and the slow path must look; so it does while frees by others
  // are pending in the span, one of which may be this block's.
  GCM_INLINE bool FreeFast(Span* span, uint32_t info, void* p) {
    const unsigned size_class = PageInfo::ClassOf(info);
    const SizeClass& k = kSizeClasses.classes[size_class];
    const uintptr_t offset = AddressOf(p) % kPageSize + PageInfo::PageOf(info) * kPageSize;
    const auto index = static_cast<unsigned>((offset * k.reciprocal) >> 32);
    if (GCM_UNLIKELY(index * uint64_t{k.size} != offset || index >= k.slots)) return false;
    uint64_t* word = PointerTo<uint64_t>(AddressOf(span) + k.bits_at) + index / 64;
    uint64_t* cached = word + k.capacity;
    const uint64_t bit = uint64_t{1} << index % 64;
    const uint64_t at_hand = LoadRelaxed(cached);
    if (GCM_UNLIKELY(((LoadRelaxed(word) | at_hand) & bit) != 0)) return false;
    if (GCM_UNLIKELY(span->remote_queued.load(std::memory_order_relaxed) != 0)) return false;
    Bin& bin = bins_[size_class];
    StoreRelaxed(&bin.freed, bin.freed + 1);
    const uint32_t count = LoadRelaxed(&bin.count);
    if (GCM_UNLIKELY(count >= k.cached)) {
      FreeSlot(span, word, bit);
      GCM_KEEP_ALIVE(p);
      return true;
    }
    StoreRelaxed(cached, at_hand | bit);
    bin.cached[count] = {AddressOf(p), AddressOf(cached) << 3 | index % 64};
    asm volatile("" : : : "memory");  // the block first, then the number
    StoreRelaxed(&bin.count, count + 1);
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
  // Sets a block's free bit.
  GCM_NOINLINE void FreeSlot(Span* span, uint64_t* word, uint64_t bit);
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
