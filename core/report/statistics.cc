#include "core/report/statistics.h"

#include "core/base/metadata.h"
#include "core/heap/heap.h"
#include "platform/clock.h"

namespace gcm {

Ledger& ledger() {
  static constinit Ledger instance;
  return instance;
}

unsigned PauseHistogram::BucketOf(uint64_t n) {
  if (n < 8) return static_cast<unsigned>(n);
  unsigned log = 63 - static_cast<unsigned>(__builtin_clzll(n));
  return (log - 2) * 8 + static_cast<unsigned>(n >> (log - 3) & 7);
}

uint64_t PauseHistogram::UpperBound(unsigned bucket) {
  if (bucket < 8) return bucket;
  unsigned log = bucket / 8 + 2;
  return (uint64_t{1} << log) + (uint64_t{bucket % 8 + 1} << (log - 3)) - 1;
}

void PauseHistogram::Add(uint64_t nanoseconds) {
  ++buckets_[Min(BucketOf(nanoseconds), kBuckets - 1)];
  ++count_;
  total_ += nanoseconds;
  max_ = Max(max_, nanoseconds);
}

uint64_t PauseHistogram::Quantile(double q) const {
  uint64_t wanted = static_cast<uint64_t>(q * static_cast<double>(count_));
  uint64_t seen = 0;
  for (unsigned b = 0; b < kBuckets; ++b) {
    seen += buckets_[b];
    if (buckets_[b] != 0 && seen > wanted) return Min(UpperBound(b), max_);
  }
  return max_;
}

void Ledger::Start() {
  start_ = clock::Now();
  written_at_ = start_;
}

void Ledger::AddCycle(const CycleRecord& cycle) {
  LockGuard guard(lock_);
  cycles_ = cycle.number;
  gc_cpu_ += cycle.cpu;
}

void Ledger::AddPause(uint64_t nanoseconds) {
  LockGuard guard(lock_);
  pauses_.Add(nanoseconds);
}

void CycleRecord::AddPause(uint64_t nanoseconds) {
  pause_total += nanoseconds;
  if (pause_count == 0) pause_first = nanoseconds;
  unsigned place = pause_count;
  if (pause_count == kMostPauses) {
    place = 0;
    for (unsigned i = 1; i < kMostPauses; ++i) {
      if (pauses[i] < pauses[place]) place = i;
    }
    if (pauses[place] >= nanoseconds) return;
  } else {
    ++pause_count;
  }
  pauses[place] = nanoseconds;
}

Statistics Ledger::Collect() {
  Statistics s{};
  Unstoppable unstoppable;
  PageHeap& pages = heap().pages();
  PageHeap::Counters pc = pages.Count();
  uint64_t live_objects = 0;
  {
    LockGuard guard(pages.lock());
    pages.ForEachSpan([&](Span* span) {
      if (span->large()) {
        ++live_objects;
        s.heap_live += span->BlockSize();
        return;
      }
      unsigned live = 0;
      for (unsigned w = 0; w < span->words(); ++w)
        live += static_cast<unsigned>(__builtin_popcountll(span->Blocks(w)));
      live_objects += live;
      s.heap_live += uint64_t{live} * span->slot_size;
    });
  }
  s.heap_mapped = pages.arena().grown_bytes();
  s.heap_used = pc.in_use_pages * kPageSize;
  s.heap_released = pc.released_total_bytes;
  s.metadata_bytes = metadata::MappedBytes();
  s.freed_bytes = heap().freed_bytes();
  s.freed_objects = heap().freed_objects();
  const Sweeper::Result reclaimed = heap().sweeper().total();
  s.reclaimed_bytes = reclaimed.bytes;
  s.reclaimed_objects = reclaimed.objects;
  LockGuard guard(lock_);
  s.cycles = cycles_;
  s.pause_p50 = pauses_.Quantile(0.5);
  s.pause_p99 = pauses_.Quantile(0.99);
  s.pause_p999 = pauses_.Quantile(0.999);
  s.pause_max = pauses_.max();
  s.pause_total = pauses_.total();
  s.gc_cpu = gc_cpu_;
  // What was ever allocated is live, freed or reclaimed: no counter on the path of malloc.
  s.allocated_bytes = s.heap_live + s.freed_bytes + s.reclaimed_bytes;
  s.allocated_objects = live_objects + s.freed_objects + s.reclaimed_objects;
  return s;
}

}  // namespace gcm
