// How those who allocate wait beside a cycle that they would outrun.
#include <ctime>

#include "core/gc/blocking.h"
#include "core/gc/collector.h"
#include "platform/clock.h"

namespace gcm {
namespace {

constexpr uint64_t kThrottle = 2 * clock::kMillisecond;
// Memory comes back piece by piece then: who waits looks so often whether there is enough.
constexpr uint64_t kLookInSweep = clock::kMillisecond / 5;
// Beside the time of two fetches of all that was written.
constexpr uint64_t kLongestHold = 4 * clock::kMillisecond;

}  // namespace

// The program allocates, or writes, faster than it is collected: it waits a little.
void Collector::Throttle() {
  const uint64_t begin = clock::Now();
  if (pace_.load(std::memory_order_relaxed) == Cycle::kHeld) {
    Hold();
  } else {
    AwaitMemory();
  }
  waited_.fetch_add(clock::Now() - begin, std::memory_order_relaxed);
}

void Collector::AwaitMemory() {
  const uint32_t seen = ended_.load(std::memory_order_relaxed);
  const uint64_t ceiling = ceiling_.load(std::memory_order_relaxed);
  // The further it has run away, the longer: in the end until the cycle is over.
  const uint64_t begin = clock::Now();
  while (LeadsBeside() && ended_.load(std::memory_order_relaxed) == seen) {
    const uint64_t in_use = heap().pages().in_use_pages() * kPageSize;
    const unsigned most = in_use < ceiling ? pace_.load(std::memory_order_relaxed) == Cycle::kSlowed
                          : in_use < ceiling + ceiling / 8 ? 1
                          : in_use < ceiling + ceiling / 4 ? 2
                                                           : 1000;
    if (clock::Now() - begin >= most * kThrottle) return;
    const uint64_t wait = heap().phase() == Phase::kSweeping ? kLookInSweep : kThrottle;
    const timespec rest{0, static_cast<long>(wait)};
    throttled_.fetch_add(1, std::memory_order_relaxed);
    FutexWait(&ended_, seen, &rest);
    throttled_.fetch_sub(1, std::memory_order_relaxed);
  }
}

// The cycle looks at the last pages that were written: who writes no more keeps the stop short, and
// who waits published need not be woken to be stopped.
void Collector::Hold() {
  blocking::Run([](void* self) { static_cast<Collector*>(self)->AwaitPace(); }, this);
}

void Collector::AwaitPace() {
  const uint64_t until = clock::Now() + longest_hold_.load(std::memory_order_relaxed);
  throttled_.fetch_add(1, std::memory_order_relaxed);
  for (uint64_t now; LeadsBeside() && (now = clock::Now()) < until;) {
    const timespec rest{0, static_cast<long>(until - now)};
    if (pace_.load(std::memory_order_relaxed) != Cycle::kHeld) break;
    FutexWait(&pace_, Cycle::kHeld, &rest);
  }
  throttled_.fetch_sub(1, std::memory_order_relaxed);
}

// Under the turn, by who leads.
void Collector::SetPace(Cycle::Pace pace) {
  longest_hold_.store(kLongestHold + 2 * cycle_.fetch_time(), std::memory_order_relaxed);
  const uint32_t before = pace_.exchange(pace, std::memory_order_relaxed);
  if (pace == before) return;
  // Every refill waits.
  heap().SetTrigger(pace == Cycle::kFree ? ceiling_.load(std::memory_order_relaxed) : 0);
  if (before == Cycle::kHeld) FutexWake(&pace_, INT32_MAX);
}

}  // namespace gcm
