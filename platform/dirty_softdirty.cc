#include "platform/dirty_softdirty.h"

#include <time.h>

#include <cerrno>

#include "platform/file.h"
#include "platform/memory.h"
#include "platform/syscall.h"

namespace gcm::dirty_softdirty {
namespace {

using dirty::Tracker;

// Bits of an entry of pagemap.
constexpr uint64_t kSoftDirty = uint64_t{1} << 55, kSwapped = uint64_t{1} << 62,
                   kPresent = uint64_t{1} << 63;
constexpr size_t kBatch = 1024;

// A mapping that is new since the bits were cleared has them set, also for pages that are not
// there.
bool IsWritten(uint64_t entry) {
  return (entry & kSoftDirty) != 0 && (entry & (kPresent | kSwapped)) != 0;
}

// By the calling thread's own name: behind "/proc/self" of a process whose first thread has ended
// is no memory, and clearing it succeeds.
bool Clear() { return WriteSmallFile("/proc/thread-self/clear_refs", WriteMode::kReplace, "4", 1); }

// The entries that could be read; 0 where nothing can be told.
size_t ReadEntries(const Tracker& tracker, uintptr_t from, uint64_t* entries, size_t count) {
  const uint64_t offset = from / memory::PageSize() * sizeof(uint64_t);
  long n;
  do {
    n = Syscall(SYS_pread64, tracker.pagemap, entries, count * sizeof(uint64_t), offset);
  } while (n == -EINTR);
  // Another file in its place can be read, too.
  if (n <= 0 || !tracker.HasPagemap()) return 0;
  return static_cast<size_t>(n) / sizeof(uint64_t);
}

}  // namespace

bool NextRun(const uint64_t* entries, size_t count, size_t from, size_t* first, size_t* last) {
  while (from < count && !IsWritten(entries[from])) ++from;
  *first = from;
  while (from < count && IsWritten(entries[from])) ++from;
  *last = from;
  return *first < *last;
}

bool Open(Tracker* tracker) { return tracker->OpenPagemap(); }

bool Arm(Tracker* tracker) {
  if (tracker->armed == dirty::Armed::kNo && Clear()) tracker->armed = dirty::Armed::kYes;
  return tracker->armed == dirty::Armed::kYes;
}

void Disarm(Tracker* tracker) { tracker->armed = dirty::Armed::kNoMore; }

uintptr_t Fetch(const Tracker& tracker, Range range, dirty::Visit fn, void* data) {
  const size_t page = memory::PageSize();
  uint64_t entries[kBatch];
  while (range.lo < range.hi) {
    const size_t wanted = Min(kBatch, range.size() / page);
    size_t count = 0;
    if (tracker.armed == dirty::Armed::kYes) {
      count = ReadEntries(tracker, range.lo, entries, wanted);
    }
    if (count == 0) {
      fn(data, range);
      return range.hi;
    }
    for (size_t first, last = 0; NextRun(entries, count, last, &first, &last);) {
      const Range run{range.lo + first * page, range.lo + last * page};
      if (!fn(data, run)) return run.hi;
    }
    range.lo += count * page;
  }
  return range.hi;
}

namespace {

// Of four pages, those that are present and have the bit set.
unsigned Written(const Tracker& tracker, uintptr_t at) {
  uint64_t entries[4];
  if (ReadEntries(tracker, at, entries, 4) != 4) return ~0u;
  unsigned written = 0;
  for (unsigned i = 0; i < 4; ++i) written |= IsWritten(entries[i]) ? 1u << i : 0;
  return written;
}

bool ProveOn(const Tracker& tracker, uintptr_t at) {
  const size_t page = memory::PageSize();
  for (size_t i = 0; i < 4; ++i) StoreRelaxed(PointerTo<int>(at + i * page), 1);
  if (Written(tracker, at) != 0xf || !Clear() || Written(tracker, at) != 0) return false;
  StoreRelaxed(PointerTo<int>(at + page), 2);
  // The kernel's own write.
  if (Syscall(SYS_clock_gettime, CLOCK_MONOTONIC, at + 2 * page) != 0) return false;
  return Written(tracker, at) == (1u << 1 | 1u << 2);
}

}  // namespace

bool Prove(const Tracker& tracker) {
  const size_t size = 4 * memory::PageSize();
  const uintptr_t at = memory::Map(size, "gcmalloc: dirty tracking's trial");
  if (at == 0) return false;
  const bool works = ProveOn(tracker, at);
  memory::Release(at, size);
  return works;
}

}  // namespace gcm::dirty_softdirty
