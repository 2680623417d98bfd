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
