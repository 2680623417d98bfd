#include "core/heap/heap.h"

#include <cstring>

#include "core/base/metadata.h"
#include "core/base/misuse.h"
#include "core/base/own_ranges.h"
#include "platform/clock.h"
#include "platform/memory.h"

namespace gcm {
namespace {

// Moving pages splits mappings, whose number is limited.
constexpr size_t kMoveFrom = 4 * kMiB;

// Go's first hint is 0x00c0 << 32: bytes that are no valid UTF-8, and small integers, counters and
// code addresses do not look like it. This is out of the way of Go's own arenas.
constexpr uintptr_t kArenaHint = GCM_TSAN ? 0 : uintptr_t{0x0ac0} << 32;

}  // namespace

constinit Heap g_heap;

bool Heap::Init(const ArenaConfig& config) {
  LockGuard guard(init_lock_);
  if (ready_.load(std::memory_order_relaxed)) return true;
  if (!pages_.Init(config)) return false;
  // pairs with: the acquire in Cache
  ready_.store(true, std::memory_order_release);
  return true;
}

void Heap::Configure(const HeapSettings& settings) {
  pages_.SetScavengeDelay(settings.scavenge_delay);
  // What the system does is asked now: later a filter may forbid it. What is not used goes back at
  // once where the user wants that, and a huge page is not used at once.
  const bool growth = settings.huge_pages == HugePages::kGrowth;
  if (!growth || (settings.scavenge_delay != 0 && memory::GivesHugePagesOnRequest())) {
    LockGuard guard(pages_.lock());
    pages_.arena().SetHugePages(settings.huge_pages);
  }
  pages_.SetPopulates(settings.scavenge_delay != 0);
  poison_ = settings.poison;
  clean_ = settings.clean;
  stress_ = settings.stress;
  bool careful = poison_ || clean_ || stress_ != 0;
  if (careful == careful_) return;
  careful_ = careful;
  // Spans that were handed out before get owners that the fast path does not know.
  if (t_cache != &g_empty_cache) {
    ThreadCache* cache = t_cache;
    SetThreadCache(&g_empty_cache);
    CriticalSection critical(cache);
    cache->Retire();
    cache->Reopen();
    SetThreadCache(cache);
  }
}

void Heap::GrowByHugePages(size_t until) {
  if (pages_.keeps_nothing() || no_populating_.load(std::memory_order_relaxed)) return;
  if (!memory::GivesHugePagesOnRequest()) return;
  Unstoppable unstoppable(t_cache);
  LockGuard guard(pages_.lock());
  if (!no_populating_.load(std::memory_order_relaxed))
    pages_.arena().SetHugePages(HugePages::kGrowth, until);
}

void Heap::StopPopulating() {
  Unstoppable unstoppable(Cache());
  LockGuard guard(pages_.lock());
  no_populating_.store(true, std::memory_order_relaxed);
  pages_.arena().StopHugeGrowth();
  pages_.SetPopulates(false);
}

void Heap::FlushCache() {
  ThreadCache* cache = t_cache;
  if (cache == &g_empty_cache) return;
  CriticalSection critical(cache);
  cache->FlushCached(true);
  cache->GiveSpare();
}

Unstoppable::Unstoppable() : Unstoppable(heap().Cache()) {}

ThreadCache* Heap::Cache() {
  ThreadCache* cache = t_cache;
  if (GCM_LIKELY(cache != &g_empty_cache)) return cache;
  {
    // Locks are taken here and there is no section yet: whoever is stopped must not hold them.
    Unstoppable unstoppable(cache);
    // pairs with: the release in Init
    if (!ready_.load(std::memory_order_acquire)) {
      ArenaConfig config;
      config.hint = kArenaHint;
      if (!Init(config)) return cache;
    }
    ThreadCache* fresh = registry_.Attach();
    if (fresh == nullptr) return cache;
    SetThreadCache(cache = fresh);
  }
  void (*hook)() = attach_hook_.load(std::memory_order_relaxed);
  if (hook != nullptr) hook();
  return cache;
}

bool Heap::Ask(Pressure pressure) {
  bool (*hook)(Pressure) = pressure_.load(std::memory_order_relaxed);
  return hook != nullptr && hook(pressure);
}

// After every refill and every large block, outside of any section. What others have taken is
// theirs to look at: all threads write there.
void Heap::Relieve(bool taken_more) {
  const size_t trigger = trigger_pages_.load(std::memory_order_relaxed);
  const bool looks = taken_more || trigger == 0;
  if (GCM_UNLIKELY(looks && (pages_.in_use_pages() >= trigger ||
                             taken() >= taken_trigger_.load(std::memory_order_relaxed)))) {
    Ask(Pressure::kGrowth);
  } else if (GCM_UNLIKELY(clock::Coarse() >= next_tick_.load(std::memory_order_relaxed))) {
    Ask(Pressure::kTick);
  }
}

Span* Heap::AllocateSpan(size_t pages, size_t alignment, unsigned words, bool mixed) {
  Span* span = pages_.Allocate(pages, alignment, words, mixed);
  if (span == nullptr) return nullptr;
  span->arming.store(SpanArming::kNone, std::memory_order_relaxed);
  if (GCM_UNLIKELY(span->garbage || (clean_ && !span->zero))) {
    memset(PointerTo(span->start), 0, span->pages * kPageSize);
    span->zero = true;
    span->garbage = false;
  }
  return span;
}

Span* Heap::NewSlots(unsigned size_class, uintptr_t owner) {
  const SizeClass& k = kSizeClasses.classes[size_class];
  Span* span = AllocateSpan(k.pages, kPageSize, k.capacity);
  if (span == nullptr) return nullptr;
  span->slot_size = k.size;
  StoreRelaxed(&span->slots, k.slots);
  span->list = SpanList::kNone;
  span->start_low = static_cast<uint32_t>(span->start);
  for (unsigned w = 0; w < k.words; ++w) {
    StoreRelaxed(&span->live_bits()[w], uint64_t{0});
    StoreRelaxed(&span->free_bits()[w], span->ValidBits(w));
    span->remote_bits()[w].store(0, std::memory_order_relaxed);
  }
  span->owner.store(owner, std::memory_order_relaxed);
  // pairs with: the acquire in IsUnowned
  __atomic_store_n(&span->size_class, static_cast<uint8_t>(size_class), __ATOMIC_RELEASE);
  pages_.Publish(span);
  BlackenNew(span);
  return span;
}

void* Heap::AllocateSmallOnce(unsigned size_class) {
  ThreadCache* cache = Cache();
  if (GCM_UNLIKELY(cache == &g_empty_cache)) return nullptr;
  void* p;
  {
    CriticalSection critical(cache);
    p = cache->AllocateSlow(size_class);
    GCM_KEEP_ALIVE(p);
  }
  return p;
}

void* Heap::AllocateSmallSlow(unsigned size_class) {
  if (stress_ != 0 &&
      stress_count_.fetch_add(1, std::memory_order_relaxed) % stress_ == stress_ - 1) {
    Ask(Pressure::kStress);
  }
  void* p = AllocateSmallOnce(size_class);
  if (GCM_UNLIKELY(p == nullptr)) {
    FlushCache();
    p = AllocateSmallOnce(size_class);
  }
  if (GCM_UNLIKELY(p == nullptr) && Ask(Pressure::kOutOfMemory)) p = AllocateSmallOnce(size_class);
  Relieve(t_cache->TellTaken());
  GCM_KEEP_ALIVE(p);
  return p;
}

void* Heap::AllocateZeroed(size_t size) {
  if (GCM_LIKELY(size <= kMaxSmallRequest)) {
    void* p = Allocate(size);
    // The whole slot: what lies behind the request is scanned, too.
    if (GCM_LIKELY(p != nullptr)) memset(p, 0, kSizeClasses.classes[ClassFor(size)].size);
    return p;
  }
  bool zero = false;
  void* p = AllocateLarge(size, kPageSize, &zero);
  if (p != nullptr && !zero) memset(p, 0, size);
  return p;
}

void* Heap::AllocateAligned(size_t size, size_t alignment) {
  if (alignment <= kMinAlignment) return Allocate(size);
  if (alignment <= kPageSize && size < kMaxSmallRequest) {
    unsigned size_class = ClassForAligned(size, alignment);
    if (size_class != kLargeClass) {
      if (void* p = t_cache->AllocateFast(size_class)) return p;
      return AllocateSmallSlow(size_class);
    }
  }
  return AllocateLarge(size, alignment, nullptr);
}

Span* Heap::CheckedSpan(const void* p, const char* function, unsigned* index) {
  uintptr_t address = AddressOf(p);
  const Arena& arena = pages_.arena();
  Span* span = arena.SpanAround(address);
  if (span == nullptr || !span->InUse() || address < span->start || address >= span->end()) {
    bool ours = false;
    for (size_t i = 0; i < arena.extent_count(); ++i) {
      ours = ours || (address >= arena.extent(i).start && address < arena.extent(i).ready);
    }
    if (ours) misuse::NoBlock(function, p);
    misuse::Foreign(function, p);
    return nullptr;
  }
  uintptr_t offset = address - span->start;
  if (span->large()) {
    if (offset != 0) misuse::Interior(function, p, offset, span->BlockSize() - 1);
    *index = 0;
    return span;
  }
  size_t usable = span->slot_size - 1;
  *index = span->IndexOf(offset);
  if (*index >= span->slots) misuse::NoBlock(function, p);
  if (offset != uint64_t{*index} * span->slot_size) {
    if (!span->IsBlock(*index)) misuse::NoBlock(function, p);
    misuse::Interior(function, p, offset - uint64_t{*index} * span->slot_size, usable);
  }
  if (!span->IsBlock(*index)) misuse::DoubleFree(function, p, usable);
  return span;
}

bool Heap::HasRemote(Span* span) const {
  for (unsigned w = 0; w < span->words(); ++w) {
    // pairs with: the fetch_or in FreeSmall
    if (span->remote_bits()[w].load(std::memory_order_acquire) != 0) return true;
  }
  return false;
}

bool Heap::FoldRemote(Span* span) {
  bool any = false;
  for (unsigned w = 0; w < span->words(); ++w) {
    if (span->remote_bits()[w].load(std::memory_order_relaxed) == 0) continue;
    // pairs with: the fetch_or in FreeSmall
    uint64_t bits = span->remote_bits()[w].exchange(0, std::memory_order_acquire);
    span->MakeFree(w, bits);
    any = true;
  }
  return any;
}

void Heap::SettleRemote(Span* span, ThreadCache* draining) {
  for (;;) {
    // pairs with: the releases in CentralLists
    uintptr_t owner = span->owner.load(std::memory_order_acquire) & ~kOwnerCareful;
    if (owner == kOwnerLeaving) return;
    if (owner == 0) {
      if (central_.Settle(span)) return;
      continue;
    }
    auto* cache = PointerTo<ThreadCache>(owner);
    if (cache == draining || cache->QueueRemote(span)) return;
    cache->WaitUntilRetired();
  }
}

size_t Heap::UsableSize(const void* p, const char* function) {
  unsigned index;
  Span* span = CheckedSpan(p, function, &index);
  if (span == nullptr) return 0;
  return span->BlockSize() - 1;
}

bool Heap::FindBlock(uintptr_t word, Range* block) const {
  Span* span = pages_.arena().SpanAround(word);
  if (span == nullptr || !span->InUse() || word < span->start || word >= span->end()) return false;
  if (span->large()) {
    *block = {span->start, span->start + span->BlockSize()};
    return true;
  }
  unsigned index = span->IndexOf(word - span->start);
  if (index >= span->slots || !span->IsBlock(index)) return false;
  block->lo = span->start + uintptr_t{index} * span->slot_size;
  block->hi = block->lo + span->slot_size;
  return true;
}

void* Heap::Reallocate(void* p, size_t size, const char* function) {
  unsigned index;
  Span* span = CheckedSpan(p, function, &index);
  if (span == nullptr || size > PTRDIFF_MAX) return nullptr;
  size_t usable = span->BlockSize() - 1;
  if (span->large() && size > kMaxSmallRequest) {
    bool done;
    {
      ThreadCache* cache = Cache();
      CriticalSection critical(cache);
      done = ResizeLarge(cache, span, size);
    }
    if (done) {
      Relieve(true);
      return p;
    }
  } else if (size <= usable && size >= usable / 2) {
    return p;
  }
  void* fresh = Allocate(size);
  if (fresh == nullptr) return size <= usable ? p : nullptr;
  // Large blocks are moved by their pages: what was never touched stays so.
  const size_t moved = span->pages * kPageSize;
  bool done = false;
  if (span->large() && moved >= kMoveFrom && size >= moved) {
    bool may;
    {
      Unstoppable unstoppable(Cache());
      may = pages_may_move_.load(std::memory_order_relaxed);
      if (may) done = memory::MovePages(AddressOf(p), AddressOf(fresh), moved);
    }
    auto* hook = move_hook_.load(std::memory_order_relaxed);
    if (!may && hook != nullptr)
      done = hook({AddressOf(p), AddressOf(p) + moved}, AddressOf(fresh));
  }
  if (!done) memcpy(fresh, p, Min(size, usable));
  Free(p, function);
  GCM_KEEP_ALIVE(p);
  return fresh;
}

uint64_t Heap::freed_objects() {
  uint64_t sum = 0;
  registry_.ForEach([&](ThreadCache* c) { sum += c->freed_objects(); });
  return sum;
}

uint64_t Heap::freed_bytes() {
  uint64_t sum = 0;
  registry_.ForEach([&](ThreadCache* c) { sum += c->freed_bytes(); });
  return sum;
}

void Heap::LockAll() {
  registry_.LockAll();
  central_.LockAll();
  pages_.lock().Lock();
}

void Heap::UnlockAll() {
  pages_.lock().Unlock();
  central_.UnlockAll();
  registry_.UnlockAll();
}

void Heap::AfterForkInside() {
  pages_.lock().Reset(true);
  ResetSpanPoolLock(true);
  metadata::ResetLock(true);
  OwnRanges::ResetLock(true);
  central_.ResetLocks(true);
  registry_.ResetLocks(true);
}

void Heap::AfterForkInChild() {
  pages_.lock().Reset();
  ResetSpanPoolLock();
  metadata::ResetLock();
  OwnRanges::ResetLock();
  init_lock_.Reset();
  central_.ResetLocks();
  registry_.ResetLocks();
  registry_.KeepOnly(t_cache);
}

}  // namespace gcm
