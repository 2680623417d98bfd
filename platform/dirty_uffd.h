// Dirty tracking by userfaultfd with asynchronous write protection and PAGEMAP_SCAN (Linux 6.7):
// the kernel resolves the fault of a first write itself, also its own writes', and notes it in the
// page's entry. Needs no privilege. The functions are those of DirtyPages (platform/dirty_pages.h).
//
// Law: "clean" is believed only of a mapping that the kernel says is tracked. A userfaultfd that is
// closed, or memory that was mapped anew or moved, leaves mappings untracked, and they are
// reported.
#pragma once

#include "platform/dirty_pages.h"

namespace gcm::dirty_uffd {

// False: the kernel is too old or forbids it, or no descriptor is free. Nothing stays open.
bool Open(dirty::Tracker* tracker);
// On pages of its own: what is written is reported, by whomever, and nothing else is.
bool Prove(const dirty::Tracker& tracker);

bool Track(const dirty::Tracker& tracker, Range range);
void Untrack(const dirty::Tracker& tracker, Range range);
void UntrackEmpty(const dirty::Tracker& tracker, Range range);
bool Arm(const dirty::Tracker& tracker, Range range);
void Disarm(const dirty::Tracker& tracker, Range range);
uintptr_t Fetch(const dirty::Tracker& tracker, Range range, bool rearm, dirty::Visit fn,
                void* data);

}  // namespace gcm::dirty_uffd
