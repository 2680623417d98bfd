// A bin: what a thread has at hand of one size class, and the steps of malloc and free on it, free
// of locks and atomics.
//
// Laws:
//  - In malloc the block's address is in a register before it leaves the bin or its free bit is
//    cleared, and in free the pointer stays in one until the block is in the bin or that bit is
//    set: a thread may be stopped between any two instructions, and the collector must see each
//    block as free, as kept here or as reachable.
//  - What a bin keeps has neither its live nor its free bit, is of a span of this cache, and counts
//    as marked when a cycle ends (BlackenCurrent): nobody else takes it for a block, for garbage,
//    or for free. But the last one has its live bit for a moment before it leaves: from then on it
//    is the program's, and whoever empties the bin leaves it so.
//  - What other threads read of a bin, to find that it is not theirs, never changes and has a cache
//    line of its own: their looks do not take the rest from the thread that has it.
//  - The top and all behind it is the owner's alone: it looks whose bin it is first.
#pragma once

#include "core/heap/span.h"

namespace gcm {

// The calling thread's cache; never null. A thread that has none yet has the empty one, which has
// nothing at hand and owns no span. Set by SetThreadCache only.
extern GCM_HIDDEN constinit GCM_TLS ThreadCache* t_cache;

// A block that was freed, and its live bit: the word, and the bit in it.
struct CachedBlock {
  uintptr_t block;
  uint64_t* word;
  uint64_t bit;
};

struct alignas(64) Bin {
  const ThreadCache* cache;  // whose this is; null before the first use
  // Of the class, as in SizeClass, but a 64-bit fraction: so the index is a half of the product.
  uint64_t reciprocal;
  uint32_t size;                 // of a slot
  uint32_t free_distance;        // bytes from the live bits of a span to its free bits
  alignas(64) CachedBlock* top;  // the lowest entry that holds no block; null before the first use
  CachedBlock* limit;            // the end of the entries: with the top here the bin is full
  uint64_t* word;                // the cursor; without one a word that is 0
  uint64_t* live;                // the live bits beside it
  uintptr_t base;                // address of the slot of bit 0
  uint64_t freed;                // blocks, since the start
  // Behind it: the entry that stands for none, and the entries.

  CachedBlock* Entries() { return PointerTo<CachedBlock>(AddressOf(this) + sizeof(Bin)) + 1; }
  static constexpr size_t BytesFor(size_t entries) {
    return RoundUp(sizeof(Bin) + (entries + 1) * sizeof(CachedBlock), 64);
  }

  // The block that was freed last. nullptr: none is at hand. Then the entry is the one whose word
  // and bit are nothing, and stay so: what is left is a word without a bit, as of no block.
  GCM_INLINE void* Pop() {
    CachedBlock* last = LoadRelaxed(&top) - 1;
    uintptr_t block = last->block;
    uint64_t* live_word = last->word;
    const uint64_t bit = last->bit;
    GCM_KEEP_RESULT(block);  // all of the entry first: a handler may free into its place
    if (GCM_UNLIKELY(FlipBitsToZero(live_word, bit))) return nullptr;
    StoreRelaxed(&top, last);
    if (block == 0) __builtin_unreachable();
    return PointerTo(block);
  }

  // The lowest free slot of the cursor's word. nullptr: it has none.
  GCM_INLINE void* TakeFree() {
    const uint64_t bits = LoadRelaxed(word);
    if (GCM_UNLIKELY(bits == 0)) return nullptr;
    // Spans are much smaller than 4 GiB.
    const uintptr_t block = base + static_cast<uint32_t>(__builtin_ctzll(bits)) * size;
    GCM_KEEP_ALIVE(block);  // the address first, then the bits
    FlipBits(word, bits & -bits);
    FlipBits(live, bits & -bits);
    if (block == 0) __builtin_unreachable();
    return PointerTo(block);
  }

  // Where the live bit of the block at p is, of a span of this cache. False: there is no block.
  GCM_INLINE bool Find(Span* span, void* p, uint64_t** live_word, uint64_t* bit) const {
    const uint32_t offset = static_cast<uint32_t>(AddressOf(p)) - span->start_low;
    uint64_t index, fraction;
    Multiply(offset, &reciprocal, &index, &fraction);
    if (GCM_UNLIKELY(fraction >= LoadOperand(&reciprocal))) return false;
    *bit = BitOf(index);
    *live_word = span->live_bits() + index / 64;
    return GCM_LIKELY(HasBits(*live_word, *bit));
  }

  // The block at p, whose live bit that is, goes to the entry at the top, of a bin that is not
  // full.
  GCM_INLINE void Keep(CachedBlock* next, uint64_t* live_word, uint64_t bit, void* p) {
    FlipBits(live_word, bit);
    next->block = AddressOf(p);
    next->word = live_word;
    next->bit = bit;
    asm volatile("" : : : "memory");  // the entry first, then the top
    StoreRelaxed(&top, next + 1);
    GCM_KEEP_ALIVE(p);
  }
  // The block at p, whose live bit that is, becomes a free slot of its span. False: the span's
  // credit is spent.
  GCM_INLINE bool MakeFree(Span* span, uint64_t* live_word, uint64_t bit, void* p) const {
    const auto credit = static_cast<int16_t>(LoadRelaxed(&span->credit) - 1);
    StoreRelaxed(&span->credit, credit);
    FlipBits(live_word, bit);
    // This one last: with it the span may be empty, and the sweeper's to give back.
    // pairs with: the looks at free bits in RelistSwept
    FlipBits(PointerTo<uint64_t>(AddressOf(live_word) + free_distance), bit);
    GCM_KEEP_ALIVE(p);
    return GCM_LIKELY(credit > 0);
  }
};
static_assert(sizeof(Bin) == 128 && sizeof(CachedBlock) == 24);

// What a cursor points at that is at no span's bits: no slot is free here.
inline constexpr uint64_t kNoneFree = 0;
constexpr uint64_t* NoneFree() { return const_cast<uint64_t*>(&kNoneFree); }

// A bin that has nothing at hand and room for nothing.
struct EmptyBin {
  Bin bin{nullptr, 0, 0, 0, none + 1, none + 1, NoneFree(), nullptr, 0, 0};
  CachedBlock none[1]{{0, &none[0].bit, 0}};
};
extern GCM_HIDDEN constinit EmptyBin g_no_bin;

// Where the bins of a cache are, by class.
struct BinPlaces {
  uint16_t at[kClasses];
  size_t size;
};
inline constexpr BinPlaces kBinPlaces = [] {
  BinPlaces places{};
  for (unsigned c = 0; c < kClasses; ++c) {
    places.at[c] = static_cast<uint16_t>(places.size);
    places.size += Bin::BytesFor(kSizeClasses.classes[c].cached);
  }
  return places;
}();
static_assert(kBinPlaces.size <= 65536);

// The calling thread's bins for requests of up to kMaxQuickRequest bytes, by QuickRow.
struct Bins {
  Bin* of[kQuickRows];
  constexpr Bins() : of{} {
    for (Bin*& bin : of) bin = &g_no_bin.bin;
  }
};
extern GCM_HIDDEN constinit GCM_TLS Bins t_bins;

}  // namespace gcm
