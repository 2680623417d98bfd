#include "core/gc/work_list.h"

#include <cstring>

#include "core/base/metadata.h"
#include "platform/memory.h"

namespace gcm {

namespace {

// Fewer are done before somebody else is awake.
constexpr uint32_t kWorthSharing = 16;

// The first half of what a segment holds, in one of its own.
Segment* Halve(Segment* segment, SegmentPool* pool) {
  if (segment == nullptr || segment->end - segment->first < kWorthSharing) return nullptr;
  Segment* half = pool->Take();
  if (half == nullptr) return nullptr;
  half->end = (segment->end - segment->first) / 2;
  memcpy(half->entries, segment->entries + segment->first, half->end * sizeof(uintptr_t));
  segment->first += half->end;
  return half;
}

}  // namespace

Segment* SegmentPool::Take() {
  LockGuard guard(lock_);
  if (free_ == nullptr) {
    uintptr_t place =
        metadata::MapOwn(RoundUp(sizeof(Block), memory::PageSize()), "gcmalloc: marking");
    if (place == 0) return nullptr;
    auto* block = PointerTo<Block>(place);
    block->next = blocks_;
    blocks_ = block;
    for (Segment& segment : block->segments) {
      segment.next = free_;
      free_ = &segment;
    }
  }
  Segment* segment = free_;
  free_ = segment->next;
  segment->next = nullptr;
  segment->first = segment->end = 0;
  return segment;
}

void SegmentPool::Give(Segment* segment) {
  LockGuard guard(lock_);
  segment->next = free_;
  free_ = segment;
}

void SegmentPool::Trim() {
  LockGuard guard(lock_);
  if (blocks_ == nullptr) return;
  free_ = nullptr;
  for (Block* block = blocks_; block->next != nullptr;) {
    Block* next = block->next;
    metadata::ReleaseOwn(AddressOf(block), RoundUp(sizeof(Block), memory::PageSize()));
    block = blocks_ = next;
  }
  for (Segment& segment : blocks_->segments) {
    segment.next = free_;
    free_ = &segment;
  }
}

void SegmentPool::AfterForkInChild() {
  lock_.Reset();
  free_ = nullptr;
  blocks_ = nullptr;
}

void SharedWork::AfterForkInChild() {
  lock_.Reset();
  head_ = nullptr;
  count_.store(0, std::memory_order_relaxed);
}

void SharedWork::Clear(SegmentPool* pool) {
  while (Segment* segment = TryTake()) pool->Give(segment);
}

void SharedWork::Begin(unsigned markers) {
  LockGuard guard(lock_);
  markers_ = markers;
  over_ = false;
  idle_.store(0, std::memory_order_relaxed);
}

Segment* SharedWork::TakeLocked() {
  Segment* segment = head_;
  if (segment == nullptr) return nullptr;
  head_ = segment->next;
  segment->next = nullptr;
  count_.store(count_.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
  return segment;
}

void SharedWork::WakeAll() {
  changed_.fetch_add(1, std::memory_order_relaxed);
  FutexWake(&changed_, INT32_MAX);
}

void SharedWork::Share(Segment* segment) {
  LockGuard guard(lock_);
  segment->next = head_;
  head_ = segment;
  count_.store(count_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  if (idle_.load(std::memory_order_relaxed) != 0) WakeAll();
}

Segment* SharedWork::TryTake() {
  if (empty()) return nullptr;
  LockGuard guard(lock_);
  return TakeLocked();
}

Segment* SharedWork::Await() {
  bool idle = false;
  for (;;) {
    uint32_t seen;
    {
      LockGuard guard(lock_);
      if (!over_) {
        if (Segment* segment = TakeLocked()) {
          if (idle) idle_.fetch_sub(1, std::memory_order_relaxed);
          return segment;
        }
        if (!idle) idle_.fetch_add(1, std::memory_order_relaxed);
        idle = true;
        if (idle_.load(std::memory_order_relaxed) == markers_) {
          over_ = true;
          WakeAll();
        }
      }
      if (over_) return nullptr;
      seen = changed_.load(std::memory_order_relaxed);
    }
    FutexWait(&changed_, seen);
  }
}

void SharedWork::End() {
  LockGuard guard(lock_);
  over_ = true;
  WakeAll();
}

bool WorkQueue::Push(uintptr_t entry, SegmentPool* pool) {
  if (tail_ == nullptr || tail_->end == Segment::kEntries) {
    Segment* segment = pool->Take();
    if (segment == nullptr) return false;
    (tail_ == nullptr ? head_ : tail_->next) = segment;
    tail_ = segment;
  }
  tail_->entries[tail_->end++] = entry;
  return true;
}

bool WorkQueue::Pop(uintptr_t* entry, SegmentPool* pool) {
  while (head_ != nullptr) {
    if (head_->first != head_->end) {
      *entry = head_->entries[head_->first++];
      return true;
    }
    if (head_ == tail_) {
      head_->first = head_->end = 0;
      return false;
    }
    Segment* done = head_;
    head_ = done->next;
    pool->Give(done);
  }
  return false;
}

void WorkQueue::Clear(SegmentPool* pool) {
  while (head_ != nullptr) {
    Segment* segment = head_;
    head_ = segment->next;
    pool->Give(segment);
  }
  tail_ = nullptr;
}

Segment* WorkQueue::Spare(SegmentPool* pool) {
  uint64_t count = 0;
  double sum = 0;
  for (const Segment* s = head_; s != nullptr; s = s->next) {
    for (uint32_t i = s->first; i < s->end; ++i, ++count) sum += static_cast<double>(s->entries[i]);
  }
  if (count < kWorthSharing) return nullptr;
  const auto mean = static_cast<uintptr_t>(sum / static_cast<double>(count));
  Segment* upper = pool->Take();
  if (upper == nullptr) return nullptr;
  for (Segment* s = head_; s != nullptr && upper->end != Segment::kEntries; s = s->next) {
    uint32_t kept = s->first;
    for (uint32_t i = s->first; i < s->end; ++i) {
      const bool goes = s->entries[i] > mean && upper->end != Segment::kEntries;
      (goes ? upper->entries[upper->end++] : s->entries[kept++]) = s->entries[i];
    }
    s->end = kept;
  }
  if (upper->end != 0) return upper;
  pool->Give(upper);
  return nullptr;
}

bool WorkStack::Push(uintptr_t entry, SegmentPool* pool) {
  if (top_ == nullptr || top_->end == Segment::kEntries) {
    Segment* segment = pool->Take();
    if (segment == nullptr) return false;
    segment->next = top_;
    top_ = segment;
  }
  top_->entries[top_->end++] = entry;
  return true;
}

bool WorkStack::Pop(uintptr_t* entry, SegmentPool* pool) {
  while (top_ != nullptr) {
    if (top_->end != top_->first) {
      *entry = top_->entries[--top_->end];
      return true;
    }
    if (top_->next == nullptr) {
      top_->first = top_->end = 0;
      return false;
    }
    Segment* done = top_;
    top_ = done->next;
    pool->Give(done);
  }
  return false;
}

void WorkStack::Clear(SegmentPool* pool) {
  while (top_ != nullptr) {
    Segment* segment = top_;
    top_ = segment->next;
    pool->Give(segment);
  }
}

void WorkStack::Append(Segment* segment) {
  segment->next = top_;
  top_ = segment;
}

bool WorkStack::empty() const {
  return top_ == nullptr || (top_->next == nullptr && top_->first == top_->end);
}

Segment* WorkStack::Spare(SegmentPool* pool) {
  if (top_ == nullptr || top_->next == nullptr) return Halve(top_, pool);
  Segment* segment = top_->next;
  top_->next = segment->next;
  segment->next = nullptr;
  return segment;
}

}  // namespace gcm
