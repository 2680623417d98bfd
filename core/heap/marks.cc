// The mark bits of what is free, of what is born and of what is about to be handed out; and cards.
#include "core/heap/heap.h"
#include "platform/test_skip.h"

namespace gcm {

// The first or the last of the two happens after a cycle's beginning has become visible, and the
// walk that resets all marks finds the span, or this finds the cycle begun.
void Heap::BlackenNew(Span* span) {
  // pairs with: SetPhase
  FullFence();
  // When it is over, the phase is another one. pairs with: SetMarksYoung
  const bool young = marks_young_.load(std::memory_order_acquire);
  const bool clears = marks_stay() && !young && phase() != Phase::kMarking;
  if (GCM_LIKELY(phase() == Phase::kIdle && !clears && !young)) return;
  if (clears && !Skips(Skip::new_marks)) {
    ClearMarks(span);
    // pairs with: SetPhase
    FullFence();
    if (phase() != Phase::kMarking) return;
  }
  const SideTables& tables = pages_.arena().tables();
  if (span->large()) {
    tables.MarkBits(span->start)[0].store(1, std::memory_order_relaxed);
    return;
  }
  ResetMarks(span);
  if (Skips(Skip::born_noted)) return;
  if (young) tables.AddFlags(span->start, span->end(), PageInfo::kUnscanned);
}

// What an earlier span has left there.
void Heap::ClearMarks(Span* span) {
  std::atomic<uint64_t>* marks = pages_.arena().tables().MarkBits(span->start);
  const unsigned words = span->large() ? 1 : span->words();
  const bool scanned = !span->large() && HasScannedBits(LoadRelaxed(&span->size_class));
  for (unsigned w = 0; w < words; ++w) {
    marks[w].store(0, std::memory_order_relaxed);
    if (scanned) marks[words + w].store(0, std::memory_order_relaxed);
  }
}

void Heap::ForgetFree(Span* span) {
  std::atomic<uint64_t>* marks = pages_.arena().tables().MarkBits(span->start);
  const unsigned words = span->words();
  const bool scanned = HasScannedBits(LoadRelaxed(&span->size_class));
  for (unsigned w = 0; w < words; ++w) {
    const uint64_t blocks = span->Blocks(w) & marks[w].load(std::memory_order_relaxed);
    // A slot that is not marked must not count as scanned.
    if (scanned) marks[words + w].store(blocks, std::memory_order_relaxed);
    marks[w].store(blocks, std::memory_order_relaxed);
  }
}

void Heap::ResetMarks(Span* span) {
  std::atomic<uint64_t>* marks = pages_.arena().tables().MarkBits(span->start);
  if (span->large()) {
    marks[0].store(0, std::memory_order_relaxed);
    return;
  }
  std::atomic<uint32_t>& info = pages_.arena().tables().Info(span->start);
  if ((info.load(std::memory_order_relaxed) & PageInfo::kQueued) != 0)
    info.fetch_and(~PageInfo::kQueued, std::memory_order_relaxed);
  const unsigned words = span->words();
  const bool scanned = HasScannedBits(LoadRelaxed(&span->size_class));
  for (unsigned w = 0; w < words; ++w) {
    const uint64_t free = ~span->Blocks(w) & span->ValidBits(w);
    marks[w].store(free, std::memory_order_relaxed);
    if (scanned) marks[words + w].store(free, std::memory_order_relaxed);
  }
}

void Heap::Blacken(Span* span) {
  if (span->large()) return;
  std::atomic<uint64_t>* marks = pages_.arena().tables().MarkBits(span->start);
  const unsigned words = span->words();
  const bool scanned = HasScannedBits(LoadRelaxed(&span->size_class));
  for (unsigned w = 0; w < words; ++w) {
    const uint64_t free = ~span->Blocks(w) & span->ValidBits(w);
    if ((free & ~marks[w].load(std::memory_order_relaxed)) == 0) continue;
    if (scanned) marks[words + w].fetch_or(free, std::memory_order_relaxed);
    marks[w].fetch_or(free, std::memory_order_relaxed);
  }
}

void Heap::BlackenBlock(uintptr_t block) {
  const SideTables& tables = pages_.arena().tables();
  const uint32_t info = tables.InfoAround(block);
  const SizeClass& k = kSizeClasses.classes[PageInfo::ClassOf(info)];
  const uintptr_t start = RoundDown(block, kPageSize) - PageInfo::PageOf(info) * kPageSize;
  const auto index = static_cast<unsigned>(((block - start) * k.reciprocal) >> 32);
  tables.MarkBits(start)[index / 64].fetch_or(uint64_t{1} << index % 64, std::memory_order_relaxed);
}

// A stale phase does no harm: between its beginning and the first mark all threads are stopped, and
// what was written before is seen. Cards are mapped where spans are.
void Heap::NoteWrite(uintptr_t slot) {
  if (GCM_LIKELY(phase() != Phase::kMarking && !marks_stay())) return;
  const Arena& arena = pages_.arena();
  if (arena.SpanAround(slot) == nullptr) return;
  arena.tables().Card(slot).store(1, std::memory_order_relaxed);
  // The card first. pairs with: the exchange in TakeCards
  arena.tables().HasCards(slot).store(1, std::memory_order_release);
}

void Heap::PrepareForUse(Span* span) {
  const Phase phase = phase_.load(std::memory_order_relaxed);
  if (GCM_LIKELY(phase == Phase::kIdle)) return;
  if (phase == Phase::kMarking) {
    Blacken(span);
  } else {
    sweeper_.SweepBeforeUse(span);
  }
}

}  // namespace gcm
