// What a cycle has the dirty source watch. In a heap that is not large, only what holds marked
// blocks: pages of garbage, and those that nobody has used yet, are not armed, which saves the time
// to disarm them and the faults of who writes there next (each is as dear as hundreds of blocks
// that are scanned). Law: a page that is not armed counts as written. So
//   early  before anything is marked, spans are armed that were full of marked blocks in the last
//          cycle; a program that writes everywhere has none
//   late   behind that, all others with mark bits; the pass scans what is marked but in the former
//   rounds look at all spans with mark bits. What has got them since counts as written, once.
// The mark bits of slots that were free when the cycle began are set, and those of new spans:
// nobody allocates where nobody looks. A slot that is freed and taken again meanwhile is a block
// like others, which has to be found.
#include "core/gc/cycle.h"
#include "platform/clock.h"
#include "platform/test_skip.h"

namespace gcm {
namespace {

constexpr size_t kRunsAtOnce = 64;
// Free pages between two that hold something are armed with them, up to so many.
constexpr size_t kArmedGap = 16 * kPageSize;
constexpr size_t kFetchedGap = 4 * kPageSize;
constexpr uint64_t kSmallHeap = 64 * kMiB;

bool HasMarks(const Arena& arena, uintptr_t page, uintptr_t* end) {
  const SideTables& tables = arena.tables();
  if (!tables.HasChunk(page)) return false;
  const uint32_t info = tables.InfoAround(page);
  const unsigned size_class = PageInfo::ClassOf(info);
  if (size_class < kClasses) {
    const uintptr_t start = page - PageInfo::PageOf(info) * kPageSize;
    const std::atomic<uint64_t>* marks = tables.MarkBits(start);
    for (unsigned w = 0; w < kSizeClasses.classes[size_class].words; ++w) {
      if (marks[w].load(std::memory_order_relaxed) != 0) return true;
    }
    return false;
  }
  const Span* span = arena.SpanAround(page);
  // What stands for a page within a free run may be of a former life.
  if (span == nullptr || !span->InUse() || !span->large()) return false;
  const uintptr_t hi = span->end();
  if (page < span->start || page >= hi) return false;
  *end = hi;
  return Marker::IsMarked(span, 0);
}

}  // namespace

// What a program writes while a cycle marks it is scanned once more, and costs it a fault a page;
// what is armed late is all scanned once more. The last cycle tells which is less. But a program
// that faults at every store writes little, and would go on so for as long as a large heap is
// marked: there only who writes next to nothing has it armed early.
bool Cycle::ArmsEarly() const {
  if (Skips(Skip::arm_first) || Skips(Skip::pass)) return false;
  const uint64_t pages = heap().pages().in_use_pages();
  if (written_per_ms_ == UINT64_MAX) return pages * kPageSize <= kSmallHeap;
  if (!selective_) return written_per_ms_ == 0;
  return written_per_ms_ * (mark_time_ / clock::kMillisecond + 1) <= pages / 2;
}

// What holds something. A free page counts as written until a round arms it, and is there to be
// written: who allocates meanwhile need not fault for each.
void Cycle::ArmInUse(Range piece) {
  const Arena& arena = heap().pages().arena();
  Range run{piece.lo, piece.lo};
  for (uintptr_t page = piece.lo; page < piece.hi; page += kPageSize) {
    const Span* span = arena.SpanAround(page);
    if (span == nullptr || !span->InUse()) continue;
    if (page - run.hi > kArmedGap) {
      if (run.size() != 0) dirty_.Arm(run);
      run.lo = page;
    }
    run.hi = page + kPageSize;
  }
  if (run.size() != 0) dirty_.Arm(run);
}

bool Cycle::Arm(uint64_t deadline) {
  if (piece_ == 0) {
    TrackExtents();
    walk_.Begin();
  }
  if (!selective_) {
    while (piece_ < PieceCount()) {
      ArmInUse(Piece(piece_++));
      if (clock::Now() >= deadline) return false;
    }
    return true;
  }
  piece_ = 1;
  const SpanWalk::Arming arming = early_   ? SpanWalk::Arming::kEarly
                                  : minor_ ? SpanWalk::Arming::kLateBesideKept
                                           : SpanWalk::Arming::kLate;
  return ArmSpans(arming, deadline);
}

// From where the walk is on.
bool Cycle::ArmSpans(SpanWalk::Arming arming, uint64_t deadline) {
  Range runs[kRunsAtOnce];
  for (bool over = false; !over;) {
    const size_t count = walk_.ArmSome(arming, runs, kRunsAtOnce, &over);
    for (size_t i = 0; i < count; ++i) dirty_.Arm(runs[i]);
    if (!over && clock::Now() >= deadline) return false;
  }
  return true;
}

// True: it had been armed before.
bool Cycle::NoteArmed(Span* span) {
  SpanArming before = SpanArming::kNone;
  span->arming.compare_exchange_strong(before, SpanArming::kSome, std::memory_order_relaxed);
  return before != SpanArming::kNone;
}

// What a round asks about within the piece.
size_t Cycle::RunsToFetch(Range piece, Range* runs) const {
  if (selective_) {
    const Arena& arena = heap().pages().arena();
    size_t count = 0;
    for (uintptr_t at = piece.lo, next; at < piece.hi && count <= kMostRuns; at = next) {
      next = at + kPageSize;
      if (!HasMarks(arena, at, &next)) continue;
      next = Min(next, piece.hi);
      if (count != 0 && at - runs[count - 1].hi <= kFetchedGap) {
        runs[count - 1].hi = next;
      } else if (count++ != kMostRuns) {
        runs[count - 1] = {at, next};
      }
    }
    if (count <= kMostRuns) return count;
  }
  runs[0] = piece;
  return 1;
}

}  // namespace gcm
