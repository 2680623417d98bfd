// The inner loops of marking: which words of a piece of memory could be addresses of the arena.
#include "core/gc/lookup.h"
#include "platform/memory.h"
#include "platform/word_filter.h"

namespace gcm {
namespace {

constexpr unsigned kShift = 3;  // of small integers in Chez Scheme on 64-bit machines

}  // namespace

// Hardly any 32-bit half of a word of a program's could be the upper half of an address of the
// arena: most memory is passed over sixteen at a time. No local variable's address is taken, here
// and in the scans: a sanitizer would mark it as dead behind its scope, and a function that is not
// instrumented never takes such marks back.
GCM_NO_SANITIZE void Marker::ScanWords(uintptr_t lo, uintptr_t hi) {
  if (stride_ < 4) return ScanBytes(lo, hi);
  if (GCM_UNLIKELY(marking_->shifted)) ScanShifted(lo, hi, stride_);
  const uint32_t first = static_cast<uint32_t>(arena_->lo() >> 32);
  const uint32_t span = static_cast<uint32_t>(arena_->used() >> 32) - first;
  typedef uintptr_t Unaligned __attribute__((aligned(4), may_alias));
  const size_t step = stride_ == 4 ? 4 : 8;
  // Of words at multiples of eight every second half is an upper one.
  const uint32_t upper = stride_ == 4 ? 0xffff : 0x5555;
  uintptr_t at = RoundUp(lo, step) + 4;
  if (GCM_UNLIKELY(marking_->checkmark != nullptr)) {
    for (; at + 4 <= hi; at += step) LookUp(*reinterpret_cast<const Unaligned*>(at - 4));
    return;
  }
  unsigned count = count_;
  for (; at + 64 <= hi; at += 64) {
    uint32_t hits = WordsWithin(at, first, span) & upper;
    if (hits == 0) continue;
    // Without a branch for each: which words are addresses cannot be predicted.
    for (uintptr_t half = at; half != at + 64; half += step) {
      words_[count] = *reinterpret_cast<const Unaligned*>(half - 4);
      count += hits & 1;
      hits >>= step / 4;
    }
    if (GCM_LIKELY(count < kBatch)) continue;
    count_ = count;
    SettleAll();
    count = 0;
  }
  for (; at + 4 <= hi; at += step) {
    words_[count] = *reinterpret_cast<const Unaligned*>(at - 4);
    count += *PointerTo<const uint32_t>(at) - first <= span ? 1 : 0;
  }
  count_ = count;
  if (count >= kBatch) SettleAll();
}

GCM_NO_SANITIZE void Marker::ScanBytes(uintptr_t lo, uintptr_t hi) {
  if (GCM_UNLIKELY(marking_->shifted)) ScanShifted(lo, hi, 1);
  const uint32_t first = static_cast<uint32_t>(arena_->lo() >> 32);
  const uint32_t span = static_cast<uint32_t>(arena_->used() >> 32) - first;
  typedef uintptr_t Unaligned __attribute__((aligned(1), may_alias));
  for (; lo + 8 <= hi; ++lo) {
    uintptr_t word = *reinterpret_cast<const Unaligned*>(lo);
    if (static_cast<uint32_t>(word >> 32) - first <= span) MarkWord(word);
  }
}

GCM_NO_SANITIZE void Marker::ScanShifted(uintptr_t lo, uintptr_t hi, size_t step) {
  const uintptr_t first = arena_->lo() << kShift, size = (arena_->used() << kShift) - first;
  typedef uintptr_t Unaligned __attribute__((aligned(1), may_alias));
  for (lo = RoundUp(lo, step); lo + 8 <= hi; lo += step) {
    uintptr_t word = *reinterpret_cast<const Unaligned*>(lo);
    if (GCM_LIKELY(word - first > size) || word % (1 << kShift) != 0) continue;
    MarkWord(word >> kShift);
  }
}

GCM_NO_SANITIZE void Marker::ScanOffsets(uintptr_t block, uintptr_t end) {
  const uintptr_t lo = arena_->lo(), size = arena_->used() - lo;
  const Span* span = arena_->SpanAround(block);
  if (span == nullptr) return;
  const uintptr_t span_lo = span->start, span_size = span->pages * kPageSize;
  for (uintptr_t at = block; at + 8 <= end; at += 8) {
    uintptr_t offset = *PointerTo<const uintptr_t>(at);
    uintptr_t target = block + offset;
    if (GCM_LIKELY(target - lo >= size)) continue;
    if (offset % kMinAlignment != 0 || target - span_lo < span_size) continue;
    MarkStart(target);
  }
}

GCM_NO_SANITIZE void Marker::MarkStart(uintptr_t address) {
  const Span* span = arena_->SpanAround(address);
  if (span == nullptr || !span->InUse()) return;
  uintptr_t offset = address - span->start;
  if (offset >= span->pages * kPageSize) return;
  if (offset != uintptr_t{span->IndexOf(offset)} * span->slot_size) return;
  MarkWord(address);
}

}  // namespace gcm
