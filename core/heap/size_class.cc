#include "core/heap/size_class.h"

namespace gcm {

namespace {

// The classes up to this size are the multiples of 16. Of larger ones the common classes are odd
// multiples of it; the even ones come behind those, in their order.
constexpr size_t kAllMultiples = 256;

}  // namespace

unsigned ClassForAligned(size_t request, size_t alignment) {
  const size_t size = RoundUp(request + 1, alignment);
  if (size <= kAllMultiples) return static_cast<unsigned>(size / 16) - 1;
  for (unsigned c = kCommonClasses; c < kClasses; ++c) {
    const size_t even = kSizeClasses.classes[c].size;
    if (even > request && (even & (alignment - 1)) == 0) return c;
  }
  return kLargeClass;
}

}  // namespace gcm
