// The descriptors of this library, in a table that is the program's: how they keep out of its way.
//
// Laws:
//  - A descriptor of ours is close-on-exec and high-numbered: the lowest free number is the
//    program's next one. It has a low one only for the moment between two system calls.
//  - It lives for one reading or writing, as far as can be while the world is stopped.
//  - Where the program runs meanwhile, it may close it or put another file in its place: who uses
//    one then asks first whether it is still the same file.
#pragma once

#include "platform/base.h"

namespace gcm::descriptor {

// Opens for `flags` and moves up. The descriptor, or -errno.
int Open(int directory, const char* path, int flags);

// Moves a descriptor to the lowest free number from `floor` on, if there is one.
int MoveUp(int fd, int floor);

// Moves what another call has opened to where ours lie.
int MoveUp(int fd);

// What a descriptor refers to.
struct Identity {
  uint64_t device = 0;
  uint64_t inode = 0;
};
bool Identify(int fd, Identity* identity);
bool IsSame(int fd, const Identity& identity);

// Numbers from this on are refused: the process's limit (RLIMIT_NOFILE), as it is now.
size_t Limit();

// False: the process, or the system, has not room for so many more (at most 16).
bool HasRoomFor(unsigned count);

}  // namespace gcm::descriptor
