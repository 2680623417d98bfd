// The inner loops of marking: which words of a piece of memory could be addresses of the arena.
#include "core/gc/marker.h"
#include "platform/memory.h"

namespace gcm {
namespace {

constexpr unsigned kShift = 3;  // of small integers in Chez Scheme on 64-bit machines

// Whether any of the sixteen 32-bit halves at `at` could be the upper half of an address of the
// arena: hardly any memory of a program holds one, so most of it is passed over at this speed.
// No local variable's address is taken, here and in the scans: a sanitizer would mark it as dead
// behind its scope, and a function that is not instrumented never takes such marks back.
GCM_INLINE bool AnyHalf(uintptr_t at, uint32_t first, uint32_t span) {
  typedef uint32_t Vector __attribute__((vector_size(16)));
  typedef Vector Loose __attribute__((aligned(4), may_alias));
  typedef uint64_t Pair __attribute__((vector_size(16)));
  const Loose* v = reinterpret_cast<const Loose*>(at);  // a deduced type would lose "aligned"
  auto hits = ((v[0] - first) <= span) | ((v[1] - first) <= span) | ((v[2] - first) <= span) |
              ((v[3] - first) <= span);
  Pair any = reinterpret_cast<Pair>(hits);
  return (any[0] | any[1]) != 0;
}

}  // namespace

GCM_NO_SANITIZE void Marker::ScanWords(uintptr_t lo, uintptr_t hi) {
  if (stride_ < 4) return ScanBytes(lo, hi);
  if (GCM_UNLIKELY(marking_->shifted)) ScanShifted(lo, hi, stride_);
  const uint32_t first = static_cast<uint32_t>(arena_->lo() >> 32);
  const uint32_t span = static_cast<uint32_t>(arena_->used() >> 32) - first;
  const bool halves = stride_ == 4;
  lo = RoundUp(lo, halves ? 4 : 8);
  // A word that starts at the lower half of `at` ends with its upper half, and so on: each upper
  // half is looked at once, with the four bytes before it.
  for (uintptr_t at = lo + 4; at + 4 <= hi;) {
    if (at + 64 <= hi && !AnyHalf(at, first, span)) {
      at += 64;
      continue;
    }
    for (uintptr_t end = Min(at + 64, hi - 3); at < end; at += 4) {
      uint32_t high = *PointerTo<const uint32_t>(at);
      if (GCM_LIKELY(high - first > span) || (!halves && at % 8 == 0)) continue;
      MarkWord(uintptr_t{high} << 32 | *PointerTo<const uint32_t>(at - 4));
    }
  }
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
