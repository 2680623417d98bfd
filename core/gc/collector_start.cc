// Which cycle is run, and by whom: beside the program by a thread of our own, or here.
#include "core/base/metadata.h"
#include "core/base/options.h"
#include "core/gc/collector.h"
#include "core/gc/kernel_values.h"
#include "platform/clock.h"
#include "platform/descriptor.h"
#include "platform/process.h"
#include "platform/test_skip.h"

namespace gcm {
namespace {

constexpr size_t kStackSize = 128 * kKiB;
// A smaller heap is marked in less time than a thread and its tracking take.
constexpr uint64_t kWorthTracking = 8 * kMiB;
constexpr uint64_t kMostGrowth = 32 * kMiB;
// A thread of our own has so many open at most, each helper one more: the standard error, /proc,
// two of the tracking, the map, its pages, the list of threads and one of these.
constexpr size_t kDescriptorsBeside = 8;

}  // namespace

bool Collector::Collectable() {
  if (process::SharesParentMemory()) return false;  // a vfork child: the heap is its parent's
  if (stack_top_ != 0) return true;
  if (!cycle_.Prepare()) return false;
  uintptr_t stack = metadata::MapOwn(kStackSize, "gcmalloc: collector's stack");
  if (stack == 0) return false;
  stack_top_ = stack + kStackSize;
  return true;
}

Cycle::Plan Collector::PlanFor(const char* reason) const {
  const Options& o = options();
  const unsigned processors = process::Processors();
  const unsigned workers =
      o.workers == Options::kAutoWorkers ? Max(processors / 4, 1u) : Max(o.workers, 1u);
  Cycle::Plan plan{};
  plan.reason = reason;
  plan.workers = workers;
  plan.helpers = o.workers == 0 ? 0 : Max(workers, Min(processors, 4u)) - 1;
  // Who chose a source wants to see it at work.
  const uint64_t in_use = heap().pages().in_use_pages() * kPageSize;
  plan.concurrent = o.dirty != DirtySource::kNone &&
                    (o.dirty != DirtySource::kAuto || o.checkmark || in_use >= kWorthTracking);
  // Who asks for a cycle himself wants all garbage to be found.
  const bool grown = reason[0] == 'g' || reason[0] == 'e' || reason[0] == 's';
  plan.minor = plan.keeps = grown;
  plan.interval = clock::Now() - last_cycle_.load(std::memory_order_relaxed);
  const bool stops = o.dirty == DirtySource::kAuto && o.workers != 0 && !o.checkmark &&
                     stop_choice_.Stops(in_use, plan.interval);
  plan.stop = grown && (stops || Skips(Skip::beside));
  return plan;
}

// Under the turn. A thread of our own leads the cycle; false: there is none to be had.
bool Collector::StartBeside(const char* reason) {
  if (options().workers == 0 || !Collectable()) return false;
  if (kernel_values::HasNotifications()) return false;
  const Cycle::Plan plan = PlanFor(reason);
  if (!plan.concurrent || !cycle_.TracksDirtyPages()) return false;
  if (descriptor::Limit() < kDescriptorsBeside + plan.helpers) return false;
  if (leader_memory_.size() == 0) {
    constexpr size_t kSize = kStackSize + OwnThread::kStorage;
    const uintptr_t lo = metadata::MapOwn(kSize, "gcmalloc: collector's own stack");
    if (lo == 0) return false;
    leader_memory_ = {lo, lo + kSize};
  }
  reason_ = reason;
  beside_.store(true, std::memory_order_relaxed);
  // Without a goal, or with a distant one, the heap must not run away from its marking either.
  // Where it is far beyond (collections were switched off), the program does not wait for all of
  // it.
  const uint64_t in_use = heap().pages().in_use_pages() * kPageSize;
  const uint64_t most = in_use / 2 > pacer_.goal() ? in_use + in_use / 8
                                                   : Min(pacer_.goal(), 2 * in_use + kMostGrowth);
  ceiling_.store(most, std::memory_order_relaxed);
  pace_.store(Cycle::kFree, std::memory_order_relaxed);
  waited_.store(0, std::memory_order_relaxed);
  heap().SetTrigger(most);
  heap().SetTakenTrigger(UINT64_MAX);
  if (CallWatch()) return true;
  JoinLeader();
  if (leader_.Start(&Collector::Lead, this, leader_memory_, false)) return true;
  beside_.store(false, std::memory_order_relaxed);
  return false;
}

// Under the turn: a cycle in this thread, the first step of it at least.
bool Collector::RunHere(const char* reason) {
  if (!Collectable()) return false;
  // The last leader may be about to end: that the threads are others than were listed would have
  // them listed anew, by a descriptor in the program's table.
  JoinLeader();
  Cycle::Plan plan = PlanFor(reason);
  plan.helpers = 0;
  plan.concurrent =
      plan.concurrent && options().workers == 0 && descriptor::HasRoomFor(kDescriptorsBeside);
  plan.minor = plan.keeps = plan.stop = false;  // nobody would watch
  cycle_.Begin(plan);
  if (!cycle_.concurrent()) return GoOnHere(UINT64_MAX);
  heap().SetTrigger(0);  // every refill takes its part
  GoOnHere(kSliceHere);
  return true;
}

}  // namespace gcm
