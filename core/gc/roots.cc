#include "core/gc/roots.h"

#include <signal.h>

#include <cstring>

#include "core/base/metadata.h"
#include "core/base/own_ranges.h"
#include "core/gc/kernel_roots.h"
#include "platform/memory.h"
#include "platform/process.h"
#include "platform/registers.h"
#include "platform/syscall.h"

namespace gcm {
namespace {

// Where the kernel is asked for each page.
constexpr size_t kMostUnreadable = 256 * kMiB;

}  // namespace

bool RootScanner::PrepareBuffers() {
  if (buffer_ == nullptr) {
    buffer_ = static_cast<char*>(metadata::Allocate(kBufferSize));
    if (buffer_ == nullptr) return false;
  }
  for (size_t count = OwnRanges::Count(); count > own_capacity_; count = OwnRanges::Count()) {
    own_ = static_cast<Range*>(metadata::Allocate(2 * count * sizeof(Range)));
    if (own_ == nullptr) {
      own_capacity_ = 0;
      return false;
    }
    own_capacity_ = 2 * count;
  }
  own_count_ = OwnRanges::Snapshot(own_, own_capacity_);
  return true;
}

// What the threads hold outside of memory. A stack, or an alternate stack for signals that only the
// kernel knows, may lie in a block; those of the other threads are in what was saved of them.
bool RootScanner::ScanThreads(Marker* marker, const World& world, Caller caller) {
  if (caller.sp != 0) {
    caller.sp += Skips(Skip::own_registers) ? kSpilledBytes : 0;
    stack_t alternate{};
    Syscall(SYS_sigaltstack, nullptr, &alternate);
    if (!Skips(Skip::alternate_stack)) marker->MarkWord(AddressOf(alternate.ss_sp));
    if (!Skips(Skip::stack_pointer)) marker->MarkWord(caller.sp);
  }
  for (size_t i = 0; i < world.thread_count(); ++i) {
    const StoppedThread& t = world.thread(i);
    if (!Skips(Skip::stack_pointer)) marker->MarkWord(t.sp);
    if (!Skips(Skip::registers)) marker->ScanWords(t.saved.lo, t.saved.hi);
  }
  return stacks_.Build(world, caller.sp, caller.tls);
}

RootScanner::Result RootScanner::ScanMemory(Marker* marker, PageMap* pages, const World& world,
                                            bool whole) {
  result_ = {};
  marker_ = marker;
  marking_ = marker->marking();
  whole_ = whole;
  added_ = 0;
  if (!whole) large_count_ = 0;
  if (!PrepareBuffers()) return result_;
  MemoryMap map;
  if (!map.ok()) return result_;
  pages_ = pages;
  pages_->Forget();
  code_ = ring_ = false;
  pending_count_ = pending_bytes_ = 0;
  if (whole) ScanKernelRoots(marker_, world);
  kinds_ = {};
  Mapping mapping;
  Range previous{};
  bool previous_readable = true;
  while (map.Next(&mapping)) {
    if (mapping.hides_blocks) {
      result_.incomplete = "libswipl keeps addresses outside of its blocks (core/HOSTS.md)";
      result_.for_good = true;
      return result_;
    }
    bool guarded = previous.hi == mapping.range.lo && !previous_readable;
    ScanMapping(mapping, guarded);
    previous = mapping.range;
    previous_readable = mapping.readable;
  }
  Flush();
  if (map.IsWhole()) result_.incomplete = nullptr;
  return result_;
}

void RootScanner::SetTracked(DirtyPages* dirty, const Range* ranges, size_t count) {
  dirty_ = dirty;
  if (ranges != large_ && count != 0) memcpy(large_, ranges, count * sizeof(Range));
  large_count_ = count;
}

void RootScanner::ScanLarge(Range range) {
  pages_->Forget();
  code_ = ring_ = false;
  ScanRuns(pages_, range, range.hi);
  Flush();
}

// Of [range) what is tracked is looked at where it was written, the rest is as it was.
void RootScanner::ScanTracked(Range range) {
  struct Job {
    RootScanner* self;
  } job{this};
  auto visit = [](void* data, Range run) {
    static_cast<Job*>(data)->self->Add(run);
    return true;
  };
  dirty_->Fetch(range, false, visit, &job);
}

void RootScanner::NoteProtected(const Mapping& mapping) {
  const Arena& arena = heap().pages().arena();
  for (size_t i = 0; i < arena.extent_count(); ++i) {
    Range part{Max(mapping.range.lo, arena.extent(i).start),
               Min(mapping.range.hi, arena.extent(i).ready)};
    if (part.lo < part.hi) marking_->protected_ranges.Add(part);
  }
}

void RootScanner::ScanMapping(const Mapping& mapping, bool guarded) {
  if (mapping.keeps_offsets) marking_->offsets = true;
  if (whole_ && (!mapping.readable || !mapping.writable)) NoteProtected(mapping);
  if (mapping.device) return;
  if (!mapping.readable) return ScanUnreadable(mapping);
  if (mapping.shared && !mapping.writable && !mapping.executable) return;
  const uintptr_t tls = kTestHooks ? stacks_.ThreadPointerIn(mapping.range) : 0;
  if (kinds_.LeavesOut(mapping, tls != 0)) return;
  const bool code = mapping.executable && !Skips(Skip::code_bytes);
  if (code_ != code || ring_ != mapping.ring) Flush();
  code_ = code;
  ring_ = mapping.ring;
  Range range = mapping.range;
  range.lo = stacks_.LiveStart(mapping, guarded);
  const bool stack = range.lo != mapping.range.lo;
  if (Skips(Skip::main_stack) && mapping.stack) return;
  if (Skips(Skip::thread_stack) && stack && tls != 0)
    range.lo = Max(range.lo, tls - RootKinds::kStorage);
  const uint64_t before = added_;
  Pages pages = Pages::kOwnData;
  if (!mapping.shared && !mapping.file_backed() && !mapping.executable && mapping.writable)
    pages = Pages::kPrivate;
  if (mapping.shared)
    pages = mapping.on_disk && !process::IsForked() ? Pages::kTouched : Pages::kResident;
  if (Skips(Skip::thread_data) && tls != 0) {
    ScanOutsideOwn({range.lo, Max(range.lo, tls - RootKinds::kStorage)}, pages);
    range.lo = Min(range.hi, tls + RootKinds::kDescriptor);
  }
  ScanOutsideOwn(range, pages);
  if (stack) result_.stack_bytes += added_ - before;
}

// Most of what cannot be read is reserved and empty, and may be very large.
void RootScanner::ScanUnreadable(const Mapping& mapping) {
  if (mapping.shared || !pages_->ok()) return;
  if (!pages_->fast() && mapping.range.size() > kMostUnreadable) return;
  unreadable_ = true;
  ScanOutsideOwn(mapping.range, Pages::kOwnData);
  unreadable_ = false;
}

void RootScanner::ScanOutsideOwn(Range range, Pages pages) {
  for (size_t i = 0; i < own_count_ && range.lo < range.hi; ++i) {
    if (own_[i].hi <= range.lo) continue;
    if (own_[i].lo >= range.hi) break;
    if (own_[i].lo > range.lo) ScanPresent({range.lo, own_[i].lo}, own_[i].lo, pages);
    range.lo = own_[i].hi;
  }
  if (range.lo >= range.hi) return;
  // The kernel refuses an answer that reaches into the last page.
  uintptr_t ahead = SideTables::kAddressEnd - memory::PageSize();
  for (size_t i = own_count_; i-- > 0 && own_[i].lo >= range.hi;) ahead = own_[i].lo;
  ScanPresent(range, ahead, pages);
}

void RootScanner::ScanPresent(Range range, uintptr_t ahead, Pages pages) {
  if (pages == Pages::kPrivate) {
    if (!whole_ && range.size() >= kWorthTracking && range.size() <= kTooLarge &&
        large_count_ < kMostTracked)
      large_[large_count_++] = range;
    for (size_t i = 0; whole_ && dirty_ != nullptr && i < large_count_; ++i) {
      // In the order of addresses, and a mapping may have changed since.
      const Range part{Max(range.lo, large_[i].lo), Min(range.hi, large_[i].hi)};
      if (part.lo >= part.hi) continue;
      if (range.lo < part.lo) ScanRuns(pages_, {range.lo, part.lo}, part.lo);
      ScanTracked(part);
      range.lo = part.hi;
    }
    if (range.lo >= range.hi) return;
    return ScanRuns(pages_, range, ahead);
  }
  if (pages == Pages::kOwnData) return ScanRuns(pages_, range, ahead);
  if (pages == Pages::kTouched) {
    PageMap touched(PageMap::Of::kTouched);
    return ScanRuns(&touched, range, range.hi);
  }
  const size_t page = memory::PageSize();
  unsigned char resident[4096];
  for (uintptr_t at = RoundDown(range.lo, page); at < range.hi;) {
    size_t count = Min(sizeof(resident), DivideUp(range.hi - at, page));
    bool known = ResidentPages(at, count, resident);
    for (size_t i = 0; i < count; ++i, at += page) {
      if (known && (resident[i] & 1) == 0) continue;
      Add({Max(at, range.lo), Min(at + page, range.hi)});
    }
  }
}

void RootScanner::ScanRuns(PageMap* pages, Range range, uintptr_t ahead) {
  if (!pages->ok()) return Add(range);
  // What is ours may begin and end in the midst of a page.
  const size_t page = memory::PageSize();
  Range rest{RoundDown(range.lo, page), RoundUp(range.hi, page)}, run;
  while (pages->NextRun(rest, RoundUp(ahead, page), &run)) {
    rest.lo = run.hi;
    run = {Max(run.lo, range.lo), Min(run.hi, range.hi)};
    if (!unreadable_) {
      Add(run);
      continue;
    }
    marker_->ScanProtected(run.lo, run.hi);
    result_.bytes += run.size();
  }
}

void RootScanner::ScanReadable(uintptr_t lo, uintptr_t hi) {
  if (code_) {
    marker_->ScanBytes(lo, hi);
  } else {
    marker_->ScanWords(lo, hi);
  }
}

void RootScanner::Add(Range range) {
  added_ += range.size();
  if (range.size() > kBufferSize / 2) return ScanCopy(range);
  if (pending_count_ == kPending || pending_bytes_ + range.size() > kBufferSize) Flush();
  pending_[pending_count_++] = range;
  pending_bytes_ += range.size();
}

// Many small ranges by one system call; one by one where that fails.
void RootScanner::Flush() {
  const size_t count = pending_count_, bytes = pending_bytes_;
  pending_count_ = pending_bytes_ = 0;
  if (count == 0) return;
  if (!read_refused_ && ReadOwnRanges(pending_, count, buffer_) == static_cast<long>(bytes)) {
    uintptr_t at = AddressOf(buffer_);
    for (size_t i = 0; i < count; ++i) {
      ScanReadable(at, at + pending_[i].size());
      at += pending_[i].size();
    }
    result_.bytes += bytes;
    return;
  }
  for (size_t i = 0; i < count; ++i) ScanCopy(pending_[i]);
}

// Bytes of [from, from + size) that came to the buffer; 0 where the first page cannot be read. -1:
// nothing copies for us, and memory has to be read as it is.
long RootScanner::Read(uintptr_t from, size_t size) {
  long n = read_refused_ ? -1 : ReadOwnMemory(from, buffer_, size);
  if (n == 0 && ring_) n = ReadOwnMemoryDirectly(from, buffer_, size);
  if (n >= 0) return n;
  read_refused_ = true;
  ProtectedMemory memory;
  return memory.ok() ? Max(0L, memory.Read(from, buffer_, size)) : -1;
}

void RootScanner::ScanCopy(Range range) {
  const size_t page = memory::PageSize();
  while (range.lo < range.hi) {
    // Words may straddle two pieces only at strides below the word: pieces overlap by a word then.
    long n = Read(range.lo, Min(range.size(), kBufferSize));
    if (n < 0) {
      ScanReadable(range.lo, range.hi);
      result_.bytes += range.size();
      return;
    }
    if (n == 0) {
      range.lo = RoundDown(range.lo, page) + page;
      continue;
    }
    size_t got = static_cast<size_t>(n);
    ScanReadable(AddressOf(buffer_), AddressOf(buffer_) + got);
    result_.bytes += got;
    range.lo += got > 8 && got < range.size() ? got - 8 : got;
  }
}

}  // namespace gcm
