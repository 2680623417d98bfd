// Values that the program hands to the kernel and expects back, which the kernel shows to nobody
// meanwhile: those of queued signals and of message queues' notifications. They are remembered as
// they are handed over.
//
// Law: a value is a root from before the kernel has it until a collection that finds no signal of
// its number pending; that collection still keeps it, since the kernel may have written the value
// just then where the scan had been already. What is remembered is complemented: the table lies in
// memory that the root scan may see.
#pragma once

#include "core/gc/marker.h"
#include "core/gc/world.h"

namespace gcm::kernel_values {

// A signal with this value is about to be queued, or has been: to be called before and after, since
// a collection in between finds none pending. Safe in signal handlers. False without memory.
enum class Target { kProcess, kThread };
bool NoteQueued(int signal, uintptr_t value, Target target = Target::kProcess);

// The kernel will send this signal (0: run a function in a new thread) with this value when a
// message reaches the queue. The queue's former value, if any, may be pending by now. `more` are
// other words that only the kernel holds for the notification. False without memory.
struct Notification {
  static constexpr size_t kMore = 4;
  int signal = 0;
  uintptr_t value = 0;
  uintptr_t more[kMore] = {};
};
bool NoteNotification(int queue, const Notification& notification);
void DropNotification(int queue);
// Whether there are any. A queue forgets its notification when any descriptor of it is closed, a
// copy in another table, too.
bool HasNotifications();

// With the world stopped: marks all, and forgets what is not pending any more.
void Scan(Marker* marker, const World& world);

// A forked child inherits neither pending signals nor notifications.
void AfterForkInChild();

}  // namespace gcm::kernel_values
