// Large blocks that are moved by their pages while these are tracked: by who leads the cycle.
#include <ctime>

#include "core/gc/collector.h"
#include "platform/process.h"
#include "platform/syscall.h"

namespace gcm {
namespace {

constexpr timespec kLook{0, 2'000'000};

}  // namespace

bool Collector::OnMove(Range from, uintptr_t to) { return collector().AskToMove(from, to); }

bool Collector::AskToMove(Range from, uintptr_t to) {
  // The leader does it between two steps, one of which may stop this thread. One at a time, and a
  // handler of the same thread not at all.
  if (held_off_by_.load(std::memory_order_relaxed) == process::ThreadId()) return false;
  if (!move_lock_.TryLock()) return false;
  const bool moved = (LeadsBeside() || Watches()) && AwaitMove(from, to);
  move_lock_.Unlock();
  return moved;
}

bool Collector::AwaitMove(Range from, uintptr_t to) {
  move_from_ = from;
  move_to_ = to;
  asked_.store(kMove, std::memory_order_release);  // pairs with: MoveIfAsked
  WakeWatch();
  for (;;) {
    const uint32_t asked = asked_.load(std::memory_order_acquire);  // pairs with: MoveIfAsked
    if (asked == kMoved || asked == kNotMoved) {
      asked_.store(kNothing, std::memory_order_relaxed);
      return asked == kMoved;
    }
    if (asked == kNothing) return false;  // in a child that a handler has forked meanwhile
    uint32_t expected = kMove;
    if (!LeadsBeside() && !Watches() && asked_.compare_exchange_strong(expected, kNothing))
      return false;
    FutexWait(&asked_, asked, &kLook);
  }
}

void Collector::MoveIfAsked() {
  uint32_t asked = kMove;
  // pairs with: AskToMove
  if (!asked_.compare_exchange_strong(asked, kBusy, std::memory_order_acquire)) return;
  const bool done = cycle_.MovePages(move_from_, move_to_);
  asked_.store(done ? kMoved : kNotMoved, std::memory_order_release);  // pairs with: AskToMove
  FutexWake(&asked_, 1);
}

}  // namespace gcm
