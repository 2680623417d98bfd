// Central lists: spans of slots that no thread owns, because theirs has ended. A thread that needs
// a span of a class takes one from here before it asks the page heap.
#pragma once

#include "core/heap/span.h"
#include "platform/mutex.h"

namespace gcm {

class Sweeper;

class CentralLists {
 public:
  // A span with free slots, owned by `owner` from now on; nullptr when there is none.
  Span* Take(unsigned size_class, uintptr_t owner);
  // The span has no owner from now on. An empty one goes back to the page heap.
  void Give(Span* span);
  // Takes over the remote bits of a span without an owner. False: it has one (again).
  bool Settle(Span* span);
  // Sweeps a span without an owner. False: it has one (again).
  bool Sweep(Span* span, Sweeper* sweeper);

  // In rank order, around a fork.
  void LockAll();
  void UnlockAll();
  void ResetLocks(bool own_only = false);

 private:
  struct alignas(64) List {
    Mutex lock;
    SpanQueue partial;
  };
  bool ListByFree(List& list, Span* span);
  // Under the class's lock: the span is in use as one of that class, and nobody's.
  static bool IsUnowned(const Span* span, unsigned size_class);
  List lists_[kClasses];
};

}  // namespace gcm
