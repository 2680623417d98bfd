// Size classes: which slot a request gets, and how many slots a span holds.
//
// Laws:
//  - A request of n bytes needs a slot of at least n + 1 bytes, so that a pointer one past its end
//    still points into the slot (SPEC section 4). Usable are the slot's size less one.
//  - Slots are multiples of 16 bytes; above 256 bytes the classes grow by an eighth of a doubling
//    and carry 16 bytes more than the round number, which the most frequent requests ask for.
//    So at most 1/8 of a slot, or 16 bytes with the padding, is wasted.
//  - A request with an alignment gets a class whose size is a multiple of it: besides the common
//    classes there are "aligned" ones, multiples of 64 and more, which only such requests use.
// Checked exhaustively in tests/unit/heap/size_class_test.cc.
#pragma once

#include "platform/base.h"

namespace gcm {

inline constexpr size_t kPageShift = 12;
inline constexpr size_t kPageSize = size_t{1} << kPageShift;  // the heap's unit, not the kernel's
inline constexpr size_t kMinAlignment = 16;
inline constexpr size_t kMaxSmallRequest = 32 * kKiB;
inline constexpr size_t kMaxObjectsPerSpan = 256;

inline constexpr unsigned kCommonClasses = 16 + 1 + 7 * 8;
inline constexpr unsigned kAlignedClasses = 28;
inline constexpr unsigned kClasses = kCommonClasses + kAlignedClasses;
inline constexpr uint8_t kLargeClass = 255;  // a span of one block, from the page heap

// Words of a bitmap with a bit for each slot; where it has no more than the few, all bitmaps of a
// span lie in the first line of its descriptor.
inline constexpr unsigned kFewWords = 2;
inline constexpr unsigned kMostWords = kMaxObjectsPerSpan / 64;
// Room for a bitmap of so many words in a descriptor, in words.
constexpr unsigned CapacityFor(unsigned words) {
  return words <= kFewWords ? kFewWords : kMostWords;
}

struct SizeClass {
  uint32_t size;  // bytes of a slot
  // For offsets in a span: (offset * reciprocal) >> 32 == offset / size, and the lower half of the
  // product is less than the reciprocal where a slot starts, and nowhere else (Lemire, Kaser, Kurz
  // 2019, "Faster remainder by direct computation").
  uint32_t reciprocal;
  uint16_t pages;    // of a span
  uint16_t slots;    // in a span
  uint8_t words;     // of a bitmap with a bit for each slot
  uint8_t capacity;  // words of a bitmap that the descriptor has room for
  uint8_t cached;    // blocks that a thread keeps at hand
};
static_assert(sizeof(SizeClass) == 16);

struct SizeClassTable {
  SizeClass classes[kClasses];
  // (request + 1 + 15) / 16 -> class, for requests of up to 1024 bytes.
  uint8_t small[66];
  // (request + 1 - 16 + 127) / 128 -> class, for the others up to kMaxSmallRequest: above 1024
  // bytes the classes are 16 bytes more than a multiple of 128.
  uint8_t medium[kMaxSmallRequest / 128 + 1];
};

namespace internal {

constexpr uint16_t PagesForSlot(size_t size) {
  // Enough slots that a refill is rare, few enough that a span in use for one block is cheap.
  size_t want = size <= 128    ? 8 * kKiB
                : size <= 1040 ? 16 * kKiB
                : size <= 4112 ? 32 * kKiB
                               : 4 * size;
  if (want / size > kMaxObjectsPerSpan) want = size * kMaxObjectsPerSpan;
  size_t pages = RoundUp(want, kPageSize) / kPageSize;
  // A tail of at most 1/16, else the best within the next eight.
  size_t best = pages, best_tail = kPageSize * 64;
  for (size_t p = pages; p < pages + 8; ++p) {
    size_t tail = p * kPageSize % size;
    if (tail * 16 <= p * kPageSize) return static_cast<uint16_t>(p);
    if (tail * best < best_tail * p) {
      best = p;
      best_tail = tail;
    }
  }
  return static_cast<uint16_t>(best);
}

// Each may keep a span from being given back.
constexpr uint8_t CachedFor(size_t size) { return size <= 272 ? 16 : size <= 1040 ? 8 : 2; }

constexpr SizeClass MakeClass(size_t size) {
  SizeClass c{};
  c.size = static_cast<uint32_t>(size);
  c.pages = PagesForSlot(size);
  c.slots = static_cast<uint16_t>(Min(c.pages * kPageSize / size, kMaxObjectsPerSpan));
  c.reciprocal = static_cast<uint32_t>(((uint64_t{1} << 32) + size - 1) / size);
  c.words = static_cast<uint8_t>((c.slots + 63) / 64);
  c.capacity = static_cast<uint8_t>(CapacityFor(c.words));
  c.cached = CachedFor(size);
  return c;
}

constexpr SizeClassTable MakeTable() {
  SizeClassTable t{};
  unsigned n = 0;
  for (size_t size = 16; size <= 256; size += 16) t.classes[n++] = MakeClass(size);
  t.classes[n++] = MakeClass(256 + 16);
  for (size_t base = 256; base < kMaxSmallRequest; base *= 2) {
    for (size_t i = 1; i <= 8; ++i) t.classes[n++] = MakeClass(base + i * base / 8 + 16);
  }
  for (size_t base = 256; base < kMaxSmallRequest; base *= 2) {
    for (size_t i = 5; i <= 8; ++i) t.classes[n++] = MakeClass(base * i / 4);
  }
  unsigned c = 0;
  for (size_t i = 0; i < sizeof(t.small); ++i) {
    while (t.classes[c].size < i * 16) ++c;
    t.small[i] = static_cast<uint8_t>(c);
  }
  c = 0;
  for (size_t i = 0; i < sizeof(t.medium); ++i) {
    while (t.classes[c].size < i * 128 + 16) ++c;
    t.medium[i] = static_cast<uint8_t>(c);
  }
  return t;
}

}  // namespace internal

inline constexpr SizeClassTable kSizeClasses = internal::MakeTable();

// Requests of at most kMaxQuickRequest bytes by rows: those of a row have the same class.
inline constexpr size_t kMaxQuickRequest = 1024;
inline constexpr size_t kQuickRows = kMaxQuickRequest / 16 + 1;
GCM_INLINE size_t QuickRow(size_t request) { return request / 16; }
GCM_INLINE unsigned ClassOfRow(size_t row) { return kSizeClasses.small[row + 1]; }

// The class for a request of at most kMaxSmallRequest bytes.
GCM_INLINE unsigned ClassFor(size_t request) {
  if (GCM_LIKELY(request <= kMaxQuickRequest)) return ClassOfRow(QuickRow(request));
  return kSizeClasses.medium[(request + 112) / 128];
}

// The class for a request with an alignment, a power of two above kMinAlignment and up to
// kPageSize; kLargeClass if there is none.
unsigned ClassForAligned(size_t request, size_t alignment);

}  // namespace gcm
