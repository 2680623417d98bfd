// Marking: words are looked up, blocks are marked and their words looked up in turn.
//
// A mark bit belongs to a slot: bit i of the words at SideTables::MarkBits(span.start) to slot i.
// Offsets: a few libraries (fontconfig's patterns and character sets) keep, in a block, not the
// address of another one but its distance from their own start. Where such a library is mapped, a
// word of a small block that is such a distance to the exact start of a block in another span
// marks that one, too. Not elsewhere: sizes and counters look like distances, and chain what is
// lost.
//
// Blocks that wait to be scanned are on a stack in metadata; when that cannot grow, `overflowed`
// is set and the heap is walked again for marked blocks, so that memory never decides what lives.
#pragma once

#include "core/heap/heap.h"
#include "platform/memory_map.h"

namespace gcm {

// Parts of the heap that the program has protected; they are read by other means and never reused.
struct ProtectedRanges {
  static constexpr size_t kCapacity = 256;
  Range ranges[kCapacity];
  size_t count = 0;
  bool overflow = false;  // more than that: every block counts as protected
  void Add(Range r);
  bool Overlaps(Range r) const;
};

class MarkStack {
 public:
  bool Push(uintptr_t block);
  bool Pop(uintptr_t* block);
  void Trim();  // gives its pages back, but for the first segment's

 private:
  struct Segment {
    static constexpr size_t kSize = 64 * kKiB;
    static constexpr size_t kEntries = kSize / sizeof(uintptr_t) - 4;
    Segment* below;
    Segment* above;
    size_t unused[2];
    uintptr_t entries[kEntries];
  };
  Segment* top_ = nullptr;
  size_t used_ = 0;
};

class Marker {
 public:
  // Forgets all marks. With the world stopped.
  // `pages` tells which parts of large blocks hold data; it outlives the cycle.
  void Begin(unsigned stride, PageMap* pages);
  // Looks up every word of memory that can be read directly, at the stride of the options, or at
  // every byte.
  void ScanWords(uintptr_t lo, uintptr_t hi);
  void ScanBytes(uintptr_t lo, uintptr_t hi);
  // Also what is protected against reading.
  void ScanProtected(uintptr_t lo, uintptr_t hi);
  void MarkWord(uintptr_t word);
  // As MarkWord, but only if a block starts exactly there.
  void MarkStart(uintptr_t address);
  // Scans until nothing is left.
  void Drain();

  void FollowOffsets() { offsets_ = true; }
  // Words that are eight times an address count, too (core/HOSTS.md, Chez Scheme). For good.
  void FollowShifted() { shifted_ = true; }
  ProtectedRanges& protected_ranges() { return protected_; }
  uint64_t marked_objects() const { return marked_objects_; }
  uint64_t marked_bytes() const { return marked_bytes_; }

  static bool IsMarked(const Span* span, unsigned index);

 private:
  void ScanBlock(uintptr_t block);
  void ScanShifted(uintptr_t lo, uintptr_t hi, size_t step);
  void ScanOffsets(const Span* span, uintptr_t block, uintptr_t end);
  void ScanLarge(uintptr_t lo, uintptr_t hi);
  void Rescan();

  Arena* arena_ = nullptr;
  PageMap* pages_ = nullptr;
  unsigned stride_ = 8;
  bool overflowed_ = false;
  bool offsets_ = false;
  bool shifted_ = false;
  MarkStack stack_;
  ProtectedRanges protected_;
  uint64_t marked_objects_ = 0;
  uint64_t marked_bytes_ = 0;
};

}  // namespace gcm
