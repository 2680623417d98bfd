// The C API on top of the collector.
#include <cstring>

#include "core/api/gcmalloc.h"
#include "core/gc/blocking.h"
#include "core/gc/collector.h"
#include "core/heap/heap.h"
#include "core/report/statistics.h"

extern "C" {

GCM_EXPORT int gcmalloc_collect(void) { return gcm::collector().Collect("forced") ? 0 : -1; }

GCM_EXPORT void* gcmalloc_base(const void* p) {
  gcm::Range block;
  return gcm::heap().FindBlock(gcm::AddressOf(p), &block) ? gcm::PointerTo(block.lo) : nullptr;
}

GCM_EXPORT void gcmalloc_disable(void) { gcm::collector().Disable(); }
GCM_EXPORT void gcmalloc_enable(void) { gcm::collector().Enable(); }

GCM_EXPORT void gcmalloc_blocking(void (*fn)(void* data), void* data) {
  gcm::blocking::Run(fn, data);
}

GCM_EXPORT void gcmalloc_write_barrier(void* slot) { gcm::heap().NoteWrite(gcm::AddressOf(slot)); }

GCM_EXPORT const char* gcmalloc_version(void) { return GCM_VERSION; }

GCM_EXPORT int gcmalloc_get_stats(struct gcmalloc_stats* out) {
  if (out->size < sizeof(out->size)) return -1;
  gcm::Statistics s = gcm::ledger().Collect();
  gcmalloc_stats full{
      sizeof(full),     s.heap_mapped,   s.heap_used,       s.heap_live,        s.heap_released,
      s.metadata_bytes, s.cycles,        s.pause_p50,       s.pause_p99,        s.pause_p999,
      s.pause_max,      s.pause_total,   s.gc_cpu,          s.allocated_bytes,  s.allocated_objects,
      s.freed_bytes,    s.freed_objects, s.reclaimed_bytes, s.reclaimed_objects};
  full.size = out->size;
  memcpy(out, &full, gcm::Min(out->size, sizeof(full)));
  return 0;
}

}  // extern "C"
