// What a cycle has its team mark: from what was found, and once over all that is marked.
#include "core/base/options.h"
#include "core/gc/cycle.h"
#include "platform/clock.h"

namespace gcm {
namespace {

constexpr size_t kBatch = 64;
constexpr uint64_t kAlone = 50 * clock::kMicrosecond;

}  // namespace

bool Cycle::ScanRoots(bool whole) {
  RootScanner::Result result = roots_->ScanMemory(&markers_[0], &pages_[0], world(), whole);
  if (result.for_good) for_good_ = true;
  if (result.incomplete != nullptr) {
    why_ = result.incomplete;
    return !whole && !result.for_good;
  }
  record_.roots_bytes = result.bytes;
  if (!whole) last_roots_ = result.bytes;
  record_.stacks_bytes = result.stack_bytes;
  return true;
}

// What is little is done before helpers are awake.
bool Cycle::MarkAlone() {
  markers_[0].Drain(clock::Now() + kAlone);
  return AllIdle();
}

bool Cycle::AllIdle() const {
  for (unsigned i = 0; i < team_.members(); ++i) {
    if (!markers_[i].idle()) return false;
  }
  return marking_.shared.empty();
}

bool Cycle::Mark(uint64_t deadline, unsigned members) {
  if (AllIdle() || (members > 1 && MarkAlone())) return true;
  Job job{this, deadline};
  marking_.shared.Begin(Min(members, team_.members()));
  team_.Run(
      [](void* data, unsigned member) {
        auto* j = static_cast<Job*>(data);
        const uint64_t cpu = clock::ThreadCpu();
        if (!j->self->markers_[member].DrainTogether(j->deadline))
          j->complete.store(false, std::memory_order_relaxed);
        if (member != 0) j->cpu.fetch_add(clock::ThreadCpu() - cpu, std::memory_order_relaxed);
      },
      &job, members);
  record_.cpu += job.cpu.load(std::memory_order_relaxed);
  if (!job.complete.load(std::memory_order_relaxed)) return false;
  // A helper that did not take part now may have left something.
  return AllIdle() || Mark(deadline, team_.members());
}

// Some blocks were marked, but not kept for scanning: scans all marked blocks of the heap again.
void Cycle::Overflow() {
  while (marking_.overflowed.exchange(false, std::memory_order_relaxed)) {
    walk_.Begin();
    SpanWalk::Seen spans[kBatch];
    for (bool over = false; !over;) {
      const size_t n = walk_.Take(spans, kBatch, &over);
      for (size_t i = 0; i < n; ++i) {
        markers_[0].ScanMarked(spans[i]);
        markers_[0].Drain(UINT64_MAX);
      }
    }
  }
}

bool Cycle::Pass(uint64_t deadline) {
  Job job{this, deadline};
  const unsigned members = Min(Workers(), team_.members());
  marking_.shared.Begin(members);
  team_.Run(
      [](void* data, unsigned member) {
        auto* j = static_cast<Job*>(data);
        const uint64_t cpu = clock::ThreadCpu();
        Marker& marker = j->self->markers_[member];
        SpanWalk::Seen spans[kBatch];
        for (bool over = false; !over;) {
          if (clock::Now() >= j->deadline) {
            j->complete.store(false, std::memory_order_relaxed);
            break;
          }
          const size_t n = j->self->walk_.Take(spans, kBatch, &over);
          for (size_t i = 0; i < n; ++i) {
            // Where old pages were about to be armed, others may have been born, black.
            if (!j->self->selective_ || spans[i].arming != SpanArming::kEarly)
              marker.ScanMarked(spans[i]);
          }
          marker.Drain(j->deadline);
        }
        if (member != 0) j->cpu.fetch_add(clock::ThreadCpu() - cpu, std::memory_order_relaxed);
      },
      &job, members);
  record_.cpu += job.cpu.load(std::memory_order_relaxed);
  return job.complete.load(std::memory_order_relaxed);
}

void Cycle::StopMarking() {
  for (unsigned i = 0; i < team_.members(); ++i) {
    record_.heap_marked += markers_[i].counts().bytes;
    record_.marked_objects += markers_[i].counts().objects;
    record_.rescanned_bytes += markers_[i].counts().rescanned;
    markers_[i].End();
  }
  marking_.shared.Clear(&marking_.pool);
}

void Cycle::Verify(RootScanner::Caller caller) {
  if (!checkmark_.Begin()) return;
  marking_.checkmark = &checkmark_;
  Marker& marker = markers_[0];
  roots_->SetTracked(nullptr, roots_->large(), roots_->large_count());
  if (LookAtThreads(caller)) roots_->ScanMemory(&marker, &pages_[0], world(), true);
  Range block;
  while (checkmark_.Next(&block)) marker.ScanWhole(block);
  marking_.checkmark = nullptr;
  checkmark_.End();
}

}  // namespace gcm
