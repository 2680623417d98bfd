// Sweeping: what is a block and not marked is free again, span by span, while the program runs.
//
// Law: what the mark bits say is true for the blocks that there were when the world was last
// stopped for the cycle. Whatever is handed out later must not be taken for one of those:
//   - the free slots of every span that some thread allocates from at that stop get their mark bits
//     (BlackenCurrent), and
//   - a thread that wants to allocate from another span sweeps that first (SweepBeforeUse).
// Spans that are born later count as swept. A span is swept under the lock of its owner's cache, or
// of the central list of its class, or of the page heap if it is large; `swept` says that it was.
// The owner frees and allocates without its lock: what is found in its spans is given to it like
// what another thread has freed, through the remote bits. Nobody else frees those slots, because
// nobody has a pointer to them.
// What garbage held must not keep others alive: it is scrubbed, or, where nothing else is left in a
// span, that is given back as garbage, and scrubbed by who gets its pages (Heap::AllocateSpan).
#pragma once

#include "core/heap/protected_ranges.h"
#include "core/heap/span.h"
#include "core/heap/span_walk.h"

namespace gcm {

class ThreadCache;

class Sweeper {
 public:
  struct Result {
    uint64_t objects;
    uint64_t bytes;
  };

  // With the world stopped and everything marked. `protected_ranges` outlives the sweep.
  void Begin(const ProtectedRanges* protected_ranges);
  // Sweeps until `deadline` (nanoseconds of clock::Now). True: all has been swept, and the sweep is
  // over. With `stopped` the world is, and the owners' bits are written directly.
  bool Step(uint64_t deadline, bool stopped);
  // Where it has come to.
  const SpanWalk& walk() const { return walk_; }
  // What was reclaimed since the start, a sweep that goes on included; any thread.
  Result total() const {
    return {objects_.load(std::memory_order_relaxed), bytes_.load(std::memory_order_relaxed)};
  }
  // What was reclaimed since Begin.
  Result result() const {
    const Result all = total();
    return {all.objects - before_.objects, all.bytes - before_.bytes};
  }

  bool IsSwept(const Span* span) const;
  // The caller holds its cache's lock, in a section, and is about to allocate from its span.
  void SweepBeforeUse(Span* span);
  // Under the lock of the span's owner: marks it as swept and returns whether `use(w, garbage)` was
  // called for any word of its bits. With `scrub` the blocks are scrubbed before.
  template <typename Use>
  bool SweepSlots(Span* span, bool scrub, Use use);
  // Under the same lock, of a span that nobody allocates from: nothing is left in it when it is
  // swept. Then it need not be scrubbed before somebody else gets its pages.
  bool Empties(const Span* span) const;

 private:
  bool SweepOne(Span* span, bool stopped);
  void SweepLarge(Span* span);
  bool IsProtected(const Span* span) const;

  std::atomic<uint64_t> objects_{0}, bytes_{0};
  Result before_{};
  const ProtectedRanges* protected_ = nullptr;
  SpanWalk walk_;  // where Step goes on
};

}  // namespace gcm
