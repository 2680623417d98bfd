// Where /proc is: by its name, or, in a process that has changed its root to where there is none,
// behind a descriptor that was kept from before.
#pragma once

#include "platform/base.h"

namespace gcm::proc {

// Opens a file below /proc by its full name. "/proc/thread-self" is the calling thread, also where
// the thread that the process began with has ended, and "/proc/self" is an empty shell; and it is
// the caller of work that is done apart. The descriptor, or -errno.
int Open(const char* path, int flags);

// As stat, readlink: nothing is opened. The former gives the link count and the device.
bool CountLinks(const char* path, uint64_t* links, uint64_t* device);
long ReadLink(const char* path, char* buffer, size_t size);

// "PID/task/TID" of the calling thread, in the numbers of that /proc. False without /proc.
bool OwnDirectory(char* buffer, size_t size);

// Around a change of the root directory. Keep holds on to /proc; Settle lets go of it again where
// the new root has one, or the change has failed.
void Keep();
void Settle();
bool IsKept(int fd);
int KeptNumber();  // -1: none is kept

}  // namespace gcm::proc
