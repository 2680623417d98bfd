#include "core/gc/generations.h"

#include "platform/clock.h"

namespace gcm {
namespace {

// The next cycle is near if it comes within so many times what a full one takes.
constexpr uint64_t kNear = 8;
constexpr uint64_t kLeastPatience = 20 * clock::kMillisecond, kMostPatience = clock::kSecond;
constexpr uint64_t kLargest = kGiB;  // of heaps: a minor cycle looks at every page
// Parts of the heap.
constexpr uint64_t kMuchWritten = 4, kLittleGarbage = 4;
// Parts of what the last full cycle marked, or of this part of the heap, if that is more.
constexpr uint64_t kManyPromoted = 2, kManySurvive = 3, kLeastOld = 4, kLeastYoung = 2;
constexpr unsigned kMostMinors = 16;  // in a row
constexpr unsigned kMostFailures = 5;

}  // namespace

uint64_t Generations::patience() const {
  return Max(Min(full_time_ * kNear, kMostPatience), kLeastPatience);
}

bool Generations::Marked(const Cycle& cycle) {
  const uint64_t old_before = cycle.minor ? old() : 0;
  if (cycle.minor) {
    promoted_ += cycle.marked;
    ++minors_;
  } else {
    live_ = cycle.marked;
    promoted_ = minors_ = 0;
    full_time_ = cycle.duration;
  }
  if (skips_ != 0) --skips_;
  if (cycle.minor) {
    if (cycle.at_once && cycle.marked <= Max(live_, cycle.in_use / kLeastYoung) / kManySurvive) {
      failures_ = 0;
    } else {
      Skip(&failures_);
    }
  }
  const uint64_t young = cycle.in_use - Min(cycle.in_use, old_before);
  const uint64_t garbage = young - Min(young, cycle.marked);
  keeps_ = cycle.interval <= patience() && cycle.in_use <= kLargest &&
           cycle.written <= cycle.in_use / kMuchWritten &&
           garbage >= cycle.in_use / kLittleGarbage && skips_ <= 1;
  minor_is_due_ = keeps_ && skips_ == 0 &&
                  promoted_ <= Max(live_, cycle.in_use / kLeastOld) / kManyPromoted &&
                  minors_ < kMostMinors;
  return keeps_;
}

void Generations::Skip(unsigned* times) {
  *times = Min(*times + 1, kMostFailures);
  skips_ = Max(skips_, 1u << (*times - 1));
}

void Generations::Refuse() {
  Skip(&refusals_);
  Drop();
}

}  // namespace gcm
