#include "core/gc/blocking.h"

#include "core/gc/world.h"
#include "core/heap/heap.h"
#include "platform/interrupted_call.h"
#include "platform/process.h"
#include "platform/registers.h"
#include "platform/signal.h"
#include "platform/test_skip.h"

namespace gcm::blocking {
namespace {

GCM_COLD void LeaveHeld(BlockedState* blocked, uintptr_t* state) {
  // No handler of the program may run before the world does.
  SignalsBlocked signals;
  // The epoch first: what is waited for is the stop by which the thread was held, not a later one.
  for (;;) {
    const uint32_t epoch = World::Epoch();
    if (blocked->TryLeave(state)) return;
    World::AwaitEnd(epoch);
  }
}

GCM_INLINE uintptr_t Leave(ThreadCache* cache) {
  uintptr_t state;
  if (GCM_UNLIKELY(!cache->blocked().TryLeave(&state))) LeaveHeld(&cache->blocked(), &state);
  return state;
}

// Set at any time by any thread; it precedes, in the same thread, the birth that it is about.
std::atomic<bool> g_distrust{false};
// Children that have run in this memory. Whoever stops the world later sees those of the threads
// that it has stopped.
std::atomic<uint64_t> g_vforks{0};

bool IsOwn(const ThreadCache* cache) {
  return GCM_LIKELY(!g_distrust.load(std::memory_order_relaxed)) ||
         cache->tid() == process::ThreadId();
}

void LeaveUnwound() { Leave(t_cache); }

struct Call {
  void (*fn)(void* data);
  void* data;
  ThreadCache* cache;
};

void RunPublished(void* data, uintptr_t sp) {
  auto* call = static_cast<Call*>(data);
  call->cache->blocked().Enter(sp);
  call->fn(call->data);
  Leave(call->cache);
}

}  // namespace

void Start() {
  OnUnwind(LeaveUnwound);
  interrupted_call::SetAround(Run);
}

void SetTrampoline(uintptr_t handler) { world().SetTrampoline(handler); }

void Distrust() { g_distrust.store(true, std::memory_order_relaxed); }

void Run(void (*fn)(void* data), void* data) {
  interrupted_call::BeforeCall();
  ThreadCache* cache = heap().Cache();
  if (cache == &g_empty_cache || cache->blocked().entered() || Skips(Skip::publish) ||
      !IsOwn(cache)) {
    fn(data);
    return;
  }
  Call call{fn, data, cache};
  GcmCallUnwindable(RunPublished, &call);
}

HandlerScope::HandlerScope() : cache_(t_cache) {
  // In a vfork child the state is its parent's.
  BlockedState& blocked = cache_->blocked();
  if (!blocked.entered() || blocked.in_vfork() || Skips(Skip::trampoline)) return;
  state_ = Leave(cache_);
}

HandlerScope::~HandlerScope() {
  if (GCM_UNLIKELY(state_ != 0)) cache_->blocked().Enter(state_);
}

void EnterVfork() {
  ThreadCache* cache = heap().Cache();
  if (cache == &g_empty_cache || cache->blocked().entered() || !IsOwn(cache)) return;
  cache->blocked().EnterVfork();
}

void LeaveVfork() {
  g_vforks.fetch_add(1, std::memory_order_relaxed);
  if (t_cache->blocked().in_vfork()) Leave(t_cache);
}

uint64_t OthersWrites() {
  if (g_distrust.load(std::memory_order_relaxed))
    return g_vforks.fetch_add(1, std::memory_order_relaxed);
  return g_vforks.load(std::memory_order_relaxed);
}

}  // namespace gcm::blocking
