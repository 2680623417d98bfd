#include "core/gc/marker.h"

#include <cstring>

#include "core/base/metadata.h"
#include "core/gc/checkmark.h"
#include "core/gc/lookup.h"
#include "platform/clock.h"
#include "platform/memory.h"
#include "platform/test_skip.h"

namespace gcm {
namespace {

// Entries of the lists: the address of a block, of a piece of a large one, or of a span's start.
constexpr uintptr_t kPiece = 1, kSpan = 2, kTag = 3;
// Between two looks at the clock, and at who has nothing to do: some 50 us where all is pointers. A
// piece weighs as much as eight spans.
constexpr unsigned kWeightBetweenLooks = 16, kWeightOfPiece = 8;
constexpr size_t kShortRun = 128;  // not worth what it takes to look at many words at once
constexpr size_t kLine = 64;
constexpr size_t kLinesAhead = 8;  // of a run: the processor sees by itself how it goes on

}  // namespace

void Marker::Begin(Marking* marking, PageMap* pages) {
  arena_ = &heap().pages().arena();
  marking_ = marking;
  pages_ = pages;
  stride_ = marking->stride;
  count_ = 0;
  first_run_ = last_run_ = 0;
  counts_ = {};
  if (buffer_ == nullptr) buffer_ = static_cast<char*>(metadata::Allocate(kBufferSize));
}

void Marker::End() {
  count_ = 0;
  first_run_ = last_run_ = 0;
  queue_.Clear(&marking_->pool);
  stack_.Clear(&marking_->pool);
}

bool Marker::IsMarked(const Span* span, unsigned index) {
  return (heap().pages().arena().tables().MarkBits(span->start)[index / 64].load(
              std::memory_order_relaxed) >>
              index % 64 &
          1) != 0;
}

GCM_NO_SANITIZE void Marker::MarkWord(uintptr_t word) { LookUp(word); }

void Marker::Enqueue(uintptr_t start) {
  std::atomic<uint32_t>& info = arena_->tables().Info(start);
  // pairs with: OpenSpan
  if ((info.fetch_or(PageInfo::kQueued, std::memory_order_seq_cst) & PageInfo::kQueued) != 0)
    return;
  if (queue_.Push(start | kSpan, &marking_->pool)) return;
  info.fetch_and(~PageInfo::kQueued, std::memory_order_relaxed);
  marking_->overflowed.store(true, std::memory_order_relaxed);
}

// Before its marks are looked at. If it is another span by now, that was born noted.
void Marker::Note(uintptr_t start, unsigned size_class) {
  const SideTables& tables = arena_->tables();
  if ((tables.Info(start).load(std::memory_order_relaxed) & PageInfo::kUnscanned) != 0) return;
  tables.AddFlags(start, start + kSizeClasses.classes[size_class].pages * kPageSize,
                  PageInfo::kUnscanned);
}

// One step for all of them, then the next: what one step has on the way from memory, the others
// need not wait for.
GCM_NO_SANITIZE void Marker::SettleAll() {
  const unsigned count = count_;
  count_ = 0;
  const SideTables& tables = arena_->tables();
  // Loaded after the words were read: what they lead to was published before. pairs with: Publish
  const uintptr_t used = arena_->used(), lo = arena_->lo();
  unsigned inside = 0;
  for (unsigned i = 0; i < count; ++i) {
    const uintptr_t word = words_[i];
    if (GCM_UNLIKELY(word < lo || word >= used)) continue;
    const std::atomic<uint32_t>* summary = tables.InfoOf(word);
    if (GCM_UNLIKELY(summary == nullptr)) continue;
    __builtin_prefetch(summary);
    words_[inside] = word;
    summaries_[inside++] = summary;
  }
  unsigned found = 0;
  for (unsigned i = 0; i < inside; ++i) {
    if (!Locate(words_[i], summaries_[i], &found_[found])) continue;
    __builtin_prefetch(found_[found++].bits, 1);
  }
  for (unsigned i = 0; i < found; ++i) Settle(found_[i]);
}

GCM_NO_SANITIZE void Marker::MarkLarge(uintptr_t word) {
  Span* span = arena_->SpanAround(word);
  if (span == nullptr || !span->InUse() || !span->large()) return;
  const uintptr_t start = LoadRelaxed(&span->start);
  const size_t size = LoadRelaxed(&span->pages) * kPageSize;
  if (word - start >= size) return;
  std::atomic<uint64_t>& bits = *arena_->tables().MarkBits(start);
  if ((bits.load(std::memory_order_relaxed) & 1) != 0) return;
  if ((bits.fetch_or(1, std::memory_order_relaxed) & 1) != 0) return;
  ++counts_.objects;
  counts_.bytes += size;
  for (size_t offset = 0; offset < size; offset += kPieceSize) Push((start + offset) | kPiece);
}

void Marker::Push(uintptr_t entry) {
  if (!stack_.Push(entry, &marking_->pool))
    marking_->overflowed.store(true, std::memory_order_relaxed);
}

void Marker::ScanEntry(uintptr_t entry) {
  const uintptr_t address = entry & ~kTag;
  if ((entry & kSpan) != 0) {
    OpenSpan(address);
  } else if ((entry & kPiece) != 0) {
    ScanPiece(address);
  } else {
    ScanRange(address, address + kSizeClasses.classes[0].size, kSizeClasses.classes[0].size);
  }
}

GCM_NO_SANITIZE void Marker::ScanOldestRun() {
  const Run run = runs_[first_run_++ % kRuns];
  if (GCM_LIKELY(plain_ && run.hi - run.lo <= kShortRun)) return ScanShort(run.lo, run.hi);
  ScanRange(run.lo, run.hi, run.slot_size);
}

GCM_INLINE void Marker::OpenRun(uintptr_t lo, uintptr_t hi, size_t slot_size) {
  __builtin_prefetch(PointerTo<char>(lo));
  const uintptr_t ahead = Min(hi, lo + kLinesAhead * kLine);
  for (uintptr_t line = RoundDown(lo, kLine) + kLine; line < ahead; line += kLine)
    __builtin_prefetch(PointerTo<char>(line));
  runs_[last_run_++ % kRuns] = {lo, hi, slot_size};
  if (last_run_ - first_run_ > kRunsAhead) ScanOldestRun();
}

void Marker::OpenSpan(uintptr_t start) {
  const SideTables& tables = arena_->tables();
  if (const uintptr_t next = queue_.Next(); next != 0) {
    __builtin_prefetch(&tables.Info(next & ~kTag), 1);
    __builtin_prefetch(tables.MarkBits(next & ~kTag), 1);
  }
  std::atomic<uint32_t>& queued = tables.Info(start);
  // First the flag, then the bits. pairs with: Settle
  const uint32_t info = queued.fetch_and(~PageInfo::kQueued, std::memory_order_seq_cst);
  // The span may have been given back meanwhile, and its pages be others'.
  const unsigned size_class = PageInfo::ClassOf(info);
  if (size_class >= kClasses || PageInfo::PageOf(info) != 0) return;
  if (Skips(Skip::queued) && ++forgotten_ % 64 == 0) return;
  if (GCM_UNLIKELY(marking_->notes)) Note(start, size_class);
  const SizeClass& k = kSizeClasses.classes[size_class];
  std::atomic<uint64_t>* marks = tables.MarkBits(start);
  uintptr_t lo = 0, hi = 0;  // blocks side by side are scanned as one
  for (unsigned w = 0; w < k.words; ++w) {
    // pairs with: Settle
    uint64_t fresh = marks[w].load(std::memory_order_seq_cst);
    // Of another span there, whose words lay otherwise, a mark may come late.
    if (const unsigned rest = k.slots - w * 64u; rest < 64) fresh &= (uint64_t{1} << rest) - 1;
    std::atomic<uint64_t>& scanned = marks[k.words + w];
    fresh &= ~scanned.load(std::memory_order_relaxed);
    if (fresh == 0) continue;
    fresh &= ~scanned.fetch_or(fresh, std::memory_order_relaxed);
    const auto blocks = static_cast<unsigned>(__builtin_popcountll(fresh));
    counts_.objects += blocks;
    counts_.bytes += uint64_t{blocks} * k.size;
    const uintptr_t base = start + w * uintptr_t{64} * k.size;
    for (; fresh != 0; fresh &= fresh - 1) {
      const uintptr_t block =
          base + static_cast<unsigned>(__builtin_ctzll(fresh)) * uintptr_t{k.size};
      if (block != hi) {
        if (lo != hi) OpenRun(lo, hi, k.size);
        lo = block;
      }
      hi = block + k.size;
    }
  }
  if (lo != hi) OpenRun(lo, hi, k.size);
}

// All that is on the way.
void Marker::FinishRuns() {
  while (first_run_ != last_run_) ScanOldestRun();
  SettleAll();
}

bool Marker::Take(uintptr_t* entry) {
  for (;;) {
    if (stack_.Pop(entry, &marking_->pool)) return true;
    if (queue_.Pop(entry, &marking_->pool)) return true;
    if (count_ == 0 && first_run_ == last_run_) return false;
    FinishRuns();
  }
}

// Whole blocks of one span, or of a part of a large one.
void Marker::ScanRange(uintptr_t lo, uintptr_t hi, size_t slot_size) {
  const ProtectedRanges& guarded = marking_->protected_ranges;
  if (GCM_UNLIKELY(guarded.count != 0) && guarded.Overlaps({lo, hi})) {
    if (!Skips(Skip::protected_blocks)) ScanProtected(lo, hi);
    return;
  }
  if (slot_size >= kReadByCopy && !marking_->stopped) {
    ScanCopy(lo, hi);
  } else {
    ScanWords(lo, hi);
  }
  if (GCM_UNLIKELY(marking_->offsets) && slot_size <= kSizeClasses.classes[kClasses - 1].size) {
    for (; lo < hi; lo += slot_size) ScanOffsets(lo, Min(hi, lo + slot_size));
  }
}

void Marker::ScanWhole(Range block) {
  if (block.size() <= kMaxSmallRequest + kPageSize)
    return ScanRange(block.lo, block.hi, block.size());
  for (uintptr_t at = block.lo; at < block.hi; at += kPieceSize) ScanPiece(at);
}

// Whatever becomes of the span meanwhile: its addresses are readable, and what is born there later
// is written later. Slots that are free hold what nobody needs.
void Marker::ScanMarked(const SpanWalk::Seen& seen) {
  if (seen.size_class == kLargeClass) {
    if ((arena_->tables().MarkBits(seen.start)[0].load(std::memory_order_relaxed) & 1) == 0) return;
    // Without memory for the lists at once: this is how what they had no room for is made up for.
    for (size_t offset = 0; offset < seen.size; offset += kPieceSize) {
      const uintptr_t piece = seen.start + offset;
      if (!stack_.Push(piece | kPiece, &marking_->pool)) ScanPiece(piece);
    }
    return;
  }
  const SizeClass& k = kSizeClasses.classes[seen.size_class];
  ScanSlots(seen.span, k, seen.start, {seen.start, seen.start + seen.size});
}

// The marked blocks of a span of slots, as far as they lie within.
void Marker::ScanSlots(Span* span, const SizeClass& k, uintptr_t start, Range within) {
  const std::atomic<uint64_t>* marks = arena_->tables().MarkBits(start);
  const auto first = static_cast<unsigned>(((within.lo - start) * k.reciprocal) >> 32);
  const unsigned words = Min<unsigned>(k.words, span->capacity);
  // A distance counts from the block's start.
  const Range clip =
      marking_->offsets ? Range{start, start + uintptr_t{k.pages} * kPageSize} : within;
  uintptr_t lo = 0, hi = 0;
  for (unsigned w = first / 64; w < words; ++w) {
    if (start + w * uintptr_t{64} * k.size >= within.hi) break;
    const unsigned rest = k.slots - w * 64u;
    uint64_t live = marks[w].load(std::memory_order_relaxed) & span->Blocks(w);
    if (rest < 64) live &= (uint64_t{1} << rest) - 1;
    if (w == first / 64) live &= ~uint64_t{0} << first % 64;
    for (; live != 0; live &= live - 1) {
      const uintptr_t block =
          start + (w * 64 + static_cast<unsigned>(__builtin_ctzll(live))) * uintptr_t{k.size};
      if (block >= within.hi) break;
      if (block != hi) {
        if (lo < hi) ScanRange(Max(lo, clip.lo), Min(hi, clip.hi), k.size);
        lo = block;
      }
      hi = block + k.size;
    }
  }
  if (lo < hi) ScanRange(Max(lo, clip.lo), Min(hi, clip.hi), k.size);
}

void Marker::ScanCards(uintptr_t lo, uintptr_t hi) {
  const uint32_t info = arena_->tables().InfoAround(lo);
  Span* span = arena_->SpanAround(lo);
  if (span == nullptr) return;
  counts_.rescanned += hi - lo;
  if (PageInfo::ClassOf(info) < kClasses) {
    const SizeClass& k = kSizeClasses.classes[PageInfo::ClassOf(info)];
    const uintptr_t start = RoundDown(lo, kPageSize) - PageInfo::PageOf(info) * kPageSize;
    // A word may begin before the cards, or end behind them.
    return ScanSlots(span, k, start,
                     {Max(start, lo - sizeof(uintptr_t)),
                      Min(start + k.pages * kPageSize, hi + sizeof(uintptr_t))});
  }
  if (!span->InUse() || !span->large()) return;
  const uintptr_t start = LoadRelaxed(&span->start);
  const uintptr_t end = start + LoadRelaxed(&span->pages) * kPageSize;
  if (lo < start || lo >= end || !IsMarked(span, 0)) return;
  ScanRange(Max(start, lo - sizeof(uintptr_t)), Min(end, hi + sizeof(uintptr_t)), kPieceSize);
}

uintptr_t Marker::ScanDirty(uintptr_t lo, uintptr_t hi) {
  const Span* span = arena_->SpanAround(lo);
  if (span == nullptr || !span->InUse() || !span->large()) {
    ScanCards(lo, lo + kPageSize);
    return lo + kPageSize;
  }
  const uintptr_t start = LoadRelaxed(&span->start);
  const uintptr_t end = start + LoadRelaxed(&span->pages) * kPageSize;
  if (lo < start || lo >= end) return lo + kPageSize;
  hi = Min(hi, Min(end, lo + kPieceSize));
  if (!IsMarked(span, 0)) return hi;
  counts_.rescanned += hi - lo;
  // Pages that are not there count as written.
  ScanPart(Max(start, lo - sizeof(uintptr_t)), Min(end, hi + sizeof(uintptr_t)));
  return hi;
}

void Marker::ShareSurplus() {
  if (!marking_->shared.IsWanted()) return;
  // What is on the way is to be split with the rest.
  FinishRuns();
  Segment* spare = stack_.Spare(&marking_->pool);
  if (spare == nullptr) spare = queue_.Spare(&marking_->pool);
  if (spare != nullptr) marking_->shared.Share(spare);
}

bool Marker::Drain(uint64_t deadline) {
  plain_ = stride_ == 8 && !marking_->offsets && !marking_->shifted &&
           marking_->checkmark == nullptr && marking_->protected_ranges.count == 0;
  uintptr_t entry;
  for (unsigned weight = 0;;) {
    if (!Take(&entry)) {
      Segment* segment = marking_->shared.TryTake();
      if (segment == nullptr) return true;
      stack_.Append(segment);
      continue;
    }
    ScanEntry(entry);
    weight += (entry & kPiece) != 0 ? kWeightOfPiece : 1;
    if (weight < kWeightBetweenLooks) continue;
    weight = 0;
    ShareSurplus();
    if (deadline != UINT64_MAX && clock::Now() >= deadline) return false;
  }
}

bool Marker::DrainTogether(uint64_t deadline) {
  for (;;) {
    if (!Drain(deadline)) {
      marking_->shared.End();
      return false;
    }
    Segment* segment = marking_->shared.Await();
    if (segment == nullptr) return true;
    stack_.Append(segment);
  }
}

}  // namespace gcm
