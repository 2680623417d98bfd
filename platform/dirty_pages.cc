#include "platform/dirty_pages.h"

#include <fcntl.h>

#include <atomic>

#include "platform/dirty_mprotect.h"
#include "platform/dirty_softdirty.h"
#include "platform/dirty_uffd.h"
#include "platform/memory.h"
#include "platform/proc.h"
#include "platform/process.h"
#include "platform/syscall.h"
#include "platform/test_skip.h"

namespace gcm {
namespace {

uint8_t BitOf(DirtySource source) {
  return static_cast<uint8_t>(1u << static_cast<unsigned>(source));
}

void CloseIfOurs(int* fd, const descriptor::Identity& identity) {
  if (*fd >= 0 && descriptor::IsSame(*fd, identity)) Syscall(SYS_close, *fd);
  *fd = -1;
}

}  // namespace

const char* NameOf(DirtySource source) {
  switch (source) {
    case DirtySource::kAuto:
      return "auto";
    case DirtySource::kUffd:
      return "uffd";
    case DirtySource::kSoftDirty:
      return "softdirty";
    case DirtySource::kMprotect:
      return "mprotect";
    case DirtySource::kNone:
      break;
  }
  return "none";
}

namespace dirty {

bool Tracker::OpenPagemap() {
  pagemap = proc::Open("/proc/thread-self/pagemap", O_RDONLY);
  if (pagemap >= 0 && descriptor::Identify(pagemap, &pagemap_identity)) return true;
  pagemap = -1;
  return false;
}

void Tracker::Close() {
  CloseIfOurs(&fd, fd_identity);
  CloseIfOurs(&pagemap, pagemap_identity);
}

}  // namespace dirty

#ifdef GCM_TEST_HOOKS
namespace {

// Pages that Fetch has reported and re-armed, by their numbers, of which some share a bit.
class ForgottenPages {
 public:
  bool Contains(uintptr_t address) {
    return (Word(address)->load(std::memory_order_relaxed) & Bit(address)) != 0;
  }
  void Add(Range range) {
    for (; range.lo < range.hi; range.lo += memory::PageSize()) {
      Word(range.lo)->fetch_or(Bit(range.lo), std::memory_order_relaxed);
    }
  }
  void Remove(Range range) {
    for (; range.lo < range.hi; range.lo += memory::PageSize()) {
      Word(range.lo)->fetch_and(~Bit(range.lo), std::memory_order_relaxed);
    }
  }

 private:
  static constexpr size_t kWords = size_t{1} << 18;  // 64 GiB of pages
  using Words = std::atomic<uint64_t>;
  Words* Word(uintptr_t address) { return &words_[address / memory::PageSize() / 64 % kWords]; }
  static uint64_t Bit(uintptr_t address) {
    return uint64_t{1} << address / memory::PageSize() % 64;
  }
  Words words_[kWords];
};
constinit ForgottenPages g_forgotten{};

struct Forgetting {
  bool rearm;
  dirty::Visit fn;
  void* data;
};

bool VisitRemembered(void* data, Range run) {
  auto* f = static_cast<Forgetting*>(data);
  const size_t page = memory::PageSize();
  for (uintptr_t at = run.lo; at < run.hi; at += page) {
    if (g_forgotten.Contains(at)) continue;
    if (f->rearm) g_forgotten.Add({at, at + page});
    if (!f->fn(f->data, {at, at + page})) return false;
  }
  return true;
}

}  // namespace
#endif

bool DirtyPages::Open(DirtySource source) {
  const uint8_t bit = BitOf(source);
  if ((refused_ & bit) != 0) return false;
  switch (source) {
    case DirtySource::kUffd:
      if (!dirty_uffd::Open(&tracker_)) return false;
      if ((proven_ & bit) == 0 && !dirty_uffd::Prove(tracker_)) break;
      proven_ |= bit;
      return true;
    case DirtySource::kSoftDirty:
      if (!dirty_softdirty::Open(&tracker_)) return false;
      if ((proven_ & bit) == 0 && !dirty_softdirty::Prove(tracker_)) break;
      proven_ |= bit;
      return true;
    case DirtySource::kMprotect:
      if (!dirty_mprotect::Open()) return false;
      if ((proven_ & bit) != 0 || dirty_mprotect::Prove()) {
        proven_ |= bit;
        return true;
      }
      dirty_mprotect::Close();
      break;
    default:
      return false;
  }
  refused_ |= bit;
  tracker_.Close();
  return false;
}

bool DirtyPages::StillWorks() const {
  if (source_ == DirtySource::kMprotect) return dirty_mprotect::StillWorks();
  return tracker_.HasPagemap() && (source_ == DirtySource::kSoftDirty || tracker_.HasFd());
}

DirtySource DirtyPages::Start(DirtySource wanted) {
  const bool in_force =
      source_ != DirtySource::kNone &&
      (wanted == source_ || (wanted == DirtySource::kAuto && source_ != DirtySource::kMprotect));
  tracker_.armed = dirty::Armed::kNo;
  if (in_force && StillWorks()) return source_;
  Stop();
  for (DirtySource source : {DirtySource::kUffd, DirtySource::kSoftDirty, DirtySource::kMprotect}) {
    if (wanted != source && (wanted != DirtySource::kAuto || source == DirtySource::kMprotect)) {
      continue;
    }
    if (!Open(source)) continue;
    source_ = source;
    break;
  }
  return source_;
}

void DirtyPages::Stop() {
  if (source_ == DirtySource::kMprotect) dirty_mprotect::Close();
  tracker_.Close();
  source_ = DirtySource::kNone;
}

bool DirtyPages::Track(Range range) {
  switch (source_) {
    case DirtySource::kUffd:
      return dirty_uffd::Track(tracker_, range);
    case DirtySource::kMprotect:
      return dirty_mprotect::Track(range);
    case DirtySource::kSoftDirty:
      return true;
    default:
      return false;
  }
}

void DirtyPages::Untrack(Range range) {
  switch (source_) {
    case DirtySource::kUffd:
      return dirty_uffd::Untrack(tracker_, range);
    case DirtySource::kMprotect:
      return dirty_mprotect::Untrack(range);
    default:
      return;
  }
}

void DirtyPages::UntrackEmpty(Range range) {
  if (source_ == DirtySource::kUffd) return dirty_uffd::UntrackEmpty(tracker_, range);
  Untrack(range);
}

bool DirtyPages::Arm(Range range) {
#ifdef GCM_TEST_HOOKS
  if (Skips(Skip::rearm)) g_forgotten.Remove(range);
#endif
  switch (source_) {
    case DirtySource::kUffd:
      return dirty_uffd::Arm(tracker_, range);
    case DirtySource::kSoftDirty:
      return dirty_softdirty::Arm(&tracker_);
    case DirtySource::kMprotect:
      return dirty_mprotect::Arm(range);
    default:
      return false;
  }
}

void DirtyPages::Disarm(Range range) {
  switch (source_) {
    case DirtySource::kUffd:
      return dirty_uffd::Disarm(tracker_, range);
    case DirtySource::kSoftDirty:
      return dirty_softdirty::Disarm(&tracker_);
    case DirtySource::kMprotect:
      return dirty_mprotect::Disarm(range);
    default:
      return;
  }
}

// Whoever writes to a protected page faults, and the fault counts when the page's entry has been
// changed. With the other sources nothing can be saved.
uint64_t DirtyPages::Writes() const {
  const uint64_t faults = source_ == DirtySource::kUffd && StillWorks() ? process::PageFaults() : 0;
  return faults != 0 ? faults : ~uint64_t{0} - asked_++;
}

uintptr_t DirtyPages::Fetch(Range range, bool rearm, Visit fn, void* data) {
  if (Skips(Skip::dirty)) return range.hi;
#ifdef GCM_TEST_HOOKS
  Forgetting forgetting{rearm, fn, data};
  if (Skips(Skip::rearm)) {
    fn = VisitRemembered;
    data = &forgetting;
  }
#endif
  switch (source_) {
    case DirtySource::kUffd:
      return dirty_uffd::Fetch(tracker_, range, rearm, fn, data);
    case DirtySource::kSoftDirty:
      return dirty_softdirty::Fetch(tracker_, range, fn, data);
    case DirtySource::kMprotect:
      return dirty_mprotect::Fetch(range, rearm, fn, data);
    default:
      if (range.lo < range.hi) fn(data, range);
      return range.hi;
  }
}

void DirtyPages::AfterForkInChild() {
  if (source_ == DirtySource::kMprotect) dirty_mprotect::AfterForkInChild();
  Stop();
  proven_ = refused_ = 0;
}

}  // namespace gcm
