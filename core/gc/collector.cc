#include "core/gc/collector.h"

#include <new>

#include "core/base/metadata.h"
#include "core/base/options.h"
#include "core/gc/blocking.h"
#include "core/gc/kernel_values.h"
#include "core/gc/sweeper.h"
#include "platform/apart.h"
#include "platform/clock.h"
#include "platform/descriptor.h"
#include "platform/process.h"
#include "platform/registers.h"
#include "platform/signal.h"

namespace gcm {
namespace {

constexpr size_t kStackSize = 128 * kKiB;
// Open at the same time: the map, its pages, the list of descriptors and one of these.
constexpr unsigned kDescriptors = 4;
constexpr uint64_t kTick = clock::kSecond / 4;
// A cycle that cannot be run has held everybody up for nothing: attempts may take 1/32 of the time,
// and with each failure in a row half of that.
constexpr uint64_t kRetryFactor = 32;
constexpr unsigned kMaxRetryShift = 5;
constexpr uint64_t kLimitReread = 10 * clock::kSecond;

template <typename T>
T* New() {
  void* place = metadata::Allocate(sizeof(T));
  return place == nullptr ? nullptr : new (place) T();
}

}  // namespace

Collector& collector() {
  static constinit Collector instance;
  return instance;
}

void Collector::Start() {
  const Options& o = options();
  ledger().Start();
  blocking::Start();
  last_cycle_.store(ledger().start_time(), std::memory_order_relaxed);
  pacer_.SetPercent(o.percent);
  UpdateLimit(ledger().start_time());
  pacer_.Begin(heap().pages().in_use_pages() * kPageSize);
  started_.store(true, std::memory_order_relaxed);
  heap().SetPressureHook(&Collector::OnPressure);
  heap().SetNextTick(clock::Coarse() + kTick);
  if (o.mode != Mode::kOff) heap().SetTrigger(pacer_.trigger());
}

void Collector::UpdateLimit(uint64_t now) {
  const size_t chosen = options().limit;
  if (chosen != Options::kAutoLimit) {
    pacer_.SetLimit(chosen == SIZE_MAX ? UINT64_MAX : chosen);
    return;
  }
  if (limit_read_ != 0 && now - limit_read_ < kLimitReread) return;
  limit_read_ = now;
  size_t limit = process::CgroupMemoryLimit();
  pacer_.SetLimit(limit == SIZE_MAX ? UINT64_MAX : limit / 10 * 9);
}

bool Collector::Enabled() const {
  return started_.load(std::memory_order_relaxed) &&
         disabled_.load(std::memory_order_relaxed) == 0 && options().mode == Mode::kCollect;
}

bool Collector::OnPressure(Pressure pressure) { return collector().Relieve(pressure); }

bool Collector::Relieve(Pressure pressure) {
  if (pressure != Pressure::kTick && !Enabled()) return false;
  const char* reason = nullptr;
  switch (pressure) {
    case Pressure::kOutOfMemory:
      return Collect("memory");
    case Pressure::kStress:
      reason = "stress";
      break;
    case Pressure::kTick: {
      const uint64_t now = clock::Coarse();
      heap().SetNextTick(now + kTick);
      ledger().WriteStatistics(false);
      {
        Unstoppable guard;
        heap().pages().ScavengeIfDue(now);
      }
      const uint64_t interval = options().interval;
      if (options().mode != Mode::kCollect || !Enabled()) return false;
      if (interval == 0 ||
          now < last_cycle_.load(std::memory_order_relaxed) + interval * clock::kSecond)
        return false;
      reason = "interval";
      break;
    }
    case Pressure::kGrowth: {
      if (!TryTakeTurn()) {
        // Somebody collects already: going on would only make the heap outgrow its goal.
        if (held_off_by_.load(std::memory_order_relaxed) != process::ThreadId()) lock_.Await();
        return true;
      }
      uint64_t now = clock::Now();
      Pacer::Verdict verdict =
          pacer_.Due(heap().pages().in_use_pages() * kPageSize, now - ledger().start_time());
      heap().SetTrigger(pacer_.trigger());
      bool done = false;
      if (verdict != Pacer::Verdict::kNo && now >= retry_at_) {
        // In the same turn: others who found the heap grown are waiting for it.
        done = Cycle(verdict == Pacer::Verdict::kLimit    ? "limit"
                     : verdict == Pacer::Verdict::kGrowth ? "growth"
                                                          : "early");
      }
      EndTurn();
      return done;
    }
  }
  if (!TryTakeTurn()) return false;
  bool done = clock::Now() >= retry_at_ && Cycle(reason);
  EndTurn();
  return done;
}

bool Collector::Collect(const char* reason) {
  if (!started_.load(std::memory_order_relaxed) || options().mode == Mode::kOff) return false;
  TakeTurn();
  bool done = Cycle(reason);
  EndTurn();
  return done;
}

bool Collector::TryTakeTurn() {
  uint64_t mask = BlockSignals();
  if (lock_.TryLock()) {
    mask_ = mask;
    return true;
  }
  RestoreSignals(mask);
  return false;
}

void Collector::TakeTurn() {
  while (!TryTakeTurn()) lock_.Await();
}

void Collector::HoldOff() {
  TakeTurn();
  held_off_by_.store(process::ThreadId(), std::memory_order_relaxed);
  RestoreSignals(mask_);
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

bool Collector::Cycle(const char* reason) {
  if (process::SharesParentMemory()) return false;  // a vfork child: the heap is its parent's
  if (process::WasForked()) NoticeFork();
  if (marker_ == nullptr) {
    marker_ = New<Marker>();
    roots_ = New<RootScanner>();
    uintptr_t stack = metadata::MapOwn(kStackSize, "gcmalloc: collector's stack");
    if (marker_ == nullptr || roots_ == nullptr || stack == 0) {
      marker_ = nullptr;
      return false;
    }
    stack_top_ = stack + kStackSize;
  }
  reason_ = reason;
  done_ = false;
  GcmWithSpilledRegisters(&Collector::CycleOnOwnStack, this, stack_top_);
  return done_;
}

void Collector::CycleOnOwnStack(void* data, uintptr_t sp) {
  auto* self = static_cast<Collector*>(data);
  CycleRecord record{};
  const uint64_t begin = clock::Now();
  const uint64_t cpu = clock::ThreadCpu();
  const char* why = nullptr;
  record.start = begin - ledger().start_time();
  record.reason = self->reason_;
  record.heap_before = heap().pages().in_use_pages() * kPageSize;
  const bool stopped = world().Stop(&why);
  if (stopped) self->done_ = self->MarkAndSweepWithDescriptors(sp, &record, &why);
  // Planned before anybody runs again: what others allocate from here on is growth.
  record.heap_after = self->done_ ? heap().pages().in_use_pages() * kPageSize : record.heap_before;
  self->Plan(&record, clock::Now() - begin);
  const uint64_t end = clock::Now();
  self->last_cycle_.store(end, std::memory_order_relaxed);
  self->UpdateLimit(end);
  if (self->done_) {
    self->retry_at_ = self->failures_ = 0;
  } else {
    self->retry_at_ = end + ((end - begin) * kRetryFactor << Min(self->failures_, kMaxRetryShift));
    ++self->failures_;
  }
  record.pause = end - begin;
  record.cpu = clock::ThreadCpu() - cpu;
  record.number = ledger().cycles() + 1;
  if (self->done_) {
    ledger().AddCycle(record);
    ledger().TraceToFiles(record);
  }
  if (stopped) world().Start();
  if (self->done_) {
    ledger().TraceToStandardError(record);
  } else {
    ledger().TraceSkipped(why);
  }
}

void Collector::Plan(CycleRecord* record, uint64_t duration) {
  const bool counts = record->reason[0] == 'e' || record->reason[0] == 'g';
  pacer_.Finished({record->heap_before, record->heap_after, record->heap_marked,
                   record->roots_bytes, duration, counts && done_});
  record->heap_goal = pacer_.goal();
  heap().SetTrigger(pacer_.trigger());
}

// Half of what has to be read is worse than nothing: whether there is room for the descriptors is
// known before the first of them is opened.
bool Collector::MarkAndSweepWithDescriptors(uintptr_t sp, CycleRecord* record, const char** why) {
  *why = "the memory map cannot be read";
  if (descriptor::HasRoomFor(kDescriptors)) return MarkAndSweep(sp, record, why);
  struct Job {
    Collector* self;
    uintptr_t sp;
    CycleRecord* record;
    const char** why;
    bool done;
  } job{this, sp, record, why, false};
  auto run = [](void* data) {
    auto* j = static_cast<Job*>(data);
    if (descriptor::HasRoomFor(kDescriptors))
      j->done = j->self->MarkAndSweep(j->sp, j->record, j->why);
  };
  if (!apart::Run(run, &job)) *why = "no descriptor is free";
  return job.done;
}

bool Collector::MarkAndSweep(uintptr_t sp, CycleRecord* record, const char** why) {
  const uint64_t begin = clock::Now();
  record->threads = world().thread_count() + 1;
  heap().registry().RetireDead([](void*, int tid) { return world().IsAlive(tid); }, nullptr);
  PageMap pages;
  if (shifted_) marker_->FollowShifted();
  marker_->Begin(options().align, &pages);
  RootScanner::Result roots =
      roots_->Scan(marker_, &pages, world(), sp, AddressOf(__builtin_thread_pointer()));
  if (roots.for_good && !off_for_good_) {
    off_for_good_ = true;
    Disable();
  }
  if (roots.incomplete != nullptr) {
    *why = roots.incomplete;
    return false;
  }
  marker_->Drain();
  const uint64_t marked = clock::Now();
  SweepResult swept = Sweep(marker_->protected_ranges());
  const uint64_t end = clock::Now();
  record->mark = marked - begin;
  record->sweep = end - marked;
  record->heap_marked = marker_->marked_bytes();
  record->marked_objects = marker_->marked_objects();
  record->roots_bytes = roots.bytes;
  record->stacks_bytes = roots.stack_bytes;
  record->reclaimed_objects = swept.reclaimed_objects;
  record->reclaimed_bytes = swept.reclaimed_bytes;
  return true;
}

void Collector::NoticeFork() {
  heap().registry().Renumber(t_cache);
  world().AfterForkInChild();
  process::MarkParent();
}

void Collector::AfterForkInside() {
  lock_.Reset();
  kernel_values::AfterForkInChild();
  ledger().AfterForkInChild();
  NoticeFork();
}

void Collector::AfterForkInChild() {
  kernel_values::AfterForkInChild();
  ledger().AfterForkInChild();
  world().AfterForkInChild();
}

}  // namespace gcm
