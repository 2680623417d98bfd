#include "platform/dirty_uffd.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <time.h>

#include <cerrno>

#include "platform/memory.h"
#include "platform/pagemap_scan.h"
#include "platform/syscall.h"

namespace gcm::dirty_uffd {
namespace {

using dirty::Tracker;
using pagemap_scan::Argument;
using pagemap_scan::Region;

// <linux/userfaultfd.h> of Linux 6.7.
constexpr uint64_t kFeatureHugetlbfsShmem = 1 << 12, kFeatureUnpopulated = 1 << 13,
                   kFeatureAsync = 1 << 15;

// Memory whose pages are changed under one hold of the kernel's locks: some 0.1 to 0.2 ms. A change
// of the tracking itself is three times as slow as arming, and nobody may fault meanwhile.
constexpr size_t kArmed = 16 * kMiB;
constexpr size_t kChanged = 4 * kMiB;
// As much is asked at once. Where one mapping is not tracked, all that is mapped in it counts as
// written when it is re-armed.
constexpr size_t kAsked = 64 * kMiB;
// What is looked at closely, and protected, behind a page that may have been written, ends here at
// the latest: the kernel has the processors forget each such part that it changes anything in, once
// a call, and where a virtual machine's monitor keeps page tables of its own, that costs as much as
// a look at ten thousand pages.
constexpr size_t kFlushed = 2 * kMiB;
// Of a scan's answers, on the stack.
constexpr size_t kBatch = 256;

// Ranges behind one another, each of at most `step` bytes, by multiples of it.
class Pieces {
 public:
  Pieces(Range range, size_t step) : rest_(range), step_(step) {}
  bool Next(Range* piece) {
    if (rest_.lo >= rest_.hi) return false;
    *piece = {rest_.lo, Min<uintptr_t>(RoundDown(rest_.lo, step_) + step_, rest_.hi)};
    rest_.lo = piece->hi;
    return true;
  }

 private:
  Range rest_;
  const size_t step_;
};

Argument ScanOf(Range range, Region* regions, size_t count) {
  Argument scan{};
  scan.size = sizeof(scan);
  scan.start = range.lo;
  scan.end = range.hi;
  scan.vec = AddressOf(regions);
  scan.vec_len = count;
  return scan;
}

// The number of regions, or -errno; where to go on from is in scan->walk_end.
long Scan(int pagemap, Argument* scan) {
  return Syscall(SYS_ioctl, pagemap, pagemap_scan::kRequest, scan);
}

// Pages that are there and were written, if all that is mapped is tracked; with kProtect they are
// clean again. A page that is not there is left alone: once it is filled, it is one that was
// written. Protected it would cost its first writer two faults, and look as if it were swapped out,
// so that marking would have the kernel map it, to be copied at the first write.
long ScanWritten(int pagemap, Argument* scan, uint64_t flags) {
  scan->flags = flags | pagemap_scan::kCheckTracked;
  scan->category_mask = scan->return_mask = pagemap_scan::kWritten;
  scan->category_anyof_mask = pagemap_scan::kIsPresent | pagemap_scan::kIsSwapped;
  return Scan(pagemap, scan);
}

// Where the first page lies that was written, or is not there, if all that is mapped is tracked:
// this is what the kernel's walk is quickest for, twice as quick as for what is there.
uintptr_t FirstUnprotected(int pagemap, Range range) {
  Region first;
  Argument scan = ScanOf(range, &first, 1);
  scan.flags = pagemap_scan::kCheckTracked;
  scan.category_mask = scan.return_mask = pagemap_scan::kWritten;
  const long n = Scan(pagemap, &scan);
  if (n == 0) return Max<uintptr_t>(range.lo, scan.walk_end);
  return n < 0 ? range.lo : first.start;
}

// Pages that were written, and all of mappings that are not tracked.
long ScanWrittenOrUntracked(int pagemap, Argument* scan) {
  scan->flags = scan->walk_end = 0;
  scan->category_mask = scan->return_mask = 0;
  scan->category_inverted = pagemap_scan::kTracked;
  scan->category_anyof_mask = pagemap_scan::kTracked | pagemap_scan::kWritten;
  return Scan(pagemap, scan);
}

// Protects what is present. Unlike UFFDIO_WRITEPROTECT it makes no page tables where nothing is,
// and takes half the time. Without a place for answers the kernel would protect all of it.
bool Protect(int pagemap, Range range) {
  Region regions[kBatch];
  while (range.lo < range.hi) {
    Argument scan = ScanOf(range, regions, kBatch);
    if (ScanWritten(pagemap, &scan, pagemap_scan::kProtect) < 0 || scan.walk_end <= range.lo)
      return false;
    range.lo = scan.walk_end;
  }
  return true;
}

// Runs fn for each run of mapped memory of the range; all of it, or what is tracked. False: fn has
// returned false, or nothing can be told of what is left, which `rest` then holds.
template <typename Fn>
GCM_NOINLINE bool ForEachMapped(int pagemap, Range range, bool tracked, Range* rest, Fn fn) {
  Region regions[32];
  *rest = range;
  while (rest->lo < rest->hi) {
    Argument scan = ScanOf(*rest, regions, sizeof(regions) / sizeof(regions[0]));
    if (tracked) scan.category_mask = pagemap_scan::kTracked;
    const long n = Scan(pagemap, &scan);
    if (n < 0 || scan.walk_end <= rest->lo) return false;
    for (long i = 0; i < n; ++i) {
      if (!fn(Range{regions[i].start, regions[i].end})) return false;
    }
    rest->lo = Min<uintptr_t>(scan.walk_end, range.hi);
  }
  return true;
}

bool Unprotect(int fd, Range range) {
  uffdio_writeprotect argument{};
  argument.range = {range.lo, range.size()};
  for (;;) {
    const long result = Syscall(SYS_ioctl, fd, UFFDIO_WRITEPROTECT, &argument);
    if (result != -EAGAIN) return result == 0;
  }
}

bool Unregister(int fd, Range range) {
  uffdio_range argument{range.lo, range.size()};
  return Syscall(SYS_ioctl, fd, UFFDIO_UNREGISTER, &argument) == 0;
}

// Applies `change` in pieces. One that holds anything that is not ours is refused as a whole.
void Change(const Tracker& tracker, Range range, bool (*change)(int fd, Range range)) {
  if (!tracker.HasFd()) return;
  Pieces pieces(range, kChanged);
  for (Range piece; pieces.Next(&piece);) {
    if (change(tracker.fd, piece)) continue;
    Range rest;
    ForEachMapped(tracker.pagemap, piece, true, &rest, [&](Range tracked) {
      change(tracker.fd, tracked);
      return true;
    });
  }
}

// What is mapped of a range of which nothing is known. Returns false when fn has.
bool ReportMapped(int pagemap, Range range, dirty::Visit fn, void* data, uintptr_t* reached) {
  bool goes_on = true;
  Range rest;
  const bool whole = ForEachMapped(pagemap, range, false, &rest, [&](Range run) {
    *reached = run.hi;
    goes_on = fn(data, run);
    return goes_on;
  });
  if (!goes_on) return false;
  if (!whole) goes_on = fn(data, rest);
  *reached = range.hi;
  return goes_on;
}

}  // namespace

bool Open(Tracker* tracker) {
  const long fd = Syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
  if (fd < 0) return false;
  tracker->fd = descriptor::MoveUp(static_cast<int>(fd));
  bool ok = descriptor::Identify(tracker->fd, &tracker->fd_identity);
  uffdio_api api{};
  api.api = UFFD_API;
  api.features = kFeatureAsync | kFeatureUnpopulated | kFeatureHugetlbfsShmem;
  if (ok && Syscall(SYS_ioctl, tracker->fd, UFFDIO_API, &api) != 0) {
    api = {};
    api.api = UFFD_API;
    api.features = kFeatureAsync | kFeatureUnpopulated;
    ok = Syscall(SYS_ioctl, tracker->fd, UFFDIO_API, &api) == 0;
  }
  if (ok && tracker->OpenPagemap()) return true;
  tracker->Close();
  return false;
}

bool Track(const Tracker& tracker, Range range) {
  if (!tracker.HasFd()) return false;
  uffdio_register argument{};
  argument.range = {range.lo, range.size()};
  argument.mode = UFFDIO_REGISTER_MODE_WP;
  if (Syscall(SYS_ioctl, tracker.fd, UFFDIO_REGISTER, &argument) == 0) return true;
  Untrack(tracker, range);  // part of it may have been taken
  return false;
}

void Untrack(const Tracker& tracker, Range range) { Change(tracker, range, Unregister); }

void UntrackEmpty(const Tracker& tracker, Range range) {
  if (tracker.HasFd() && !Unregister(tracker.fd, range)) Untrack(tracker, range);
}

bool Arm(const Tracker& tracker, Range range) {
  if (!tracker.HasFd() || !tracker.HasPagemap()) return false;
  Pieces pieces(range, kArmed);
  for (Range piece; pieces.Next(&piece);) {
    if (Protect(tracker.pagemap, piece)) continue;
    Disarm(tracker, range);
    return false;
  }
  return true;
}

void Disarm(const Tracker& tracker, Range range) { Change(tracker, range, Unprotect); }

uintptr_t Fetch(const Tracker& tracker, Range range, bool rearm, dirty::Visit fn, void* data) {
  // A forked child's copy of the lost userfaultfd may keep the tracking alive, unchangeable.
  if (!tracker.HasFd() || !tracker.HasPagemap()) {
    if (range.lo < range.hi) fn(data, range);
    return range.hi;
  }
  Region regions[kBatch];
  Pieces pieces(range, kAsked);
  for (Range piece; pieces.Next(&piece);) {
    while (piece.lo < piece.hi) {
      Range part = piece;
      if (rearm) {
        part.lo = FirstUnprotected(tracker.pagemap, piece);
        if (part.lo >= piece.hi) break;
        piece.lo = part.lo;
        part.hi = Min<uintptr_t>(piece.hi, RoundDown(part.lo, kFlushed) + kFlushed);
      }
      Argument scan = ScanOf(part, regions, kBatch);
      long n = ScanWritten(tracker.pagemap, &scan, rearm ? pagemap_scan::kProtect : 0);
      if (n < 0 && !rearm) n = ScanWrittenOrUntracked(tracker.pagemap, &scan);
      if (n < 0 || scan.walk_end <= piece.lo) {
        // Some of it may be clean again, and has not been told.
        uintptr_t reached;
        if (!ReportMapped(tracker.pagemap, piece, fn, data, &reached)) return reached;
        break;
      }
      bool goes_on = true;
      for (long i = 0; i < n; ++i) {
        goes_on &= fn(data, {regions[i].start, regions[i].end});
        if (!goes_on && !rearm) return regions[i].end;
      }
      if (!goes_on) return scan.walk_end;
      piece.lo = scan.walk_end;
    }
  }
  return range.hi;
}

namespace {

// The pages of a few that a fetch reports, a bit each.
unsigned Fetched(const Tracker& tracker, Range range, bool rearm) {
  struct Found {
    uintptr_t lo;
    unsigned pages;
  } found{range.lo, 0};
  auto note = [](void* data, Range run) {
    auto* f = static_cast<Found*>(data);
    const size_t page = memory::PageSize();
    for (uintptr_t at = run.lo; at < run.hi; at += page) f->pages |= 1u << (at - f->lo) / page;
    return true;
  };
  const uintptr_t reached = Fetch(tracker, range, rearm, note, &found);
  return reached == range.hi ? found.pages : ~0u;
}

bool ProveOn(const Tracker& tracker, Range range) {
  const size_t page = memory::PageSize();
  for (uintptr_t at = range.lo; at < range.hi; at += page) StoreRelaxed(PointerTo<int>(at), 1);
  if (!Track(tracker, range) || !Arm(tracker, range)) return false;
  if (Fetched(tracker, range, false) != 0) return false;
  StoreRelaxed(PointerTo<int>(range.lo + page), 2);
  if (Fetched(tracker, range, false) != 1u << 1) return false;
  if (Fetched(tracker, range, true) != 1u << 1) return false;
  if (Fetched(tracker, range, true) != 0) return false;
  StoreRelaxed(PointerTo<int>(range.lo + page), 3);
  // The kernel's own write.
  if (Syscall(SYS_clock_gettime, CLOCK_MONOTONIC, range.lo + 2 * page) != 0) return false;
  if (Fetched(tracker, range, true) != (1u << 1 | 1u << 2)) return false;
  if (Fetched(tracker, range, false) != 0) return false;
  Untrack(tracker, range);
  return Fetched(tracker, range, false) == 0xf;
}

}  // namespace

bool Prove(const Tracker& tracker) {
  const size_t size = 4 * memory::PageSize();
  const uintptr_t at = memory::Map(size, "gcmalloc: dirty tracking's trial");
  if (at == 0) return false;
  const bool works = ProveOn(tracker, {at, at + size});
  memory::Release(at, size);
  return works;
}

}  // namespace gcm::dirty_uffd
