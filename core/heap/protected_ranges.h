// Parts of the heap that the program has protected: they are read by other means, and never reused.
#pragma once

#include "platform/base.h"

namespace gcm {

struct ProtectedRanges {
  static constexpr size_t kCapacity = 256;
  Range ranges[kCapacity];
  size_t count = 0;
  bool overflow = false;  // more than that: every block counts as protected

  void Clear() {
    count = 0;
    overflow = false;
  }
  void Add(Range r) {
    if (count < kCapacity) {
      ranges[count++] = r;
    } else {
      overflow = true;
    }
  }
  bool Overlaps(Range r) const {
    if (overflow) return true;
    for (size_t i = 0; i < count; ++i) {
      if (r.lo < ranges[i].hi && ranges[i].lo < r.hi) return true;
    }
    return false;
  }
};

}  // namespace gcm
