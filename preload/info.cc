// What old daemons ask malloc about itself: mallinfo and its relatives, malloc_trim, mallopt.
#include <malloc.h>

#include <cerrno>
#include <cstdio>

#include "core/heap/heap.h"
#include "core/report/statistics.h"
#include "platform/clock.h"
#include "platform/message.h"

namespace {

struct mallinfo2 Info() {
  gcm::Statistics s = gcm::ledger().Collect();
  gcm::Unstoppable unstoppable;
  gcm::PageHeap::Counters pages = gcm::heap().pages().Count();
  struct mallinfo2 info {};
  info.arena = s.heap_mapped;
  info.ordblks = pages.runs;
  info.uordblks = s.heap_live;
  info.fordblks = s.heap_mapped - gcm::Min(s.heap_mapped, s.heap_live);
  info.keepcost = pages.resident_free_pages * gcm::kPageSize;
  return info;
}

}  // namespace

extern "C" {

GCM_EXPORT struct mallinfo2 mallinfo2(void) { return Info(); }

// The same in ints, which wrap, as glibc's do.
GCM_EXPORT struct mallinfo mallinfo(void) {
  struct mallinfo2 wide = Info();
  struct mallinfo info {};
  info.arena = static_cast<int>(wide.arena);
  info.ordblks = static_cast<int>(wide.ordblks);
  info.uordblks = static_cast<int>(wide.uordblks);
  info.fordblks = static_cast<int>(wide.fordblks);
  info.keepcost = static_cast<int>(wide.keepcost);
  return info;
}

GCM_EXPORT void malloc_stats(void) {
  struct mallinfo2 info = Info();
  gcm::Message m;
  m.Text("Arena 0:\nsystem bytes     = ").Decimal(info.arena);
  m.Text("\nin use bytes     = ").Decimal(info.uordblks);
  m.Text("\nTotal (incl. mmap):\nsystem bytes     = ").Decimal(info.arena);
  m.Text("\nin use bytes     = ").Decimal(info.uordblks);
  m.Text("\nmax mmap regions = 0\nmax mmap bytes   = 0").Write(2);
}

GCM_EXPORT int malloc_info(int options, FILE* stream) {
  if (options != 0) return EINVAL;
  // The numbers first: writing them may allocate.
  struct mallinfo2 info = Info();
  size_t rest = info.arena - info.uordblks;
  int n =
      fprintf(stream,
              "<malloc version=\"1\">\n<heap nr=\"0\">\n<sizes>\n</sizes>\n"
              "<total type=\"fast\" count=\"0\" size=\"0\"/>\n"
              "<total type=\"rest\" count=\"%zu\" size=\"%zu\"/>\n"
              "<system type=\"current\" size=\"%zu\"/>\n<system type=\"max\" size=\"%zu\"/>\n"
              "<aspace type=\"total\" size=\"%zu\"/>\n<aspace type=\"mprotect\" size=\"%zu\"/>\n"
              "</heap>\n<total type=\"fast\" count=\"0\" size=\"0\"/>\n"
              "<total type=\"rest\" count=\"%zu\" size=\"%zu\"/>\n"
              "<total type=\"mmap\" count=\"0\" size=\"0\"/>\n"
              "<system type=\"current\" size=\"%zu\"/>\n<system type=\"max\" size=\"%zu\"/>\n"
              "<aspace type=\"total\" size=\"%zu\"/>\n<aspace type=\"mprotect\" size=\"%zu\"/>\n"
              "</malloc>\n",
              info.ordblks, rest, info.arena, info.arena, info.arena, info.arena, info.ordblks,
              rest, info.arena, info.arena, info.arena, info.arena);
  return n < 0 ? -1 : 0;
}

// Gives all unused pages back at once. 1 if there were any.
GCM_EXPORT int malloc_trim(size_t) {
  gcm::heap().FlushCache();
  gcm::Unstoppable unstoppable;
  return gcm::heap().pages().Scavenge(gcm::clock::Coarse(), 0) > 0 ? 1 : 0;
}

// Nothing of what glibc lets tune exists here; 1 is success, which daemons insist on.
GCM_EXPORT int mallopt(int, int) { return 1; }

}  // extern "C"
