#include "core/heap/cache_registry.h"

#include <new>

#include "core/base/metadata.h"
#include "core/heap/heap.h"
#include "platform/process.h"
#include "platform/signal.h"

namespace gcm {

ThreadCache* CacheRegistry::New() {
  void* place = metadata::Allocate(sizeof(ThreadCache));
  if (place == nullptr) return nullptr;
  auto* cache = new (place) ThreadCache(ThreadCache::Zeroed::kMemory);
  cache->next_ = first();
  cache->number_ = (cache->next_ == nullptr ? 0 : cache->next_->number_) + 1;
  // pairs with: the acquire in first
  all_.store(cache, std::memory_order_release);
  return cache;
}

ThreadCache* CacheRegistry::Attach() {
  int tid = process::ThreadId();
  LockGuard guard(lock_);
  ThreadCache* cache = nullptr;
  for (ThreadCache* c = first(); c != nullptr; c = c->next_) {
    if (c->live_ && c->tid_ == tid) {
      // The number is used again: its former thread ended without giving its cache back.
      c->Retire();
      c->live_ = false;
    }
    if (!c->live_) cache = c;
  }
  if (cache == nullptr) cache = New();
  if (cache == nullptr) return nullptr;
  cache->live_ = true;
  cache->tid_ = tid;
  cache->thread_pointer_ = AddressOf(__builtin_thread_pointer());
  cache->blocked_.Reset();
  cache->Reopen();
  return cache;
}

void CacheRegistry::Detach(ThreadCache* cache) {
  // A section would end with the cache, while the registry's lock is still held.
  SignalsBlocked blocked;
  cache->lock_.Lock();
  cache->Retire();
  cache->lock_.Unlock();
  LockGuard guard(lock_);
  SetThreadCache(&g_empty_cache);
  cache->live_ = false;
}

void CacheRegistry::RetireDead(bool (*alive)(void* data, int tid), void* data) {
  LockGuard guard(lock_);  // free: its holders are not stopped
  for (ThreadCache* c = first(); c != nullptr; c = c->next_) {
    if (!c->live_ || alive(data, c->tid_)) continue;
    c->Retire();
    c->live_ = false;
    c->critical_.store(0, std::memory_order_relaxed);
    c->lock_.Reset();
  }
}

void CacheRegistry::Renumber(ThreadCache* mine) {
  if (mine != &g_empty_cache) mine->tid_ = process::ThreadId();
}

void CacheRegistry::KeepOnly(ThreadCache* mine) {
  int tid = process::ThreadId();
  for (ThreadCache* c = first(); c != nullptr; c = c->next_) {
    c->critical_.store(0, std::memory_order_relaxed);
    c->blocked_.Reset();
    c->stop_pending_.store(false, std::memory_order_relaxed);
    if (c == mine) {
      c->tid_ = tid;
    } else if (c->live_) {
      c->Retire();
      c->live_ = false;
    }
  }
}

void CacheRegistry::LockAll() {
  lock_.Lock();
  for (ThreadCache* c = first(); c != nullptr; c = c->next_) c->lock_.Lock();
}
void CacheRegistry::UnlockAll() {
  for (ThreadCache* c = first(); c != nullptr; c = c->next_) c->lock_.Unlock();
  lock_.Unlock();
}
void CacheRegistry::ResetLocks(bool own_only) {
  for (ThreadCache* c = first(); c != nullptr; c = c->next_) c->lock_.Reset(own_only);
  lock_.Reset(own_only);
}

}  // namespace gcm
