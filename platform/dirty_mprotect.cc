#include "platform/dirty_mprotect.h"

#include <sys/mman.h>
#include <time.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "platform/fault_chain.h"
#include "platform/memory.h"
#include "platform/memory_map.h"
#include "platform/mutex.h"
#include "platform/signal.h"
#include "platform/syscall.h"

namespace gcm::dirty_mprotect {
namespace {

// A page's state, a byte each. The protection follows under the lock.
constexpr uint8_t kOpen = 0, kArmed = 1, kUntracked = 2;

struct Tracked {
  Range range;
  uint8_t* states;
};

constexpr size_t kMaxTracked = 64;
// Made writable by one fault: bounds the number of mappings, of which a process may have 65,530.
constexpr size_t kGroup = 64 * kKiB;
constexpr size_t kPiece = 16 * kMiB;
constexpr size_t kBatch = 64;  // runs that are protected again under one hold of the lock

// Whoever holds the lock has signals blocked but for SIGSEGV, and writes to no tracked memory; or
// is the handler of faults.
Mutex g_lock;
Tracked g_tracked[kMaxTracked];
size_t g_count = 0;
std::atomic<bool> g_open{false};
std::atomic<bool> g_any_armed{false};

// Faults in a row at one page that was open: another thread has opened it meanwhile, or it is the
// program that protects it.
GCM_TLS uintptr_t t_faulted = 0;
GCM_TLS unsigned t_repeats = 0;
constexpr unsigned kMaxRepeats = 3;

class Locked {
 public:
  Locked() { g_lock.Lock(); }
  ~Locked() { g_lock.Unlock(); }
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;

 private:
  SignalsBlocked signals_;
};

bool Protect(Range range, int protection) {
  return Syscall(SYS_mprotect, range.lo, range.size(), protection) == 0;
}

Tracked* Find(uintptr_t address) {
  for (size_t i = 0; i < g_count; ++i) {
    if (g_tracked[i].range.Contains(address)) return &g_tracked[i];
  }
  return nullptr;
}

uint8_t* StateOf(const Tracked* tracked, uintptr_t address) {
  return tracked->states + (address - tracked->range.lo) / memory::PageSize();
}

void SetStates(const Tracked* tracked, Range part, uint8_t state) {
  memset(StateOf(tracked, part.lo), state, part.size() / memory::PageSize());
}

Range Overlap(Range a, Range b) { return {Max(a.lo, b.lo), Max(Max(a.lo, b.lo), Min(a.hi, b.hi))}; }

// The end of the run of pages from `at` on that are all armed or all not, within `part`.
uintptr_t RunEnd(const Tracked* tracked, uintptr_t at, Range part, bool* armed) {
  const size_t page = memory::PageSize();
  const uint8_t* state = StateOf(tracked, at);
  *armed = *state == kArmed;
  do {
    at += page;
    ++state;
  } while (at < part.hi && (*state == kArmed) == *armed);
  return at;
}

// Armed pages of the part, which lies in one tracked range, become writable; their state is
// `state`. False: the system has no room for one more mapping.
bool OpenPart(const Tracked* tracked, Range part, uint8_t state) {
  bool done = true;
  while (part.lo < part.hi) {
    bool armed;
    const Range run{part.lo, RunEnd(tracked, part.lo, part, &armed)};
    part.lo = run.hi;
    if (!armed) continue;
    if (Protect(run, PROT_READ | PROT_WRITE)) {
      SetStates(tracked, run, state);
    } else {
      done = false;
    }
  }
  return done;
}

// Needs no more mappings than there are: whole runs are one each.
void OpenAllLocked() {
  for (size_t i = 0; i < g_count; ++i) OpenPart(&g_tracked[i], g_tracked[i].range, kOpen);
  g_any_armed.store(false, std::memory_order_relaxed);
}

void OpenLocked(Range range) {
  for (size_t i = 0; i < g_count; ++i) {
    if (!OpenPart(&g_tracked[i], Overlap(range, g_tracked[i].range), kOpen)) OpenAllLocked();
  }
}

// Whether the write that has faulted is to be tried again.
bool OnFault(uintptr_t address) {
  LockGuard guard(g_lock);
  const Tracked* tracked = Find(address);
  if (tracked == nullptr) return false;
  const uintptr_t at = RoundDown(address, memory::PageSize());
  if (*StateOf(tracked, at) != kArmed) {
    t_repeats = t_faulted == at ? t_repeats + 1 : 1;
    t_faulted = at;
    if (t_repeats <= kMaxRepeats) return true;
    t_faulted = 0;
    return false;
  }
  t_faulted = 0;
  const uintptr_t group = RoundDown(at, kGroup);
  if (!OpenPart(tracked, Overlap({group, group + kGroup}, tracked->range), kOpen)) OpenAllLocked();
  return *StateOf(tracked, at) != kArmed;
}

// True if all of the range is private anonymous memory that may be read and written.
bool IsPlainMemory(Range range) {
  MemoryMap map;
  uintptr_t at = range.lo;
  for (Mapping m; at < range.hi && map.Next(&m);) {
    if (m.range.hi <= at) continue;
    if (m.range.lo > at || !m.readable || !m.writable || m.executable || m.shared || m.device ||
        m.stack || m.file_backed()) {
      return false;
    }
    at = m.range.hi;
  }
  return at >= range.hi;
}

// As IsPlainMemory, for the parts of the range that are not tracked yet.
bool MayBeTracked(Range range) {
  const size_t page = memory::PageSize();
  uintptr_t unknown = range.lo;  // where such a part begins
  for (uintptr_t at = range.lo; at < range.hi; at += page) {
    const Tracked* tracked = Find(at);
    if (tracked == nullptr || *StateOf(tracked, at) == kUntracked) continue;
    if (unknown < at && !IsPlainMemory({unknown, at})) return false;
    unknown = at + page;
  }
  return unknown >= range.hi || IsPlainMemory({unknown, range.hi});
}

size_t TableSize(Range range) {
  return RoundUp(range.size() / memory::PageSize(), memory::PageSize());
}

// One tracked range takes in the new one and those that touch it. Already tracked pages keep their
// states.
bool Add(Range range) {
  Range whole = range;
  for (size_t i = 0; i < g_count; ++i) {
    const Range other = g_tracked[i].range;
    if (other.lo > range.hi || other.hi < range.lo) continue;
    whole = {Min(whole.lo, other.lo), Max(whole.hi, other.hi)};
  }
  Tracked added{whole, nullptr};
  size_t kept = 0;
  for (size_t i = 0; i < g_count; ++i) {
    kept += Overlap(g_tracked[i].range, whole).size() == 0 ? 1 : 0;
  }
  if (kept == kMaxTracked) return false;
  added.states = PointerTo<uint8_t>(memory::Map(TableSize(whole), "gcmalloc: written pages"));
  if (added.states == nullptr) return false;
  size_t n = 0;
  for (size_t i = 0; i < g_count; ++i) {
    const Tracked old = g_tracked[i];
    if (Overlap(old.range, whole).size() == 0) {
      g_tracked[n++] = old;
      continue;
    }
    memcpy(StateOf(&added, old.range.lo), old.states, old.range.size() / memory::PageSize());
    memory::Release(AddressOf(old.states), TableSize(old.range));
  }
  g_tracked[n++] = added;
  g_count = n;
  return true;
}

}  // namespace

bool Open() {
  if (g_open.exchange(true, std::memory_order_relaxed)) return false;
  if (fault_chain::Install(OnFault)) return true;
  fault_chain::Remove();
  g_open.store(false, std::memory_order_relaxed);
  return false;
}

void Close() {
  {
    Locked locked;
    OpenAllLocked();
    for (size_t i = 0; i < g_count; ++i) {
      memory::Release(AddressOf(g_tracked[i].states), TableSize(g_tracked[i].range));
    }
    g_count = 0;
  }
  fault_chain::Remove();
  g_open.store(false, std::memory_order_relaxed);
}

bool StillWorks() { return fault_chain::IsInstalled(); }

bool Track(Range range) {
  if (range.lo >= range.hi) return false;
  Locked locked;
  if (!MayBeTracked(range)) return false;
  const Tracked* tracked = Find(range.lo);
  if (tracked == nullptr || tracked->range.hi < range.hi) {
    if (!Add(range)) return false;
    tracked = Find(range.lo);
  }
  for (uintptr_t at = range.lo; at < range.hi; at += memory::PageSize()) {
    uint8_t* state = StateOf(tracked, at);
    if (*state == kUntracked) *state = kOpen;
  }
  return true;
}

void Untrack(Range range) {
  Locked locked;
  for (size_t i = g_count; i-- > 0;) {
    Tracked* tracked = &g_tracked[i];
    const Range part = Overlap(range, tracked->range);
    if (part.size() == 0) continue;
    if (!OpenPart(tracked, part, kOpen)) OpenAllLocked();
    SetStates(tracked, part, kUntracked);
    if (part.size() != tracked->range.size()) continue;
    memory::Release(AddressOf(tracked->states), TableSize(tracked->range));
    *tracked = g_tracked[--g_count];
  }
}

bool Arm(Range range) {
  while (range.lo < range.hi) {
    Range piece{range.lo, Min(RoundDown(range.lo, kPiece) + kPiece, range.hi)};
    Locked locked;
    const Tracked* tracked = Find(piece.lo);
    if (tracked == nullptr) return false;
    piece.hi = Min(piece.hi, tracked->range.hi);
    range.lo = piece.hi;
    if (memchr(StateOf(tracked, piece.lo), kUntracked, piece.size() / memory::PageSize()) !=
        nullptr) {
      return false;
    }
    // Known before the first fault.
    SetStates(tracked, piece, kArmed);
    g_any_armed.store(true, std::memory_order_relaxed);
    if (Protect(piece, PROT_READ)) continue;
    OpenAllLocked();
    return false;
  }
  return true;
}

void Disarm(Range range) {
  while (range.lo < range.hi) {
    const Range piece{range.lo, Min(RoundDown(range.lo, kPiece) + kPiece, range.hi)};
    Locked locked;
    OpenLocked(piece);
    range.lo = piece.hi;
  }
}

namespace {

// Runs of pages of the piece that were written or are not tracked, up to kBatch; with `rearm` they
// are armed again. Returns how far it has come.
uintptr_t Collect(Range piece, bool rearm, Range* runs, size_t* count) {
  Locked locked;
  *count = 0;
  while (piece.lo < piece.hi && *count < kBatch) {
    const Tracked* tracked = Find(piece.lo);
    bool armed = false;
    Range run{piece.lo, piece.lo + memory::PageSize()};
    if (tracked != nullptr)
      run.hi = RunEnd(tracked, piece.lo, Overlap(piece, tracked->range), &armed);
    piece.lo = run.hi;
    if (armed) continue;
    runs[(*count)++] = run;
    const size_t pages = run.size() / memory::PageSize();
    if (!rearm || tracked == nullptr ||
        memchr(StateOf(tracked, run.lo), kUntracked, pages) != nullptr) {
      continue;
    }
    SetStates(tracked, run, kArmed);
    g_any_armed.store(true, std::memory_order_relaxed);
    if (!Protect(run, PROT_READ)) OpenAllLocked();
  }
  return piece.lo;
}

}  // namespace

uintptr_t Fetch(Range range, bool rearm, dirty::Visit fn, void* data) {
  Range runs[kBatch];
  while (range.lo < range.hi) {
    size_t count;
    const Range piece{range.lo, Min(RoundDown(range.lo, kPiece) + kPiece, range.hi)};
    range.lo = Collect(piece, rearm, runs, &count);
    bool goes_on = true;
    for (size_t i = 0; i < count; ++i) {
      goes_on &= fn(data, runs[i]);
      if (!goes_on && !rearm) return runs[i].hi;
    }
    if (!goes_on) return range.lo;
  }
  return range.hi;
}

void AfterForkInChild() {
  g_lock.Reset();
  fault_chain::AfterForkInChild();
}

bool OpenAll() {
  if (GCM_LIKELY(!g_any_armed.load(std::memory_order_relaxed))) return false;
  Locked locked;
  const bool any = g_any_armed.load(std::memory_order_relaxed);
  OpenAllLocked();
  return any;
}

Moving::Moving(Range from, Range to) : held_(g_open.load(std::memory_order_relaxed)) {
  if (!held_) return;
  mask_ = BlockSignals();
  g_lock.Lock();
  OpenLocked(from);
  OpenLocked(to);
}

Moving::~Moving() {
  if (!held_) return;
  g_lock.Unlock();
  RestoreSignals(mask_);
}

namespace {

unsigned Fetched(Range range, bool rearm) {
  unsigned pages = 0;
  auto note = [](void* data, Range run) {
    *static_cast<unsigned*>(data) += static_cast<unsigned>(run.size() / memory::PageSize());
    return true;
  };
  Fetch(range, rearm, note, &pages);
  return pages;
}

bool ProveOn(Range range) {
  StoreRelaxed(PointerTo<int>(range.lo), 1);
  if (!Track(range) || !Arm(range) || Fetched(range, false) != 0) return false;
  StoreRelaxed(PointerTo<int>(range.lo), 2);
  if (Fetched(range, true) == 0 || Fetched(range, false) != 0) return false;
  // The kernel's own write fails, and nothing else happens to it.
  if (Syscall(SYS_clock_gettime, CLOCK_MONOTONIC, range.lo) != -EFAULT) return false;
  if (!OpenAll() || Syscall(SYS_clock_gettime, CLOCK_MONOTONIC, range.lo) != 0) return false;
  return Fetched(range, true) == range.size() / memory::PageSize();
}

}  // namespace

bool Prove() {
  const size_t size = 4 * memory::PageSize();
  const uintptr_t at = memory::Map(size, "gcmalloc: dirty tracking's trial");
  if (at == 0) return false;
  const bool works = ProveOn({at, at + size});
  Untrack({at, at + size});
  memory::Release(at, size);
  return works;
}

}  // namespace gcm::dirty_mprotect
