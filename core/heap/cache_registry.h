// All thread caches: those of living threads, and those that wait for a new one. Never shrinks, so
// that observers may hold a cache's address for ever.
#pragma once

#include "core/heap/thread_cache.h"
#include "platform/mutex.h"

namespace gcm {

class CacheRegistry {
 public:
  // A cache for the calling thread; nullptr without memory.
  ThreadCache* Attach();
  // The calling thread's cache goes back; the thread has the empty one then.
  void Detach(ThreadCache* cache);
  // With the world stopped: retires the caches of threads for which alive(data, tid) is false.
  void RetireDead(bool (*alive)(void* data, int tid), void* data);
  // The calling thread, whose cache this is, has another number: in a forked child.
  void Renumber(ThreadCache* mine);
  // In a forked child: only the calling thread is left.
  void KeepOnly(ThreadCache* mine);

  template <typename Fn>
  void ForEach(Fn fn) {
    for (ThreadCache* c = first(); c != nullptr; c = c->next_) fn(c);
  }

  // fn(cache, tid) for the cache of each living thread; nobody comes or goes meanwhile.
  template <typename Fn>
  void ForEachLive(Fn fn) {
    LockGuard guard(lock_);
    for (ThreadCache* c = first(); c != nullptr; c = c->next_) {
      if (c->live_) fn(c, c->tid_);
    }
  }

  // Caches that there ever were: as many threads there have been at a time. At least one.
  size_t count() const { return first() == nullptr ? 1 : first()->number(); }

  void LockAll();  // around a fork: the registry's lock, then those of all caches
  void UnlockAll();
  void ResetLocks(bool own_only = false);

 private:
  ThreadCache* New();
  Mutex lock_;
  ThreadCache* first() const {
    return all_.load(std::memory_order_acquire);  // pairs with: the release in New
  }
  std::atomic<ThreadCache*> all_{nullptr};
};

}  // namespace gcm
