// Where the stacks of a stopped world begin, by address: the map is walked once, and each mapping
// asks which stack pointers and control blocks lie in it.
#pragma once

#include "core/gc/world.h"
#include "platform/memory_map.h"

namespace gcm {

class StackIndex {
 public:
  // With the world stopped; the calling thread's own pair is given. False: no memory.
  bool Build(const World& world, uintptr_t own_sp, uintptr_t own_tls);

  // Where in a mapping live data begin. The main thread's stack and a mapping that the C library
  // made for one thread (its control block lies at the upper end, a guard below) hold nothing else;
  // in any other, what lies below a stack pointer may be somebody else's.
  uintptr_t LiveStart(const Mapping& mapping, bool guarded) const;
  // A thread pointer within the range, 0 if there is none.
  uintptr_t ThreadPointerIn(Range range) const;

 private:
  struct Pair {
    uintptr_t key, value;
  };
  const Pair* LowerBound(const Pair* pairs, uintptr_t key) const;

  size_t count_ = 0;
  size_t capacity_ = 0;
  Pair* by_sp_ = nullptr;   // value: the thread pointer
  Pair* by_tls_ = nullptr;  // value: the stack pointer
};

}  // namespace gcm
