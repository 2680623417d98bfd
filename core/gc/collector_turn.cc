// Whose turn it is to collect, and what becomes of that in a forked child.
#include "core/gc/collector.h"
#include "core/gc/kernel_values.h"
#include "platform/clock.h"
#include "platform/process.h"
#include "platform/signal.h"
#include "platform/syscall.h"

namespace gcm {

bool Collector::TryTakeTurn() {
  uint64_t mask = BlockSignals();
  if (lock_.TryLock()) {
    mask_ = mask;
    if (GCM_UNLIKELY(process::WasForked())) NoticeFork();
    return true;
  }
  RestoreSignals(mask);
  return false;
}

void Collector::TakeTurn() {
  wanted_.fetch_add(1, std::memory_order_relaxed);
  while (!TryTakeTurn()) lock_.Await();
  wanted_.fetch_sub(1, std::memory_order_relaxed);
}

void Collector::HoldOff() {
  TakeTurn();
  held_off_by_.store(process::ThreadId(), std::memory_order_relaxed);
  RestoreSignals(mask_);
}

void Collector::HoldOffAlone() {
  for (;;) {
    HoldOff();
    if (!LeadsBeside()) break;
    const uint32_t seen = ended_.load(std::memory_order_relaxed);
    LetGo();
    AwaitEnd(seen);
  }
  JoinLeader();
}

void Collector::LetGo() {
  held_off_by_.store(0, std::memory_order_relaxed);
  lock_.Unlock();
}

void Collector::EndTurn() {
  uint64_t mask = mask_;
  lock_.Unlock();
  RestoreSignals(mask);
}

void Collector::NoticeFork() {
  heap().registry().Renumber(t_cache);
  world().AfterForkInChild();
  collector().DropCycle();
  process::MarkParent();
}

// A forked child has nobody who leads a cycle.
void Collector::DropCycle() {
  OwnThread::AfterForkInChild();
  leader_.Forget();
  cycle_.AfterForkInChild();
  // A handler may have forked while its thread waited for the end of a cycle.
  last_end_.store(End::kForked, std::memory_order_relaxed);
  ended_.fetch_add(1, std::memory_order_release);  // pairs with: AwaitEnd
  beside_.store(false, std::memory_order_relaxed);
  watch_.store(kAway, std::memory_order_relaxed);
  asked_.store(kNothing, std::memory_order_relaxed);
  move_lock_.Reset();
  pace_.store(Cycle::kFree, std::memory_order_relaxed);
  wanted_.store(0, std::memory_order_relaxed);
  throttled_.store(0, std::memory_order_relaxed);
  SetTriggers();
}

void Collector::AfterForkInside() {
  heap().AfterForkInside();
  OwnThread::AfterForkInChild();
  lock_.Reset();
  move_lock_.Reset();
  kernel_values::AfterForkInChild();
  ledger().AfterForkInChild();
  NoticeFork();
}

void Collector::AfterForkInChild() {
  kernel_values::AfterForkInChild();
  ledger().AfterForkInChild();
  DropCycle();
  world().AfterForkInChild();
}

bool Collector::TryTakeTurn(uint64_t patience) {
  wanted_.fetch_add(1, std::memory_order_relaxed);
  const uint64_t end = clock::Now() + patience;
  bool taken;
  while (!(taken = TryTakeTurn()) && clock::Now() < end) Syscall(SYS_sched_yield);
  wanted_.fetch_sub(1, std::memory_order_relaxed);
  return taken;
}

}  // namespace gcm
