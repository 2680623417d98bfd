// Sweeping: what is a block and not marked is free again, span by span. With the world stopped.
#pragma once

#include "core/gc/marker.h"

namespace gcm {

struct SweepResult {
  uint64_t reclaimed_objects;
  uint64_t reclaimed_bytes;
};

SweepResult Sweep(const ProtectedRanges& protected_ranges);

}  // namespace gcm
