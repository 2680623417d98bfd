// The tables beside the arena: for each page the span around it and a summary of that span for the
// marker, for each slot a mark bit, for each 512 bytes a card. Two levels: a directory over the
// whole address space, and for each chunk of 64 MiB that holds arena memory one block of tables,
// mapped in granules as the arena grows. But the spans of the addresses from the first reservation
// on, as far as a heap may grow there, lie in one flat table, for free to look at in one step.
//
// Law: nothing here is readable before Map* has made it so, and Map* is called by Arena only,
// before the bound is published. A reader that the bound admits may follow the directory; a null
// entry means foreign memory inside the bounds. A chunk may lie within the bounds before it holds
// anything of ours, and it may hold foreign mappings: so the spans of a whole chunk are readable
// before the directory names it, and mark bits and cards where there is arena memory only. The flat
// table is readable for all pages below flat_pages(), whosever they are.
#pragma once

#include <atomic>

#include "core/heap/size_class.h"
#include "platform/base.h"

namespace gcm {

struct Span;

// Entries of the tables of spans are distances from the flat table, at whose beginning there is a
// span that stands for none: so a page without a span needs no look of its own.
using SpanEntry = std::atomic<uintptr_t>;

// What the marker has to know of a page's span, in one word: so marking does not read spans, which
// are many times as large. 0: no span of slots.
//   bits 0..7    size class + 1; kLargePage for a large block
//   bits 8..15   the page's number in its span
//   bit 28       and it was written
//   bit 29       marked blocks lie here that a minor cycle scans in any case
//   bit 30       marked blocks lie here, and it scans them where the page was written
//   bit 31       of the first page: the span waits to be scanned
struct PageInfo {
  static constexpr uint32_t kLargePage = 255;
  static constexpr uint32_t kWritten = uint32_t{1} << 28;
  static constexpr uint32_t kUnscanned = uint32_t{1} << 29;
  static constexpr uint32_t kArmed = uint32_t{1} << 30;
  static constexpr uint32_t kQueued = uint32_t{1} << 31;
  static constexpr uint32_t Make(unsigned size_class, size_t page) {
    return static_cast<uint32_t>((size_class + 1) | page << 8);
  }
  static constexpr unsigned ClassOf(uint32_t info) { return (info & 255) - 1; }
  static constexpr size_t PageOf(uint32_t info) { return info >> 8 & 255; }
};

// Behind the mark bits of a span's slots lie as many that say which marked blocks have been
// scanned, where there is room: not for the smallest class.
constexpr bool HasScannedBits(unsigned size_class) { return size_class != 0; }

inline constexpr size_t kChunkShift = 26;
inline constexpr size_t kChunkSize = size_t{1} << kChunkShift;
inline constexpr size_t kPagesPerChunk = kChunkSize / kPageSize;
inline constexpr size_t kCardSize = 512;

class SideTables {
 public:
  // The highest user address with 4-level page tables; the kernel gives more only on request.
  static constexpr uintptr_t kAddressEnd = uintptr_t{1} << 47;

  bool Init();
  // Once, before anything is mapped: the flat table, for the addresses from `lo` on.
  bool InitFlat(uintptr_t lo, size_t size);

  // Make the tables of [lo, hi) usable. Idempotent by granule. False when the system refuses;
  // what was mapped stays mapped, and the call may be repeated.
  bool MapBits(uintptr_t lo, uintptr_t hi) { return MapPart(kBits, lo, hi); }
  bool MapCards(uintptr_t lo, uintptr_t hi) { return MapPart(kCards, lo, hi); }
  bool MapSpans(uintptr_t lo, uintptr_t hi) { return MapPart(kSpans, lo, hi); }

  // The number of an address's page in the flat table, for which there are entries up to
  // flat_pages(); any address.
  size_t FlatPage(uintptr_t address) const { return (address - flat_lo_) >> kPageShift; }
  size_t flat_pages() const { return LoadOperand(&flat_pages_); }
  // Never null: a span with the empty bin stands for none.
  Span* FlatSpan(size_t page) const {
    return PointerTo<Span>(flat_ + FlatEntries()[page].load(std::memory_order_relaxed));
  }

  // For addresses inside the published bounds only.
  Span* SpanAt(uintptr_t address) const {
    const size_t page = FlatPage(address);
    if (GCM_LIKELY(page < flat_pages())) return SpanIn(FlatEntries()[page]);
    const Chunk* chunk = ChunkAt(address);
    if (GCM_UNLIKELY(chunk == nullptr)) return nullptr;
    return SpanIn(chunk->spans()[address % kChunkSize / kPageSize]);
  }
  Span* SpanAround(uintptr_t address) const {
    const Chunk* chunk = ChunkAt(address);
    if (GCM_UNLIKELY(chunk == nullptr)) return nullptr;
    // pairs with: the release in SetSpan
    Span* whole = chunk->whole.load(std::memory_order_acquire);
    if (GCM_UNLIKELY(whole != nullptr)) return whole;
    return SpanIn(SpansOf(chunk, address)[address % kChunkSize / kPageSize]);
  }

  // The summary for any address inside of the published bounds.
  uint32_t InfoAround(uintptr_t address) const {
    const Chunk* chunk = ChunkAt(address);
    if (GCM_UNLIKELY(chunk == nullptr)) return 0;
    // pairs with: the release in SetInfo
    uint32_t info =
        chunk->infos()[address % kChunkSize / kPageSize].load(std::memory_order_acquire);
    if (GCM_LIKELY(info != 0)) return info;
    // pairs with: the release in SetSpan
    return chunk->whole.load(std::memory_order_acquire) != nullptr ? PageInfo::kLargePage : 0;
  }
  // The page's summary; nullptr: foreign memory inside of the bounds. 0 in it says nothing of
  // blocks that are larger than a chunk.
  const std::atomic<uint32_t>* InfoOf(uintptr_t address) const {
    const Chunk* chunk = ChunkAt(address);
    if (GCM_UNLIKELY(chunk == nullptr)) return nullptr;
    return &chunk->infos()[address % kChunkSize / kPageSize];
  }
  std::atomic<uint32_t>& Info(uintptr_t address) const {
    return ChunkAt(address)->infos()[address % kChunkSize / kPageSize];
  }
  // Of the pages of [lo, hi) of a span of slots, or of none (0).
  void SetInfo(uintptr_t lo, uintptr_t hi, uint32_t first);
  // Adds to those of [lo, hi) what minor cycles have to know (PageInfo).
  void AddFlags(uintptr_t lo, uintptr_t hi, uint32_t flags) const {
    for (; lo < hi; lo += kPageSize) Info(lo).fetch_or(flags, std::memory_order_relaxed);
  }

  // Enter `span` (or nullptr) for all pages of [lo, hi): the first and the last page of it always,
  // and what covers a chunk wholly once for the chunk.
  void SetSpan(uintptr_t lo, uintptr_t hi, Span* span);
  // Enter a free run: only its ends are looked at.
  void SetRun(uintptr_t lo, uintptr_t hi, Span* run);

  // The mark bits of the slots of a span that starts at `start`: the bits of its first bytes.
  std::atomic<uint64_t>* MarkBits(uintptr_t start) const {
    return ChunkAt(start)->bits() + start % kChunkSize / 16 / 64;
  }
  // The eight cards of a page: a byte for each 512 bytes, not 0 where something was written.
  std::atomic<uint64_t>& Cards(uintptr_t page) const {
    return ChunkAt(page)->cards()[page % kChunkSize / kPageSize];
  }
  std::atomic<uint8_t>& Card(uintptr_t address) const {
    return reinterpret_cast<std::atomic<uint8_t>*>(
        ChunkAt(address)->cards())[address % kChunkSize / kCardSize];
  }
  // All cards of these pages, which are or were of spans.
  void SetCards(Range pages) const {
    for (uintptr_t page = pages.lo; page < pages.hi; page += kPageSize) {
      if (!HasChunk(page)) continue;
      Cards(page).store(~uint64_t{0}, std::memory_order_relaxed);
      // The card first. pairs with: the exchange in TakeCards
      HasCards(page).store(1, std::memory_order_release);
    }
  }
  // Not 0: a card of the chunk may be set.
  std::atomic<uint32_t>& HasCards(uintptr_t address) const { return ChunkAt(address)->has_cards; }
  bool HasChunk(uintptr_t address) const { return ChunkAt(address) != nullptr; }

 private:
  enum Part { kSpans, kBits, kCards, kParts };  // the summaries belong to the spans
  static constexpr size_t kDirectoryEntries = kAddressEnd >> kChunkShift;
  static constexpr size_t kHeaderSize = 64 * kKiB;  // whole pages of any kernel
  static constexpr size_t kSpansSize = kPagesPerChunk * sizeof(SpanEntry);
  static constexpr size_t kInfosSize = kPagesPerChunk * sizeof(uint32_t);
  static constexpr size_t kBitsSize = kChunkSize / 16 / 8;
  // A span that begins in the last pages of a chunk has its bits there, and may need some more.
  static constexpr size_t kBitsMargin = 64 * kKiB;
  static constexpr size_t kCardsSize = kChunkSize / kCardSize;
  static constexpr size_t kMaxGranules = 64;

  struct Chunk {
    std::atomic<Span*> whole;  // a block that covers the chunk wholly
    uint64_t mapped[kParts];   // a bit for each granule, under the heap's lock
    std::atomic<uint32_t> has_cards;
    // Not used where the flat table reaches.
    SpanEntry* spans() const { return PointerTo<SpanEntry>(AddressOf(this) + kHeaderSize); }
    std::atomic<uint32_t>* infos() const {
      return PointerTo<std::atomic<uint32_t>>(AddressOf(this) + kHeaderSize + kSpansSize);
    }
    std::atomic<uint64_t>* bits() const {
      return PointerTo<std::atomic<uint64_t>>(AddressOf(this) + kHeaderSize + kSpansSize +
                                              kInfosSize);
    }
    std::atomic<uint64_t>* cards() const {
      return PointerTo<std::atomic<uint64_t>>(AddressOf(this) + kHeaderSize + kSpansSize +
                                              kInfosSize + kBitsSize + kBitsMargin);
    }
  };
  static constexpr size_t kChunkBlock =
      kHeaderSize + kSpansSize + kInfosSize + kBitsSize + kBitsMargin + kCardsSize;

  Chunk* ChunkAt(uintptr_t address) const {
    // pairs with: the release in EnsureChunk
    return directory_[address >> kChunkShift].load(std::memory_order_acquire);
  }
  Span* SpanIn(const SpanEntry& entry) const {
    // pairs with: the releases in SetSpan and SetRun
    const uintptr_t distance = entry.load(std::memory_order_acquire);
    return distance == 0 ? nullptr : PointerTo<Span>(flat_ + distance);
  }
  uintptr_t EntryFor(const Span* span) const {
    return span == nullptr ? 0 : AddressOf(span) - flat_;
  }
  SpanEntry* FlatEntries() const { return PointerTo<SpanEntry>(flat_ + kFlatHeader); }
  // The entries of the chunk that an address lies in.
  SpanEntry* SpansOf(const Chunk* chunk, uintptr_t address) const {
    const size_t page = FlatPage(RoundDown(address, kChunkSize));
    return page < flat_pages() ? FlatEntries() + page : chunk->spans();
  }
  bool MapDirectory(uintptr_t lo, uintptr_t hi);
  bool MapFlat(uintptr_t hi);
  Chunk* EnsureChunk(uintptr_t address);
  // Tables of whole chunks that have none yet, in one mapping, ready as a whole: a block of
  // gigabytes must not cost a mapping for each chunk. Returns where to go on.
  uintptr_t EnsureWholeChunks(uintptr_t lo, uintptr_t hi);
  bool MapPart(Part part, uintptr_t lo, uintptr_t hi);
  bool MapGranules(Chunk* chunk, Part part, size_t first, size_t last);

  std::atomic<Chunk*>* directory_ = nullptr;
  Range directory_mapped_{};  // addresses of the directory that are readable
  static constexpr size_t kFlatHeader = 128;
  uintptr_t flat_ = 0;     // the flat table: the span for none, then entries
  uintptr_t flat_lo_ = 0;  // what the first of them stands for; a chunk's beginning
  size_t flat_pages_ = 0;
  size_t flat_most_ = 0;  // pages that it has addresses for; whole chunks
  size_t granule_ = 0;    // bytes of arena that a granule of every table stands for
};

}  // namespace gcm
