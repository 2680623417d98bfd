// Memory from the operating system, in four states: none -> reserved -> prepared -> ready.
//   reserved  addresses are ours, nothing behind them (PROT_NONE); any access faults
//   prepared  readable and writable, but no page is resident: reads give zero
//   ready     resident; Decommit takes it back to prepared
// Law: every call that maps memory goes through here, so that a test can make the n-th one fail.
#pragma once

#include "platform/base.h"

namespace gcm::memory {

// Bytes of a page of the operating system, read once from the auxiliary vector.
size_t PageSize();

// Addresses for `size` bytes (a multiple of the page size) in state reserved, at `hint` if that
// is free (0: anywhere). 0 on failure. `name` shows in /proc/self/maps.
uintptr_t Reserve(size_t size, uintptr_t hint, const char* name);

// reserved -> prepared. False when the system refuses (overcommit, RLIMIT_DATA, cgroup); the
// range then stays reserved.
bool Prepare(uintptr_t address, size_t size);

// Reserve and Prepare in one; 0 on failure.
uintptr_t Map(size_t size, const char* name);

// ready -> prepared. True when the pages are certain to read as zero afterwards.
bool Decommit(uintptr_t address, size_t size);

// Whether a range may get huge pages where it is touched first, and later by the kernel's own
// thread. A kernel that does not know of them changes nothing.
void AllowHugePages(uintptr_t address, size_t size, bool allow);
inline constexpr size_t kHugePage = 2 * kMiB;
// The system gives them to who asks, and to nobody else ("madvise").
bool GivesHugePagesOnRequest();
// prepared -> ready, of all pages at once. False: some may be; the kernel is older than 5.14, or
// has no memory.
bool Populate(uintptr_t address, size_t size);
// prepared -> ready, of one huge page's place, if the system has one at hand. It is not made again
// later of what was decommitted, so that this stays with the system (max_ptes_none:
// golang/go#64332).
void PopulateHuge(uintptr_t address);

// any -> none.
void Release(uintptr_t address, size_t size);

// Moves `size` bytes of pages of a mapping to `to`, which is prepared; what was there is dropped,
// and `from` is left prepared (zero). False if the system cannot; then nothing was changed.
bool MovePages(uintptr_t from, uintptr_t to, size_t size);

void Name(uintptr_t address, size_t size, const char* name);

// For tests: called before each request for memory; returning true makes that request fail.
enum class Request { kReserve, kPrepare, kMap };
using FaultHook = bool (*)(Request, size_t size);
void SetFaultHook(FaultHook hook);

}  // namespace gcm::memory
