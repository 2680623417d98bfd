#include "core/gc/cycle.h"

#include <new>

#include "core/base/metadata.h"
#include "core/base/options.h"
#include "platform/apart.h"
#include "platform/clock.h"
#include "platform/descriptor.h"
#include "platform/memory.h"
#include "platform/message.h"
#include "platform/process.h"
#include "platform/test_skip.h"

namespace gcm {
namespace {

// What a stop may last, as long as it need not be the last one.
// Where that is too little to fetch all pages in, it grows.
constexpr uint64_t kSlice = 350 * clock::kMicrosecond;
constexpr uint64_t kLongestSlice = 3 * clock::kMillisecond;
constexpr uint64_t kSliceGrowth = 16;
// Behind so many the world stays stopped until all is done: something defeats slicing.
constexpr unsigned kMostSlices = 2000;
// Open at the same time: the map, its pages, the list of descriptors and one of these.
constexpr unsigned kDescriptors = 4;
// The last stop is tried when no more than this was written during a round.
constexpr uint64_t kFewPages = 256;
constexpr unsigned kMostRounds = 4;
constexpr size_t kPieceSize = 64 * kMiB;
constexpr size_t kBatch = 64;
constexpr unsigned kMostFailures = 12;
constexpr uint64_t kFirstWait = 2 * clock::kMillisecond;

template <typename T>
T* New(size_t count = 1) {
  void* place = metadata::Allocate(count * sizeof(T));
  if (place == nullptr) return nullptr;
  T* first = static_cast<T*>(place);
  for (size_t i = 0; i < count; ++i) new (first + i) T();
  return first;
}

}  // namespace

struct Cycle::Job {
  Cycle* self;
  uint64_t deadline;
  std::atomic<size_t> next{0};
  std::atomic<bool> complete{true};
  std::atomic<uint64_t> pages{0};
  std::atomic<uint64_t> cpu{0};
};

namespace {

void SayOtherSource() {
  Message line;
  line.Text("gcmalloc: GCMALLOC_DIRTY=").Text(NameOf(options().dirty));
  line.Text(": does not work here, using none").Write(2);
}

}  // namespace

bool Cycle::Prepare() {
  if (markers_ != nullptr) return true;
  if (roots_ == nullptr) roots_ = New<RootScanner>();
  void* pages = metadata::Allocate(MarkTeam::kMost * sizeof(PageMap));
  if (roots_ == nullptr || pages == nullptr) return false;
  pages_ = static_cast<PageMap*>(pages);
  markers_ = New<Marker>(MarkTeam::kMost);
  return markers_ != nullptr;
}

void Cycle::Begin(const Plan& plan) {
  plan_ = plan;
  why_ = nullptr;
  wait_until_ = 0;
  failures_ = slices_ = round_ = 0;
  slice_ = kSlice;
  tracked_bytes_ = 0;
  record_ = {};
  began_ = clock::Now();
  taken_before_ = heap().taken();
  record_.reason = plan.reason;
  record_.start = began_ - ledger().start_time();
  record_.heap_before = heap().pages().in_use_pages() * kPageSize;
  if (plan_.concurrent) {
    record_.dirty_source = dirty_.Start(options().dirty);
    if (options().dirty != DirtySource::kAuto && record_.dirty_source != options().dirty && tracks_)
      SayOtherSource();
    plan_.concurrent = tracks_ = record_.dirty_source != DirtySource::kNone;
  }
  record_.workers = plan_.concurrent ? plan_.workers : 0;
  marking_.stride = options().align;
  marking_.offsets = false;
  marking_.stopped = false;
  marking_.overflowed.store(false, std::memory_order_relaxed);
  marking_.protected_ranges.Clear();
  roots_->SetTracked(nullptr, nullptr, 0);
  if (!plan_.concurrent) {
    stage_ = Stage::kAtOnce;
    return;
  }
  team_.Start(plan_.helpers);
  for (unsigned i = 0; i < team_.members(); ++i) {
    new (&pages_[i]) PageMap();
    markers_[i].Begin(&marking_, &pages_[i]);
  }
  pages_open_ = true;
  heap().SetPhase(Phase::kMarking);
  heap().SetPagesMayMove(false);
  walk_.Begin();
  stage_ = Stage::kReset;
}

Cycle::Outcome Cycle::GiveUp(const char* why) {
  why_ = why;
  heap().SetPhase(Phase::kIdle);
  StopMarking();
  piece_ = 0;
  Untrack(UINT64_MAX);
  return Outcome::kGivenUp;
}

void Cycle::End() {
  if (pages_open_) {
    for (unsigned i = 0; i < team_.members(); ++i) pages_[i].~PageMap();
    pages_open_ = false;
  }
  team_.Stop();
  marking_.pool.Trim();
  dirty_.Stop();
  if (OwnThread::IsHere()) apart::ActFor(0);
  stage_ = Stage::kNone;
  if (stands_) world().Start();
  stands_ = false;
}

void Cycle::AfterForkInChild() {
  team_.AfterForkInChild();
  dirty_.AfterForkInChild();
  heap().SetPhase(Phase::kIdle);
  heap().SetPagesMayMove(true);
  if (stage_ == Stage::kNone) return;
  for (unsigned i = 0; pages_open_ && i < MarkTeam::kMost; ++i) {
    if (markers_[i].marking() != nullptr) markers_[i].End();
  }
  pages_open_ = false;
  marking_.pool.AfterForkInChild();
  marking_.shared.AfterForkInChild();
  stage_ = Stage::kNone;
}

bool Cycle::Stop() {
  const uint64_t begin = clock::Now();
  if (!world().Stop(&why_)) return false;
  why_ = nullptr;
  failures_ = 0;
  stopped_at_ = begin;
  return true;
}

void Cycle::Start() {
  world().Start();
  const uint64_t pause = clock::Now() - stopped_at_;
  record_.AddPause(pause);
  ledger().AddPause(pause);
}

// A stop that failed has held everybody up: it is tried again later, and less and less often.
Cycle::Outcome Cycle::StopFailed() {
  if (++failures_ > kMostFailures) return GiveUp(why_);
  wait_until_ = clock::Now() + (kFirstWait << Min(failures_, 8u));
  return Outcome::kWaits;
}

bool Cycle::Reset(uint64_t deadline) {
  while (!walk_.ResetSome()) {
    if (clock::Now() >= deadline) return false;
  }
  return true;
}

bool Cycle::LookAtThreads(RootScanner::Caller caller) {
  // What the kernel shows of a thread, it is to show of one of the program's.
  const int tid = OwnThread::IsHere() ? world().LivingThread() : 0;
  if (tid != 0) apart::ActFor(process::NumberInProc(tid));
  return roots_->ScanThreads(&markers_[0], world(), caller);
}

bool Cycle::ScanRoots(bool whole) {
  RootScanner::Result result =
      roots_->ScanMemory(&markers_[0], &pages_[0], world(), whole);
  if (result.for_good) for_good_ = true;
  if (result.incomplete != nullptr) {
    why_ = result.incomplete;
    return !whole && !result.for_good;
  }
  record_.roots_bytes = result.bytes;
  record_.stacks_bytes = result.stack_bytes;
  return true;
}

bool Cycle::Mark(uint64_t deadline, unsigned members) {
  Job job{this, deadline};
  marking_.shared.Begin(Min(members, team_.members()));
  team_.Run(
      [](void* data, unsigned member) {
        auto* j = static_cast<Job*>(data);
        const uint64_t cpu = clock::ThreadCpu();
        if (!j->self->markers_[member].DrainTogether(j->deadline))
          j->complete.store(false, std::memory_order_relaxed);
        if (member != 0) j->cpu.fetch_add(clock::ThreadCpu() - cpu, std::memory_order_relaxed);
      },
      &job, members);
  record_.cpu += job.cpu.load(std::memory_order_relaxed);
  if (!job.complete.load(std::memory_order_relaxed)) return false;
  // A helper that did not take part now may have left something.
  for (unsigned i = 0; i < team_.members(); ++i) {
    if (!markers_[i].idle()) return Mark(deadline, team_.members());
  }
  return marking_.shared.empty();
}

// Some blocks were marked, but not kept for scanning: scans all marked blocks of the heap again.
void Cycle::Overflow() {
  while (marking_.overflowed.exchange(false, std::memory_order_relaxed)) {
    walk_.Begin();
    SpanWalk::Seen spans[kBatch];
    for (bool over = false; !over;) {
      const size_t n = walk_.Take(spans, kBatch, &over);
      for (size_t i = 0; i < n; ++i) {
        markers_[0].ScanMarked(spans[i]);
        markers_[0].Drain(UINT64_MAX);
      }
    }
  }
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

Range Cycle::Piece(size_t n) const {
  const Arena& arena = heap().pages().arena();
  for (size_t i = 0; i < arena.extent_count(); ++i) {
    const Arena::Extent& e = arena.extent(i);
    const size_t count = DivideUp(e.ready - e.start, kPieceSize);
    if (n >= count) {
      n -= count;
      continue;
    }
    return {e.start + n * kPieceSize, Min(e.ready, e.start + (n + 1) * kPieceSize)};
  }
  return {};
}

// Whole extents, what is reserved too: so what is taken from them later is tracked before it is
// published. An extent that comes later counts as written until it is tracked.
void Cycle::TrackExtents() {
  const Arena& arena = heap().pages().arena();
  size_t bytes = 0;
  for (size_t i = 0; i < arena.extent_count(); ++i)
    bytes += arena.extent(i).end - arena.extent(i).start;
  if (bytes == tracked_bytes_ || Skips(Skip::track)) return;
  tracked_bytes_ = bytes;
  for (size_t i = 0; i < arena.extent_count(); ++i)
    dirty_.Track({arena.extent(i).start, arena.extent(i).end});
}

bool Cycle::Arm(uint64_t deadline) {
  if (piece_ == 0) TrackExtents();
  while (piece_ < PieceCount()) {
    dirty_.Arm(Piece(piece_++));
    if (clock::Now() >= deadline) return false;
  }
  for (size_t i = 0; i < roots_->large_count(); ++i) {
    if (dirty_.Track(roots_->large()[i])) dirty_.Arm(roots_->large()[i]);
  }
  return true;
}

bool Cycle::Pass(uint64_t deadline) {
  Job job{this, deadline};
  const unsigned members = Min(plan_.workers, team_.members());
  marking_.shared.Begin(members);
  team_.Run(
      [](void* data, unsigned member) {
        auto* j = static_cast<Job*>(data);
        const uint64_t cpu = clock::ThreadCpu();
        Marker& marker = j->self->markers_[member];
        SpanWalk::Seen spans[kBatch];
        for (bool over = false; !over;) {
          if (clock::Now() >= j->deadline) {
            j->complete.store(false, std::memory_order_relaxed);
            break;
          }
          const size_t n = j->self->walk_.Take(spans, kBatch, &over);
          for (size_t i = 0; i < n; ++i) marker.ScanMarked(spans[i]);
          marker.Drain(j->deadline);
        }
        if (member != 0) j->cpu.fetch_add(clock::ThreadCpu() - cpu, std::memory_order_relaxed);
      },
      &job, members);
  record_.cpu += job.cpu.load(std::memory_order_relaxed);
  return job.complete.load(std::memory_order_relaxed);
}

// The program's own large memory, which was read before it was armed.
void Cycle::PassTracked() {
  for (size_t i = 0; i < roots_->large_count(); ++i) {
    roots_->ScanLarge(roots_->large()[i]);
  }
}

namespace {

struct Visit {
  Marker* marker;
  const Arena* arena;
  uint64_t deadline;
  uint64_t pages;
  bool late;
};

void SetCards(const Arena& arena, Range run) {
  for (uintptr_t page = run.lo; page < run.hi; page += kPageSize) {
    if (!arena.Contains(page) || !arena.tables().HasChunk(page)) continue;
    arena.tables().Cards(page).store(~uint64_t{0}, std::memory_order_relaxed);
    arena.tables().HasCards(page).store(1, std::memory_order_relaxed);
  }
}

// Fetched is fetched: what there is no time for stays on the cards.
bool VisitDirty(void* data, Range run) {
  auto* v = static_cast<Visit*>(data);
  v->pages += run.size() / kPageSize;
  if (v->late) {
    SetCards(*v->arena, run);
    return false;
  }
  for (uintptr_t page = RoundDown(run.lo, kPageSize); page < run.hi;) {
    page = v->marker->ScanDirty(page, run.hi);
    if (clock::Now() < v->deadline) continue;
    v->late = true;
    SetCards(*v->arena, {page, run.hi});
    return false;
  }
  return true;
}

}  // namespace

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
      for (size_t i = 0; i < 8; ++i) {
        if ((set >> 8 * i & 255) == 0) continue;
        marker->ScanCards(page + i * kCardSize, page + (i + 1) * kCardSize);
      }
    }
  }
  return true;
}

// Fetches, arms anew and scans what was written, all pieces of the heap once; or as far as time
// goes, and then on from there. `complete` is set when all pieces have been fetched in this call.
bool Cycle::Round(uint64_t deadline, unsigned members, bool* complete) {
  Job job{this, deadline};
  TrackExtents();
  rounds_count_ = PieceCount();
  team_.Run(
      [](void* data, unsigned member) {
        auto* j = static_cast<Job*>(data);
        Cycle* self = j->self;
        const uint64_t cpu = clock::ThreadCpu();
        Marker& marker = self->markers_[member];
        Visit visit{&marker, &heap().pages().arena(), j->deadline, 0, false};
        for (;;) {
          const size_t i = j->next.fetch_add(1, std::memory_order_relaxed);
          if (i >= self->rounds_count_) break;
          const Range piece = self->Piece((self->rounds_piece_ + i) % self->rounds_count_);
          uintptr_t at = piece.lo;
          while (at < piece.hi && !visit.late)
            at = self->dirty_.Fetch({at, piece.hi}, true, VisitDirty, &visit);
          if (visit.late || !self->TakeCards(&marker, piece, j->deadline)) {
            visit.late = true;
            break;
          }
        }
        if (visit.late) j->complete.store(false, std::memory_order_relaxed);
        j->pages.fetch_add(visit.pages, std::memory_order_relaxed);
        if (member != 0) j->cpu.fetch_add(clock::ThreadCpu() - cpu, std::memory_order_relaxed);
      },
      &job, members);
  const size_t done = Min(job.next.load(std::memory_order_relaxed), rounds_count_);
  *complete = job.complete.load(std::memory_order_relaxed);
  // From the first piece that was not done wholly on; those before are done again, and cost little.
  rounds_piece_ = *complete || rounds_count_ == 0
                      ? 0
                      : (rounds_piece_ + (done > members ? done - members : 0)) % rounds_count_;
  round_pages_ += job.pages.load(std::memory_order_relaxed);
  record_.dirty_pages += job.pages.load(std::memory_order_relaxed);
  record_.cpu += job.cpu.load(std::memory_order_relaxed);
  return *complete;
}

void Cycle::StopMarking() {
  for (unsigned i = 0; i < team_.members(); ++i) {
    record_.heap_marked += markers_[i].counts().bytes;
    record_.marked_objects += markers_[i].counts().objects;
    record_.rescanned_bytes += markers_[i].counts().rescanned;
    markers_[i].End();
  }
  marking_.shared.Clear(&marking_.pool);
}

// With the world stopped: whether everything reachable is marked now. If not, all runs on, and
// another stop comes.
bool Cycle::Complete(RootScanner::Caller caller, bool at_once) {
  // Of a stop that took long to come, some is left for work.
  const uint64_t deadline = at_once || slices_ > kMostSlices
                                ? UINT64_MAX
                                : Max(stopped_at_ + slice_, clock::Now() + slice_ / 2);
  bool complete = true;
  if (!at_once) {
    if (!Mark(deadline, team_.members())) return false;
    round_pages_ = 0;
    Round(deadline, team_.members(), &complete);
    if (!complete || !Mark(deadline, team_.members())) return false;
  }
  // From here on the rest is done in this stop, however long it takes.
  marking_.protected_ranges.Clear();
  if (!LookAtThreads(caller)) {
    why_ = "there is no memory";
    return false;
  }
  roots_->SetTracked(at_once ? nullptr : &dirty_, roots_->large(), roots_->large_count());
  if (!ScanRoots(true)) return false;
  marking_.stopped = true;
  while (!Mark(UINT64_MAX, team_.members()) ||
         marking_.overflowed.load(std::memory_order_relaxed)) {
    Overflow();
  }
  if (options().checkmark) Verify(caller);
  marking_.stopped = false;
  return true;
}

void Cycle::Verify(RootScanner::Caller caller) {
  if (!checkmark_.Begin()) return;
  marking_.checkmark = &checkmark_;
  Marker& marker = markers_[0];
  roots_->SetTracked(nullptr, roots_->large(), roots_->large_count());
  if (LookAtThreads(caller)) roots_->ScanMemory(&marker, &pages_[0], world(), true);
  Range block;
  while (checkmark_.Next(&block)) marker.ScanWhole(block);
  marking_.checkmark = nullptr;
  checkmark_.End();
}

// Everything is marked, and the world stands still: what is not marked is garbage from here on.
void Cycle::TurnToSweeping() {
  record_.threads = world().thread_count() + (OwnThread::IsHere() ? 0 : 1);
  heap().registry().RetireDead([](void*, int tid) { return world().IsAlive(tid); }, nullptr);
  StopMarking();
  record_.mark = clock::Now() - began_;
  const uint64_t in_use = heap().pages().in_use_pages() * kPageSize;
  record_.taken = heap().taken() - taken_before_;
  record_.grown = in_use > record_.heap_before ? in_use - record_.heap_before : 0;
  heap().sweeper().Begin(&marking_.protected_ranges);
  heap().SetPhase(Phase::kSweeping);
}

Cycle::Outcome Cycle::Slice(RootScanner::Caller caller) {
  if (!Stop()) return StopFailed();
  ++slices_;
  if (Complete(caller, false)) {
    TurnToSweeping();
    Start();
    piece_ = 0;
    stage_ = Stage::kUntrack;
    return Outcome::kGoesOn;
  }
  Start();
  if (why_ != nullptr) return GiveUp(why_);
  slice_ = Min(slice_ + slice_ / kSliceGrowth, kLongestSlice);
  // The program gets as much time as it was held up; marking goes on meanwhile.
  const uint64_t now = clock::Now();
  const uint64_t until = now + (now - stopped_at_);
  if (Mark(until, plan_.workers) && clock::Now() < until) {
    wait_until_ = until;
    return Outcome::kWaits;
  }
  return Outcome::kGoesOn;
}

// The world stays stopped until End: what is written of the cycle is written while nobody counts
// descriptors, and what is planned before anybody allocates again.
Cycle::Outcome Cycle::AtOnce(RootScanner::Caller caller) {
  if (!Stop()) return GiveUp(why_);
  stands_ = true;
  struct Work {
    Cycle* self;
    RootScanner::Caller caller;
    bool done;
  } work{this, caller, false};
  auto run = [](void* data) {
    auto* w = static_cast<Work*>(data);
    w->done = w->self->AllAtOnce(w->caller);
  };
  // Half of what has to be read is worse than nothing: whether there is room for the descriptors is
  // known before the first of them is opened.
  if (OwnThread::IsHere() || descriptor::HasRoomFor(kDescriptors)) {
    run(&work);
  } else if (!apart::Run(run, &work)) {
    why_ = "no descriptor is free";
  }
  const uint64_t pause = clock::Now() - stopped_at_;
  record_.AddPause(pause);
  if (work.done) ledger().AddPause(pause);
  return work.done ? Outcome::kDone : GiveUp(why_);
}

bool Cycle::AllAtOnce(RootScanner::Caller caller) {
  why_ = "the memory map cannot be read";
  if (!OwnThread::IsHere() && !descriptor::HasRoomFor(kDescriptors)) return false;
  new (&pages_[0]) PageMap();
  markers_[0].Begin(&marking_, &pages_[0]);
  pages_open_ = true;
  heap().SetPhase(Phase::kMarking);
  walk_.Begin();
  Reset(UINT64_MAX);
  const bool done = Complete(caller, true);
  if (done) {
    TurnToSweeping();
    const uint64_t begin = clock::Now();
    heap().sweeper().Step(UINT64_MAX, true);
    record_.sweep = clock::Now() - begin;
  }
  heap().SetPhase(Phase::kIdle);
  pages_[0].~PageMap();
  pages_open_ = false;
  return done;
}

// Both ranges are of one kind then, and what is moved counts as written until the end.
bool Cycle::MovePages(Range from, uintptr_t to) {
  dirty_.Untrack(from);
  dirty_.Untrack({to, to + from.size()});
  return memory::MovePages(from.lo, to, from.size());
}

// The mappings are as they were before, and may be moved.
bool Cycle::Untrack(uint64_t deadline) {
  const Arena& arena = heap().pages().arena();
  while (piece_ < PieceCount()) {
    dirty_.Untrack(Piece(piece_++));
    if (clock::Now() >= deadline) return false;
  }
  for (size_t i = 0; i < arena.extent_count(); ++i) {  // what is reserved only
    if (arena.extent(i).ready < arena.extent(i).end)
      dirty_.Untrack({arena.extent(i).ready, arena.extent(i).end});
  }
  for (size_t i = 0; i < roots_->large_count(); ++i) dirty_.Untrack(roots_->large()[i]);
  tracked_bytes_ = 0;
  heap().SetPagesMayMove(true);
  return true;
}

Cycle::Outcome Cycle::Step(uint64_t budget, RootScanner::Caller caller) {
  const uint64_t now = clock::Now();
  const uint64_t deadline = budget == UINT64_MAX ? UINT64_MAX : now + budget;
  const unsigned workers = plan_.workers;
  switch (stage_) {
    case Stage::kNone:
      return Outcome::kDone;
    case Stage::kReset:
      if (Reset(deadline)) stage_ = Stage::kThreads;
      break;
    case Stage::kThreads: {
      if (!Stop()) return StopFailed();
      const bool looked = LookAtThreads(caller);
      Start();
      if (!looked) return GiveUp("there is no memory");
      stage_ = Stage::kRoots;
      break;
    }
    case Stage::kRoots:
      if (!ScanRoots(false)) return GiveUp(why_);
      why_ = nullptr;
      if (Skips(Skip::early_sweep)) {
        heap().sweeper().Begin(&marking_.protected_ranges);
        heap().sweeper().Step(0, false);
      }
      stage_ = Stage::kMark;
      break;
    case Stage::kMark:
      if (!Mark(deadline, workers)) break;
      piece_ = 0;
      stage_ = Stage::kArm;
      break;
    case Stage::kArm:
      if (!Arm(deadline)) break;
      walk_.Begin();
      stage_ = Stage::kPass;
      break;
    case Stage::kPass:
      if (!Pass(deadline)) break;
      PassTracked();
      rounds_piece_ = round_ = 0;
      round_pages_ = 0;
      last_round_pages_ = UINT64_MAX;
      stage_ = dirty_.rearms() ? Stage::kRounds : Stage::kSlices;
      break;
    case Stage::kRounds: {
      bool complete;
      if (!Mark(deadline, workers) || !Round(UINT64_MAX, workers, &complete)) break;
      ++round_;
      if (round_pages_ <= kFewPages || round_ == kMostRounds ||
          round_pages_ > last_round_pages_ / 2) {
        stage_ = Stage::kSlices;
      }
      last_round_pages_ = round_pages_;
      round_pages_ = 0;
      break;
    }
    case Stage::kSlices:
      return Slice(caller);
    case Stage::kAtOnce:
      return AtOnce(caller);
    case Stage::kUntrack:
      if (!Untrack(deadline)) break;
      sweep_began_ = clock::Now();
      stage_ = Stage::kSweep;
      break;
    case Stage::kSweep:
      if (!heap().sweeper().Step(deadline, false)) break;
      record_.sweep = clock::Now() - sweep_began_;
      heap().SetPhase(Phase::kIdle);
      return Outcome::kDone;
  }
  return Outcome::kGoesOn;
}

}  // namespace gcm
