// Dirty tracking by soft-dirty bits: "4" written to /proc/self/clear_refs clears them for the whole
// process, and bit 55 of a page's entry in pagemap is set by the next write, whoever makes it.
// There are kernels without it, where clearing succeeds and the bit is never set.
//
// Laws:
//  - The first Arm after Start clears, for all ranges at once and under the kernel's lock for the
//    whole time; later ones only say that their range has been clean since. After a Disarm of any
//    range all count as written until the next Start, since a second clearing would lose writes.
//  - Pages of hugetlbfs have no such bit of their own: they are not for tracking.
#pragma once

#include "platform/dirty_pages.h"

namespace gcm::dirty_softdirty {

// The first run of written pages among `count` entries of pagemap from entry `from` on: [*first,
// *last). False: there is none.
bool NextRun(const uint64_t* entries, size_t count, size_t from, size_t* first, size_t* last);

// False: no page map. Nothing stays open.
bool Open(dirty::Tracker* tracker);
// On pages of its own. Clears the bits of the process only if the kernel has any.
bool Prove(const dirty::Tracker& tracker);

bool Arm(dirty::Tracker* tracker);
void Disarm(dirty::Tracker* tracker);
uintptr_t Fetch(const dirty::Tracker& tracker, Range range, dirty::Visit fn, void* data);

}  // namespace gcm::dirty_softdirty
