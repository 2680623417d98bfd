// How the contents of large blocks are read, while the program may protect, unmap or never have
// touched their pages; and of what is protected.
#include "core/gc/marker.h"
#include "platform/memory.h"
#include "platform/test_skip.h"

namespace gcm {

void Marker::ScanPiece(uintptr_t lo) {
  if (Skips(Skip::large_blocks)) return;
  const Span* span = arena_->SpanAround(lo);
  if (span == nullptr || !span->InUse() || !span->large()) return;
  // A block may have become shorter, and another one begin here.
  const uintptr_t start = LoadRelaxed(&span->start);
  const uintptr_t end = start + LoadRelaxed(&span->pages) * kPageSize;
  if (lo < start || lo >= end) return;
  ScanPart(lo, Min(end, lo + kPieceSize + sizeof(uintptr_t)));
}

// What is there of a part of a large block.
void Marker::ScanPart(uintptr_t lo, uintptr_t hi) {
  const ProtectedRanges& guarded = marking_->protected_ranges;
  if (GCM_UNLIKELY(guarded.count != 0) && guarded.Overlaps({lo, hi})) {
    if (!Skips(Skip::protected_blocks)) ScanProtected(lo, hi);
    return;
  }
  ScanPresent(lo, hi);
}

// Reading a page that was never written would make the kernel map it.
void Marker::ScanPresent(uintptr_t lo, uintptr_t hi) {
  Range run{lo, hi};
  const bool ask = pages_ != nullptr && pages_->ok();
  if (ask) pages_->Forget();
  for (Range rest{RoundDown(lo, memory::PageSize()), hi}; rest.lo < hi; rest.lo = run.hi) {
    if (ask) {
      if (!pages_->NextRun(rest, hi, &run)) return;
      run.lo = Max(run.lo, lo);
      run.hi = Min(run.hi, hi);
    }
    if (marking_->stopped) {
      ScanWords(run.lo, run.hi);
    } else {
      ScanCopy(run.lo, run.hi);
    }
    if (!ask) return;
  }
}

void Marker::ScanCopy(uintptr_t lo, uintptr_t hi) {
  if (buffer_ == nullptr) return ScanWords(lo, hi);
  const size_t page = memory::PageSize();
  while (lo < hi) {
    const size_t wanted = Min(hi - lo, kBufferSize);
    // The other way round the kernel would look at what it knows of each page that is read, which
    // is in no cache, instead of at the buffer's: that takes half as long again.
    long n = ReadOwnMemoryDirectly(lo, buffer_, wanted);
    if (n < 0) n = ReadOwnMemory(lo, buffer_, wanted);
    if (n < 0) return ScanWords(lo, hi);
    if (n == 0) {  // protected meanwhile: the stop will find it so
      ScanProtected(lo, Min(hi, RoundDown(lo, page) + page));
      lo = RoundDown(lo, page) + page;
      continue;
    }
    const auto got = static_cast<size_t>(n);
    ScanWords(AddressOf(buffer_), AddressOf(buffer_) + got);
    lo += got > 8 && lo + got < hi ? got - 8 : got;
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

}  // namespace gcm
