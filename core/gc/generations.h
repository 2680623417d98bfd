// Which cycles are minor: those that keep the mark bits of the last one, and mark only what is
// reached from the roots and from what was written since (sticky mark bits: Demers, Weiser, Hayes,
// Boehm, Bobrow, Shenker 1990). A block that was marked once is old, and stays until a full cycle.
// Pure arithmetic.
//
// Minor cycles are worth it where cycles follow each other closely, much of what was allocated in
// between is garbage, and little of what is old is written. They save marking the rest, and cost
// the program a fault for each old page that it writes to.
#pragma once

#include "platform/base.h"

namespace gcm {

class Generations {
 public:
  struct Cycle {
    bool minor;
    bool at_once;       // a minor one that was all done in stops of its own
    uint64_t marked;    // bytes; by a minor cycle: in addition
    uint64_t in_use;    // bytes of pages
    uint64_t written;   // bytes of pages that were written and scanned again
    uint64_t duration;  // nanoseconds so far
    uint64_t interval;  // nanoseconds from the end of the last cycle to its beginning
  };

  // When a cycle has marked all. True: its marks are to be kept.
  bool Marked(const Cycle& cycle);
  void Drop() { keeps_ = minor_is_due_ = false; }
  // The pages cannot be tracked until the next cycle at a fair price, or they are.
  void Refuse();
  void Accept() { refusals_ = 0; }
  bool keeps() const { return keeps_; }
  // Whether Marked may come to keep the marks of the next full cycle.
  bool MayKeep() const { return skips_ <= 2; }
  // Whether the next cycle may be a minor one.
  bool MinorIsDue() const { return minor_is_due_; }
  // Bytes of blocks that are marked: live, or believed to be until the next full cycle.
  uint64_t old() const { return live_ + promoted_; }
  // How long it is worth to wait for the next cycle: nanoseconds.
  uint64_t patience() const;

 private:
  // It was not worth it: no more for some cycles, and for more each time in a row.
  void Skip(unsigned* times);
  uint64_t live_ = 0;      // bytes that the last full cycle marked
  uint64_t promoted_ = 0;  // bytes that the minor cycles behind it marked
  uint64_t full_time_ = 0;
  unsigned minors_ = 0;
  unsigned skips_ = 0;                    // full cycles that are to come before the next minor one
  unsigned failures_ = 0, refusals_ = 0;  // in a row
  bool keeps_ = false;
  bool minor_is_due_ = false;
};

}  // namespace gcm
