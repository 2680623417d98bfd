// Dirty tracking by mprotect: armed pages may only be read, and the fault of the first write makes
// some pages around it writable again. For systems that have nothing better, and only when it is
// asked for. One tracker a process.
//
// What stays unsound, or is noticed by the program:
//  - System calls that write into armed pages fail with EFAULT. Those that preload/blocking.cc
//    wraps are tried once more after OpenAll; all others fail (stat, ioctl, getcwd, raw calls, and
//    what the kernel does later, as aio and io_uring), and calls that have consumed a message or a
//    datagram before they failed have lost it.
//  - A thread that blocks SIGSEGV, or whose stack or alternate signal stack lies in tracked memory,
//    is killed by its first write.
//  - Memory whose protection the program itself changes, or moves, after it was tracked.
//  - A handler of SIGSEGV that was installed by a raw system call, or in a program that has the
//    archive linked in, where nothing is wrapped.
//  - A write by a device or another process.
#pragma once

#include "platform/dirty_pages.h"

namespace gcm::dirty_mprotect {

// Installs the handler of faults. False: somebody else has the tracker, or it cannot be.
bool Open();
// All is writable, nothing is tracked, and the program's handler is alone again.
void Close();
bool StillWorks();
bool Prove();

// Only private anonymous memory that may be read and written, and nothing else.
bool Track(Range range);
void Untrack(Range range);
bool Arm(Range range);
void Disarm(Range range);
uintptr_t Fetch(Range range, bool rearm, dirty::Visit fn, void* data);
void AfterForkInChild();

// Makes every armed page writable, which then counts as written. False: none was armed. For calls
// that have failed with EFAULT; safe in signal handlers.
bool OpenAll();

// While it lives, the pages of two ranges are writable and stay so: for moving them.
class Moving {
 public:
  Moving(Range from, Range to);
  ~Moving();
  Moving(const Moving&) = delete;
  Moving& operator=(const Moving&) = delete;

 private:
  bool held_;
  uint64_t mask_ = 0;
};

}  // namespace gcm::dirty_mprotect
