// The heap: what malloc and its family do, on top of thread caches, central lists and the page
// heap. The functions take and return what C's do; errno is set by the layer above.
//
// Lock order, highest first: collection, registry, thread cache, central list, page heap,
// descriptor pool, metadata.
#pragma once

#include "core/heap/cache_registry.h"
#include "core/heap/central.h"
#include "core/heap/page_heap.h"
#include "core/heap/sweeper.h"
#include "core/heap/thread_cache.h"
#include "platform/processor.h"

namespace gcm {

// Why the heap asks for a collection.
enum class Pressure { kGrowth, kOutOfMemory, kStress, kTick };

// What a collection is doing, for those who hand out slots.
enum class Phase : uint8_t { kIdle, kMarking, kSweeping };

struct HeapSettings {
  uint64_t scavenge_delay = UINT64_MAX;
  HugePages huge_pages = HugePages::kSystem;
  bool poison = false;
  // What is handed out holds nothing of its former life: a checkmark between malloc's return and
  // the program's first write would take that for pointers.
  bool clean = false;
  uint64_t stress = 0;
};

class Heap {
 public:
  // Usable before; then the first allocation does it with default settings.
  bool Init(const ArenaConfig& config);
  // While no other thread runs.
  void Configure(const HeapSettings& settings);

  // What the calling thread has at hand of a row's size. nullptr: AllocateRow is to be asked.
  static GCM_INLINE void* AllocateQuickly(size_t row) {
    Bin* bin = t_bins.of[row];
    if (void* p = bin->Pop(); GCM_LIKELY(p != nullptr)) return p;
    return bin->TakeFree();
  }
  void* AllocateRow(size_t row) { return AllocateSmallSlow(ClassOfRow(row)); }
  GCM_INLINE void* Allocate(size_t size) {
    if (GCM_LIKELY(size <= kMaxSmallRequest)) {
      unsigned size_class = ClassFor(size);
      if (void* p = t_cache->AllocateFast(size_class); GCM_LIKELY(p != nullptr)) return p;
      return AllocateSmallSlow(size_class);
    }
    return AllocateLarge(size, kPageSize, nullptr);
  }
  void* AllocateZeroed(size_t size);
  // `alignment` is a power of two.
  void* AllocateAligned(size_t size, size_t alignment);
  // size != 0. nullptr: no memory, and the old block is as it was.
  void* Reallocate(void* p, size_t size, const char* function);

  // `function` names the caller in the message about misuse.
  static void Free(void* p, const char* function);

  // Usable bytes of the live block at p; aborts when there is none.
  size_t UsableSize(const void* p, const char* function);
  // The live block around a word: its start and slot size. False: none. Any thread.
  bool FindBlock(uintptr_t word, Range* block) const;

  // The calling thread's cache, made when it has none; the empty one without memory.
  ThreadCache* Cache();

  // Where the system gives huge pages to who asks: HugePages::kGrowth until so many bytes have been
  // grown.
  void GrowByHugePages(size_t until);
  // No system calls that make memory resident from here on, whoever wants them.
  void StopPopulating();
  // The blocks that the calling thread has at hand become free, and its empty spans go back.
  void FlushCache();

  // Entered by the layers below.
  uintptr_t OwnerWord(const ThreadCache* cache) const {
    return AddressOf(cache) | (careful_ ? kOwnerCareful : 0);
  }
  bool careful() const { return careful_; }
  bool poison() const { return poison_; }
  Span* NewSlots(unsigned size_class, uintptr_t owner);
  bool HasRemote(Span* span) const;
  // Moves remote bits to the free bits; true if there were any. By the owner, under the central
  // lock of a span without one, or with the world stopped.
  bool FoldRemote(Span* span);
  // Sees to it that somebody folds the span's remote bits.
  void SettleRemote(Span* span, ThreadCache* draining);

  // Set by the collector: kSweeping with the world stopped.
  void SetPhase(Phase phase) {
    phase_.store(phase, std::memory_order_relaxed);
    FullFence();  // pairs with: BlackenNew
  }
  Phase phase() const { return phase_.load(std::memory_order_relaxed); }
  // Sets the mark bits of a span's free slots, beside those that are set: what is allocated there
  // counts as marked. Of a large block nothing.
  void Blacken(Span* span);
  void BlackenBlock(uintptr_t block);  // of a span of slots
  // Sets the mark bits as they are at the beginning of a cycle: of what is free.
  void ResetMarks(Span* span);
  // Whether mark bits outlive the cycle: then those of new spans are cleared, and a sweep leaves
  // none but of blocks. Switched on with the world stopped.
  void SetMarksStay(bool stay) { marks_stay_.store(stay, std::memory_order_relaxed); }
  bool marks_stay() const { return marks_stay_.load(std::memory_order_relaxed); }
  // While young blocks are marked beside the program: new spans are black all over, so that marks
  // that come late do no harm, and their blocks are scanned by the next stop. Switched on with the
  // world stopped.
  void SetMarksYoung(bool on) {
    marks_young_.store(on, std::memory_order_release);  // pairs with: BlackenNew
  }
  // Before a cycle marks: whether the span holds old blocks, mostly, as its mark bits of the last
  // cycle say. And behind that: whether it holds marked blocks, and has not been armed. True: its
  // pages are to be armed now. Under the page heap's lock.
  bool ArmEarly(Span* span);
  bool ArmLate(Span* span);
  // Whether its pages have been armed since a cycle that kept the marks, and what its blocks led to
  // was marked then.
  bool StaysArmed(const Span* span) const;
  // Behind a cycle's last stop: notes how a minor cycle is to treat the span's pages, and tells how
  // they are to be tracked until then. Under the page heap's lock.
  Aging Age(Span* span, Armed armed);
  // No mark bits but those of blocks. By who sweeps the span.
  void ForgetFree(Span* span);
  // Whether blocks may be moved by their pages. Not while pages are tracked: mappings differ then,
  // and the kernel may move some of them and fail. Switched off before a stop of the world, so that
  // nobody is in the middle of it.
  void SetPagesMayMove(bool may) { pages_may_move_.store(may, std::memory_order_relaxed); }
  // Asked instead then: whoever tracks them moves them.
  void SetMoveHook(bool (*hook)(Range from, uintptr_t to)) {
    move_hook_.store(hook, std::memory_order_relaxed);
  }
  // A word at `slot` was written: sets its card while a cycle marks. Any thread, any address.
  void NoteWrite(uintptr_t slot);
  // A thread is about to allocate from a span of its own that it did not use before.
  void PrepareForUse(Span* span);

  PageHeap& pages() { return pages_; }
  Sweeper& sweeper() { return sweeper_; }
  CentralLists& central() { return central_; }
  CacheRegistry& registry() { return registry_; }

  // Bytes of spans in use at which `pressure` is called, by who takes more; 0: by everybody, after
  // each refill. And the hook, outside of any section.
  void SetTrigger(size_t bytes) {
    trigger_pages_.store(bytes / kPageSize, std::memory_order_relaxed);
  }
  // The same for the bytes of slots taken since the start.
  void SetTakenTrigger(uint64_t bytes) { taken_trigger_.store(bytes, std::memory_order_relaxed); }
  uint64_t taken() const { return taken_.load(std::memory_order_relaxed); }
  // Slots that a thread can allocate from now on, by spans; large blocks.
  void CountTaken(uint64_t bytes) { taken_.fetch_add(bytes, std::memory_order_relaxed); }
  // When Pressure::kTick is due: nanoseconds of the coarse clock.
  void SetNextTick(uint64_t time) { next_tick_.store(time, std::memory_order_relaxed); }
  void SetPressureHook(bool (*hook)(Pressure)) { pressure_.store(hook, std::memory_order_relaxed); }
  // Called for each thread that gets a cache, so that its end is noticed.
  void SetAttachHook(void (*hook)()) { attach_hook_.store(hook, std::memory_order_relaxed); }

  // Totals since the start; exact when no other thread runs.
  uint64_t freed_objects();
  uint64_t freed_bytes();

  // Around a fork: prepare takes all locks, in order.
  void LockAll();
  void UnlockAll();
  void AfterForkInChild();
  // In the child of one that was made inside of a section of the heap: that section goes on.
  void AfterForkInside();

 private:
  GCM_NOINLINE void* AllocateSmallSlow(unsigned size_class);
  GCM_NOINLINE void* AllocateLarge(size_t size, size_t alignment, bool* zero);
  // What the fast path did not take.
  static GCM_NOINLINE void FreeRest(Span* span, void* p, const char* function);
  static GCM_NOINLINE void FreeSlow(void* p, const char* function);
  GCM_NOINLINE void FreeChecked(void* p, const char* function);
  void* AllocateSmallOnce(unsigned size_class);
  void FreeSmall(ThreadCache* cache, Span* span, void* p, unsigned index);
  void FreeLarge(ThreadCache* cache, Span* span);
  void NoteExtended(Range pages);
  bool ResizeLarge(ThreadCache* cache, Span* span, size_t size);
  // The span of the live block that starts at p; reports misuse. nullptr: foreign, to be ignored.
  Span* CheckedSpan(const void* p, const char* function, unsigned* index);
  Span* AllocateSpan(size_t pages, size_t alignment, unsigned words, bool mixed = true);
  void BlackenNew(Span* span);
  void ClearMarks(Span* span);
  // How many of a span's blocks are marked, and whether any bit is set.
  unsigned CountMarked(const Span* span, bool* any) const;
  bool HasMarks(const Span* span) const;
  void Relieve(bool taken_more);
  bool Ask(Pressure pressure);

  PageHeap pages_;
  CentralLists central_;
  CacheRegistry registry_;
  Sweeper sweeper_;
  // Written by all threads, and so apart from what they only read.
  alignas(64) std::atomic<uint64_t> taken_{0};
  alignas(64) std::atomic<Phase> phase_{Phase::kIdle};
  std::atomic<bool> pages_may_move_{true};
  std::atomic<bool> marks_stay_{false}, marks_young_{false};
  std::atomic<bool> no_populating_{false};
  std::atomic<bool (*)(Range, uintptr_t)> move_hook_{nullptr};
  std::atomic<size_t> trigger_pages_{SIZE_MAX};
  std::atomic<uint64_t> taken_trigger_{UINT64_MAX};
  std::atomic<uint64_t> next_tick_{UINT64_MAX};
  std::atomic<bool (*)(Pressure)> pressure_{nullptr};
  std::atomic<void (*)()> attach_hook_{nullptr};
  std::atomic<uint64_t> stress_count_{0};
  std::atomic<bool> ready_{false};
  Mutex init_lock_;
  uint64_t stress_ = 0;
  bool careful_ = false;
  bool poison_ = false;
  bool clean_ = false;
};

// The process's heap: constant-initialised, never destroyed.
extern GCM_HIDDEN Heap g_heap;
GCM_INLINE Heap& heap() { return g_heap; }

GCM_INLINE void Heap::Free(void* p, const char* function) {
  const SideTables& tables = g_heap.pages_.arena().tables();
  const size_t page = tables.FlatPage(AddressOf(p));
  if (GCM_UNLIKELY(page >= tables.flat_pages())) return FreeSlow(p, function);
  Span* span = tables.FlatSpan(page);
  if (GCM_UNLIKELY(!ThreadCache::FreeFast(span, p))) FreeRest(span, p, function);
}

}  // namespace gcm
