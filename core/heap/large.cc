// Large blocks: each has a span of its own from the page heap.
#include "core/heap/heap.h"

namespace gcm {
namespace {

// One byte past the end is inside.
size_t PagesFor(size_t size) { return (size >> kPageShift) + 1; }

constexpr size_t kHopeful = 64 * kMiB / kPageSize;

}  // namespace

void* Heap::AllocateLarge(size_t size, size_t alignment, bool* zero) {
  if (GCM_UNLIKELY(size > PTRDIFF_MAX || alignment > PTRDIFF_MAX)) return nullptr;
  if (stress_ != 0 &&
      stress_count_.fetch_add(1, std::memory_order_relaxed) % stress_ == stress_ - 1) {
    Ask(Pressure::kStress);
  }
  void* p = nullptr;
  for (int attempt = 0; attempt < 3; ++attempt) {
    ThreadCache* cache = Cache();
    if (cache != &g_empty_cache) {
      CriticalSection critical(cache);
      const bool mixed = zero == nullptr;
      if (Span* span = AllocateSpan(PagesFor(size), Max(alignment, kPageSize), 0, mixed)) {
        StoreRelaxed(&span->size_class, kLargeClass);
        if (zero != nullptr) *zero = span->zero;
        pages_.Publish(span);
        BlackenNew(span);
        CountTaken(span->pages * kPageSize);
        p = PointerTo(span->start);
        GCM_KEEP_ALIVE(p);
      }
    }
    if (p != nullptr || attempt == 2) break;
    if (attempt == 0) {
      FlushCache();
      continue;
    }
    // So much was never there to be reclaimed.
    if (PagesFor(size) > 2 * pages_.in_use_pages() + kHopeful) break;
    if (!Ask(Pressure::kOutOfMemory)) break;
  }
  Relieve(true);
  GCM_KEEP_ALIVE(p);
  return p;
}

void Heap::FreeLarge(ThreadCache* cache, Span* span) {
  CriticalSection critical(cache);
  if (cache != &g_empty_cache) cache->CountFreed(span->BlockSize());
  pages_.Free(span);
}

// In place, to the size's own number of pages. False: not possible.
bool Heap::ResizeLarge(ThreadCache* cache, Span* span, size_t size) {
  size_t pages = PagesFor(size);
  if (pages < span->pages) {
    const size_t before = span->BlockSize();
    pages_.Trim(span, pages);
    if (cache != &g_empty_cache) cache->CountFreed(before - span->BlockSize(), 0);
  } else if (pages > span->pages) {
    const uintptr_t end = span->end();
    if (!pages_.Extend(span, pages - span->pages)) return false;
    NoteExtended({end, span->end()});
  }
  return true;
}

// What lay there may be about to be armed (SpanWalk::ArmSome, AgeSome): what is written before that
// would not be told, and nobody scans a block once more because it has grown.
void Heap::NoteExtended(Range pages) {
  if (phase() != Phase::kIdle || marks_stay()) pages_.arena().tables().SetCards(pages);
}

}  // namespace gcm
