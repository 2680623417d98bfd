#include "core/gc/checkmark.h"

#include "core/base/metadata.h"
#include "platform/message.h"

namespace gcm {
namespace {

constexpr size_t kFirst = 1 << 14;
constexpr size_t kShown = 24;  // blocks of a path

size_t Hash(uintptr_t block) {
  return static_cast<size_t>((block >> 4) * 0x9E3779B97F4A7C15ull >> 20);
}

bool IsMarked(uintptr_t block) {
  const Arena& arena = heap().pages().arena();
  const Span* span = arena.SpanAround(block);
  const unsigned index = span->large() ? 0 : span->IndexOf(block - span->start);
  const uint64_t bits =
      arena.tables().MarkBits(span->start)[index / 64].load(std::memory_order_relaxed);
  return (bits >> index % 64 & 1) != 0;
}

}  // namespace

bool Checkmark::Begin() {
  count_ = next_ = 0;
  current_ = 0;
  overflowed_ = false;
  return Grow();
}

bool Checkmark::Grow() {
  const size_t capacity = capacity_ == 0 ? kFirst : 2 * capacity_;
  const uintptr_t entries = metadata::MapOwn(capacity * sizeof(Entry), "gcmalloc: checkmark");
  const uintptr_t order = metadata::MapOwn(capacity * sizeof(uintptr_t), "gcmalloc: checkmark");
  if (entries == 0 || order == 0) return false;
  Entry* old = entries_;
  uintptr_t* old_order = order_;
  const size_t old_capacity = capacity_;
  entries_ = PointerTo<Entry>(entries);
  order_ = PointerTo<uintptr_t>(order);
  capacity_ = capacity;
  if (old == nullptr) return true;
  for (size_t i = 0; i < count_; ++i) order_[i] = old_order[i];
  for (size_t i = 0; i < old_capacity; ++i) {
    if (old[i].block != 0) *Find(old[i].block) = old[i];
  }
  metadata::ReleaseOwn(AddressOf(old), old_capacity * sizeof(Entry));
  metadata::ReleaseOwn(AddressOf(old_order), old_capacity * sizeof(uintptr_t));
  return true;
}

Checkmark::Entry* Checkmark::Find(uintptr_t block) {
  size_t i = Hash(block) & (capacity_ - 1);
  while (entries_[i].block != 0 && entries_[i].block != block) i = (i + 1) & (capacity_ - 1);
  return &entries_[i];
}

void Checkmark::Found(uintptr_t word) {
  Range block;
  if (!heap().FindBlock(word, &block)) return;
  Entry* entry = Find(block.lo);
  if (entry->block != 0) return;
  if (2 * (count_ + 1) > capacity_) {
    if (!Grow()) {
      overflowed_ = true;
      return;
    }
    entry = Find(block.lo);
  }
  *entry = {block.lo, current_};
  order_[count_++] = block.lo;
  if (!IsMarked(block.lo)) Missed(block);
}

bool Checkmark::Next(Range* block) {
  if (next_ == count_) return false;
  current_ = order_[next_++];
  return heap().FindBlock(current_, block);
}

size_t Checkmark::End() {
  metadata::ReleaseOwn(AddressOf(entries_), capacity_ * sizeof(Entry));
  metadata::ReleaseOwn(AddressOf(order_), capacity_ * sizeof(uintptr_t));
  entries_ = nullptr;
  order_ = nullptr;
  capacity_ = 0;
  return count_;
}

void Checkmark::Missed(Range block) {
  uintptr_t path[kShown];
  size_t length = 0;
  for (uintptr_t at = block.lo; at != 0 && length < kShown; at = Find(at)->parent)
    path[length++] = at;
  Message line;
  line.Text("gcmalloc: checkmark: a block of ").Decimal(block.size());
  line.Text(" bytes is reachable and was not marked: ");
  line.Text(length == kShown ? "... -> " : "root -> ");
  while (length-- > 0) line.Hex(path[length]).Text(length == 0 ? "" : " -> ");
  line.Write(2);
  Abort();
}

}  // namespace gcm
