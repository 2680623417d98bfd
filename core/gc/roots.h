// Roots: every place outside of the heap that may hold a pointer into it, found from the process's
// own memory map, so that no place has to be registered. With the world stopped.
//
// All readable private mappings are scanned where they hold data of the process's own, read-only
// ones, too (their pages may have been written before they were protected), and all writable
// shared mappings where they are resident: another mapping of the same memory may have written
// there. Of files on disk, which may be huge and are somebody else's for the most part, only what
// this process has touched; a forked child, which inherits none of that, takes what is resident.
// Left out are our own ranges, devices, and the dead part
// of stacks below the stack pointer. Executable memory of the process's own is code that was made
// at run time: its operands lie at any byte.
#pragma once

#include "core/gc/marker.h"
#include "core/gc/root_kinds.h"
#include "core/gc/world.h"
#include "platform/memory_map.h"

namespace gcm {

class RootScanner {
 public:
  struct Result {
    bool complete;  // false: the map could not be read, and nothing may be reclaimed
    uint64_t bytes;
    uint64_t stack_bytes;
  };

  // `own_sp` is the collecting thread's stack pointer, its registers stored above it.
  Result Scan(Marker* marker, PageMap* pages, const World& world, uintptr_t own_sp,
              uintptr_t own_tls);

 private:
  void ScanMapping(const Mapping& mapping, bool guarded);
  void ScanThreads();
  enum class Pages { kOwnData, kResident, kTouched };
  void ScanOutsideOwn(Range range, Pages pages);
  void ScanPresent(Range range, uintptr_t ahead, Pages pages);
  void ScanRuns(PageMap* pages, Range range, uintptr_t ahead);
  void Add(Range range);
  void Flush();
  void ScanCopy(Range range);
  void ScanReadable(uintptr_t lo, uintptr_t hi);
  long Read(uintptr_t from, size_t size);
  uintptr_t ThreadPointerIn(Range range) const;
  uintptr_t LiveStackStart(const Mapping& mapping, bool guarded) const;
  void NoteProtected(const Mapping& mapping);
  bool PrepareBuffers();

  static constexpr size_t kBufferSize = 64 * kKiB;
  Marker* marker_ = nullptr;
  const World* world_ = nullptr;
  uintptr_t own_sp_ = 0;
  uintptr_t own_tls_ = 0;
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
  bool code_ = false;  // the mapping at hand is executable
  bool ring_ = false;  // it is shared with the kernel
  Result result_{};
};

}  // namespace gcm
