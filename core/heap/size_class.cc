#include "core/heap/size_class.h"

namespace gcm {

unsigned ClassForAligned(size_t request, size_t alignment) {
  unsigned best = kLargeClass;
  for (unsigned c = 0; c < kClasses; ++c) {
    const SizeClass& k = kSizeClasses.classes[c];
    if (k.size > request && k.size % alignment == 0 &&
        (best == kLargeClass || k.size < kSizeClasses.classes[best].size)) {
      best = c;
    }
  }
  return best;
}

}  // namespace gcm
