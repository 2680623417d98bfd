#include "core/base/own_ranges.h"

#include <cstring>

#include "platform/memory.h"
#include "platform/mutex.h"

namespace gcm {
namespace {

// The list lives in a mapping of its own, which is its first entry.
struct List {
  Mutex lock;
  Range* ranges = nullptr;
  size_t count = 0;
  size_t capacity = 0;
};
List g_list;

// Sorted insertion, joining neighbours.
void Insert(Range range) {
  size_t i = 0;
  while (i < g_list.count && g_list.ranges[i].hi < range.lo) ++i;
  size_t j = i;
  for (; j < g_list.count && g_list.ranges[j].lo <= range.hi; ++j) {
    range.lo = Min(range.lo, g_list.ranges[j].lo);
    range.hi = Max(range.hi, g_list.ranges[j].hi);
  }
  if (j != g_list.count)
    memmove(g_list.ranges + i + 1, g_list.ranges + j, (g_list.count - j) * sizeof(Range));
  g_list.ranges[i] = range;
  g_list.count = g_list.count - (j - i) + 1;
}

bool GrowList() {
  size_t bytes = Max(memory::PageSize(), g_list.capacity * 2 * sizeof(Range));
  uintptr_t place = memory::Map(bytes, "gcmalloc: own ranges");
  if (place == 0) return false;
  Range* old = g_list.ranges;
  if (old != nullptr) memcpy(PointerTo(place), old, g_list.count * sizeof(Range));
  g_list.ranges = PointerTo<Range>(place);
  g_list.capacity = bytes / sizeof(Range);
  Insert({place, place + bytes});
  // The old list stays listed: what is mapped there later may be scanned only when it is not ours,
  // so it is kept, not unmapped; all lists together are less than twice the last one.
  return true;
}

}  // namespace

bool OwnRanges::Add(Range range) {
  LockGuard guard(g_list.lock);
  if (g_list.count + 2 > g_list.capacity && !GrowList()) return false;
  Insert(range);
  return true;
}

void OwnRanges::Remove(Range range) {
  LockGuard guard(g_list.lock);
  for (size_t i = 0; i < g_list.count; ++i) {
    Range& r = g_list.ranges[i];
    if (!r.Contains(range.lo)) continue;
    Range behind{range.hi, r.hi};
    r.hi = range.lo;
    if (r.size() == 0) {
      memmove(&r, &r + 1, (--g_list.count - i) * sizeof(Range));
    }
    // Add left room for one more entry than it needed.
    if (behind.size() != 0) Insert(behind);
    return;
  }
}

size_t OwnRanges::Snapshot(Range* out, size_t capacity) {
  LockGuard guard(g_list.lock);
  memcpy(out, g_list.ranges, Min(capacity, g_list.count) * sizeof(Range));
  return g_list.count;
}

size_t OwnRanges::Count() {
  LockGuard guard(g_list.lock);
  return g_list.count;
}

void OwnRanges::ResetLock(bool own_only) { g_list.lock.Reset(own_only); }

}  // namespace gcm
