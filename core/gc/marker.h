// Marking: words are looked up, blocks are marked and their words looked up in turn, by one or
// several markers side by side, while the program runs or while the world is stopped.
//
// A mark bit belongs to a slot: bit i of the words at SideTables::MarkBits(span.start) to slot i.
// At the beginning the bits of what is free are set, and nothing else: so a word that points to
// something free is passed over like one that points to something marked. Minor cycles begin with
// those of marked blocks (cycle_minor.cc).
// Small blocks wait by their spans (Go's Green Tea, go#73581): a span is queued once, and when it
// is its turn all blocks are scanned, in the order of addresses, that are marked and have not been
// scanned. The smallest class has no room for the second set of bits: its blocks wait one by one,
// like large ones, which wait in pieces.
// Looking a word up takes loads that miss the caches, one after the other: so words wait until
// there are some, and then take each step together, the lines of the next one on the way. And the
// blocks of a span are asked for when it is its turn, and scanned when some others have been.
// Offsets:
// a few libraries (fontconfig's patterns and character sets) keep, in a block, not the address of
// another one but its distance from their own start. Where such a library is mapped, a word of a
// small block that is such a distance to the exact start of a block in another span marks that one,
// too. Not elsewhere: sizes and counters look like distances, and chain what is lost.
//
// When a list cannot grow, `overflowed` is set and the heap is walked again for marked blocks, so
// that memory never decides what lives.
#pragma once

#include "core/gc/work_list.h"
#include "core/heap/heap.h"
#include "core/heap/protected_ranges.h"
#include "core/heap/span_walk.h"
#include "platform/memory_map.h"

namespace gcm {

class Checkmark;

// What the markers of a cycle have in common.
struct Marking {
  Checkmark* checkmark = nullptr;  // not null: it gets the words, and nothing is marked
  unsigned stride = 8;
  bool offsets = false;
  bool shifted = false;  // words that are eight times an address count (HOSTS.md, Chez)
  bool stopped = true;   // nobody protects or unmaps what is read
  bool notes = false;    // where something is marked becomes PageInfo::kUnscanned
  std::atomic<bool> overflowed{false};
  ProtectedRanges protected_ranges;
  SegmentPool pool;
  SharedWork shared;
};

class Marker {
 public:
  struct Counts {
    uint64_t objects, bytes;  // marked
    uint64_t rescanned;       // bytes
  };

  // `pages` tells which parts of large blocks hold data; it outlives the cycle.
  void Begin(Marking* marking, PageMap* pages);
  // Gives back its lists, and what else it took.
  void End();

  // Looks up every word of memory that can be read directly, at the stride of the options, or at
  // every byte.
  void ScanWords(uintptr_t lo, uintptr_t hi);
  void ScanBytes(uintptr_t lo, uintptr_t hi);
  // Also what is protected against reading.
  void ScanProtected(uintptr_t lo, uintptr_t hi);
  void MarkWord(uintptr_t word);
  // As MarkWord, but only if a block starts exactly there.
  void MarkStart(uintptr_t address);

  // Scans until nothing is left here and nothing is shared, or until the deadline (clock::Now).
  // True: nothing is left here.
  bool Drain(uint64_t deadline);
  // As Drain, together with the other markers of SharedWork::Begin: true when nothing is left
  // anywhere.
  bool DrainTogether(uint64_t deadline);
  // All marked blocks of a span, whether they have been scanned or not.
  void ScanMarked(const SpanWalk::Seen& seen);
  // A block, through to its end, as far as it is there.
  void ScanWhole(Range block);
  // What of marked blocks lies in [lo, hi), a part of one page of the heap.
  void ScanCards(uintptr_t lo, uintptr_t hi);
  // The same for whole pages: the first of [lo, hi), or as many as are of one large block. Returns
  // where to go on.
  uintptr_t ScanDirty(uintptr_t lo, uintptr_t hi);

  Marking* marking() const { return marking_; }
  bool idle() const {
    return queue_.empty() && stack_.empty() && count_ == 0 && first_run_ == last_run_;
  }
  const Counts& counts() const { return counts_; }
  static bool IsMarked(const Span* span, unsigned index);

 private:
  // A slot that a word leads to.
  struct Found {
    std::atomic<uint64_t>* bits;  // the word of its bit
    uintptr_t start;              // of the span
    uint32_t index;
    uint32_t size_class;
  };
  // Blocks side by side that are on the way from memory.
  struct Run {
    uintptr_t lo, hi;
    size_t slot_size;
  };
  static constexpr unsigned kBatch = 64, kMostAtOnce = 16;
  // What is scanned in one step of a large block.
  static constexpr size_t kPieceSize = 32 * kKiB;
  // A block that holds whole pages may be protected by the program at any moment; smaller ones
  // share theirs with others.
  static constexpr size_t kReadByCopy = kPageSize;
  // A piece with the words across its ends: one system call.
  static constexpr size_t kBufferSize = kPieceSize + kPageSize;
  static constexpr unsigned kRuns = 32, kRunsAhead = 16;

  void LookUp(uintptr_t word);
  void MarkLarge(uintptr_t word);
  bool Locate(uintptr_t word, const std::atomic<uint32_t>* summary, Found* found);
  void Settle(const Found& found);
  void SettleAll();
  void Enqueue(uintptr_t start);
  void Note(uintptr_t start, unsigned size_class);
  void Push(uintptr_t entry);
  void FinishRuns();
  bool Take(uintptr_t* entry);
  void ScanEntry(uintptr_t entry);
  void OpenSpan(uintptr_t start);
  void OpenRun(uintptr_t lo, uintptr_t hi, size_t slot_size);
  void ScanOldestRun();
  void ScanSlots(Span* span, const SizeClass& k, uintptr_t start, Range within);
  void ScanRange(uintptr_t lo, uintptr_t hi, size_t slot_size);
  void ScanShort(uintptr_t lo, uintptr_t hi);
  void ScanPiece(uintptr_t lo);
  void ScanCopy(uintptr_t lo, uintptr_t hi);
  void ScanShifted(uintptr_t lo, uintptr_t hi, size_t step);
  void ScanOffsets(uintptr_t block, uintptr_t end);
  void ScanPresent(uintptr_t lo, uintptr_t hi);
  void ScanPart(uintptr_t lo, uintptr_t hi);
  void ShareSurplus();

  Arena* arena_ = nullptr;
  Marking* marking_ = nullptr;
  PageMap* pages_ = nullptr;
  unsigned stride_ = 8;
  bool plain_ = false;  // while draining: small blocks hold words to look up, and no more
  unsigned count_ = 0;  // words that wait
  uintptr_t words_[kBatch + kMostAtOnce];
  const std::atomic<uint32_t>* summaries_[kBatch + kMostAtOnce];
  Found found_[kBatch + kMostAtOnce];
  Run runs_[kRuns];  // a ring: entries [first_run_, last_run_)
  unsigned first_run_ = 0, last_run_ = 0;
  WorkQueue queue_;  // spans
  WorkStack stack_;  // blocks and pieces
  char* buffer_ = nullptr;
  Counts counts_{};
  unsigned forgotten_ = 0;  // for Skip::queued
};

}  // namespace gcm
