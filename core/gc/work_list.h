// What is marked and waits to be scanned: addresses in segments, which markers pass to each other
// whole. Each marker has lists of its own, which nobody else touches; what it can spare goes to the
// shared list, where those who have nothing wait.
//
// Termination (tests/model/termination.pml): whoever finds his own lists and, under the lock, the
// shared one empty counts himself as idle; when all are idle, nothing is left anywhere, because
// only somebody who is not idle makes work.
#pragma once

#include <atomic>

#include "platform/base.h"
#include "platform/mutex.h"

namespace gcm {

struct Segment {
  static constexpr size_t kSize = 4096;
  static constexpr size_t kEntries = kSize / sizeof(uintptr_t) - 2;
  Segment* next;
  uint32_t first, end;  // entries [first, end)
  uintptr_t entries[kEntries];
};

// Empty segments. Thread-safe.
class SegmentPool {
 public:
  Segment* Take();  // nullptr without memory
  void Give(Segment* segment);
  // In a forked child: whoever used it is gone.
  void AfterForkInChild();
  // Gives the memory of all segments but a few back to the system. When no list holds any.
  void Trim();

 private:
  static constexpr size_t kAtOnce = 16;
  struct Block {
    Block* next;
    Segment segments[kAtOnce - 1];
  };
  Mutex lock_;
  Segment* free_ = nullptr;
  Block* blocks_ = nullptr;
};

class SharedWork {
 public:
  // `markers` take part in the next run.
  void Begin(unsigned markers);
  // For one who has more than he needs.
  void Share(Segment* segment);
  bool IsWanted() const {
    return idle_.load(std::memory_order_relaxed) > count_.load(std::memory_order_relaxed);
  }
  // Waits for a segment. nullptr: all are idle, or the run was ended.
  Segment* Await();
  // A segment if there is one.
  Segment* TryTake();
  // The run's time is over: nobody waits any more.
  void End();
  void Clear(SegmentPool* pool);
  void AfterForkInChild();
  bool empty() const { return count_.load(std::memory_order_relaxed) == 0; }

 private:
  Segment* TakeLocked();
  void WakeAll();

  Mutex lock_;
  Segment* head_ = nullptr;
  std::atomic<size_t> count_{0};
  std::atomic<unsigned> idle_{0};
  unsigned markers_ = 0;
  bool over_ = false;
  std::atomic<uint32_t> changed_{0};
};

// First in, first out: the longer a span waits, the more of its blocks are scanned at once.
class WorkQueue {
 public:
  bool Push(uintptr_t entry, SegmentPool* pool);  // false: no memory
  bool Pop(uintptr_t* entry, SegmentPool* pool);
  // What Pop would take, if that is easily told; 0: nothing.
  uintptr_t Next() const {
    return head_ != nullptr && head_->first != head_->end ? head_->entries[head_->first] : 0;
  }
  // The upper half of it by address, as far as a segment holds: two markers that work in the same
  // spans take their mark bits from each other. nullptr: too little is left.
  Segment* Spare(SegmentPool* pool);
  void Clear(SegmentPool* pool);
  bool empty() const { return head_ == nullptr || (head_ == tail_ && head_->first == head_->end); }

 private:
  Segment* head_ = nullptr;  // where Pop takes
  Segment* tail_ = nullptr;
};

// Last in, first out.
class WorkStack {
 public:
  bool Push(uintptr_t entry, SegmentPool* pool);
  bool Pop(uintptr_t* entry, SegmentPool* pool);
  void Append(Segment* segment);
  Segment* Spare(SegmentPool* pool);
  void Clear(SegmentPool* pool);
  bool empty() const;

 private:
  Segment* top_ = nullptr;
};

}  // namespace gcm
