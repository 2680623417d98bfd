// Memory for the allocator's own records: bump allocation in mappings of their own, never between
// blocks of the program, never returned. Types with free lists build on it.
#pragma once

#include "platform/base.h"

namespace gcm::metadata {

// Zeroed memory, aligned to 64 bytes; nullptr when the system has none. Thread-safe.
void* Allocate(size_t size);

// A mapping of its own, registered as ours. For tables that grow by doubling. 0 on failure.
uintptr_t MapOwn(size_t size, const char* name);
// Reserved only; memory::Prepare makes pieces of it usable.
uintptr_t ReserveOwn(size_t size, uintptr_t hint, const char* name);
void ReleaseOwn(uintptr_t address, size_t size);

// Bytes mapped (not reserved) for metadata so far.
size_t MappedBytes();
void CountMapped(size_t size);

void ResetLock(bool own_only = false);

}  // namespace gcm::metadata
