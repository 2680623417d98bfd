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
//  - An entry has room for a block of the cache that it names, and of no other. The one behind the
//    last names none: so one look at the entry above the top says that the bin is not full.
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
  const ThreadCache* room;  // always the same
};

struct alignas(64) Bin {
  const ThreadCache* cache;  // whose this is; null before the first use
  // Of the class, as in SizeClass, but a 64-bit fraction: so the index is a half of the product.
  uint64_t reciprocal;
  uint32_t size;                 // of a slot
  alignas(64) CachedBlock* top;  // the lowest entry that holds no block; null before the first use
  uint64_t* word;                // the cursor; null: there is none
  uint64_t* live;                // the live bits beside it
  uintptr_t base;                // address of the slot of bit 0
  uint64_t freed;                // blocks, since the start
  // Behind it: the entry that stands for none, entries with room, and one without.

  CachedBlock* Entries() { return PointerTo<CachedBlock>(AddressOf(this) + sizeof(Bin)) + 1; }
  static constexpr size_t BytesFor(size_t entries) {
    return RoundUp(sizeof(Bin) + (entries + 2) * sizeof(CachedBlock), 64);
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
    if (word == nullptr) return nullptr;
    const uint64_t bits = LoadRelaxed(word);
    if (GCM_UNLIKELY(bits == 0)) return nullptr;
    const uintptr_t block = base + static_cast<unsigned>(__builtin_ctzll(bits)) * uint64_t{size};
    GCM_KEEP_ALIVE(block);  // the address first, then the bits
    FlipBits(word, bits & -bits);
    FlipBits(live, bits & -bits);
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

  // True when the block was freed. False: nothing was done, and it must be looked at more closely.
  static GCM_INLINE bool Push(Span* span, void* p) {
    Bin* bin = span->bin.load(std::memory_order_relaxed);
    const ThreadCache* mine = t_cache;
    if (GCM_UNLIKELY(LoadOperand(&bin->cache) != mine)) return false;
    CachedBlock* next = LoadRelaxed(&bin->top);
    if (GCM_UNLIKELY(LoadOperand(&next->room) != mine)) return false;
    uint64_t* live_word;
    uint64_t bit;
    if (GCM_UNLIKELY(!bin->Find(span, p, &live_word, &bit))) return false;
    bin->Keep(next, live_word, bit, p);
    return true;
  }

  // The block at p, whose live bit that is, goes to the entry at the top, which has room.
  GCM_INLINE void Keep(CachedBlock* next, uint64_t* live_word, uint64_t bit, void* p) {
    FlipBits(live_word, bit);
    next->block = AddressOf(p);
    next->word = live_word;
    next->bit = bit;
    IncrementRelaxed(&freed);
    asm volatile("" : : : "memory");  // the entry first, then the top
    StoreRelaxed(&top, next + 1);
    GCM_KEEP_ALIVE(p);
  }
};
static_assert(sizeof(Bin) == 128 && sizeof(CachedBlock) == 32);

// A bin that has nothing at hand and room for nothing.
struct EmptyBin {
  Bin bin{nullptr, 0, 0, wall + 1, nullptr, nullptr, 0, 0};
  CachedBlock wall[2]{{0, &wall[0].bit, 0, nullptr}, {}};
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
