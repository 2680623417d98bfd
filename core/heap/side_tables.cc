#include "core/heap/side_tables.h"

#include <new>

#include "core/base/metadata.h"
#include "core/heap/span.h"
#include "platform/memory.h"

namespace gcm {

bool SideTables::Init() {
  if (directory_ != nullptr) return true;
  // The smallest piece of arena for which each table has whole pages of the kernel: cards and
  // spans have a byte for 512, so a page of 4 KiB stands for 2 MiB.
  granule_ = Max(memory::PageSize() * kCardSize, kChunkSize / kMaxGranules);
  uintptr_t place =
      metadata::ReserveOwn(kDirectoryEntries * sizeof(void*), 0, "gcmalloc: directory");
  if (place == 0) return false;
  directory_ = PointerTo<std::atomic<Chunk*>>(place);
  return true;
}

bool SideTables::InitFlat(uintptr_t lo, size_t size) {
  static_assert(sizeof(Span) == kFlatHeader);
  if (flat_ != 0) return true;
  const uintptr_t first = RoundDown(lo, kChunkSize);
  const size_t most = RoundUp(lo + size - first, kChunkSize) / kPageSize;
  const size_t page = memory::PageSize();
  const size_t bytes = RoundUp(kFlatHeader + most * sizeof(SpanEntry), page);
  const uintptr_t place = metadata::ReserveOwn(bytes, 0, "gcmalloc: spans");
  if (place == 0) return false;
  if (!memory::Prepare(place, page)) {
    metadata::ReleaseOwn(place, bytes);
    return false;
  }
  metadata::CountMapped(page);
  (new (PointerTo(place)) Span{})->LeaveBin();
  flat_ = place;
  flat_lo_ = first;
  flat_most_ = most;
  return true;
}

// Makes the flat table readable from its beginning up to the end of the chunk before `hi`, if it
// goes so far. Reading it takes no memory.
bool SideTables::MapFlat(uintptr_t hi) {
  const size_t want = FlatPage(RoundUp(hi, kChunkSize));
  const size_t have = flat_pages_;
  if (want > flat_most_ || want <= have) return true;
  const size_t page = memory::PageSize();
  const uintptr_t from = RoundUp(AddressOf(FlatEntries() + have), page);
  const uintptr_t to = RoundUp(AddressOf(FlatEntries() + want), page);
  if (to > from && !memory::Prepare(from, to - from)) return false;
  // pairs with: the acquire of what is published next, in whoever has an address from there
  __atomic_store_n(&flat_pages_, want, __ATOMIC_RELEASE);
  return true;
}

// The directory is readable for all of [lo, hi) and for what lies between that and the part that
// was readable before: foreign words in between are looked up, too.
bool SideTables::MapDirectory(uintptr_t lo, uintptr_t hi) {
  const size_t page = memory::PageSize();
  Range want{RoundDown(AddressOf(&directory_[lo >> kChunkShift]), page),
             RoundUp(AddressOf(&directory_[(hi - 1) >> kChunkShift] + 1), page)};
  Range& have = directory_mapped_;
  if (have.size() == 0) {
    if (!memory::Prepare(want.lo, want.size())) return false;
    metadata::CountMapped(want.size());
    have = want;
    return true;
  }
  if (want.lo < have.lo) {
    if (!memory::Prepare(want.lo, have.lo - want.lo)) return false;
    have.lo = want.lo;
  }
  if (want.hi > have.hi) {
    if (!memory::Prepare(have.hi, want.hi - have.hi)) return false;
    have.hi = want.hi;
  }
  return true;
}

SideTables::Chunk* SideTables::EnsureChunk(uintptr_t address) {
  std::atomic<Chunk*>& entry = directory_[address >> kChunkShift];
  Chunk* chunk = entry.load(std::memory_order_relaxed);
  if (chunk != nullptr) return chunk;
  uintptr_t place = metadata::ReserveOwn(kChunkBlock, 0, "gcmalloc: tables");
  if (place == 0) return nullptr;
  // Reading it takes no memory: all its pages are the kernel's zero page until a span is entered.
  constexpr size_t kFirst = kHeaderSize + kSpansSize + kInfosSize;
  if (!memory::Prepare(place, kFirst) ||
      !memory::Prepare(place + kFirst + kBitsSize, kBitsMargin)) {
    metadata::ReleaseOwn(place, kChunkBlock);
    return nullptr;
  }
  metadata::CountMapped(memory::PageSize());  // of the header one page is ever touched
  chunk = PointerTo<Chunk>(place);
  // pairs with: the acquire in ChunkAt
  entry.store(chunk, std::memory_order_release);
  return chunk;
}

uintptr_t SideTables::EnsureWholeChunks(uintptr_t lo, uintptr_t hi) {
  size_t count = 0;
  while (lo + (count + 1) * kChunkSize <= hi &&
         directory_[(lo >> kChunkShift) + count].load(std::memory_order_relaxed) == nullptr) {
    ++count;
  }
  if (count < 2) return lo;
  const size_t size = count * kChunkBlock;
  uintptr_t place = metadata::ReserveOwn(size, 0, "gcmalloc: tables");
  if (place == 0) return lo;
  if (!memory::Prepare(place, size)) {
    metadata::ReleaseOwn(place, size);
    return lo;
  }
  metadata::CountMapped(size);
  for (size_t i = 0; i < count; ++i) {
    auto* chunk = PointerTo<Chunk>(place + i * kChunkBlock);
    for (uint64_t& mapped : chunk->mapped) mapped = ~uint64_t{0};
    // pairs with: the acquire in ChunkAt
    directory_[(lo >> kChunkShift) + i].store(chunk, std::memory_order_release);
  }
  return lo + count * kChunkSize;
}

bool SideTables::MapPart(Part part, uintptr_t lo, uintptr_t hi) {
  if (!MapDirectory(lo, hi) || !MapFlat(hi)) return false;
  for (uintptr_t at = RoundDown(lo, kChunkSize); at < hi; at += kChunkSize) {
    if (lo <= at && hi - at >= 2 * kChunkSize) at = EnsureWholeChunks(at, hi);
    if (at >= hi) break;
    Chunk* chunk = EnsureChunk(at);
    if (chunk == nullptr) return false;
    size_t first = lo > at ? (lo - at) / granule_ : 0;
    size_t last = (Min(hi - at, kChunkSize) - 1) / granule_;
    if (!MapGranules(chunk, part, first, last)) return false;
  }
  return true;
}

bool SideTables::MapGranules(Chunk* chunk, Part part, size_t first, size_t last) {
  const uintptr_t table = part == kSpans  ? AddressOf(chunk->spans())
                          : part == kBits ? AddressOf(chunk->bits())
                                          : AddressOf(chunk->cards());
  const size_t whole = part == kSpans  ? kSpansSize + kInfosSize
                       : part == kBits ? kBitsSize
                                       : kCardsSize;
  const size_t piece = whole / (kChunkSize / granule_);
  uint64_t& mapped = chunk->mapped[part];
  for (size_t g = first; g <= last;) {
    if ((mapped >> g & 1) != 0) {
      ++g;
      continue;
    }
    size_t end = g;  // neighbours in one call
    while (end <= last && (mapped >> end & 1) == 0) ++end;
    // The spans are readable since the chunk is there.
    if (part != kSpans && !memory::Prepare(table + g * piece, (end - g) * piece)) return false;
    metadata::CountMapped((end - g) * piece);
    for (; g < end; ++g) mapped |= uint64_t{1} << g;
  }
  return true;
}

void SideTables::SetSpan(uintptr_t lo, uintptr_t hi, Span* span) {
  for (uintptr_t at = lo; at < hi;) {
    Chunk* chunk = ChunkAt(at);
    uintptr_t chunk_start = RoundDown(at, kChunkSize);
    uintptr_t stop = Min(hi, chunk_start + kChunkSize);
    size_t first = at % kChunkSize / kPageSize;
    size_t last = (stop - 1) % kChunkSize / kPageSize;
    SpanEntry* spans = SpansOf(chunk, at);
    const uintptr_t entry = EntryFor(span);
    if (stop - at == kChunkSize) {
      // pairs with: the acquires in SpanAt and SpanAround
      spans[first].store(entry, std::memory_order_release);
      spans[last].store(entry, std::memory_order_release);
      chunk->whole.store(span, std::memory_order_release);
      // A block that grew over the chunk page by page left entries that nobody else clears.
      for (size_t i = first + 1; i < last && spans[i].load(std::memory_order_relaxed) != 0; ++i)
        spans[i].store(0, std::memory_order_relaxed);
    } else {
      for (size_t i = first; i <= last; ++i) {
        // pairs with: the acquires in SpanAt and SpanAround
        spans[i].store(entry, std::memory_order_release);
      }
    }
    at = stop;
  }
}

void SideTables::SetInfo(uintptr_t lo, uintptr_t hi, uint32_t first) {
  const uint32_t step = first == 0 ? 0 : uint32_t{1} << 8;
  for (uintptr_t at = lo; at < hi; at += kPageSize, first += step) {
    Info(at).store(first, std::memory_order_release);  // pairs with: InfoAround
  }
}

void SideTables::SetRun(uintptr_t lo, uintptr_t hi, Span* run) {
  for (uintptr_t at : {lo, hi - kPageSize}) {
    // pairs with: the acquires in SpanAt and SpanAround
    SpansOf(ChunkAt(at), at)[at % kChunkSize / kPageSize].store(EntryFor(run),
                                                                std::memory_order_release);
  }
}

}  // namespace gcm
