// The addresses that are gcmalloc's own: the arena and its metadata. The root scan leaves them
// out, so that a pointer of the allocator to a block keeps nothing alive.
#pragma once

#include "platform/base.h"

namespace gcm {

class OwnRanges {
 public:
  // Adds a range; ranges that touch are joined. False when the list is full and cannot grow.
  // Thread-safe.
  static bool Add(Range range);

  // Takes a range out again, before its addresses go back to the system.
  static void Remove(Range range);

  // Copies the list, sorted, to `out`; returns its length, which may exceed `capacity` (then only
  // `capacity` were copied). To be called with the world stopped, or for statistics.
  static size_t Snapshot(Range* out, size_t capacity);
  static size_t Count();

  // A forked child: nobody else holds the lock.
  static void ResetLock(bool own_only = false);
};

}  // namespace gcm
