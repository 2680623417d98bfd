#include "platform/memory_map.h"

#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <sys/uio.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "platform/memory.h"
#include "platform/pagemap_scan.h"
#include "platform/syscall.h"
#include "platform/test_skip.h"

namespace gcm {
namespace {

bool StartsWith(const char* text, const char* prefix) {
  return strncmp(text, prefix, strlen(prefix)) == 0;
}

// What lies in /sys and /proc are devices' registers; vfio hands them out without a name.
bool IsDevice(const char* path) {
  if (StartsWith(path, "/sys/") || StartsWith(path, "/proc/")) return true;
  if (StartsWith(path, "anon_inode:[vfio")) return true;
  if (!StartsWith(path, "/dev/")) return false;
  return !StartsWith(path, "/dev/shm/") && !StartsWith(path, "/dev/zero") &&
         !StartsWith(path, "/dev/hugepages");
}

// Bits of an entry of pagemap.
constexpr uint64_t kEntryPresent = uint64_t{1} << 63, kEntrySwapped = uint64_t{1} << 62,
                   kEntryFile = uint64_t{1} << 61;

}  // namespace

MemoryMap::MemoryMap()
    : file_(File::OpenForReading("/proc/thread-self/maps")),
      lines_(&file_, buffer_, sizeof(buffer_)) {}

bool MemoryMap::Next(Mapping* mapping) {
  size_t length;
  while (char* line = lines_.Next(&length)) {
    if (!ParseMapping(line, mapping)) continue;
    if (mapping->range.Contains(AddressOf(reinterpret_cast<void*>(&ParseMapping)))) {
      saw_own_code_ = true;
    }
    return true;
  }
  return false;
}

bool ParseMapping(const char* line, Mapping* mapping) {
  const char* p = line;
  uint64_t lo, hi, ignored, major, inode;
  if (!ParseHex(&p, &lo) || *p++ != '-' || !ParseHex(&p, &hi) || *p++ != ' ') return false;
  if (strlen(p) < 5) return false;
  mapping->range = {lo, hi};
  mapping->readable = p[0] == 'r';
  mapping->writable = p[1] == 'w';
  mapping->executable = p[2] == 'x';
  mapping->shared = p[3] == 's';
  p += 5;
  if (!ParseHex(&p, &ignored) || *p++ != ' ') return false;
  if (!ParseHex(&p, &major) || *p++ != ':' || !ParseHex(&p, &ignored) || *p++ != ' ') {
    return false;
  }
  if (!ParseDecimal(&p, &inode)) return false;
  while (*p == ' ') ++p;
  mapping->inode = inode;
  mapping->on_disk = inode != 0 && major != 0;
  mapping->program_break = strcmp(p, "[heap]") == 0;
  mapping->memfd = StartsWith(p, "/memfd:");
  mapping->ring = StartsWith(p, "anon_inode:[io_uring]") || StartsWith(p, "/[aio]");
  mapping->device = IsDevice(p);
  mapping->keeps_offsets = strstr(p, "/libfontconfig.so") != nullptr;
  mapping->hides_blocks = strstr(p, "/libswipl.so") != nullptr;
  mapping->stack = strcmp(p, "[stack]") == 0;
  // [vvar], [vsyscall]: the kernel's data, which hold no pointer of the program.
  if (StartsWith(p, "[v")) {
    mapping->readable = false;
    mapping->device = true;
  }
  return true;
}

PageMap::PageMap(Of of) : file_(File::OpenForReading("/proc/thread-self/pagemap")), of_(of) {
  struct sysinfo info {};
  by_residence_ = !file_.ok() && !Skips(Skip::residence) && Syscall(SYS_sysinfo, &info) == 0 &&
                  info.totalswap == 0;
}

bool PageMap::NextRun(Range within, uintptr_t ahead, Range* run) {
  if (within.lo >= within.hi) return false;
  if (by_residence_) return ScanByResidence(within, run);
  if (ioctl_works_ && ScanByIoctl(within, ahead, run)) return true;
  if (ioctl_works_) return false;
  return ScanByEntries(within, run);
}

bool PageMap::ScanByResidence(Range within, Range* run) {
  const size_t page = memory::PageSize();
  unsigned char resident[4096];
  run->lo = run->hi = 0;
  for (uintptr_t at = within.lo; at < within.hi;) {
    const size_t count = Min(sizeof(resident), DivideUp(within.hi - at, page));
    if (!ResidentPages(at, count, resident)) {
      if (run->lo == 0) run->lo = at;
      break;
    }
    for (size_t i = 0; i < count; ++i, at += page) {
      const bool data = (resident[i] & 1) != 0;
      if (data && run->lo == 0) run->lo = at;
      if (!data && run->lo != 0) {
        run->hi = at;
        return true;
      }
    }
  }
  run->hi = within.hi;
  return run->lo != 0;
}

bool PageMap::ScanByIoctl(Range within, uintptr_t ahead, Range* run) {
  for (;;) {
    // Answers of an earlier call serve as long as they cover what is asked for now.
    if (within.lo >= answered_.lo && within.lo < answered_.hi) {
      while (next_ > 0 && regions_[next_ - 1].end > within.lo) --next_;
      while (next_ < count_ && regions_[next_].end <= within.lo) ++next_;
      if (next_ < count_) {
        if (regions_[next_].start >= within.hi) return false;
        *run = {Max<uintptr_t>(regions_[next_].start, within.lo),
                Min<uintptr_t>(regions_[next_].end, within.hi)};
        return true;
      }
      if (answered_.hi >= within.hi) return false;
      within.lo = answered_.hi;
    }
    pagemap_scan::Argument scan{};
    scan.size = sizeof(scan);
    scan.start = within.lo;
    scan.end = ahead;
    scan.vec = AddressOf(regions_);
    scan.vec_len = kBatch;
    const uint64_t unwanted =
        of_ == Of::kOwnData ? pagemap_scan::kIsFile | pagemap_scan::kIsZero : 0;
    // Guard regions count as swapped out; since Linux 6.15 they can be told.
    static std::atomic<uint64_t> guard{pagemap_scan::kIsGuard};
    scan.category_mask = unwanted | guard.load(std::memory_order_relaxed);
    scan.category_inverted = scan.category_mask;
    scan.category_anyof_mask = pagemap_scan::kIsPresent | pagemap_scan::kIsSwapped;
    scan.return_mask = pagemap_scan::kIsPresent;
    long n = Syscall(SYS_ioctl, file_.fd(), pagemap_scan::kRequest, &scan);
    if (n == -EINVAL && (scan.category_mask & pagemap_scan::kIsGuard) != 0) {
      guard.store(0, std::memory_order_relaxed);
      continue;
    }
    if (n < 0) {
      ioctl_works_ = false;
      return false;
    }
    count_ = static_cast<size_t>(n);
    next_ = 0;
    answered_ = {within.lo, Max<uintptr_t>(scan.walk_end, within.lo + 1)};
  }
}

bool PageMap::ScanByEntries(Range within, Range* run) {
  const size_t page = memory::PageSize();
  uint64_t entries[512];
  run->lo = run->hi = 0;
  for (uintptr_t at = within.lo; at < within.hi;) {
    size_t want = Min<size_t>(512, (within.hi - at) / page);
    long n = file_.ReadAt(entries, want * sizeof(uint64_t), at / page * sizeof(uint64_t));
    if (n < static_cast<long>(sizeof(uint64_t))) {  // unreadable: all of the rest may hold data
      if (run->lo == 0) run->lo = at;
      run->hi = within.hi;
      return true;
    }
    size_t got = static_cast<size_t>(n) / sizeof(uint64_t);
    for (size_t i = 0; i < got; ++i, at += page) {
      bool data = (entries[i] & (kEntryPresent | kEntrySwapped)) != 0 &&
                  (of_ == Of::kTouched || (entries[i] & kEntryFile) == 0);
      if (data && run->lo == 0) run->lo = at;
      if (!data && run->lo != 0) {
        run->hi = at;
        return true;
      }
    }
  }
  run->hi = within.hi;
  return run->lo != 0;
}

bool ResidentPages(uintptr_t from, size_t count, unsigned char* out) {
  return Syscall(SYS_mincore, from, count * memory::PageSize(), out) == 0;
}

long ReadOwnRanges(const Range* ranges, size_t count, void* to) {
  iovec remote[64];
  size_t sum = 0;
  for (size_t i = 0; i < count; ++i) {
    remote[i] = {PointerTo(ranges[i].lo), ranges[i].size()};
    sum += ranges[i].size();
  }
  iovec local{to, sum};
  long n = Syscall(SYS_process_vm_readv, Syscall(SYS_getpid), &local, 1, remote, count, 0);
  return n == -EFAULT ? 0 : n;
}

long ReadOwnMemory(uintptr_t from, void* to, size_t size) {
  iovec local{to, size};
  iovec remote{PointerTo(from), size};
  long n = Syscall(SYS_process_vm_readv, Syscall(SYS_getpid), &local, 1, &remote, 1, 0);
  if (n == -EFAULT) return 0;
  return n;
}

// Roles exchanged: the kernel looks up the pages of `to`, and reads `from` as it reads the buffer
// of any system call.
long ReadOwnMemoryDirectly(uintptr_t from, void* to, size_t size) {
  iovec local{PointerTo(from), size};
  iovec remote{to, size};
  long n = Syscall(SYS_process_vm_writev, Syscall(SYS_getpid), &local, 1, &remote, 1, 0);
  return n == -EFAULT ? 0 : n;
}

}  // namespace gcm
