// When to collect: pure arithmetic on numbers it is given, so that it is tested without a heap.
//
// The rule is Go's: a cycle should have ended when the heap has grown to
//   live + (live + roots) * percent / 100, and by at least 4 MiB,
// where of more than 256 MiB two thirds count: a large heap costs more than the time of its cycles.
// Of a small heap the opposite holds: where cycles take more than a quarter of the time, they get
// twice as much room each, up to 32 MiB, and half of it again when they take less than a sixteenth.
// Most programs free what they allocate: where one frees a quarter of it or more, and the last
// cycle found little, a heap of up to 256 MiB grows by 32 MiB or more, and twice as much as by the
// rule, after two such cycles three times, but by no more than 64 MiB beyond it.
// The heap is counted by its pages in use, so that what a program frees does not count.
//
// What was reclaimed lies scattered in pages that stay in use, and is taken first: only when it is
// used up does the heap grow, as fast as the program allocates. So a cycle starts when, by what was
// taken during the last ones, the goal would be passed before it has ended. Slots that the program
// frees itself are taken again and again: so of what is taken only a part counts as growth, at
// first an eighth; half as much after each cycle that started so and found little, and four times
// as much, up to all of it, after one that found much.
//
// Early cycles: a small heap is collected so cheaply that waiting for 4 MiB of garbage would only
// cost memory. A cycle may start as soon as the heap has grown by a fifth (at least 384 KiB),
// while all collections together, with the one to come, use less than 1/32 of the time since the
// start; before the first of them a program runs as long as that one would have to: most are over
// by then. When such a cycle finds little, the next one waits twice as long, up to the rule above:
// a program that does not leak sees next to none.
#pragma once

#include "platform/base.h"

namespace gcm {

class Pacer {
 public:
  static constexpr uint64_t kMinGrowth = 4 * kMiB, kMostRoom = 32 * kMiB;

  struct Cycle {
    uint64_t heap_before;  // bytes of pages in use
    uint64_t heap_after;
    uint64_t marked;         // bytes of live blocks
    uint64_t roots;          // bytes scanned outside of the heap
    uint64_t duration;       // nanoseconds
    bool counts;             // started by growth: its yield says something about the program
    uint64_t reclaimed = 0;  // bytes of blocks; their pages may stay in use
    uint64_t taken = 0;      // bytes of slots that were taken while it ran beside the program
    uint64_t interval = UINT64_MAX;  // nanoseconds since the end of the last one
    bool frees = false;              // the program frees much of what it allocates
    bool minor = false;              // `marked` is what counts as live until the next full cycle
    bool at_once = false;            // it marked all in one stop, with the program running before
    bool at_once_next = false;       // the next one will, probably
  };

  void SetPercent(uint64_t percent) { percent_ = percent; }  // UINT64_MAX: growth starts nothing
  void SetLimit(uint64_t limit) { limit_ = limit; }

  // Bytes in use at which Due must be asked.
  uint64_t trigger() const { return trigger_; }
  // Bytes in use that the heap should not exceed: what a cycle that ran beside the program would
  // have to end before. It starts so much earlier as the program took during the last one.
  uint64_t goal() const { return Min(growth_goal_, limit_goal_); }

  enum class Verdict { kNo, kEarly, kGrowth, kLimit };
  // Asked when `in_use` has reached the trigger, `elapsed` nanoseconds after the start. kNo moves
  // the trigger on a little.
  Verdict Due(uint64_t in_use, uint64_t elapsed, uint64_t taken = 0);
  // Bytes of slots taken since the last cycle at which Due must be asked, too.
  uint64_t taken_trigger() const { return taken_trigger_; }
  void Finished(const Cycle& cycle);
  // What is taken in `time` nanoseconds, if `taken` were in `before`.
  static uint64_t Extrapolate(uint64_t taken, uint64_t before, uint64_t time);
  // The first cycle has no predecessor: from `in_use` at the start.
  void Begin(uint64_t in_use);

 private:
  void Plan(uint64_t heap, uint64_t live, uint64_t basis);
  uint64_t SlotsToTake(uint64_t in_use) const;
  uint64_t Expected(uint64_t in_use) const;

  uint64_t percent_ = 100;
  uint64_t limit_ = UINT64_MAX;
  uint64_t trigger_ = UINT64_MAX;
  uint64_t taken_trigger_ = UINT64_MAX;
  uint64_t early_goal_ = UINT64_MAX;
  uint64_t growth_goal_ = UINT64_MAX;
  uint64_t growth_start_ = UINT64_MAX;  // where a cycle starts if no slots are free
  uint64_t limit_goal_ = UINT64_MAX;
  uint64_t free_ = 0;  // bytes of free slots after the last cycle
  // Bytes that the program took during a cycle, lately; and during one that is mostly a stop.
  uint64_t runway_ = 0, short_runway_ = 0;
  bool short_next_ = false;
  uint64_t spent_ = 0;          // nanoseconds in collections
  uint64_t last_duration_ = 0;  // of the last full cycle,
  uint64_t last_before_ = 0;    // and the heap before it
  uint64_t room_ = kMinGrowth;  // the least bytes to grow by
  unsigned barren_ = 0;         // cycles in a row that found little, up to 2
  uint64_t heap_after_ = 0;
  uint64_t basis_ = 0;           // of the growth: what the last full cycle scanned
  uint64_t taken_at_start_ = 0;  // of a cycle that slots taken have started; 0: of another
  unsigned taken_backoff_ = 3;   // of what is taken 1/2^backoff counts as growth
  unsigned backoff_ = 0;         // early cycles wait 2^backoff times as long
};

}  // namespace gcm
