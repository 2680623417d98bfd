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
// What is not seen: writes by a device into pages that were pinned for it before they were armed
// (registered buffers, direct input under way), and writes through another mapping of the same
// memory, or by another process: shared memory is not for tracking.
//
// One caller at a time. Nothing here allocates; a forked child has no source until Start.
#pragma once

#include "platform/base.h"
#include "platform/descriptor.h"

namespace gcm {

enum class DirtySource : uint8_t { kAuto, kUffd, kSoftDirty, kMprotect, kNone };
const char* NameOf(DirtySource source);  // as SPEC section 5 writes them

namespace dirty {

// Of the whole process; kNoMore: not before the next Start.
enum class Armed : uint8_t { kNo, kYes, kNoMore };

// The descriptors of a source, each with what it was when it was opened: they lie in the program's
// table.
struct Tracker {
  int fd = -1;       // userfaultfd
  int pagemap = -1;  // /proc/self/pagemap
  descriptor::Identity fd_identity{};
  descriptor::Identity pagemap_identity{};
  Armed armed = Armed::kNo;  // kSoftDirty

  bool HasFd() const { return fd >= 0 && descriptor::IsSame(fd, fd_identity); }
  bool HasPagemap() const { return pagemap >= 0 && descriptor::IsSame(pagemap, pagemap_identity); }
  // Opens the page map, which stands for this process's memory also in a forked child.
  bool OpenPagemap();
  // Closes what is still ours.
  void Close();
};

using Visit = bool (*)(void* data, Range run);

}  // namespace dirty

class DirtyPages {
 public:
  // Opens the source and proves on a page of its own that it works; kAuto takes the first of
  // kUffd, kSoftDirty that does. What was asked for and does not work becomes kNone. Returns what
  // is in force. Cheap when it is in force already and still works.
  DirtySource Start(DirtySource wanted);
  // Closes the source: nothing is armed or tracked any more. What was not untracked before is
  // dropped in one piece, for which the program waits; or not before a forked child that has not
  // called AfterForkInChild yet ends, and cannot be tracked again until then.
  void Stop();
  DirtySource source() const { return source_; }
  // The source is in force as it was: what was armed since still is.
  bool StillWorks() const;

  // Whether Fetch can re-arm while the program runs, so that rounds are possible.
  bool rearms() const { return source_ == DirtySource::kUffd || source_ == DirtySource::kMprotect; }

  // Takes whole pages of [range) into the tracking. False: they cannot be tracked (a private
  // mapping of a file, another user's userfaultfd, no mapping), and Fetch reports them all, unless
  // that user tracks them likewise. Also for memory that is reserved and not readable yet. The
  // program cannot register what is tracked with a userfaultfd of its own meanwhile.
  bool Track(Range range);
  // No longer tracked; what was armed is written without a fault again.
  void Untrack(Range range);
  // The same in one step, for gigabytes that are reserved and hold no page.
  void UntrackEmpty(Range range);

  // Every present page of the range is clean from here on. In bounded pieces, so that the program
  // waits for none of them long. False: it cannot be armed, and Fetch will report it all.
  bool Arm(Range range);
  // Writes cost no fault any more; the range counts as written.
  void Disarm(Range range);

  // A number that is another one whenever a page that was clean may have been written meanwhile by
  // a thread of this process that is now stopped. Where it is the same as it was before a re-arming
  // Fetch of a range began, and nothing was moved there, a Fetch would find nothing: so it can be
  // saved, which a heap of gigabytes takes long for. Not what another process or a driver's thread
  // writes on its own behalf. Costs a system call; the more threads, the longer.
  uint64_t Writes() const;

  // Calls fn(data, run) for each run of written pages of `range`, in order of addresses, until fn
  // returns false or the end is reached; returns the address behind the last page reported or
  // found clean. With `rearm` the reported pages are clean again, from before fn is called, in
  // batches: of the one in which fn has returned false it gets the rest, too. What was not reported
  // stays written. Where nothing can be told, a run may span what is not
  // mapped; pages that hold nothing may be reported. May be called by several threads at once for
  // disjoint ranges of tracked memory.
  using Visit = dirty::Visit;
  uintptr_t Fetch(Range range, bool rearm, Visit fn, void* data);

  // Forgets what it knew, and closes what it inherited.
  void AfterForkInChild();

 private:
  bool Open(DirtySource source);

  DirtySource source_ = DirtySource::kNone;
  // Bits by source: what has proved to work, and what has proved not to, in this process.
  uint8_t proven_ = 0;
  uint8_t refused_ = 0;
  dirty::Tracker tracker_;
  mutable uint64_t asked_ = 0;
};

}  // namespace gcm
