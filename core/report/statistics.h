// What is counted, over the life of the process and in one cycle, and how it is written out
// (SPEC section 6). Nothing here allocates.
#pragma once

#include <atomic>

#include "platform/base.h"
#include "platform/dirty_pages.h"
#include "platform/mutex.h"

namespace gcm {

struct CycleRecord {
  // Stops of the world; when there are more, the longest.
  static constexpr unsigned kMostPauses = 100;
  void AddPause(uint64_t nanoseconds);

  uint64_t number;
  uint64_t start;      // nanoseconds after the library's start
  bool minor = false;  // the marks of the cycle before were kept
  const char* reason;  // "growth", "early", "forced", "limit", "interval", "stress", "memory"
  uint64_t threads;    // stopped, with the collecting one
  uint64_t mark, sweep, cpu;         // nanoseconds
  uint64_t heap_before, heap_after;  // bytes of pages in use
  uint64_t heap_marked, heap_goal;
  uint64_t roots_bytes, stacks_bytes;
  uint64_t marked_objects, reclaimed_objects, reclaimed_bytes;
  uint64_t released_bytes;
  uint64_t taken;  // bytes of slots taken meanwhile
  uint64_t dirty_pages, rescanned_bytes;
  DirtySource dirty_source = DirtySource::kNone;
  unsigned workers;
  uint64_t pauses[kMostPauses];  // nanoseconds
  unsigned pause_count;
  uint64_t pause_total, pause_first;
  uint64_t duration;  // from the beginning to the end
};

// Pauses by their length: eight steps a doubling, so that a quantile is exact to an eighth.
class PauseHistogram {
 public:
  void Add(uint64_t nanoseconds);
  uint64_t Quantile(double q) const;  // nanoseconds; 0 when there was none
  uint64_t max() const { return max_; }
  uint64_t total() const { return total_; }
  uint64_t count() const { return count_; }

 private:
  static constexpr unsigned kBuckets = 64 * 8;
  static unsigned BucketOf(uint64_t n);
  static uint64_t UpperBound(unsigned bucket);
  uint32_t buckets_[kBuckets] = {};
  uint64_t count_ = 0, max_ = 0, total_ = 0;
};

struct Statistics {
  uint64_t heap_mapped, heap_used, heap_live, heap_released, metadata_bytes;
  uint64_t cycles, pause_p50, pause_p99, pause_p999, pause_max, pause_total;  // nanoseconds
  uint64_t gc_cpu;                                                            // nanoseconds
  uint64_t allocated_bytes, allocated_objects, freed_bytes, freed_objects;
  uint64_t reclaimed_bytes, reclaimed_objects;
};

class Ledger {
 public:
  void Start();  // the library's start, for the times of the trace
  void AddCycle(const CycleRecord& cycle);
  void AddPause(uint64_t nanoseconds);
  uint64_t start_time() const { return start_; }
  uint64_t cycles() const { return cycles_; }  // by the collector
  // Walks the heap for what is live. Any thread, not in a signal handler.
  Statistics Collect();

  // A line for the cycle wherever the options want it: in files while the world is stopped, since
  // nobody counts, closes or replaces the descriptor then; on standard error afterwards, since the
  // program itself may be its reader.
  void TraceToFiles(const CycleRecord& cycle);
  void TraceToStandardError(const CycleRecord& cycle);
  // One line "gc skipped: WHY" in the trace.
  void TraceSkipped(const char* why);
  // The file of GCMALLOC_STATS, at exit or when it is due. `final` ignores the time.
  void WriteStatistics(bool final);
  void AfterForkInChild() { lock_.Reset(); }

 private:
  bool TakeTurn(bool final, bool metrics);

  Mutex lock_;  // of all below but start_; the last in rank, and taken within an Unstoppable
  uint64_t start_ = 0;
  uint64_t cycles_ = 0;
  uint64_t gc_cpu_ = 0;
  uint64_t written_at_ = 0;
  PauseHistogram pauses_;
};

Ledger& ledger();

}  // namespace gcm
