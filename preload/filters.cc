// Filters of system calls (seccomp) that the program installs for itself: one that kills would kill
// it for the calls that a collection makes, which the program never makes. From there on nothing is
// collected any more. Filters that were there at the start are not known, and are those of
// containers.
#include <linux/seccomp.h>
#include <sys/prctl.h>

#include <cstdarg>

#include "core/gc/collector.h"
#include "core/heap/heap.h"
#include "preload/family.h"
#include "preload/wrapped.h"

namespace gcm {

void BeforeFilter() {
  collector().Disable();
  EndCycleBeside();  // a filter may be for all threads
  heap().StopPopulating();
}

void BeforeSeccomp(long operation) {
  if (operation == SECCOMP_SET_MODE_STRICT || operation == SECCOMP_SET_MODE_FILTER) BeforeFilter();
}

}  // namespace gcm

extern "C" GCM_EXPORT int prctl(int option, ...) {
  va_list list;
  va_start(list, option);
  unsigned long a = va_arg(list, unsigned long), b = va_arg(list, unsigned long);
  unsigned long c = va_arg(list, unsigned long), d = va_arg(list, unsigned long);
  va_end(list);
  if (option == PR_SET_SECCOMP) gcm::BeforeFilter();
  return GCM_NEXT(prctl)(option, a, b, c, d);
}
