// The tables beside the arena: for each page the span around it, for each slot a mark bit, for
// each 512 bytes a card. Two levels: a directory over the whole address space, and for each chunk
// of 64 MiB that holds arena memory one block of tables, mapped in granules as the arena grows.
//
// Law: nothing here is readable before Map* has made it so, and Map* is called by Arena only,
// before the bound is published. A reader that the bound admits may follow the directory; a null
// entry means foreign memory inside the bounds. A chunk may lie within the bounds before it holds
// anything of ours, and it may hold foreign mappings: so the spans of a whole chunk are readable
// before the directory names it, and mark bits and cards where there is arena memory only.
#pragma once

#include <atomic>

#include "core/heap/size_class.h"
#include "platform/base.h"

namespace gcm {

struct Span;

inline constexpr size_t kChunkShift = 26;
inline constexpr size_t kChunkSize = size_t{1} << kChunkShift;
inline constexpr size_t kPagesPerChunk = kChunkSize / kPageSize;
inline constexpr size_t kCardSize = 512;

class SideTables {
 public:
  // The highest user address with 4-level page tables; the kernel gives more only on request.
  static constexpr uintptr_t kAddressEnd = uintptr_t{1} << 47;

  bool Init();

  // Make the tables of [lo, hi) usable. Idempotent by granule. False when the system refuses;
  // what was mapped stays mapped, and the call may be repeated.
  bool MapBits(uintptr_t lo, uintptr_t hi) { return MapPart(kBits, lo, hi); }
  bool MapCards(uintptr_t lo, uintptr_t hi) { return MapPart(kCards, lo, hi); }
  bool MapSpans(uintptr_t lo, uintptr_t hi) { return MapPart(kSpans, lo, hi); }

  // For addresses inside the published bounds only.
  Span* SpanAt(uintptr_t address) const {
    const Chunk* chunk = ChunkAt(address);
    if (GCM_UNLIKELY(chunk == nullptr)) return nullptr;
    // pairs with: the release in SetSpan
    return chunk->spans()[address % kChunkSize / kPageSize].load(std::memory_order_acquire);
  }
  Span* SpanAround(uintptr_t address) const {
    const Chunk* chunk = ChunkAt(address);
    if (GCM_UNLIKELY(chunk == nullptr)) return nullptr;
    // pairs with: the release in SetSpan
    Span* whole = chunk->whole.load(std::memory_order_acquire);
    if (GCM_UNLIKELY(whole != nullptr)) return whole;
    // pairs with: the release in SetSpan
    return chunk->spans()[address % kChunkSize / kPageSize].load(std::memory_order_acquire);
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
  uint8_t* Card(uintptr_t address) const {
    return ChunkAt(address)->cards() + address % kChunkSize / kCardSize;
  }

 private:
  enum Part { kSpans, kBits, kCards, kParts };
  static constexpr size_t kDirectoryEntries = kAddressEnd >> kChunkShift;
  static constexpr size_t kHeaderSize = 64 * kKiB;  // whole pages of any kernel
  static constexpr size_t kSpansSize = kPagesPerChunk * sizeof(void*);
  static constexpr size_t kBitsSize = kChunkSize / 16 / 8;
  static constexpr size_t kCardsSize = kChunkSize / kCardSize;
  static constexpr size_t kMaxGranules = 64;

  struct Chunk {
    std::atomic<Span*> whole;  // a block that covers the chunk wholly
    uint64_t mapped[kParts];   // a bit for each granule, under the heap's lock
    std::atomic<Span*>* spans() const {
      return PointerTo<std::atomic<Span*>>(AddressOf(this) + kHeaderSize);
    }
    std::atomic<uint64_t>* bits() const {
      return PointerTo<std::atomic<uint64_t>>(AddressOf(this) + kHeaderSize + kSpansSize);
    }
    uint8_t* cards() const {
      return PointerTo<uint8_t>(AddressOf(this) + kHeaderSize + kSpansSize + kBitsSize);
    }
  };
  static constexpr size_t kChunkBlock = kHeaderSize + kSpansSize + kBitsSize + kCardsSize;

  Chunk* ChunkAt(uintptr_t address) const {
    // pairs with: the release in EnsureChunk
    return directory_[address >> kChunkShift].load(std::memory_order_acquire);
  }
  bool MapDirectory(uintptr_t lo, uintptr_t hi);
  Chunk* EnsureChunk(uintptr_t address);
  // Tables of whole chunks that have none yet, in one mapping, ready as a whole: a block of
  // gigabytes must not cost a mapping for each chunk. Returns where to go on.
  uintptr_t EnsureWholeChunks(uintptr_t lo, uintptr_t hi);
  bool MapPart(Part part, uintptr_t lo, uintptr_t hi);
  bool MapGranules(Chunk* chunk, Part part, size_t first, size_t last);

  std::atomic<Chunk*>* directory_ = nullptr;
  Range directory_mapped_{};  // addresses of the directory that are readable
  size_t granule_ = 0;        // bytes of arena that a granule of every table stands for
};

}  // namespace gcm
