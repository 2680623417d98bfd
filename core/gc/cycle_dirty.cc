// What was written while a cycle marks: the dirty source over the heap, and its cards.
#include "core/gc/blocking.h"
#include "core/gc/cycle.h"
#include "platform/clock.h"
#include "platform/memory.h"
#include "platform/test_skip.h"

namespace gcm {
namespace {

constexpr size_t kPieceSize = 16 * kMiB;
constexpr size_t kPartsOfPiece = 32;
constexpr uint64_t kFetchOfPiece = 5 * clock::kMicrosecond;

// Pages that are not armed, between two that are and are asked about at once: a call takes as long
// as a look at so many.
constexpr size_t kAskedGap = 512 * kPageSize;

}  // namespace

struct Cycle::Visit {
  Marker* marker;
  const Arena* arena;
  uint64_t deadline;
  bool rearms = true;
  uint64_t pages = 0;
  uint64_t armed = 0;  // of them
  bool late = false;
  uint64_t scanning = 0;  // nanoseconds
};

// Fetched and armed again is fetched: what there is no time for stays on the cards, with the rest
// of its batch.
bool Cycle::VisitDirty(void* data, Range run) {
  auto* v = static_cast<Visit*>(data);
  if (v->late) {
    v->pages += run.size() / kPageSize;
    if (v->rearms) v->arena->tables().SetCards(run);
    return false;
  }
  const uint64_t begin = clock::Now();
  for (uintptr_t page = RoundDown(run.lo, kPageSize); page < run.hi && !v->late;) {
    const uintptr_t at = page;
    Span* span = v->arena->SpanAround(page);
    if (span == nullptr || !span->InUse()) {  // free
      page += kPageSize;
      if (page < run.hi) continue;
    } else {
      const bool armed = v->rearms && NoteArmed(span);
      page = v->marker->ScanDirty(page, run.hi);
      v->pages += (page - at) / kPageSize;
      if (armed) v->armed += (page - at) / kPageSize;
    }
    const uint64_t now = clock::Now();
    v->late = now >= v->deadline;
    if (v->late && v->rearms) v->arena->tables().SetCards({page, run.hi});
    if (v->late || page >= run.hi) v->scanning += now - begin;
  }
  return !v->late;
}

// The heap as pieces for the dirty source.
size_t Cycle::PieceCount() const {
  const Arena& arena = heap().pages().arena();
  size_t count = 0;
  for (size_t i = 0; i < arena.extent_count(); ++i) {
    count += DivideUp(arena.extent(i).ready - arena.extent(i).start, kPieceSize);
  }
  return count;
}

Range Cycle::Piece(size_t n, size_t* extent) const {
  const Arena& arena = heap().pages().arena();
  for (size_t i = 0; i < arena.extent_count(); ++i) {
    const Arena::Extent& e = arena.extent(i);
    const size_t count = DivideUp(e.ready - e.start, kPieceSize);
    if (n >= count) {
      n -= count;
      continue;
    }
    if (extent != nullptr) *extent = i;
    return {e.start + n * kPieceSize, Min(e.ready, e.start + (n + 1) * kPieceSize)};
  }
  return {};
}

// Whole extents, what is reserved too: so what is taken from them later is tracked before it is
// published. An extent that comes later counts as written until it is tracked. True: one came.
bool Cycle::TrackExtents() {
  const Arena& arena = heap().pages().arena();
  size_t bytes = 0;
  for (size_t i = 0; i < arena.extent_count(); ++i)
    bytes += arena.extent(i).end - arena.extent(i).start;
  if (bytes == tracked_bytes_ || Skips(Skip::track)) return false;
  tracked_bytes_ = bytes;
  for (size_t i = 0; i < arena.extent_count(); ++i)
    dirty_.Track({arena.extent(i).start, arena.extent(i).end});
  return true;
}

void Cycle::UntrackLarge() {
  for (size_t i = 0; i < roots_->large_count(); ++i) dirty_.Untrack(roots_->large()[i]);
  roots_->ForgetLarge();
}

// The program's own large memory, which was read before: so it is read again.
void Cycle::ArmLarge() {
  for (size_t i = 0; i < roots_->large_count(); ++i) {
    if (dirty_.Track(roots_->large()[i])) dirty_.Arm(roots_->large()[i]);
  }
  for (size_t i = 0; i < roots_->large_count(); ++i) roots_->ScanLarge(roots_->large()[i]);
}

// Cards that were set by write barriers, or that there was no time for. False: some are left.
bool Cycle::TakeCards(Marker* marker, Range piece, uint64_t deadline) {
  const SideTables& tables = heap().pages().arena().tables();
  for (uintptr_t chunk = RoundDown(piece.lo, kChunkSize); chunk < piece.hi; chunk += kChunkSize) {
    if (!tables.HasChunk(Max(chunk, piece.lo))) continue;
    std::atomic<uint32_t>& has = tables.HasCards(Max(chunk, piece.lo));
    if (has.load(std::memory_order_relaxed) == 0) continue;
    const Range part{Max(chunk, piece.lo), Min(chunk + kChunkSize, piece.hi)};
    // Another piece may have the rest of the chunk (tests/model/summary.pml): then it stays set.
    // pairs with: gcmalloc_write_barrier, which sets the card first
    if (part.size() == kChunkSize) has.exchange(0, std::memory_order_seq_cst);
    for (uintptr_t page = part.lo; page < part.hi; page += kPageSize) {
      std::atomic<uint64_t>& cards = tables.Cards(page);
      if (cards.load(std::memory_order_relaxed) == 0) continue;
      if (clock::Now() >= deadline) {
        has.store(1, std::memory_order_relaxed);
        return false;
      }
      const uint64_t set = cards.exchange(0, std::memory_order_acq_rel);  // pairs with: the barrier
      if (set == ~uint64_t{0}) {  // a page that there was no time for
        marker->ScanDirty(page, page + kPageSize);
        continue;
      }
      for (size_t i = 0; i < 8; ++i) {
        if ((set >> 8 * i & 255) == 0) continue;
        marker->ScanCards(page + i * kCardSize, page + (i + 1) * kCardSize);
      }
    }
  }
  return true;
}

// Another number wherever a page of the heap may have been written (DirtyPages::Writes).
uint64_t Cycle::Writes() const { return dirty_.Writes() + blocking::OthersWrites(); }

// Fetches and scans what was written, all pieces of the heap once; or as far as time goes, and
// then, if it is armed anew, on from there: true if all pieces have been fetched in this call.
// Without arming it is worth nothing unless it is complete, and the world is stopped. Where nobody
// has written since before the last complete round began, that one has seen it all: what the page
// tables of a large heap would say is known, and only the cards are looked at.
bool Cycle::Round(uint64_t deadline, unsigned members, bool rearms) {
  Job job{this, deadline};
  job.rearms = rearms;
  const uint64_t writes = Writes();
  if (TrackExtents()) written_at_ = 0;
  job.written = writes != written_at_ && (written_at_ == 0 || !Skips(Skip::writes));
  if (!job.written) members = 1;  // to wake helpers takes longer
  rounds_count_ = PieceCount();
  team_.Run(
      [](void* data, unsigned member) {
        auto* j = static_cast<Job*>(data);
        Cycle* self = j->self;
        const uint64_t cpu = clock::ThreadCpu();
        Marker& marker = self->markers_[member];
        Visit visit{&marker, &heap().pages().arena(), j->deadline, j->rearms};
        Range runs[kMostRuns];
        uint64_t fetch = 0;
        for (;;) {
          const size_t i = j->next.fetch_add(1, std::memory_order_relaxed);
          if (i >= self->rounds_count_) break;
          const Range piece = self->Piece((self->rounds_piece_ + i) % self->rounds_count_);
          const uint64_t begin = clock::Now();
          const uint64_t scanned = visit.scanning;
          const size_t count = j->written ? self->RunsToFetch(piece, runs) : 0;
          for (size_t r = 0; r < count; ++r) {
            for (uintptr_t at = runs[r].lo; at < runs[r].hi && !visit.late;)
              at = self->dirty_.Fetch({at, runs[r].hi}, j->rearms, VisitDirty, &visit);
          }
          fetch += clock::Now() - begin - (visit.scanning - scanned);
          if (visit.late || !self->TakeCards(&marker, piece, j->deadline)) {
            visit.late = true;
            break;
          }
        }
        if (visit.late) j->complete.store(false, std::memory_order_relaxed);
        j->pages.fetch_add(visit.pages, std::memory_order_relaxed);
        j->armed.fetch_add(visit.armed, std::memory_order_relaxed);
        j->fetch.fetch_add(fetch, std::memory_order_relaxed);
        if (member != 0) j->cpu.fetch_add(clock::ThreadCpu() - cpu, std::memory_order_relaxed);
      },
      &job, members);
  const size_t done = Min(job.next.load(std::memory_order_relaxed), rounds_count_);
  const bool complete = job.complete.load(std::memory_order_relaxed);
  // From the first piece that was not done wholly on; those before are done again, and cost little.
  rounds_piece_ = complete || !rearms || rounds_count_ == 0
                      ? 0
                      : (rounds_piece_ + (done > members ? done - members : 0)) % rounds_count_;
  // Where only marked blocks are watched, others may be written without a fault, and be marked
  // then.
  if (job.written) written_at_ = complete && rearms && !selective_ ? writes : 0;
  if (done != 0 && job.written && rearms) {
    const uint64_t fetch = job.fetch.load(std::memory_order_relaxed) / team_.members();
    // A program that faults meanwhile makes it longer than it is during a stop.
    fetch_time_ = Min(fetch * rounds_count_ / done, rounds_count_ * kFetchOfPiece);
  }
  round_pages_ += job.pages.load(std::memory_order_relaxed);
  round_armed_ += job.armed.load(std::memory_order_relaxed);
  record_.dirty_pages += (selective_ ? job.armed : job.pages).load(std::memory_order_relaxed);
  record_.cpu += job.cpu.load(std::memory_order_relaxed);
  return complete;
}

// Which pages of old blocks were written, as their summaries say then. Nothing is armed again while
// the program stands still: Age does it, or a round.
void Cycle::NoteWritten() {
  const Arena& arena = heap().pages().arena();
  const SideTables& tables = arena.tables();
  Range armed{};
  auto note = [](void* data, Range run) {
    const SideTables& all = heap().pages().arena().tables();
    for (uintptr_t page = RoundDown(run.lo, kPageSize); page < run.hi; page += kPageSize) {
      if (!all.HasChunk(page)) continue;
      std::atomic<uint32_t>& info = all.Info(page);
      if ((info.load(std::memory_order_relaxed) & PageInfo::kArmed) == 0) continue;
      info.fetch_or(PageInfo::kWritten, std::memory_order_relaxed);
      ++*static_cast<uint64_t*>(data);
    }
    return true;
  };
  auto fetch = [&] {
    if (armed.size() != 0) dirty_.Fetch(armed, false, note, &record_.dirty_pages);
    armed = {};
  };
  for (size_t i = 0; i < arena.extent_count(); ++i) {
    const Arena::Extent& extent = arena.extent(i);
    for (uintptr_t page = extent.start; page < extent.ready; page += kPageSize) {
      if (!tables.HasChunk(page)) continue;
      if ((tables.Info(page).load(std::memory_order_relaxed) & PageInfo::kArmed) == 0) continue;
      if (page - armed.hi > kAskedGap) fetch();
      if (armed.size() == 0) armed.lo = page;
      armed.hi = page + kPageSize;
    }
    fetch();
  }
}

// What old blocks may hold that leads to young ones. False: it has taken too long.
bool Cycle::ScanOld(uint64_t deadline) {
  NoteWritten();
  Job job{this, deadline};
  team_.Run(
      [](void* data, unsigned member) {
        auto* j = static_cast<Job*>(data);
        Cycle* self = j->self;
        const uint64_t cpu = clock::ThreadCpu();
        Visit visit{&self->markers_[member], &heap().pages().arena(), j->deadline};
        const size_t count = self->PieceCount() * kPartsOfPiece;
        while (!visit.late) {
          const size_t i = j->next.fetch_add(1, std::memory_order_relaxed);
          if (i >= count) break;
          Range part = self->Piece(i / kPartsOfPiece);
          part.lo += i % kPartsOfPiece * (kPieceSize / kPartsOfPiece);
          part.hi = Min(part.hi, part.lo + kPieceSize / kPartsOfPiece);
          if (part.lo >= part.hi) continue;
          self->ScanOldIn(part, &visit);
          visit.late = visit.late || !self->TakeCards(visit.marker, part, j->deadline) ||
                       clock::Now() >= j->deadline;
        }
        if (visit.late) j->complete.store(false, std::memory_order_relaxed);
        j->pages.fetch_add(visit.pages, std::memory_order_relaxed);
        if (member != 0) j->cpu.fetch_add(clock::ThreadCpu() - cpu, std::memory_order_relaxed);
      },
      &job, team_.members());
  record_.dirty_pages += job.pages.load(std::memory_order_relaxed);
  record_.cpu += job.cpu.load(std::memory_order_relaxed);
  return job.complete.load(std::memory_order_relaxed);
}

void Cycle::ScanOldIn(Range part, Visit* visit) {
  const SideTables& tables = visit->arena->tables();
  for (uintptr_t at = part.lo, next; at < part.hi; at = next) {
    next = at + kPageSize;
    uint32_t info = 0;
    if (tables.HasChunk(at)) info = tables.Info(at).load(std::memory_order_relaxed);
    if ((info & (PageInfo::kUnscanned | PageInfo::kWritten)) != 0) {
      if ((info & PageInfo::kWritten) != 0 || !Skips(Skip::unscanned))
        visit->marker->ScanDirty(at, next);
      // It was armed before, and what is written behind this is told.
      if ((info & (PageInfo::kArmed | PageInfo::kWritten)) == PageInfo::kArmed)
        tables.Info(at).fetch_and(~PageInfo::kUnscanned, std::memory_order_relaxed);
    } else if (PageInfo::ClassOf(info) >= kClasses) {
      const Span* span = visit->arena->SpanAround(at);
      // What stands for a page within a free run may be of a former life.
      if (span == nullptr || !span->InUse() || at - span->start >= span->pages * kPageSize)
        continue;
      next = span->end();
      if (!span->large() || !Marker::IsMarked(span, 0)) continue;
      Range block{at, Min(part.hi, next)};
      while (block.lo < block.hi && !visit->late)
        block.lo = dirty_.Fetch(block, true, VisitDirty, visit);
    }
  }
}

// Both ranges are of one kind then, and what is moved counts as written until the end.
bool Cycle::MovePages(Range from, uintptr_t to) {
  written_at_ = tracked_bytes_ = 0;
  dirty_.Untrack(from);
  dirty_.Untrack({to, to + from.size()});
  return memory::MovePages(from.lo, to, from.size());
}

// The mappings are as they were before, and may be moved.
bool Cycle::Untrack(uint64_t deadline) {
  const Arena& arena = heap().pages().arena();
  while (piece_ < PieceCount()) {
    size_t extent;
    const Range piece = Piece(piece_++, &extent);
    dirty_.Untrack(piece);
    // The heap may grow behind the last one meanwhile.
    if (stage_ == Stage::kUntrack && piece_ < PieceCount()) SweepTo(extent, piece.hi, deadline);
    if (clock::Now() >= deadline) return false;
  }
  for (size_t i = 0; i < arena.extent_count(); ++i) {
    if (arena.extent(i).ready < arena.extent(i).end)
      dirty_.UntrackEmpty({arena.extent(i).ready, arena.extent(i).end});
  }
  UntrackLarge();
  tracked_bytes_ = 0;
  heap().SetPagesMayMove(true);
  return true;
}

}  // namespace gcm
