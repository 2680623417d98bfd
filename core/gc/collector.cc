#include "core/gc/collector.h"

#include "core/base/options.h"
#include "core/base/own_ranges.h"
#include "core/gc/blocking.h"
#include "platform/clock.h"
#include "platform/process.h"
#include "platform/registers.h"
#include "platform/signal.h"
#include "platform/syscall.h"

namespace gcm {
namespace {

constexpr uint64_t kQuantum = 2 * clock::kMillisecond;
constexpr uint64_t kTick = clock::kSecond / 4;
// A cycle that cannot be run has held everybody up for nothing: attempts may take 1/32 of the time,
// and with each failure in a row half of that.
constexpr uint64_t kRetryFactor = 32;
constexpr unsigned kMaxRetryShift = 5;
// Who frees this part of what was taken since the start leaks little.
constexpr uint64_t kMuchFreed = 4;
constexpr uint64_t kLimitReread = 10 * clock::kSecond;
// Where it is tracked which pages are written, huge ones are split again. A virtual machine whose
// monitor keeps page tables of its own then fills them anew for each page, again with each cycle:
// in a heap of this size that takes less time than its growth by huge pages saves; one of 1 GiB,
// read at random, ran at a twentieth.
constexpr size_t kTrackedHugeUntil = 96 * kMiB;

}  // namespace

Collector& collector() {
  static constinit Collector instance;
  return instance;
}

void Collector::Start() {
  const Options& o = options();
  ledger().Start();
  blocking::Start();
  // What they know of the heap keeps nothing in it alive; its first address is that of a block.
  OwnRanges::Add({AddressOf(&heap()), AddressOf(&heap() + 1)});
  OwnRanges::Add({AddressOf(this), AddressOf(this + 1)});
  last_cycle_.store(ledger().start_time(), std::memory_order_relaxed);
  if (o.trace_stderr || o.checkmark || o.dirty != DirtySource::kAuto)
    OwnThread::KeepStandardError();
  pacer_.SetPercent(o.percent);
  // The first cycle comes after a few MiB in any case, and its end reads what the cgroup allows: to
  // look for that takes longer than all else at the start, and most programs end before.
  if (o.limit != Options::kAutoLimit || o.percent > 100) UpdateLimit(ledger().start_time());
  pacer_.Begin(heap().pages().in_use_pages() * kPageSize);
  started_.store(true, std::memory_order_relaxed);
  heap().SetPressureHook(&Collector::OnPressure);
  heap().SetMoveHook(&Collector::OnMove);
  heap().SetNextTick(clock::Coarse() + kTick);
  if (o.mode != Mode::kOff) heap().SetTrigger(pacer_.trigger());
}

void Collector::SetTriggers() {
  heap().SetTrigger(pacer_.trigger());
  const uint64_t taken = pacer_.taken_trigger();
  heap().SetTakenTrigger(taken == UINT64_MAX ? taken : taken_before_ + taken);
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

// At the end of the first cycle, which most often comes before the heap is large enough for them:
// most programs have none.
void Collector::ChooseHugePages() {
  if (huge_pages_chosen_) return;
  huge_pages_chosen_ = true;
  if (options().huge_pages == HugePageChoice::kAuto && options().mode == Mode::kCollect)
    heap().GrowByHugePages(kTrackedHugeUntil);
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
    case Pressure::kGrowth:
      return Grown();
  }
  if (LeadsBeside() || !TryTakeTurn()) return false;
  bool done = false;
  if (cycle_.active()) {
    GoOnHere(kSliceHere);
  } else if (clock::Now() >= retry_at_) {
    done = StartBeside(reason) || RunHere(reason);
  }
  EndTurn();
  return done;
}

bool Collector::Grown() {
  if (LeadsBeside()) {
    Throttle();
    return true;
  }
  if (!TryTakeTurn()) {
    // Somebody collects already: going on would only make the heap outgrow its goal.
    if (held_off_by_.load(std::memory_order_relaxed) != process::ThreadId()) lock_.Await();
    return true;
  }
  const uint64_t now = clock::Now();
  bool done = false;
  if (LeadsBeside()) {
  } else if (cycle_.active()) {
    if (now >= next_step_) done = GoOnHere(kSliceHere);
  } else {
    Pacer::Verdict verdict =
        pacer_.Due(heap().pages().in_use_pages() * kPageSize, now - ledger().start_time(),
                   heap().taken() - taken_before_);
    SetTriggers();
    if (verdict != Pacer::Verdict::kNo && now >= retry_at_) {
      // In the same turn: others who found the heap grown are waiting for it.
      const char* reason = verdict == Pacer::Verdict::kLimit    ? "limit"
                           : verdict == Pacer::Verdict::kGrowth ? "growth"
                                                                : "early";
      done = StartBeside(reason) || RunHere(reason);
    }
  }
  EndTurn();
  return done;
}

Collector::End Collector::AwaitEnd(uint32_t seen) {
  // pairs with: Finish
  while (ended_.load(std::memory_order_acquire) == seen) FutexWait(&ended_, seen);
  return last_end_.load(std::memory_order_relaxed);
}

bool Collector::Collect(const char* reason) {
  if (!started_.load(std::memory_order_relaxed) || options().mode == Mode::kOff) return false;
  if (process::SharesParentMemory()) return false;
  for (;;) {
    TakeTurn();
    const uint32_t seen = ended_.load(std::memory_order_relaxed);
    if (LeadsBeside()) {
      EndTurn();
      AwaitEnd(seen);  // what has begun before the call may have missed what is garbage now
      continue;
    }
    while (cycle_.active()) GoOnHere(UINT64_MAX);
    if (StartBeside(reason)) {
      EndTurn();
      const End end = AwaitEnd(seen);
      if (end == End::kForked) continue;
      return end == End::kDone;
    }
    bool done = RunHere(reason);
    while (cycle_.active()) done = GoOnHere(UINT64_MAX);
    EndTurn();
    return done;
  }
}

bool Collector::LeadsBeside() const {
  return beside_.load(std::memory_order_relaxed) && !process::WasForked();
}

void Collector::Lead(void* self) { static_cast<Collector*>(self)->LeadToEnd(); }

void Collector::LeadToEnd() {
  SetThreadCache(&g_empty_cache);
  do {
    LeadCycle();
  } while (KeepWatch());
}

void Collector::LeadCycle() {
  lock_.Lock();
  leader_cpu_ = clock::ThreadCpu();
  cycle_.Begin(PlanFor(reason_));
  for (;;) {
    MoveIfAsked();
    cycle_.SetHurry(throttled_.load(std::memory_order_relaxed) != 0);
    outcome_ = cycle_.Step(kQuantum, {});
    if (outcome_ == Cycle::Outcome::kDone || outcome_ == Cycle::Outcome::kGivenUp) break;
    SetPace(cycle_.pace());
    lock_.Unlock();
    const uint64_t now = clock::Now();
    if (outcome_ == Cycle::Outcome::kWaits && cycle_.wait_until() > now) {
      world().Rest(cycle_.wait_until() - now);
    }
    // Whoever waits for the turn gets it first.
    for (int i = 0; i < 100 && wanted_.load(std::memory_order_relaxed) != 0; ++i) {
      clock::Sleep(20 * clock::kMicrosecond);
    }
    lock_.Lock();
  }
  SetPace(Cycle::kFree);
  Finish(outcome_ == Cycle::Outcome::kDone);
  last_end_.store(outcome_ == Cycle::Outcome::kDone ? End::kDone : End::kGivenUp,
                  std::memory_order_relaxed);
  watch_.store(cycle_.KeepsMarks() ? kWatching : kAway, std::memory_order_relaxed);
  beside_.store(false, std::memory_order_relaxed);
  ended_.fetch_add(1, std::memory_order_release);  // pairs with: AwaitEnd
  lock_.Unlock();
  FutexWake(&ended_, INT32_MAX);
}

bool Collector::GoOnHere(uint64_t budget) {
  budget_ = budget;
  const uint64_t begin = clock::Now();
  if (begin < cycle_.wait_until() && budget != UINT64_MAX) return false;
  GcmWithSpilledRegisters(&Collector::OnOwnStack, this, stack_top_);
  next_step_ = clock::Now();
  if (budget != UINT64_MAX) next_step_ += next_step_ - begin;
  return !cycle_.active() && outcome_ == Cycle::Outcome::kDone;
}

void Collector::OnOwnStack(void* data, uintptr_t sp) {
  auto* self = static_cast<Collector*>(data);
  const uint64_t cpu = clock::ThreadCpu();
  if (self->cycle_.wait_until() > clock::Now())
    clock::Sleep(self->cycle_.wait_until() - clock::Now());
  self->outcome_ = self->cycle_.Step(self->budget_, {sp, AddressOf(__builtin_thread_pointer())});
  self->cycle_.record().cpu += clock::ThreadCpu() - cpu;
  if (self->outcome_ == Cycle::Outcome::kDone || self->outcome_ == Cycle::Outcome::kGivenUp)
    self->Finish(self->outcome_ == Cycle::Outcome::kDone);
}

// The cycle is over. Planned before anybody runs again, if the world still stands: what others
// allocate from here on is growth.
void Collector::Finish(bool done) {
  CycleRecord& record = cycle_.record();
  const uint64_t end = clock::Now();
  if (OwnThread::IsHere()) record.cpu += clock::ThreadCpu() - leader_cpu_;
  record.duration = end - ledger().start_time() - record.start;
  if (done) {
    const Sweeper::Result swept = heap().sweeper().result();
    record.reclaimed_objects = swept.objects;
    record.reclaimed_bytes = swept.bytes;
  }
  record.heap_after = done ? heap().pages().in_use_pages() * kPageSize : record.heap_before;
  const bool counts = record.reason[0] == 'e' || record.reason[0] == 'g';
  // A program that had to wait took less than it would have; one that stood still takes nothing.
  const uint64_t start = record.start + ledger().start_time();
  const uint64_t before = start - Min(start, last_cycle_.load(std::memory_order_relaxed));
  const uint64_t taken = heap().taken() - taken_before_ - record.taken;
  if (cycle_.concurrent() && !cycle_.at_once())
    record.taken = Max(record.taken, Pacer::Extrapolate(taken, before, record.mark));
  if (done && OwnThread::IsHere() && !record.minor)
    stop_choice_.Finished(
        {cycle_.in_one_stop(), record.heap_before, cycle_.stop_time(),
         waited_.load(std::memory_order_relaxed) / Max<uint64_t>(record.threads, 1), before});
  pacer_.Finished({record.heap_before, record.heap_after, record.heap_marked, record.roots_bytes,
                   record.cpu, counts && done, record.reclaimed_bytes, record.taken,
                   end - last_cycle_.load(std::memory_order_relaxed),
                   heap().freed_bytes() >= heap().taken() / kMuchFreed, record.minor,
                   cycle_.at_once(),
                   cycle_.MinorIsDue() || stop_choice_.Stops(record.heap_before, 0)});
  record.heap_goal = pacer_.goal();
  taken_before_ = heap().taken();
  SetTriggers();
  last_cycle_.store(end, std::memory_order_relaxed);
  UpdateLimit(end);
  ChooseHugePages();
  if (cycle_.for_good() && !off_for_good_) {
    off_for_good_ = true;
    Disable();
  }
  if (done) {
    retry_at_ = failures_ = 0;
    record.number = ledger().cycles() + 1;
    ledger().AddCycle(record);
    ledger().TraceToFiles(record);
  } else {
    retry_at_ = end + (record.duration * kRetryFactor << Min(failures_, kMaxRetryShift));
    ++failures_;
  }
  const char* why = cycle_.why();
  cycle_.End();
  if (done) {
    ledger().TraceToStandardError(record);
  } else {
    ledger().TraceSkipped(why);
  }
}

}  // namespace gcm
