#include "core/gc/world.h"

#include <atomic>
#include <cerrno>
#include <ctime>

#include "core/heap/heap.h"
#include "platform/clock.h"
#include "platform/mutex.h"
#include "platform/own_thread.h"
#include "platform/process.h"
#include "platform/registers.h"
#include "platform/signal.h"
#include "platform/syscall.h"

namespace gcm {
namespace {

// For threads that cannot take the signal: they block it, or wait where nothing interrupts them.
constexpr uint64_t kPatienceWithTheDeaf = clock::kSecond / 4;
// Of processor time: more than any section of ours takes that blocks all signals.
constexpr uint64_t kShortSections = clock::kSecond / 50;
constexpr uint64_t kPatienceWithFiles = clock::kSecond / 50;
constexpr uint64_t kFirstLook = clock::kSecond / 1000;
constexpr char kNotInTime[] = "a thread did not stop in time";
constexpr size_t kRedZone = 128;
// How long a thread that was late waits for the next stop, and in looks at its entry from then on.
constexpr timespec kAwaited{0, 1'000'000};
constexpr unsigned kLooks = 1000;

// Shared with the handlers. The epoch is odd while the world is to be stopped.
constinit ThreadTable g_threads;
std::atomic<uint32_t> g_epoch{0};
std::atomic<uint32_t> g_stopped{0};  // wakes the stopper
std::atomic<uint32_t> g_late{0};  // threads that have heard of a stop that had not waited for them
// Such a thread, the first that was missed: of the others many are only late because they had no
// processor, and to try again with each of them would stop the world without end. 0: none.
std::atomic<int> g_awaited{0};

// The stopper waits no longer for the thread. False: it has stopped after all.
bool Unclaim(ThreadRecord* record, uint32_t epoch) {
  if (record->Claim(epoch)) return true;
  while (!record->StoppedIn(epoch)) Syscall(SYS_sched_yield);
  return false;
}

void NoteGone(ThreadRecord* record, uint32_t epoch) {
  if (!Unclaim(record, epoch)) return;
  record->gone = true;
  record->MarkStopped(epoch);
}

void NoteHeld(ThreadRecord* record, ThreadCache* cache, uintptr_t sp, uint32_t epoch) {
  record->held = cache;
  record->Fill({record->tid.load(std::memory_order_relaxed), sp, cache->thread_pointer(), {}});
  record->MarkStopped(epoch);
}

// A thread that cannot take the signal. One that could run, and is not let, may be in a section of
// ours or in the handler.
bool IsDeaf(int tid, char state, uint64_t cpu_before) {
  if (state == 'D') return true;
  if (!stop_signal::IsBlockedIn(tid)) return false;
  return state != 'R' || clock::ThreadCpu(tid) > cpu_before + kShortSections;
}

// Reports the calling thread as stopped and waits until the epoch is over. All signals are blocked.
// False: the stop does not wait for it, or not yet.
bool WaitOut(uint32_t epoch, uintptr_t sp, Range saved) {
  ThreadRecord* record = g_threads.Find(process::ThreadId());
  // The claim fails too for a second signal, which may reach a thread that has parked at the end
  // of a section.
  if (record == nullptr || !record->Claim(epoch)) return false;
  record->Fill({record->tid.load(std::memory_order_relaxed), sp,
                AddressOf(__builtin_thread_pointer()), saved});
  record->MarkStopped(epoch);
  g_stopped.fetch_add(1, std::memory_order_relaxed);
  FutexWake(&g_stopped, 1);
  // pairs with: the release in Start
  while (g_epoch.load(std::memory_order_acquire) == epoch) FutexWait(&g_epoch, epoch);
  return true;
}

// The thread hears of a stop that is over. It stays until the next one, or it would be too late
// again: in calls as long as the one before.
void AwaitNextStop(uint32_t epoch, const SignalFrame& frame) {
  const int awaited = g_awaited.load(std::memory_order_relaxed);
  if (awaited == 0 || awaited != process::ThreadId() || Unstoppable::IsInside()) return;
  g_late.fetch_add(1, std::memory_order_relaxed);
  FutexWake(&g_late, 1);
  FutexWait(&g_epoch, epoch, &kAwaited);
  epoch = g_epoch.load(std::memory_order_acquire);  // pairs with: Stop
  for (unsigned i = 0; i < kLooks && (epoch & 1) != 0; ++i) {
    if (WaitOut(epoch, frame.sp - kRedZone, frame.saved)) return;
    Syscall(SYS_sched_yield);
    if (g_epoch.load(std::memory_order_relaxed) != epoch) return;
  }
}

// At the end of a critical section during which the signal came.
void ParkWithRegisters(void*, uintptr_t sp) {
  uint32_t epoch = g_epoch.load(std::memory_order_acquire);  // pairs with: Stop
  if ((epoch & 1) != 0) WaitOut(epoch, sp, {});
}
void ParkHere() {
  SignalsBlocked no_handlers;
  GcmWithSpilledRegisters(ParkWithRegisters, nullptr, 0);
}

void OnStop(const SignalFrame& frame) {
  uint32_t epoch = g_epoch.load(std::memory_order_acquire);  // pairs with: Stop
  if ((epoch & 1) == 0) return AwaitNextStop(epoch, frame);
  if (Unstoppable::Defer()) return;
  WaitOut(epoch, frame.sp - kRedZone, frame.saved);
}

}  // namespace

World& world() {
  static constinit World instance;
  return instance;
}

size_t World::thread_count() const { return g_threads.count(); }
StoppedThread World::thread(size_t i) const { return g_threads.at(i).Read(); }

int World::LivingThread() const {
  for (size_t i = 0; i < g_threads.count(); ++i) {
    if (!g_threads.at(i).gone) return g_threads.at(i).tid.load(std::memory_order_relaxed);
  }
  return 0;
}

bool World::IsAlive(int tid) const {
  if (tid == self_) return true;
  ThreadRecord* record = g_threads.Find(tid);
  return record != nullptr && !record->gone;
}

uint32_t World::Epoch() { return g_epoch.load(std::memory_order_relaxed); }

void World::AwaitEnd(uint32_t epoch) {
  if ((epoch & 1) != 0) FutexWait(&g_epoch, epoch);
}

bool World::Signal(ThreadRecord* record, int tid, const char** why) {
  if (leader_ended_ && tid == process::Pid()) {
    NoteGone(record, g_epoch.load(std::memory_order_relaxed));
    return true;
  }
  switch (stop_signal::Send(tid, interrupted_call::Read(tid))) {
    case stop_signal::Sent::kYes:
      return true;
    case stop_signal::Sent::kGone:
      NoteGone(record, g_epoch.load(std::memory_order_relaxed));
      return true;
    case stop_signal::Sent::kFull:
      *why = "the user's queue of signals is full";
      return false;
    case stop_signal::Sent::kRefused:
      *why = "threads may not be signalled";
      return false;
  }
  return false;
}

// One walk over all caches, whose number is known to the registry only: until there is room.
bool World::HoldPublished(const char** why) {
  bool vforked = false;
  const uint32_t epoch = g_epoch.load(std::memory_order_relaxed);
  for (size_t missing = 64; missing != 0;) {
    if (!g_threads.Reserve(g_threads.count() + missing)) {
      *why = "there is no memory";
      return false;
    }
    size_t room = missing;
    missing = 0;
    heap().registry().ForEachLive([&](ThreadCache* cache, int tid) {
      if (tid == self_ || !cache->blocked().entered()) return;
      vforked = vforked || cache->blocked().in_vfork();
      if (room == 0) {
        ++missing;
        return;
      }
      uintptr_t sp = cache->blocked().Claim();
      if (sp == 0) return;
      --room;
      NoteHeld(g_threads.Add(tid), cache, sp, epoch);
    });
  }
  g_threads.Publish();
  if (vforked) *why = "a vfork child runs in the process's memory";
  return !vforked;
}

// A thread that has published its state only after the walk, and may have blocked the signal.
bool World::HoldLate(ThreadRecord* record) {
  const uint32_t epoch = g_epoch.load(std::memory_order_relaxed);
  if (record->shares) return false;
  const int wanted = record->tid.load(std::memory_order_relaxed);
  bool held = false;
  heap().registry().ForEachLive([&](ThreadCache* cache, int tid) {
    if (tid != wanted || held) return;
    uintptr_t sp = cache->blocked().Claim();
    if (sp == 0) return;
    if (Unclaim(record, epoch)) {
      NoteHeld(record, cache, sp, epoch);
      held = true;
    } else {
      cache->blocked().Release();  // its handler was faster
    }
  });
  return held;
}

bool World::StopNewThreads(bool* found_new, const char** why) {
  struct Walk {
    const World* world;
    int tids[1024];
    size_t n, total;
  };
  static Walk walk;  // one stopper at a time
  walk = {};
  walk.world = this;
  auto collect = [](void* data, int tid) {
    auto* w = static_cast<Walk*>(data);
    if (tid == w->world->self_ || g_threads.Find(tid) != nullptr) return;
    ++w->total;
    if (w->n < 1024) w->tids[w->n++] = tid;
  };
  if (!process::ForEachThread(collect, &walk)) return false;
  *found_new = walk.total != 0;
  if (walk.n == 0) return true;
  // What handlers write to must not move: those already stopped have written what they write.
  if (!g_threads.Reserve(g_threads.count() + walk.n)) return false;
  const uint32_t epoch = g_epoch.load(std::memory_order_relaxed);
  const size_t first = g_threads.count();
  for (size_t i = 0; i < walk.n; ++i) g_threads.Add(walk.tids[i])->Expect(epoch);
  g_threads.Publish();
  for (size_t i = first; i < g_threads.count(); ++i) {
    const int tid = g_threads.at(i).tid.load(std::memory_order_relaxed);
    if (!Signal(&g_threads.at(i), tid, why)) return false;
  }
  return true;
}

// A thread that shares the thread-local storage of one that is held may be the one that has
// published: then the other runs, and gets the signal after all.
bool World::SignalSharers(bool* any, const char** why) {
  const uint32_t epoch = g_epoch.load(std::memory_order_relaxed);
  *any = false;
  for (size_t i = 0; i < g_threads.count(); ++i) {
    if (g_threads.at(i).held != nullptr) continue;
    const uintptr_t tls = g_threads.at(i).Read().tls;
    for (size_t j = 0; j < g_threads.count(); ++j) {
      ThreadRecord& held = g_threads.at(j);
      if (held.held == nullptr || held.Read().tls != tls) continue;
      const int tid = held.Read().tid;
      held.held->blocked().Release();
      held.held = nullptr;
      held.shares = true;
      held.MarkStopped(0);
      held.Expect(epoch);
      *any = true;
      if (!Signal(&held, tid, why)) return false;
    }
  }
  // They may wait at the end of their calls, where they hear no signal.
  if (*any) FutexWake(&g_epoch, INT32_MAX);
  return true;
}

void World::GiveUp(uint32_t epoch) {
  for (size_t i = 0; i < g_threads.count(); ++i) {
    if (!g_threads.at(i).StoppedIn(epoch)) Unclaim(&g_threads.at(i), epoch);
  }
}

bool World::AwaitStopped(const char** why, uint64_t patience) {
  const uint32_t epoch = g_epoch.load(std::memory_order_relaxed);
  const uint64_t begin = clock::Now();
  uint64_t look = kFirstLook, cpu_before = 0;
  int watched = 0;
  for (size_t first = 0;;) {
    const uint32_t seen = g_stopped.load(std::memory_order_relaxed);
    while (first < g_threads.count() && g_threads.at(first).StoppedIn(epoch)) ++first;
    if (first == g_threads.count()) return true;
    const timespec rest{0, static_cast<long>(Min(look, patience))};
    if (FutexWait(&g_stopped, seen, &rest) != -ETIMEDOUT) continue;
    look = Min(2 * look, 16 * kFirstLook);
    // It takes long: has the thread ended, does it wait published, can it not hear, or does
    // somebody else have our signal? A file of /proc is asked last: the program runs.
    ThreadRecord& missing = g_threads.at(first);
    const int tid = missing.tid.load(std::memory_order_relaxed);
    const uint64_t waited = clock::Now() - begin;
    if (!process::HasThread(tid)) {
      NoteGone(&missing, epoch);
      continue;
    }
    if (may_hold_ && HoldLate(&missing)) continue;
    if (waited >= patience && patience < kPatienceWithTheDeaf) {
      *why = kNotInTime;
      missing_ = tid;
      return false;
    }
    if (watched != tid) cpu_before = clock::ThreadCpu(watched = tid);
    if (waited < kPatienceWithFiles) continue;
    const char state = process::ThreadState(tid);
    if (state == 0 || state == 'Z' || state == 'X') {
      // The thread that the process began with stays behind as a zombie.
      if (state == 'Z' && tid == process::Pid()) leader_ended_ = true;
      NoteGone(&missing, epoch);
    } else if (waited > kPatienceWithTheDeaf && IsDeaf(tid, state, cpu_before)) {
      *why = state == 'R' ? "a thread blocks all signals by a system call of its own"
                          : "a thread waits in the kernel where no signal reaches it";
      return false;
    } else if (waited > patience) {
      *why = kNotInTime;
      return false;
    } else if (stop_signal::kMayBeLost || !stop_signal::IsInstalled()) {
      if (!stop_signal::IsInstalled()) stop_signal::Install(OnStop);
      if (!Signal(&missing, tid, why)) return false;
    }
  }
}

bool World::Fail(const char** why, const char* what) {
  if (*why == nullptr) *why = what;
  late_before_ = g_late.load(std::memory_order_relaxed);
  g_awaited.store(missing_, std::memory_order_relaxed);
  Start();
  return false;
}

bool World::Stop(const char** why, uint64_t patience) {
  *why = nullptr;
  self_ = process::ThreadId();
  missing_ = 0;
  may_hold_ = false;
  g_threads.Clear();
  g_epoch.fetch_add(1, std::memory_order_seq_cst);  // pairs with: the acquires in the handlers
  if (g_awaited.exchange(0, std::memory_order_relaxed) != 0) FutexWake(&g_epoch, INT32_MAX);
  // While there is one thread, nobody else can make a second one: no handler is installed.
  if (!OwnThread::IsHere() && process::ThreadCount() == 1) return true;
  Unstoppable::park.store(ParkHere, std::memory_order_relaxed);
  if (!stop_signal::IsInstalled() && !stop_signal::Install(OnStop)) {
    return Fail(why, "no signal handler can be installed");
  }
  may_hold_ = stop_signal::OnlyHandler(trampoline_);
  if (may_hold_ && !HoldPublished(why)) return Fail(why, "");
  for (bool found_new = true, found_sharers = false; found_new || found_sharers;) {
    if (!StopNewThreads(&found_new, why) || !AwaitStopped(why, patience) ||
        !SignalSharers(&found_sharers, why)) {
      GiveUp(g_epoch.load(std::memory_order_relaxed));
      return Fail(why, "the threads cannot be enumerated");
    }
  }
  return true;
}

void World::Start() {
  for (size_t i = 0; i < g_threads.count(); ++i) {
    ThreadRecord& record = g_threads.at(i);
    if (record.held != nullptr) record.held->blocked().Release();
    record.held = nullptr;
  }
  g_epoch.fetch_add(1, std::memory_order_release);  // pairs with: the acquires in WaitOut
  FutexWake(&g_epoch, INT32_MAX);
}

void World::Rest(uint64_t nanoseconds) {
  const uint64_t until = clock::Now() + nanoseconds;
  const bool awaits = g_awaited.load(std::memory_order_relaxed) != 0;
  for (uint64_t now; (now = clock::Now()) < until;) {
    const uint32_t late = g_late.load(std::memory_order_relaxed);
    if (awaits && late != late_before_) {
      late_before_ = late;
      return;
    }
    const timespec rest{static_cast<time_t>((until - now) / clock::kSecond),
                        static_cast<long>((until - now) % clock::kSecond)};
    FutexWait(&g_late, late, &rest);
  }
}

void World::AfterForkInChild() {
  g_awaited.store(0, std::memory_order_relaxed);
  leader_ended_ = false;
  g_threads.Clear();
  uint32_t epoch = g_epoch.load(std::memory_order_relaxed);
  if ((epoch & 1) != 0) g_epoch.store(epoch + 1, std::memory_order_relaxed);
}

}  // namespace gcm
