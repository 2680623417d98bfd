// The arena: the addresses that blocks may have, and the side tables that go with them.
//
// Law (golang/go#10212, Go commit d57c889): observers look up arbitrary words at any moment, so the
// arena grows in this order and no other, on every path:
//   1. the memory is mapped
//   2. map_bits, map_cards, map_spans for the *future* bound, rounded to granules; nothing is
//      mapped twice, and what is mapped stays when a later step fails
//   3. one release store of the bound, in Publish(), its sole writer
// Observers load the bound once per look-up with acquire order and never keep it. Bounds only
// widen (go#20259): `lo` falls and `used` rises.
//
// Two paths lead to Grow: taking more of the reservation, and, once it is spent, memory wherever
// the system gives it; what lies between may belong to somebody else.
#pragma once

#include <atomic>

#include "core/heap/side_tables.h"
#include "platform/base.h"

namespace gcm {

struct ArenaConfig {
  size_t first_reservation = kGiB;
  uintptr_t hint = 0;
  // Test hook: called between the steps of growing, to make the window between them wide.
  void (*between_steps)() = nullptr;
};

// How the memory of a heap is backed.
enum class HugePages : uint8_t {
  kSystem,  // as the system does unasked
  kGrowth,  // a heap that is not small grows by whole huge pages, for blocks that are smaller; the
            // rest gets none
  kOn,      // all of it may get some; what is taken ends where one ends
  kOff,     // none
};

class Arena {
 public:
  // Reserves. False when not even the smallest step is granted; may be called again.
  bool Init(const ArenaConfig& config);

  // At least `size` bytes (a multiple of kPageSize) of new memory in state prepared, with their
  // tables, published. Returns the range, whose size is rounded up; empty when the system has no
  // more. The caller holds the heap's lock: growing is serial, looking up is not. `ready`: whether
  // it is resident, as a huge page if there was one; without it none is asked for.
  Range Grow(size_t size, bool* ready = nullptr);

  // The entry of the page around `word`, or nullptr: not ours. Any thread, any moment, any word.
  Span* SpanOf(uintptr_t word) const { return Contains(word) ? tables_.SpanAt(word) : nullptr; }
  // As SpanOf, also inside of blocks that are larger than a chunk.
  Span* SpanAround(uintptr_t word) const {
    return Contains(word) ? tables_.SpanAround(word) : nullptr;
  }
  bool Contains(uintptr_t word) const {
    // pairs with: the releases in Publish
    uintptr_t used = used_.load(std::memory_order_acquire);
    return word < used && word >= lo_.load(std::memory_order_acquire);
  }

  // What is there and what comes. With kGrowth: while fewer than `until` bytes have been grown.
  // Under the heap's lock.
  void SetHugePages(HugePages huge_pages, size_t until = SIZE_MAX);
  void StopHugeGrowth() {
    if (huge_pages_ == HugePages::kGrowth) huge_pages_ = HugePages::kSystem;
  }

  SideTables& tables() { return tables_; }
  const SideTables& tables() const { return tables_; }

  uintptr_t lo() const { return lo_.load(std::memory_order_acquire); }      // pairs with: Publish
  uintptr_t used() const { return used_.load(std::memory_order_acquire); }  // pairs with: Publish

  // Extents in the order they were taken; [start, ready) of each holds spans or free runs.
  struct Extent {
    uintptr_t start;
    uintptr_t ready;
    uintptr_t end;
  };
  size_t extent_count() const {
    // pairs with: AddExtent and GiveBack
    return extent_count_.load(std::memory_order_acquire);
  }
  const Extent& extent(size_t i) const { return extents_[i]; }
  // Bytes handed out by Grow.
  size_t grown_bytes() const { return grown_.load(std::memory_order_relaxed); }

 private:
  bool AddExtent(size_t size, uintptr_t hint);
  void GiveBack(size_t count, uintptr_t end);
  Range TakeFrom(Extent* extent, size_t size, bool* ready);
  bool GrowsByHugePages(size_t size) const;
  void AdviseHugePages(uintptr_t start, size_t size) const;
  void Publish(uintptr_t lo, uintptr_t used);
  void Step() const {
    if (GCM_UNLIKELY(config_.between_steps != nullptr)) config_.between_steps();
  }

  std::atomic<uintptr_t> used_{0};
  std::atomic<uintptr_t> lo_{UINTPTR_MAX};
  SideTables tables_;
  HugePages huge_pages_ = HugePages::kSystem;
  size_t huge_until_ = SIZE_MAX;
  ArenaConfig config_{};
  Extent* extents_ = nullptr;
  size_t extent_capacity_ = 0;
  std::atomic<size_t> extent_count_{0};
  std::atomic<size_t> grown_{0};
};

}  // namespace gcm
