#include "core/gc/world.h"

#include <signal.h>
#include <ucontext.h>

#include <atomic>
#include <cerrno>
#include <ctime>

#include "core/base/metadata.h"
#include "core/heap/thread_cache.h"
#include "platform/clock.h"
#include "platform/mutex.h"
#include "platform/process.h"
#include "platform/registers.h"
#include "platform/signal.h"
#include "platform/syscall.h"

namespace gcm {
namespace {

constexpr uint64_t kPatience = clock::kSecond;
constexpr size_t kRedZone = 128;

// One entry a thread, written by its own stop handler, and only after it has claimed the entry: a
// handler that comes too late, after the stopper gave up, finds that it may not.
struct Record {
  std::atomic<int> tid;
  std::atomic<uint32_t> expected;    // the epoch whose stop waits for the thread; 0 once claimed
  std::atomic<uint32_t> stopped_at;  // the epoch in which the thread has stopped
  bool gone;                         // a zombie, or ended during the stop
  std::atomic<uintptr_t> sp, tls, saved_lo, saved_hi;
};

// Shared with the handlers. The epoch is odd while the world is to be stopped.
Record* g_records = nullptr;
std::atomic<size_t> g_count{0};
std::atomic<uint32_t> g_epoch{0};
std::atomic<uint32_t> g_stopped{0};  // wakes the stopper

Record* FindRecord(int tid) {
  // pairs with: the release in StopNewThreads
  size_t count = g_count.load(std::memory_order_acquire);
  for (size_t i = 0; i < count; ++i) {
    if (g_records[i].tid.load(std::memory_order_relaxed) == tid) return &g_records[i];
  }
  return nullptr;
}

// The stopper waits no longer for the thread. False: it has stopped after all.
bool Unclaim(Record* record, uint32_t epoch) {
  uint32_t expected = epoch;
  // pairs with: the exchange in WaitOut
  if (record->expected.compare_exchange_strong(expected, 0, std::memory_order_acq_rel)) return true;
  // pairs with: the release in WaitOut
  while (record->stopped_at.load(std::memory_order_acquire) != epoch) Syscall(SYS_sched_yield);
  return false;
}

void NoteGone(Record* record, uint32_t epoch) {
  if (!Unclaim(record, epoch)) return;
  record->gone = true;
  record->stopped_at.store(epoch, std::memory_order_relaxed);
}

uintptr_t ThreadPointer() { return AddressOf(__builtin_thread_pointer()); }

void Fill(Record* record, const StoppedThread& thread) {
  record->tid.store(thread.tid, std::memory_order_relaxed);
  record->sp.store(thread.sp, std::memory_order_relaxed);
  record->tls.store(thread.tls, std::memory_order_relaxed);
  record->saved_lo.store(thread.saved.lo, std::memory_order_relaxed);
  record->saved_hi.store(thread.saved.hi, std::memory_order_relaxed);
}

// Reports the calling thread as stopped and waits until the epoch is over.
void WaitOut(uint32_t epoch, uintptr_t sp, Range saved) {
  Record* record = FindRecord(process::ThreadId());
  uint32_t expected = epoch;
  // Fails too for a second signal, which may reach a thread that has parked at the end of a
  // section. pairs with: the release in StopNewThreads
  if (record == nullptr ||
      !record->expected.compare_exchange_strong(expected, 0, std::memory_order_acq_rel)) {
    return;
  }
  Fill(record, {record->tid.load(std::memory_order_relaxed), sp, ThreadPointer(), saved});
  // pairs with: the acquires in AwaitStopped and Unclaim
  record->stopped_at.store(epoch, std::memory_order_release);
  g_stopped.fetch_add(1, std::memory_order_relaxed);
  FutexWake(&g_stopped, 1);
  // pairs with: the release in Start
  while (g_epoch.load(std::memory_order_acquire) == epoch) FutexWait(&g_epoch, epoch);
}

// At the end of a critical section during which the signal came.
void ParkWithRegisters(void*, uintptr_t sp) {
  uint32_t epoch = g_epoch.load(std::memory_order_acquire);  // pairs with: Stop
  if ((epoch & 1) != 0) WaitOut(epoch, sp, {});
}
void ParkHere() { GcmWithSpilledRegisters(ParkWithRegisters, nullptr, 0); }

void OnStop(const SignalFrame& frame) {
  uint32_t epoch = g_epoch.load(std::memory_order_acquire);  // pairs with: Stop
  if ((epoch & 1) == 0) return;                              // late: that stop is over
  if (Unstoppable::Defer()) return;
  WaitOut(epoch, frame.sp - kRedZone, frame.saved);
}

}  // namespace

World& world() {
  static constinit World instance;
  return instance;
}

StoppedThread World::thread(size_t i) const {
  const Record& r = g_records[i];
  auto get = [](const std::atomic<uintptr_t>& v) { return v.load(std::memory_order_relaxed); };
  return {r.tid.load(std::memory_order_relaxed),
          get(r.sp),
          get(r.tls),
          {get(r.saved_lo), get(r.saved_hi)}};
}

bool World::IsAlive(int tid) const {
  if (tid == self_) return true;
  Record* record = FindRecord(tid);
  return record != nullptr && !record->gone;
}

bool World::EnsureCapacity(size_t threads) {
  if (threads <= capacity_) return true;
  size_t capacity = RoundUp(threads + threads / 2, 64);
  auto* wider = static_cast<Record*>(metadata::Allocate(capacity * sizeof(Record)));
  if (wider == nullptr) return false;
  for (size_t i = 0; i < count_; ++i) {
    const StoppedThread t = thread(i);
    Fill(&wider[i], t);
    wider[i].stopped_at.store(g_records[i].stopped_at.load(std::memory_order_relaxed),
                              std::memory_order_relaxed);
    wider[i].expected.store(0, std::memory_order_relaxed);
    wider[i].gone = g_records[i].gone;
  }
  g_records = wider;
  capacity_ = capacity;
  return true;
}

bool World::StopNewThreads(bool* found_new) {
  struct Walk {
    World* world;
    int tids[1024];
    size_t n, total;
  };
  static Walk walk;  // one stopper at a time
  walk = {};
  walk.world = this;
  auto collect = [](void* data, int tid) {
    auto* w = static_cast<Walk*>(data);
    if (tid == w->world->self_ || FindRecord(tid) != nullptr) return;
    ++w->total;
    if (w->n < 1024) w->tids[w->n++] = tid;
  };
  if (!process::ForEachThread(collect, &walk)) return false;
  *found_new = walk.total != 0;
  if (walk.n == 0) return true;
  // The table must not move while handlers write to it: room is made before anybody is signalled,
  // and for newcomers the ones already stopped have written what they write.
  if (!EnsureCapacity(count_ + walk.n)) return false;
  uint32_t epoch = g_epoch.load(std::memory_order_relaxed);
  for (size_t i = 0; i < walk.n; ++i) {
    Record& r = g_records[count_ + i];
    Fill(&r, {walk.tids[i], 0, 0, {}});
    r.stopped_at.store(0, std::memory_order_relaxed);
    r.gone = false;
    r.expected.store(epoch, std::memory_order_release);  // pairs with: WaitOut
  }
  count_ += walk.n;
  g_count.store(count_, std::memory_order_release);  // pairs with: FindRecord
  for (size_t i = count_ - walk.n; i < count_; ++i) {
    if (!stop_signal::Send(g_records[i].tid.load(std::memory_order_relaxed)))
      NoteGone(&g_records[i], epoch);
  }
  return true;
}

bool World::AwaitStopped() {
  const uint32_t epoch = g_epoch.load(std::memory_order_relaxed);
  const uint64_t deadline = clock::Now() + kPatience;
  for (unsigned round = 0;; ++round) {
    uint32_t seen = g_stopped.load(std::memory_order_relaxed);
    Record* missing = nullptr;
    for (size_t i = 0; i < count_ && missing == nullptr; ++i) {
      // pairs with: the release in WaitOut
      if (g_records[i].stopped_at.load(std::memory_order_acquire) != epoch) missing = &g_records[i];
    }
    if (missing == nullptr) return true;
    if (clock::Now() > deadline) {
      for (size_t i = 0; i < count_; ++i) {
        Record& r = g_records[i];
        if (r.stopped_at.load(std::memory_order_relaxed) != epoch) Unclaim(&r, epoch);
      }
      return false;
    }
    timespec patience{0, 10'000'000};
    if (FutexWait(&g_stopped, seen, &patience) != -ETIMEDOUT) continue;
    // It takes long: has the thread ended, is it a zombie, or does somebody have our signal?
    char state = process::ThreadState(missing->tid.load(std::memory_order_relaxed));
    if (state == 0 || state == 'Z' || state == 'X') {
      NoteGone(missing, epoch);
    } else if (stop_signal::kMayBeLost || !stop_signal::IsInstalled()) {
      if (!stop_signal::IsInstalled()) stop_signal::Install(OnStop);
      stop_signal::Send(missing->tid.load(std::memory_order_relaxed));
    }
  }
}

bool World::Stop(const char** why) {
  self_ = process::ThreadId();
  count_ = 0;
  g_count.store(0, std::memory_order_release);      // pairs with: FindRecord
  g_epoch.fetch_add(1, std::memory_order_seq_cst);  // pairs with: the acquires in the handlers
  // While there is one thread, nobody else can make a second one: no handler is installed.
  if (process::ThreadCount() == 1) return true;
  Unstoppable::park.store(ParkHere, std::memory_order_relaxed);
  if (!stop_signal::IsInstalled() && !stop_signal::Install(OnStop)) {
    *why = "no signal handler can be installed";
    Start();
    return false;
  }
  for (bool found_new = true; found_new;) {
    if (!StopNewThreads(&found_new)) {
      *why = "the threads cannot be enumerated";
      Start();
      return false;
    }
    if (!AwaitStopped()) {
      *why = "a thread did not stop in time";
      Start();
      return false;
    }
  }
  return true;
}

void World::Start() {
  g_epoch.fetch_add(1, std::memory_order_release);  // pairs with: the acquires in WaitOut
  FutexWake(&g_epoch, INT32_MAX);
}

void World::AfterForkInChild() {
  count_ = 0;
  g_count.store(0, std::memory_order_relaxed);
  uint32_t epoch = g_epoch.load(std::memory_order_relaxed);
  if ((epoch & 1) != 0) g_epoch.store(epoch + 1, std::memory_order_relaxed);
}

}  // namespace gcm
