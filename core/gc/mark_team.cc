#include "core/gc/mark_team.h"

#include "core/base/metadata.h"
#include "core/heap/thread_cache.h"
#include "platform/mutex.h"
#include "platform/process.h"
#include "platform/processor.h"

namespace gcm {
namespace {

constexpr size_t kStackSize = 128 * kKiB;
// A helper that is called often stays awake for a moment: waking it takes as long.
constexpr unsigned kSpins = 2000;

}  // namespace

void MarkTeam::Start(unsigned helpers) {
  ending_.store(false, std::memory_order_relaxed);
  leaders_ = -1;
  for (helpers_ = 0; helpers_ < Min(helpers, kMost - 2); ++helpers_) {
    Helper& h = helper_[helpers_];
    if (h.memory.size() == 0) {
      constexpr size_t kSize = kStackSize + OwnThread::kStorage;
      const uintptr_t lo = metadata::MapOwn(kSize, "gcmalloc: marker's stack");
      if (lo == 0) return;
      h.memory = {lo, lo + kSize};
    }
    h.team = this;
    h.member = helpers_ + 1;
    h.seen = call_.load(std::memory_order_relaxed);
    if (!h.thread.Start(Help, &h, h.memory, true)) return;
  }
}

void MarkTeam::Stop() {
  ending_.store(true, std::memory_order_relaxed);
  const uint32_t last = call_.load(std::memory_order_relaxed);
  // pairs with: Help
  call_.store(RoundDown(last, kMost) + kMost, std::memory_order_release);
  FutexWake(&call_, INT32_MAX);
  for (unsigned i = 0; i < helpers_; ++i) helper_[i].thread.Join();
  helpers_ = 0;
}

void MarkTeam::Help(void* data) {
  auto* self = static_cast<Helper*>(data);
  MarkTeam* team = self->team;
  SetThreadCache(&g_empty_cache);  // its storage holds nothing yet
  for (;;) {
    uint32_t call = team->call_.load(std::memory_order_acquire);  // pairs with: Run and Stop
    for (unsigned i = 0; i < kSpins && call == self->seen; ++i) {
      Pause();
      call = team->call_.load(std::memory_order_acquire);  // pairs with: Run and Stop
    }
    if (call == self->seen) {
      FutexWait(&team->call_, call);
      continue;
    }
    self->seen = call;
    if (team->ending_.load(std::memory_order_relaxed)) return;
    if (self->member >= call % kMost) continue;
    team->job_(team->data_, self->member);
    // pairs with: Run
    if (team->busy_.fetch_sub(1, std::memory_order_release) == 1) FutexWake(&team->busy_, 1);
  }
}

// The kernel may wake a helper behind the leader, on the same processor, and have them take turns
// for milliseconds: the one that the program has left a moment ago is idle only now.
void MarkTeam::SpreadOut() {
  const int here = process::Processor();
  if (here == leaders_) return;
  leaders_ = here;
  for (unsigned i = 0; i < helpers_; ++i) process::KeepOff(helper_[i].thread.number(), here);
}

void MarkTeam::Run(void (*job)(void*, unsigned), void* data, unsigned members) {
  members = Min(members, helpers_ + 1);
  if (members > 1) {
    SpreadOut();
    job_ = job;
    data_ = data;
    busy_.store(members - 1, std::memory_order_relaxed);
    const uint32_t last = call_.load(std::memory_order_relaxed);
    // pairs with: Help
    call_.store(RoundDown(last, kMost) + kMost + members, std::memory_order_release);
    FutexWake(&call_, INT32_MAX);
  }
  job(data, 0);
  if (members == 1) return;
  for (unsigned i = 0; i < kSpins; ++i) {
    if (busy_.load(std::memory_order_acquire) == 0) return;  // pairs with: Help
    Pause();
  }
  // pairs with: Help
  for (uint32_t busy; (busy = busy_.load(std::memory_order_acquire)) != 0;) FutexWait(&busy_, busy);
}

void MarkTeam::Alert() {
  if (helpers_ == 0) return;
  SpreadOut();
  const uint32_t last = call_.load(std::memory_order_relaxed);
  call_.store(RoundDown(last, kMost) + kMost + 1, std::memory_order_release);  // pairs with: Help
  FutexWake(&call_, INT32_MAX);
}

void MarkTeam::AfterForkInChild() {
  for (unsigned i = 0; i < helpers_; ++i) helper_[i].thread.Forget();
  helpers_ = 0;
}

}  // namespace gcm
