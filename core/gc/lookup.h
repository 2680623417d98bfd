// The inner part of marking, for its callers to inline: from a word to the mark bit of its block.
#pragma once

#include "core/gc/checkmark.h"
#include "core/gc/marker.h"

namespace gcm {

GCM_INLINE void Marker::LookUp(uintptr_t word) {
  if (GCM_UNLIKELY(!arena_->Contains(word))) return;
  if (GCM_UNLIKELY(marking_->checkmark != nullptr)) return marking_->checkmark->Found(word);
  words_[count_++] = word;
  if (GCM_UNLIKELY(count_ >= kBatch)) SettleAll();
}

// A few words, of which none needs more than to be looked up; as ScanWords.
GCM_INLINE void Marker::ScanShort(uintptr_t lo, uintptr_t hi) {
  const uint32_t first = static_cast<uint32_t>(arena_->lo() >> 32);
  const uint32_t span = static_cast<uint32_t>(arena_->used() >> 32) - first;
  unsigned count = count_;
  for (; lo < hi; lo += sizeof(uintptr_t)) {
    const uintptr_t word = *PointerTo<const uintptr_t>(lo);
    words_[count] = word;
    count += static_cast<uint32_t>(word >> 32) - first <= span ? 1 : 0;
  }
  count_ = count;
  if (GCM_UNLIKELY(count >= kBatch)) SettleAll();
}

// From the page's summary to the bit. False: it leads nowhere, or to a large block.
GCM_INLINE bool Marker::Locate(uintptr_t word, const std::atomic<uint32_t>* summary, Found* found) {
  const uint32_t info = summary->load(std::memory_order_acquire);  // pairs with: SetInfo
  const unsigned size_class = PageInfo::ClassOf(info);
  if (GCM_UNLIKELY(size_class >= kClasses)) {
    MarkLarge(word);
    return false;
  }
  const SizeClass& k = kSizeClasses.classes[size_class];
  const uintptr_t start = RoundDown(word, kPageSize) - PageInfo::PageOf(info) * kPageSize;
  const auto index = static_cast<uint32_t>(((word - start) * k.reciprocal) >> 32);
  if (GCM_UNLIKELY(index >= k.slots)) return false;
  found->start = start;
  found->bits = arena_->tables().MarkBits(start) + index / 64;
  found->index = index;
  found->size_class = size_class;
  return true;
}

GCM_INLINE void Marker::Settle(const Found& found) {
  const uint64_t bit = uint64_t{1} << found.index % 64;
  if ((found.bits->load(std::memory_order_relaxed) & bit) != 0) return;
  // Before the look at whether the span waits. pairs with: OpenSpan
  if ((found.bits->fetch_or(bit, std::memory_order_seq_cst) & bit) != 0) return;
  if (GCM_UNLIKELY(!HasScannedBits(found.size_class))) {
    const uint32_t size = kSizeClasses.classes[found.size_class].size;
    ++counts_.objects;  // all others: when they are scanned
    counts_.bytes += size;
    if (GCM_UNLIKELY(marking_->notes)) Note(found.start, found.size_class);
    return Push(found.start + uintptr_t{found.index} * size);
  }
  // pairs with: OpenSpan
  if ((arena_->tables().Info(found.start).load(std::memory_order_seq_cst) & PageInfo::kQueued) != 0)
    return;
  Enqueue(found.start);
}

}  // namespace gcm
