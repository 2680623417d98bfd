// Which pages of this process were written since they were armed, from the kernel's own dirty
// tracking: the cards' source for programs that have no write barrier (SPEC section 4).
//
// Law: a write that begins after Arm or a re-arming Fetch of its page has returned is reported by
// the next Fetch of that page; one that ended before Fetch began is reported by it or by an earlier
// one. What cannot be told is reported as written. A page that was never armed, or was given back
// to the system and used again, counts as written once it is present.
// The program notices nothing but time: its own writes and the kernel's on its behalf succeed
// (with kMprotect only its own, and those of wrapped calls: therefore never chosen by itself).
//
// One caller at a time. Nothing here allocates; a forked child has no source until Start.
#pragma once

#include "platform/base.h"

namespace gcm {

enum class DirtySource : uint8_t { kAuto, kUffd, kSoftDirty, kMprotect, kNone };
const char* NameOf(DirtySource source);  // as SPEC section 5 writes them

class DirtyPages {
 public:
  // Opens the source and proves on a page of its own that it works; kAuto takes the first of
  // kUffd, kSoftDirty that does. What was asked for and does not work becomes kNone. Returns what
  // is in force. Cheap when it is in force already and still works.
  DirtySource Start(DirtySource wanted);
  // Closes the source: nothing is armed or tracked any more.
  void Stop();
  DirtySource source() const { return source_; }

  // Whether Fetch can re-arm while the program runs, so that rounds are possible.
  bool rearms() const { return source_ == DirtySource::kUffd || source_ == DirtySource::kMprotect; }

  // Takes whole pages of [range) into the tracking. False: they cannot be tracked (a private
  // mapping of a file, another user's userfaultfd, no mapping), and Fetch reports them all.
  // Also for memory that is reserved and not readable yet.
  bool Track(Range range);
  // No longer tracked; what was armed is written without a fault again.
  void Untrack(Range range);

  // Every present page of the range is clean from here on. In bounded pieces, so that the program
  // waits for none of them long. False: it cannot be armed, and Fetch will report it all.
  bool Arm(Range range);
  // Writes cost no fault any more; the range counts as written.
  void Disarm(Range range);

  // Calls fn(data, run) for each run of written pages of `range`, in order of addresses, until fn
  // returns false or the end is reached; returns the address behind the last page reported or
  // found clean. With `rearm` the reported pages are clean again, from before fn is called.
  // May be called by several threads at once for disjoint ranges of tracked memory.
  using Visit = bool (*)(void* data, Range run);
  uintptr_t Fetch(Range range, bool rearm, Visit fn, void* data);

  // Forgets what it knew, and closes what it inherited.
  void AfterForkInChild();

 private:
  DirtySource source_ = DirtySource::kNone;
  int fd_ = -1;       // userfaultfd, or clear_refs
  int pagemap_ = -1;  // /proc/self/pagemap
};

}  // namespace gcm
