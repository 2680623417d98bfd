// Memory for small spans is made resident some pages at a time.
#include "core/heap/page_heap.h"
#include "platform/clock.h"
#include "platform/memory.h"

namespace gcm {
namespace {

// Made resident at once, for spans of so many pages: this part of what is in use, which is the most
// that may be resident and of no use.
constexpr size_t kSmallSpan = 32 * kKiB / kPageSize;
constexpr size_t kPopulatedPart = 128;
constexpr size_t kLeastPopulated = 32 * kKiB / kPageSize, kMostPopulated = 128 * kKiB / kPageSize;

}  // namespace

// A released run, or a resident one that was the front of it.
Span* PageHeap::FindReleased(size_t pages) {
  Span* run = released_.Find(pages);
  if (run == nullptr || !populates_ || pages > kSmallSpan) return run;
  const size_t ahead = Min(run->pages, Min(in_use_pages() / kPopulatedPart, kMostPopulated));
  if (ahead < Max(pages, kLeastPopulated)) return run;
  Span* front = run;
  if (run->pages != ahead && (front = NewSpan(0)) == nullptr) return run;
  RemoveRun(run);
  const Range range{run->start, run->start + ahead * kPageSize};
  if (front != run) {
    front->start = run->start;
    front->pages = ahead;
    front->zero = run->zero;
    run->start = range.hi;
    run->pages -= ahead;
    arena_.tables().SetRun(run->start, run->end(), run);
    IndexOf(run).Add(run);
  }
  front->resident = memory::Populate(range.lo, range.size());
  // Refused once, most often each time.
  populates_ = front->resident;
  front->freed_at = scavenge_delay_ == UINT64_MAX ? 0 : clock::Coarse();
  InsertRun(front);
  return front->resident ? resident_.Find(pages) : released_.Find(pages);
}

}  // namespace gcm
