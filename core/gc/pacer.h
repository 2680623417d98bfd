// When to collect: pure arithmetic on numbers it is given, so that it is tested without a heap.
//
// The rule is Go's: the next cycle is due when the heap has grown to
//   live + (live + roots) * percent / 100, and by at least 4 MiB,
// where growth counts the pages in use, so that what a program frees does not count.
//
// Early cycles: a small heap is collected so cheaply that waiting for 4 MiB of garbage would only
// cost memory. A cycle may start as soon as the heap has grown by a fifth (at least 384 KiB),
// while all collections together have used less than 1/32 of the time since the start. When such
// a cycle finds little, the next one waits twice as long, up to the rule above: a program that
// does not leak sees next to none.
#pragma once

#include "platform/base.h"

namespace gcm {

class Pacer {
 public:
  struct Cycle {
    uint64_t heap_before;  // bytes of pages in use
    uint64_t heap_after;
    uint64_t marked;    // bytes of live blocks
    uint64_t roots;     // bytes scanned outside of the heap
    uint64_t duration;  // nanoseconds
    bool counts;        // started by growth: its yield says something about the program
  };

  void SetPercent(uint64_t percent) { percent_ = percent; }  // UINT64_MAX: growth starts nothing
  void SetLimit(uint64_t limit) { limit_ = limit; }

  // Bytes in use at which Due must be asked.
  uint64_t trigger() const { return trigger_; }
  // Bytes in use at which a cycle starts whatever it costs.
  uint64_t goal() const { return Min(growth_goal_, limit_goal_); }

  enum class Verdict { kNo, kEarly, kGrowth, kLimit };
  // Asked when `in_use` has reached the trigger, `elapsed` nanoseconds after the start. kNo moves
  // the trigger on a little.
  Verdict Due(uint64_t in_use, uint64_t elapsed);
  void Finished(const Cycle& cycle);
  // The first cycle has no predecessor: from `in_use` at the start.
  void Begin(uint64_t in_use);

 private:
  void Plan(uint64_t heap, uint64_t basis);

  uint64_t percent_ = 100;
  uint64_t limit_ = UINT64_MAX;
  uint64_t trigger_ = UINT64_MAX;
  uint64_t early_goal_ = UINT64_MAX;
  uint64_t growth_goal_ = UINT64_MAX;
  uint64_t limit_goal_ = UINT64_MAX;
  uint64_t spent_ = 0;  // nanoseconds in collections
  uint64_t heap_after_ = 0;
  unsigned backoff_ = 0;  // early cycles wait 2^backoff times as long
};

}  // namespace gcm
