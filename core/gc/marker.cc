#include "core/gc/marker.h"

#include <cstring>

#include "core/base/metadata.h"
#include "platform/memory.h"
#include "platform/test_skip.h"

namespace gcm {
namespace {

constexpr size_t kAskForPages = 256 * kKiB;

}  // namespace

void ProtectedRanges::Add(Range r) {
  if (count < kCapacity) {
    ranges[count++] = r;
  } else {
    overflow = true;
  }
}

bool ProtectedRanges::Overlaps(Range r) const {
  if (overflow) return true;
  for (size_t i = 0; i < count; ++i) {
    if (r.lo < ranges[i].hi && ranges[i].lo < r.hi) return true;
  }
  return false;
}

bool MarkStack::Push(uintptr_t block) {
  if (top_ == nullptr || used_ == Segment::kEntries) {
    Segment* next = top_ == nullptr ? nullptr : top_->above;
    if (next == nullptr) {
      uintptr_t place = metadata::MapOwn(Segment::kSize, "gcmalloc: mark stack");
      if (place == 0) return false;
      next = PointerTo<Segment>(place);
      next->below = top_;
      if (top_ != nullptr) top_->above = next;
    }
    top_ = next;
    used_ = 0;
  }
  top_->entries[used_++] = block;
  return true;
}

bool MarkStack::Pop(uintptr_t* block) {
  if (top_ == nullptr) return false;
  if (used_ == 0) {
    if (top_->below == nullptr) return false;
    top_ = top_->below;
    used_ = Segment::kEntries;
  }
  *block = top_->entries[--used_];
  return true;
}

void MarkStack::Trim() {
  if (top_ == nullptr) return;
  // All but the header's page of each segment above the first.
  for (Segment* s = top_->above; s != nullptr; s = s->above) {
    memory::Decommit(AddressOf(s) + memory::PageSize(), Segment::kSize - memory::PageSize());
  }
}

bool Marker::IsMarked(const Span* span, unsigned index) {
  const std::atomic<uint64_t>* bits = heap().pages().arena().tables().MarkBits(span->start);
  return (bits[index / 64].load(std::memory_order_relaxed) >> index % 64 & 1) != 0;
}

void Marker::Begin(unsigned stride, PageMap* pages) {
  arena_ = &heap().pages().arena();
  stride_ = stride;
  pages_ = pages;
  overflowed_ = offsets_ = false;
  protected_.count = 0;
  protected_.overflow = false;
  marked_objects_ = marked_bytes_ = 0;
  heap().pages().ForEachSpan([&](Span* span) {
    std::atomic<uint64_t>* bits = arena_->tables().MarkBits(span->start);
    unsigned words = span->large() ? 1 : span->words;
    for (unsigned w = 0; w < words; ++w) bits[w].store(0, std::memory_order_relaxed);
  });
}

GCM_NO_SANITIZE void Marker::MarkWord(uintptr_t word) {
  Span* span = arena_->SpanAround(word);
  if (GCM_LIKELY(span == nullptr)) return;
  if (!span->InUse() || word - span->start >= span->pages * kPageSize) return;
  unsigned index = 0;
  size_t size;
  if (span->large()) {
    size = span->BlockSize();
  } else {
    index = span->IndexOf(word - span->start);
    if (index >= span->slots) return;
    uint64_t bit = uint64_t{1} << index % 64;
    if ((LoadRelaxed(&span->free_bits()[index / 64]) & bit) != 0) return;
    if ((span->remote_bits()[index / 64].load(std::memory_order_relaxed) & bit) != 0) return;
    size = span->slot_size;
  }
  std::atomic<uint64_t>& mark = arena_->tables().MarkBits(span->start)[index / 64];
  uint64_t bit = uint64_t{1} << index % 64;
  uint64_t marks = mark.load(std::memory_order_relaxed);
  if ((marks & bit) != 0) return;
  mark.store(marks | bit, std::memory_order_relaxed);
  ++marked_objects_;
  marked_bytes_ += size;
  uintptr_t block = span->start + uintptr_t{index} * span->slot_size;
  if (!stack_.Push(block)) overflowed_ = true;
}

namespace {

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
  const uint32_t first = static_cast<uint32_t>(arena_->lo() >> 32);
  const uint32_t span = static_cast<uint32_t>(arena_->used() >> 32) - first;
  typedef uintptr_t Unaligned __attribute__((aligned(1), may_alias));
  for (; lo + 8 <= hi; ++lo) {
    uintptr_t word = *reinterpret_cast<const Unaligned*>(lo);
    if (static_cast<uint32_t>(word >> 32) - first <= span) MarkWord(word);
  }
}

void Marker::ScanProtected(uintptr_t lo, uintptr_t hi) {
  ProtectedMemory memory;
  uintptr_t buffer[64];
  for (uintptr_t at = lo; at < hi;) {
    long n = memory.Read(at, buffer, Min<size_t>(sizeof(buffer), hi - at));
    if (n <= 0) return;
    ScanWords(AddressOf(buffer), AddressOf(buffer) + static_cast<size_t>(n));
    at += static_cast<size_t>(n);
  }
}

// Reading a page that was never written would make the kernel map it.
void Marker::ScanLarge(uintptr_t lo, uintptr_t hi) {
  if (pages_ == nullptr || !pages_->ok()) return ScanWords(lo, hi);
  Range run;
  for (Range rest{lo, hi}; pages_->NextRun(rest, hi, &run); rest.lo = run.hi) {
    ScanWords(run.lo, run.hi);
  }
}

void Marker::ScanBlock(uintptr_t block) {
  Span* span = arena_->SpanOf(block);
  uintptr_t end = block + span->BlockSize();
  if (GCM_UNLIKELY(protected_.count != 0) && protected_.Overlaps({block, end})) {
    if (!Skips(Skip::protected_blocks)) ScanProtected(block, end);
  } else if (end - block >= kAskForPages) {
    if (!Skips(Skip::large_blocks)) ScanLarge(block, end);
  } else {
    ScanWords(block, end);
    if (offsets_ && !span->large()) ScanOffsets(span, block, end);
  }
}

GCM_NO_SANITIZE void Marker::ScanOffsets(const Span* span, uintptr_t block, uintptr_t end) {
  const uintptr_t lo = arena_->lo(), size = arena_->used() - lo;
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

// Some blocks were marked, but not kept for scanning: scans all marked blocks of the heap again.
void Marker::Rescan() {
  heap().pages().ForEachSpan([&](Span* span) {
    unsigned slots = span->large() ? 1 : span->slots;
    for (unsigned i = 0; i < slots; ++i) {
      if (!IsMarked(span, i)) continue;
      ScanBlock(span->start + uintptr_t{i} * span->slot_size);
      uintptr_t block;
      while (stack_.Pop(&block)) ScanBlock(block);
    }
  });
}

void Marker::Drain() {
  uintptr_t block;
  while (stack_.Pop(&block)) ScanBlock(block);
  while (overflowed_) {
    overflowed_ = false;
    Rescan();
  }
  stack_.Trim();
}

}  // namespace gcm
