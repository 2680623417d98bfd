// Pointers that the kernel keeps for the program, as far as /proc shows them: the data of epoll
// registrations and the values of POSIX timers.
#pragma once

#include "core/gc/marker.h"

namespace gcm {

// With the world stopped. What cannot be read holds nothing that could be seen.
void ScanKernelRoots(Marker* marker);

}  // namespace gcm
