// Whether a cycle marks all in one stop instead of beside the program. Pure arithmetic.
//
// A program that allocates faster than it is collected waits for its cycles anyway, where it has
// reached the ceiling: for marking, for the tracking, which costs a small heap more than that, and
// for its own faults. Where a stop would have held it no longer than it has waited, the next cycles
// are done so; until it allocates more slowly, and from time to time to see what it would wait now.
#pragma once

#include "platform/base.h"

namespace gcm {

class StopChoice {
 public:
  struct Cycle {
    bool stop;          // it was done so
    uint64_t heap;      // bytes in use before it
    uint64_t marking;   // nanoseconds: of the stop, or what it would have been
    uint64_t waited;    // nanoseconds that a thread has waited for it
    uint64_t interval;  // nanoseconds from the end of the one before to its beginning
  };
  // A full cycle is over that was led by a thread of our own.
  void Finished(const Cycle& cycle);
  // With so many bytes in use, so many nanoseconds after the last cycle.
  bool Stops(uint64_t heap, uint64_t interval) const;

 private:
  uint64_t marking_ = 0, heap_ = 0;     // what is known of the last one that marked all
  uint64_t waited_ = 0, interval_ = 0;  // of the last one beside the program
  unsigned stops_ = 0;                  // behind that
};

}  // namespace gcm
