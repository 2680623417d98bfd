// The page heap: hands out spans, takes them back, joins free neighbours, and returns unused pages
// to the system after a while.
//
// Free runs are of two kinds, which are not joined with each other: resident ones (their pages may
// hold memory, which may be known to be zero) and released ones (reading them gives zero). Resident
// runs are used first.
// All functions take the heap's lock, the lowest in rank; none of them allocates but descriptors.
#pragma once

#include "core/heap/arena.h"
#include "core/heap/run_index.h"
#include "core/heap/span.h"
#include "platform/mutex.h"

namespace gcm {

class PageHeap {
 public:
  struct Counters {
    size_t in_use_pages;
    size_t resident_free_pages;
    size_t released_free_pages;
    size_t released_total_bytes;  // given back to the system so far
    size_t runs;
  };

  // Whether memory that small spans are about to take is made resident some pages at a time: the
  // kernel takes a fraction of the time that a fault for each would.
  void SetPopulates(bool populates) { populates_ = populates; }
  // Nanoseconds after which a free resident run is released; 0 at once, UINT64_MAX never.
  void SetScavengeDelay(uint64_t delay) { scavenge_delay_ = delay; }
  // What is not used goes back to the system at once.
  bool keeps_nothing() const { return scavenge_delay_ == 0; }

  bool Init(const ArenaConfig& config) { return arena_.Init(config); }

  // A span of `pages` pages whose start is a multiple of `alignment` bytes (a power of two), with
  // room for bitmaps of `words` words, in state kInUse but not yet entered in the side tables:
  // the caller fills it in, then calls Publish. nullptr when the system has no more memory.
  // Without `mixed` it is not put together from resident and released runs: where it has to read as
  // zero, all of it would have to be written.
  Span* Allocate(size_t pages, size_t alignment, unsigned words, bool mixed = true);
  // Enters the span in the side tables: from here on look-ups find it. Without the lock.
  void Publish(Span* span);
  void Free(Span* span);

  // Takes `extra` pages directly behind the span, if they are free. The span must be large.
  bool Extend(Span* span, size_t extra);
  // Gives back all pages behind the first `pages` of a large span.
  void Trim(Span* span, size_t pages);

  // Releases resident runs that have been free for at least `age` nanoseconds. Bytes released.
  size_t Scavenge(uint64_t now, uint64_t age);
  // Releases what has been free for the scavenge delay, if it is time to look.
  void ScavengeIfDue(uint64_t now);

  // The number of the last sweep (core/heap/sweeper.h): a span counts as swept from its birth.
  uint32_t sweep_epoch() const { return sweep_epoch_.load(std::memory_order_relaxed); }
  void NextSweepEpoch() { sweep_epoch_.store(sweep_epoch() + 1, std::memory_order_relaxed); }

  Counters Count();
  size_t in_use_pages() const { return in_use_pages_.load(std::memory_order_relaxed); }

  Arena& arena() { return arena_; }
  const Arena& arena() const { return arena_; }

  // Every span in use, in the order of addresses. With the world stopped, or for statistics under
  // the lock. `fn` must not change the heap, but may free the span it was given through FreeLocked.
  template <typename Fn>
  void ForEachSpan(Fn fn);

  Mutex& lock() { return lock_; }
  // For the sweeper, which holds the lock for the whole walk.
  void FreeLocked(Span* span, uint64_t now);

 private:
  RunIndex& IndexOf(const Span* run) { return run->resident ? resident_ : released_; }
  bool GrowBy(size_t pages, bool ready);
  Span* Find(size_t pages, bool mixed);
  Span* FindMixed(size_t pages);
  Span* FindReleased(size_t pages);
  void Absorb(Span* whole, Span* other, Range area);
  Span* FreeRunAt(uintptr_t address) const;
  Span* TakeFront(Span* run, size_t pages, unsigned words);
  void InsertRun(Span* run);
  void RemoveRun(Span* run);
  Span* Join(Span* run, uintptr_t neighbour);
  size_t ScavengeLocked(uint64_t now, uint64_t age, size_t most = SIZE_MAX);
  void ScavengeSometimes(uint64_t now);
  size_t ReleaseRun(Span* run);

  // Every free reads the arena's tables, and every span that is taken or given back takes the lock:
  // they have lines of their own.
  alignas(64) Arena arena_;
  alignas(64) Mutex lock_;
  RunIndex resident_;
  RunIndex released_;
  std::atomic<size_t> in_use_pages_{0};
  std::atomic<uint32_t> sweep_epoch_{0};
  size_t released_total_ = 0;
  uint64_t scavenge_delay_ = UINT64_MAX;
  uint64_t next_scavenge_ = 0;
  bool populates_ = false;
};

template <typename Fn>
void PageHeap::ForEachSpan(Fn fn) {
  // Later extents usually lie higher; the order only has to be the same for all walks.
  for (size_t i = 0; i < arena_.extent_count(); ++i) {
    const Arena::Extent& extent = arena_.extent(i);
    for (uintptr_t at = extent.start; at < extent.ready;) {
      Span* span = arena_.tables().SpanAround(at);
      if (span == nullptr) {  // taken from the page heap, not yet published: one page at a time
        at += kPageSize;
        continue;
      }
      at = span->end();
      // A span that lies across two adjoining extents belongs to the one that it starts in.
      if (span->InUse() && span->start >= extent.start) fn(span);
    }
  }
}

}  // namespace gcm
