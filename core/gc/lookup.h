// The inner part of marking, for its callers to inline: from a word to the mark bit of its block.
#pragma once

#include "core/gc/checkmark.h"
#include "core/gc/marker.h"

namespace gcm {

GCM_INLINE void Marker::LookUp(uintptr_t word) {
  if (GCM_UNLIKELY(!arena_->Contains(word))) return;
  if (GCM_UNLIKELY(marking_->checkmark != nullptr)) return marking_->checkmark->Found(word);
  const std::atomic<uint32_t>* info = arena_->tables().InfoOf(word);
  if (GCM_UNLIKELY(info == nullptr)) return;
  __builtin_prefetch(info);
  Waiting& w = ring_[next_];
  if (GCM_LIKELY(waiting_ == kAhead)) {
    Settle(w);
  } else {
    ++waiting_;
  }
  w.address = word;
  w.line = AddressOf(info);
  if (GCM_LIKELY(waiting_ > kHalf)) Locate(&ring_[(next_ + kHalf) % kAhead]);
  next_ = (next_ + 1) % kAhead;
}

// From the page's summary to the bit.
GCM_INLINE void Marker::Locate(Waiting* w) {
  const uintptr_t word = w->address;
  // pairs with: SetInfo
  const uint32_t info =
      PointerTo<const std::atomic<uint32_t>>(w->line)->load(std::memory_order_acquire);
  const unsigned size_class = PageInfo::ClassOf(info);
  w->size_class = kLargeClass;
  if (GCM_UNLIKELY(size_class >= kClasses)) return MarkLarge(word);
  const SizeClass& k = kSizeClasses.classes[size_class];
  const uintptr_t start = RoundDown(word, kPageSize) - PageInfo::PageOf(info) * kPageSize;
  const auto index = static_cast<uint32_t>(((word - start) * k.reciprocal) >> 32);
  if (GCM_UNLIKELY(index >= k.slots)) return;
  const std::atomic<uint64_t>* bits = arena_->tables().MarkBits(start) + index / 64;
  __builtin_prefetch(bits, 1);
  w->address = start;
  w->line = AddressOf(bits);
  w->index = index;
  w->size_class = size_class;
}

GCM_INLINE void Marker::Settle(const Waiting& w) {
  if (GCM_UNLIKELY(w.size_class == kLargeClass)) return;
  auto* bits = PointerTo<std::atomic<uint64_t>>(w.line);
  const uint64_t bit = uint64_t{1} << w.index % 64;
  if ((bits->load(std::memory_order_relaxed) & bit) != 0) return;
  // Before the look at whether the span waits. pairs with: ScanSpan
  if ((bits->fetch_or(bit, std::memory_order_seq_cst) & bit) != 0) return;
  const uint32_t size = kSizeClasses.classes[w.size_class].size;
  ++counts_.objects;
  counts_.bytes += size;
  if (GCM_UNLIKELY(!HasScannedBits(w.size_class)))
    return Push(w.address + uintptr_t{w.index} * size);
  // pairs with: ScanSpan
  if ((arena_->tables().Info(w.address).load(std::memory_order_seq_cst) & PageInfo::kQueued) != 0)
    return;
  Enqueue(w.address);
}

}  // namespace gcm
