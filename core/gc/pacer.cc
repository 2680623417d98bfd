#include "core/gc/pacer.h"

#include "platform/clock.h"

namespace gcm {
namespace {

constexpr uint64_t kMostBeyond = 64 * kMiB;
constexpr unsigned kMostBarren = 2;
constexpr uint64_t kMuchTime = 4, kLittleTime = 16;  // the parts of it that cycles take
constexpr uint64_t kMinEarlyGrowth = 384 * kKiB;
constexpr uint64_t kLeastGrowth = 64 * kKiB;  // even with percent 0: progress between cycles
constexpr uint64_t kLargeHeap = 256 * kMiB;
constexpr uint64_t kLeastShare = 64;  // of its growth, for a heap that is beyond its goal
constexpr uint64_t kAskAgain = 256 * kKiB;
constexpr uint64_t kEarlyShare = 32;                       // early cycles may use 1/32 of the time
constexpr uint64_t kFirstCycle = 2 * clock::kMillisecond;  // with what it needs and makes
constexpr uint64_t kLimitShare = 2;                        // cycles at the limit half of it
constexpr unsigned kMaxBackoff = 12;

uint64_t Add(uint64_t a, uint64_t b) { return a > UINT64_MAX - b ? UINT64_MAX : a + b; }
uint64_t Percent(uint64_t n, uint64_t percent) {
  return n > UINT64_MAX / Max<uint64_t>(percent, 1) ? UINT64_MAX : n * percent / 100;
}

// A cycle that finds little is the more reason to wait with the next one.
void Learn(uint64_t yield, uint64_t growth, unsigned* backoff) {
  if (yield >= growth / 2) {
    *backoff = *backoff > 2 ? *backoff - 2 : 0;
  } else if (yield < growth / 4 && *backoff < kMaxBackoff) {
    ++*backoff;
  }
}

}  // namespace

void Pacer::Begin(uint64_t in_use) { Plan(in_use, in_use, 0); }

void Pacer::Plan(uint64_t heap, uint64_t live, uint64_t basis) {
  heap_after_ = heap;
  taken_trigger_ = UINT64_MAX;
  if (percent_ == UINT64_MAX) {
    growth_goal_ = growth_start_ = early_goal_ = UINT64_MAX;
  } else {
    basis -= basis > kLargeHeap ? (basis - kLargeHeap) / 3 : 0;
    uint64_t growth = Max(Percent(basis, percent_), Percent(room_, percent_));
    if (basis <= kLargeHeap && barren_ != 0) {
      growth = Max(growth, Percent(kMostRoom, percent_));
      growth += Min(growth * barren_, Percent(kMostBeyond, percent_));
    }
    growth = Max(growth, kLeastGrowth);
    growth_goal_ = Max(Add(live, growth), Add(heap, Max(growth / kLeastShare, kLeastGrowth)));
    free_ = heap - live;
    const uint64_t room = growth_goal_ - live;
    const uint64_t runway = short_next_ ? short_runway_ : runway_;
    growth_start_ = growth_goal_ - Min((runway + runway / 8) >> taken_backoff_, room - room / 4);
    uint64_t early = Max(heap / 5, kMinEarlyGrowth) << backoff_;
    early = Max(Percent(early, Min<uint64_t>(percent_, 100)), kLeastGrowth);
    early_goal_ = Min(growth_goal_, Add(heap, early));
    taken_trigger_ = SlotsToTake(heap);
  }
  // Close to the limit a cycle still needs something to reclaim.
  limit_goal_ = limit_ == UINT64_MAX ? UINT64_MAX : Max(limit_, Add(heap, heap / 16 + kMiB));
  trigger_ = Min(early_goal_, limit_goal_);
  if (growth_start_ > heap) trigger_ = Min(trigger_, growth_start_);
}

// How many bytes of slots have been taken since the last cycle when, at this size, the next one is
// to start.
uint64_t Pacer::SlotsToTake(uint64_t in_use) const {
  if (in_use < growth_start_) return UINT64_MAX;
  return (free_ - Min(free_, in_use - growth_start_)) << taken_backoff_;
}

Pacer::Verdict Pacer::Due(uint64_t in_use, uint64_t elapsed, uint64_t taken) {
  taken_at_start_ = 0;
  if (in_use >= limit_goal_) {
    if (spent_ <= elapsed / kLimitShare || in_use >= growth_goal_) return Verdict::kLimit;
  } else if (in_use >= growth_goal_) {
    return Verdict::kGrowth;
  } else if (taken >= SlotsToTake(in_use)) {
    taken_at_start_ = taken;
    return Verdict::kGrowth;
  } else if (in_use >= early_goal_ &&
             Max(spent_ + Expected(in_use), kFirstCycle) <= elapsed / kEarlyShare) {
    return Verdict::kEarly;
  }
  taken_trigger_ = SlotsToTake(in_use);
  trigger_ = Max(trigger_, in_use + kAskAgain);
  const uint64_t starts[] = {growth_start_, growth_goal_, limit_goal_};
  for (const uint64_t start : starts) {
    if (in_use < start) trigger_ = Min(trigger_, start);
  }
  return Verdict::kNo;
}

// What the next cycle takes: as the last full one, for each byte.
uint64_t Pacer::Expected(uint64_t in_use) const {
  return Extrapolate(last_duration_, last_before_, in_use);
}

uint64_t Pacer::Extrapolate(uint64_t taken, uint64_t before, uint64_t time) {
  const double most = static_cast<double>(UINT64_MAX / 4);
  const double n = static_cast<double>(taken) * static_cast<double>(time) /
                   static_cast<double>(Max<uint64_t>(before, 1));
  return static_cast<uint64_t>(Min(n, most));
}

void Pacer::Finished(const Cycle& cycle) {
  spent_ += cycle.duration;
  const uint64_t growth = cycle.heap_before - Min(cycle.heap_before, heap_after_);
  const uint64_t yield =
      Max(cycle.heap_before - Min(cycle.heap_before, cycle.heap_after), cycle.reclaimed);
  if (cycle.duration > cycle.interval / kMuchTime) {
    room_ = Min(2 * room_, kMostRoom);
  } else if (cycle.duration < cycle.interval / kLittleTime) {
    room_ = Max(room_ / 2, kMinGrowth);
  }
  if (!cycle.frees || (yield != 0 && yield >= growth / 4)) {
    barren_ = 0;
  } else if (barren_ < kMostBarren) {
    ++barren_;
  }
  if (cycle.counts) {
    if (taken_at_start_ > growth) {
      Learn(yield, taken_at_start_, &taken_backoff_);
    } else {
      Learn(yield, growth, &backoff_);
      if (yield >= growth / 2) Learn(yield, growth, &taken_backoff_);
    }
  }
  taken_at_start_ = 0;
  uint64_t* runway = cycle.at_once ? &short_runway_ : &runway_;
  *runway = Max(cycle.taken, *runway - *runway / 4);
  short_next_ = cycle.at_once_next;
  if (!cycle.minor) {
    last_duration_ = cycle.duration;
    last_before_ = cycle.heap_before;
    basis_ = Add(cycle.marked, cycle.roots);
  }
  Plan(cycle.heap_after, Min(cycle.marked, cycle.heap_after), basis_);
}

}  // namespace gcm
