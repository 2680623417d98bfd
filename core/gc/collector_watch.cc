// The leader between two cycles of which the second may be a minor one: it keeps the descriptors by
// which the pages are tracked. It does not for long, and ends when the program wants to be alone.
#include <ctime>

#include "core/gc/collector.h"
#include "platform/clock.h"
#include "platform/process.h"
#include "platform/syscall.h"

namespace gcm {
namespace {

constexpr uint64_t kQuantum = 2 * clock::kMillisecond;
constexpr uint64_t kBusy = 20 * clock::kMicrosecond;

}  // namespace

bool Collector::Watches() const {
  const uint32_t watch = watch_.load(std::memory_order_relaxed) & kWatch;
  return watch != kAway && !process::WasForked();
}

void Collector::WakeWatch() {
  watch_.fetch_add(kWatch + 1, std::memory_order_release);  // pairs with: KeepWatch
  FutexWake(&watch_, 1);
}

// Under the turn. False: it does not watch.
bool Collector::CallWatch() {
  if ((watch_.load(std::memory_order_relaxed) & kWatch) != kWatching || process::WasForked())
    return false;
  watch_.store(kCalled, std::memory_order_release);  // pairs with: KeepWatch
  FutexWake(&watch_, 1);
  return true;
}

// Under the turn: it does not watch any more, and is gone.
void Collector::JoinLeader() {
  if (Watches()) {
    watch_.store(kDismissed, std::memory_order_release);  // pairs with: KeepWatch
    FutexWake(&watch_, 1);
  }
  leader_.Join();
}

// By the leader, without the turn. True: there is a cycle to lead.
bool Collector::KeepWatch() {
  const uint64_t until = clock::Now() + cycle_.patience();
  for (;;) {
    const uint32_t seen = watch_.load(std::memory_order_acquire);  // pairs with: CallWatch
    const uint32_t watch = seen & kWatch;
    if (watch == kAway) return false;
    if (watch == kCalled) {
      watch_.store(kAway, std::memory_order_relaxed);
      return true;
    }
    if (watch == kDismissed) break;
    const uint64_t now = clock::Now();
    const bool asked = asked_.load(std::memory_order_relaxed) == kMove;
    if (!asked && now < until) {
      const timespec rest{static_cast<time_t>((until - now) / clock::kSecond),
                          static_cast<long>((until - now) % clock::kSecond)};
      FutexWait(&watch_, seen, &rest);
      continue;
    }
    if (!lock_.TryLock()) {
      clock::Sleep(kBusy);
      continue;
    }
    const bool still = (watch_.load(std::memory_order_relaxed) & kWatch) == kWatching;
    if (still && asked) MoveIfAsked();
    if (still && !asked) watch_.store(kLeaving, std::memory_order_relaxed);
    lock_.Unlock();
    if (still && !asked) break;
  }
  LeaveWatch();
  return false;
}

// In steps, each under the turn, or all at once within that of who has dismissed the leader.
void Collector::LeaveWatch() {
  for (bool left = false; !left;) {
    bool turn = false, dismissed = false;
    for (;;) {
      // pairs with: JoinLeader
      dismissed = (watch_.load(std::memory_order_acquire) & kWatch) == kDismissed;
      if (dismissed || (turn = lock_.TryLock())) break;
      clock::Sleep(kBusy);
    }
    left = cycle_.Leave(dismissed ? UINT64_MAX : clock::Now() + kQuantum);
    if (left) watch_.store(kAway, std::memory_order_relaxed);
    if (turn) lock_.Unlock();
  }
}

}  // namespace gcm
