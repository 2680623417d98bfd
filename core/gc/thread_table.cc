#include "core/gc/thread_table.h"

#include "core/base/metadata.h"

namespace gcm {

void ThreadRecord::Fill(const StoppedThread& thread) {
  tid.store(thread.tid, std::memory_order_relaxed);
  sp.store(thread.sp, std::memory_order_relaxed);
  tls.store(thread.tls, std::memory_order_relaxed);
  saved_lo.store(thread.saved.lo, std::memory_order_relaxed);
  saved_hi.store(thread.saved.hi, std::memory_order_relaxed);
}

StoppedThread ThreadRecord::Read() const {
  auto get = [](const std::atomic<uintptr_t>& v) { return v.load(std::memory_order_relaxed); };
  return {tid.load(std::memory_order_relaxed), get(sp), get(tls), {get(saved_lo), get(saved_hi)}};
}

void ThreadTable::Clear() {
  count_ = published_ = 0;
  Index* index = index_.load(std::memory_order_relaxed);
  if (index == nullptr) return;
  for (size_t i = 0; i <= index->mask; ++i) index->slots[i].store(0, std::memory_order_relaxed);
}

bool ThreadTable::Reserve(size_t threads) {
  if (threads <= capacity_) return true;
  size_t capacity = 64;
  while (capacity < threads) capacity *= 2;
  auto* records = static_cast<ThreadRecord*>(metadata::Allocate(capacity * sizeof(ThreadRecord)));
  const size_t slots = 2 * capacity;
  auto* index = static_cast<Index*>(
      metadata::Allocate(sizeof(Index) + slots * sizeof(std::atomic<uint32_t>)));
  if (records == nullptr || index == nullptr) return false;
  index->mask = slots - 1;
  for (size_t i = 0; i < count_; ++i) {
    const ThreadRecord& from = at(i);
    ThreadRecord& to = records[i];
    to.Fill(from.Read());
    to.stopped_at.store(from.stopped_at.load(std::memory_order_relaxed), std::memory_order_relaxed);
    to.gone = from.gone;
    to.held = from.held;
    to.shares = from.shares;
    Insert(index, to.tid.load(std::memory_order_relaxed), i);
  }
  records_.store(records, std::memory_order_release);  // pairs with: Find
  index_.store(index, std::memory_order_release);      // pairs with: Find
  capacity_ = capacity;
  return true;
}

ThreadRecord* ThreadTable::Add(int tid) {
  ThreadRecord& record = at(count_++);
  record.Fill({tid, 0, 0, {}});
  record.expected.store(0, std::memory_order_relaxed);
  record.stopped_at.store(0, std::memory_order_relaxed);
  record.gone = record.shares = false;
  record.held = nullptr;
  return &record;
}

void ThreadTable::Publish() {
  Index* index = index_.load(std::memory_order_relaxed);
  for (; published_ < count_; ++published_) {
    Insert(index, at(published_).tid.load(std::memory_order_relaxed), published_);
  }
}

void ThreadTable::Insert(Index* index, int tid, size_t i) const {
  size_t slot = Hash(tid) & index->mask;
  while (index->slots[slot].load(std::memory_order_relaxed) != 0) slot = (slot + 1) & index->mask;
  // The record is written before its number is found. pairs with: the acquire in Find
  index->slots[slot].store(static_cast<uint32_t>(i + 1), std::memory_order_release);
}

ThreadRecord* ThreadTable::Find(int tid) const {
  Index* index = index_.load(std::memory_order_acquire);  // pairs with: the release in Reserve
  if (index == nullptr) return nullptr;
  for (size_t slot = Hash(tid) & index->mask;; slot = (slot + 1) & index->mask) {
    // pairs with: the release in Insert
    uint32_t number = index->slots[slot].load(std::memory_order_acquire);
    if (number == 0) return nullptr;
    // pairs with: the release in Reserve
    ThreadRecord& record = records_.load(std::memory_order_acquire)[number - 1];
    if (record.tid.load(std::memory_order_relaxed) == tid) return &record;
  }
}

}  // namespace gcm
