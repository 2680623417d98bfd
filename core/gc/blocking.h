// Waiting in the kernel with one's stack and registers published (Go's entersyscall): the world can
// be stopped without a signal to the thread, whose call then neither ends early nor is restarted.
//
// Law: nothing of the program runs in a published state. The program's signal handlers leave it
// and come back to it (HandlerScope); unwinding leaves it for good.
#pragma once

#include "core/heap/thread_cache.h"

namespace gcm::blocking {

// Sets the hooks of the layers below. While one thread runs.
void Start();
// The function behind which handlers of the program run, each within a HandlerScope. While the
// process has others, published threads are signalled like all. While one thread runs.
void SetTrampoline(uintptr_t handler);

// Runs fn(data), which waits in the kernel, touches no memory of the heap but through it, and does
// not allocate. What it holds must lie in the frames of its callers. Safe in signal handlers.
// Nested calls publish nothing.
void Run(void (*fn)(void* data), void* data);

// From now on a thread proves that its cache is its own before it publishes: somebody has made a
// process or thread that shares another's thread-local storage.
void Distrust();

// Around a handler of the program: the interrupted thread may have been published.
class HandlerScope {
 public:
  HandlerScope();
  ~HandlerScope();
  HandlerScope(const HandlerScope&) = delete;
  HandlerScope& operator=(const HandlerScope&) = delete;

 private:
  ThreadCache* cache_;
  uintptr_t state_ = 0;
};

// Around a vfork: the child runs on the caller's stack and in its memory, and allocates from its
// cache, if it must. Nothing is collected meanwhile.
void EnterVfork();
void LeaveVfork();

// A number that grows when a process that shares this one's memory may have written to it: a vfork
// child that is gone, or one that nobody knows of.
uint64_t OthersWrites();

}  // namespace gcm::blocking
