#include "core/gc/stop_choice.h"

#include "core/gc/pacer.h"
#include "platform/clock.h"

namespace gcm {
namespace {

constexpr uint64_t kLongestStop = 24 * clock::kMillisecond;
constexpr uint64_t kMuchGrown = 2;  // most of the growth is garbage, mostly
constexpr uint64_t kSlower = 2;     // it allocates so many times as slowly
constexpr unsigned kMostStops = 64;

}  // namespace

void StopChoice::Finished(const Cycle& cycle) {
  if (cycle.stop) {
    if (++stops_ == kMostStops) waited_ = 0;
  } else {
    stops_ = 0;
    waited_ = cycle.waited;
    interval_ = cycle.interval;
  }
  marking_ = cycle.marking;
  heap_ = cycle.heap;
}

bool StopChoice::Stops(uint64_t heap, uint64_t interval) const {
  const bool grown = heap > heap_ * kMuchGrown;
  const uint64_t stop = grown ? Pacer::Extrapolate(marking_, heap_, heap) : marking_;
  return waited_ != 0 && stop <= Min(waited_, kLongestStop) && interval <= interval_ * kSlower;
}

}  // namespace gcm
