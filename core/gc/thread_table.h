// The threads of a stop of the world: who is stopped, and with what on which stack. Filled by the
// one stopper and, each entry once, by the stop handler of its thread.
//
// Law: a handler writes an entry only after it has claimed it (`expected`): one that comes too
// late, after the stopper gave up, finds that it may not. Tables never move while handlers write:
// room is made before anybody is signalled.
#pragma once

#include <atomic>

#include "core/heap/thread_cache.h"

namespace gcm {

struct StoppedThread {
  int tid;
  uintptr_t sp;   // above it lies what the thread holds on its stack
  uintptr_t tls;  // thread pointer, at the thread's control block
  Range saved;    // registers that are not on that stack
};

struct ThreadRecord {
  std::atomic<int> tid;
  std::atomic<uint32_t> expected;    // the epoch whose stop waits for the thread; 0 once claimed
  std::atomic<uint32_t> stopped_at;  // the epoch in which the thread has stopped
  bool gone;                         // a zombie, or ended during the stop
  ThreadCache* held;                 // of a thread that waits published; else null
  bool shares;                       // its thread-local storage, with another: is not held
  std::atomic<uintptr_t> sp, tls, saved_lo, saved_hi;

  void Fill(const StoppedThread& thread);
  StoppedThread Read() const;
  bool StoppedIn(uint32_t epoch) const {
    // pairs with: the release in MarkStopped
    return stopped_at.load(std::memory_order_acquire) == epoch;
  }
  void MarkStopped(uint32_t epoch) {
    stopped_at.store(epoch, std::memory_order_release);  // pairs with: StoppedIn
  }
  // Whoever claims the entry in an epoch, its handler or the stopper, alone acts on it.
  bool Claim(uint32_t epoch) {
    // pairs with: the release in Expect, and the other side's claim
    return expected.compare_exchange_strong(epoch, 0, std::memory_order_acq_rel);
  }
  void Expect(uint32_t epoch) {
    expected.store(epoch, std::memory_order_release);  // pairs with: Claim
  }
};

class ThreadTable {
 public:
  // By the stopper, while it waits for nobody:
  void Clear();
  bool Reserve(size_t threads);  // false: no memory
  // Within what is reserved. It is found once Publish has been called.
  ThreadRecord* Add(int tid);
  void Publish();

  // Any thread: the published entry of a thread, or nullptr.
  ThreadRecord* Find(int tid) const;

  size_t count() const { return count_; }
  ThreadRecord& at(size_t i) const { return records_.load(std::memory_order_relaxed)[i]; }

 private:
  struct Index {
    size_t mask;  // slots - 1
    std::atomic<uint32_t> slots[];
  };
  static size_t Hash(int tid) { return static_cast<uint32_t>(tid) * 2654435761u >> 7; }
  void Insert(Index* index, int tid, size_t i) const;

  std::atomic<ThreadRecord*> records_{nullptr};
  std::atomic<Index*> index_{nullptr};  // numbers of records + 1, open addressing
  size_t count_ = 0;
  size_t published_ = 0;
  size_t capacity_ = 0;
};

}  // namespace gcm
