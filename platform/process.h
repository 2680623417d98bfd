// What the process is: its threads, limits, environment and forks.
#pragma once

#include "platform/base.h"

namespace gcm::process {

int Pid();
int ThreadId();

// Runs fn(data, tid) for every thread of the process, the caller's included, by the numbers that
// the process itself knows them by. A thread that is born during the walk may be missed: repeat
// until nothing new is seen. False without /proc. One caller at a time.
bool ForEachThread(void (*fn)(void* data, int tid), void* data);
// Runs fn(data, fd) for every descriptor whose link in /proc/thread-self/fd reads `target`.
void ForEachDescriptor(const char* target, void (*fn)(void* data, int fd), void* data);
// Threads in the process as the kernel counts them; 0 when unknown. Opens nothing.
unsigned ThreadCount();
// True if a thread of the process has the number. Opens nothing.
bool HasThread(int tid);
// The number by which /proc/self/task lists a thread: another than the process's own where /proc
// belongs to a namespace of processes further out. For threads that ForEachThread has shown.
int NumberInProc(int tid);
// The state letter of /proc/self/task/TID/stat ('R', 'S', 'D', 'Z', ...); 0 if it is gone.
char ThreadState(int tid);
// Page faults of all threads so far, those that have ended included; 0 when unknown. One counts
// when the kernel has resolved it; one of its own, on a thread's behalf, is the thread's.
uint64_t PageFaults();
// The signals that wait for the thread or for the whole process, bit n - 1 for signal n, whether
// blocked or not; all bits when that cannot be read.
uint64_t PendingSignals(int tid);

// The soft limit of a resource in bytes, SIZE_MAX when there is none.
size_t AddressSpaceLimit();

// Processors that the calling thread may run on; at least 1.
unsigned Processors();

// The calling thread's processor at this moment; -1 when unknown.
int Processor();
// From here on a thread of the process, which may run where the caller may, stays off this one
// processor; unless there is no other. For as long as it lives, or until it is told so anew. Does
// nothing where system calls are filtered: services are often denied this one, by death.
void KeepOff(int tid, int processor);

// True when the process runs with other rights than its caller's (setuid, file capabilities).
bool IsPrivileged();

// Bytes that the tightest memory cgroup allows; SIZE_MAX when there is none.
size_t CgroupMemoryLimit();

// True after a fork, in the child and its children.
bool IsForked();
// Tags the process: to be called at the start, and again in a forked child. The tag is on a page
// that the kernel wipes in a child, however that was forked.
void MarkParent();
// True in a forked child that has not been tagged yet.
bool WasForked();
// True in a child that shares its parent's memory (vfork): same tag page, another pid.
bool SharesParentMemory();

}  // namespace gcm::process
