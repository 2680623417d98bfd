// Roots: every place outside of the heap that may hold a pointer into it, found from the process's
// own memory map, so that no place has to be registered. With the world stopped.
//
// All private mappings are scanned where they hold data of the process's own, protected ones, too
// (their pages may have been written before, and a runtime may use protection as a barrier: Ruby's
// compaction protects pages that hold its objects against reading), and all writable shared
// mappings where they are resident: another mapping of the same memory may have written there. Of
// files on disk, which may be huge and are somebody else's for the most part, only what this
// process has touched; a forked child, which inherits none of that, takes what is resident. Left
// out are our own ranges, devices, and the dead part
// of stacks below the stack pointer. Executable memory of the process's own is code that was made
// at run time: its operands lie at any byte.
#pragma once

#include "core/gc/marker.h"
#include "core/gc/root_kinds.h"
#include "core/gc/stack_index.h"
#include "core/gc/world.h"
#include "platform/dirty_pages.h"
#include "platform/memory_map.h"

namespace gcm {

class RootScanner {
 public:
  struct Result {
    // Null, or why nothing may be reclaimed.
    const char* incomplete = "the memory map cannot be read";
    bool for_good = false;  // nor in any later cycle
    uint64_t bytes = 0;
    uint64_t stack_bytes = 0;
  };

  // The collecting thread, where the program's code calls it: its stack pointer, its registers
  // stored above, and its thread pointer. None if it is a thread of our own.
  struct Caller {
    uintptr_t sp = 0, tls = 0;
  };

  // With the world stopped: the registers of all threads, and where their stacks begin. False: no
  // memory.
  bool ScanThreads(Marker* marker, const World& world, Caller caller);
  // All memory, after ScanThreads. With the world stopped (`whole`) also what the kernel holds, and
  // what the program has protected is noted in the marking. While the program runs it is the first
  // look only, and what is found may be out of date.
  Result ScanMemory(Marker* marker, PageMap* pages, const World& world, bool whole);

  // Memory of the program's own that is large and private, found by the last ScanMemory that was
  // not whole: worth tracking.
  static constexpr size_t kMostTracked = 64;
  // (What is larger than that is a reservation, of which little is there.)
  static constexpr size_t kWorthTracking = kMiB;
  static constexpr size_t kTooLarge = 16 * kGiB;
  const Range* large() const { return large_; }
  size_t large_count() const { return large_count_; }
  void ForgetLarge() { large_count_ = 0; }
  // The next ScanMemory that is whole asks for written pages of these only.
  // What of a range holds data, as far as it is not ours.
  void ScanLarge(Range range);
  void SetTracked(DirtyPages* dirty, const Range* ranges, size_t count);

 private:
  void ScanMapping(const Mapping& mapping, bool guarded);
  void ScanTracked(Range range);
  enum class Pages { kOwnData, kPrivate, kResident, kTouched };
  void ScanOutsideOwn(Range range, Pages pages);
  void ScanPresent(Range range, uintptr_t ahead, Pages pages);
  void ScanRuns(PageMap* pages, Range range, uintptr_t ahead);
  void ScanUnreadable(const Mapping& mapping);
  void Add(Range range);
  void Flush();
  void ScanCopy(Range range);
  void ScanReadable(uintptr_t lo, uintptr_t hi);
  long Read(uintptr_t from, size_t size);
  void NoteProtected(const Mapping& mapping);
  bool PrepareBuffers();

  static constexpr size_t kBufferSize = 64 * kKiB;
  Marker* marker_ = nullptr;
  Marking* marking_ = nullptr;
  DirtyPages* dirty_ = nullptr;  // not null: `large_` is tracked
  Range large_[kMostTracked];
  size_t large_count_ = 0;
  bool whole_ = false;
  StackIndex stacks_;
  uint64_t added_ = 0;  // bytes so far, those that wait to be copied too
  char* buffer_ = nullptr;
  // Ranges that wait to be copied together.
  static constexpr size_t kPending = 64;
  Range pending_[kPending];
  size_t pending_count_ = 0;
  size_t pending_bytes_ = 0;
  Range* own_ = nullptr;
  size_t own_count_ = 0;
  size_t own_capacity_ = 0;
  PageMap* pages_ = nullptr;
  bool read_refused_ = false;
  RootKinds kinds_;
  bool code_ = false;        // the mapping at hand is executable
  bool ring_ = false;        // it is shared with the kernel
  bool unreadable_ = false;  // it is protected against reading
  Result result_{};
};

}  // namespace gcm
