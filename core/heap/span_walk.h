// A walk over all spans in bounded pieces, by several threads at once, while the program runs. What
// is seen of a span is true under the page heap's lock: none is born or given back meanwhile.
#pragma once

#include "core/heap/span.h"

namespace gcm {

// Of the pages in use, at the end of a cycle.
enum class Armed : uint8_t {
  kAll,
  kNoted,  // those of which Span::arming says so
  kKept,   // those, and what an earlier cycle has left armed of spans that hold small blocks
  kKeptOfAll
};
// What is to be done with a span's pages then.
enum class Aging : uint8_t { kNone, kArm, kDisarm };

class SpanWalk {
 public:
  // A span as it was. Its addresses stay readable, whatever becomes of it.
  struct Seen {
    Span* span;
    uintptr_t start;
    size_t size;          // bytes
    unsigned size_class;  // kLargeClass for a large block
    SpanArming arming;
  };

  // What lies in memory that the arena takes later is left out: who is born there knows of the
  // walk.
  void Begin();
  // Up to `capacity` spans in use, in the order of addresses. 0 and `*over`: there are no more.
  // With 0 alone there may be.
  size_t Take(Seen* out, size_t capacity, bool* over);
  // Calls Heap::ResetMarks for some spans, or Blacken to keep those that are set; and without
  // `armed` none of them counts as armed. True: there are no more.
  bool ResetSome(bool keep, bool armed = false);
  // Calls Heap::Age for some spans, of which it reports those that something is to be done with, at
  // most `capacity`.
  struct Aged {
    Range pages;
    bool arm;
  };
  size_t AgeSome(Armed armed, Aged* out, size_t capacity, bool* over);
  // Calls Heap::ArmEarly, or ArmLate, for some spans; reports the pages to be armed, up to
  // `capacity` runs. kLateBesideKept: what stays armed counts as kEarly.
  enum class Arming : uint8_t { kEarly, kLate, kLateBesideKept };
  size_t ArmSome(Arming arming, Range* out, size_t capacity, bool* over);

  // Where it has come to: the number of an extent, and an address in it.
  size_t extent() const { return extent_; }
  uintptr_t at() const { return at_; }
  bool IsBefore(size_t extent, uintptr_t at) const {
    return extent_ < extent || (extent_ == extent && at_ < at);
  }

 private:
  template <typename Fn>
  bool ForSome(size_t capacity, Fn fn);
  size_t extent_ = 0;
  uintptr_t at_ = 0;
  size_t extents_ = 0;
  uintptr_t last_ready_ = 0;  // of the last of them
};

}  // namespace gcm
