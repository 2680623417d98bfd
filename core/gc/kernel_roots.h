// Pointers that the kernel keeps for the program: as far as /proc shows them, the data of epoll
// registrations and the values of POSIX timers; and what kernel_values.h remembers.
#pragma once

#include "core/gc/marker.h"
#include "core/gc/world.h"

namespace gcm {

// With the world stopped. What cannot be read holds nothing that could be seen. To be called before
// memory is scanned: what the kernel writes to a waiting thread's memory meanwhile is seen there.
void ScanKernelRoots(Marker* marker, const World& world);

}  // namespace gcm
