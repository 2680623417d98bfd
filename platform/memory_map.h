// The process's own memory map, as the kernel tells it: mappings from /proc/thread-self/maps, and
// which of their pages hold data. For the root scan; nothing here allocates.
#pragma once

#include "platform/base.h"
#include "platform/file.h"
#include "platform/pagemap_scan.h"

namespace gcm {

struct Mapping {
  Range range;
  bool readable;
  bool writable;
  bool executable;
  bool shared;
  bool device;         // a device's memory, where reading may have effects, or the kernel's data
  bool keeps_offsets;  // a library that is known to keep distances instead of addresses
  bool hides_blocks;   // a library that is known to keep addresses outside of its blocks
  bool stack;          // the main thread's
  bool program_break;
  bool memfd;
  bool ring;       // of requests and answers, shared with the kernel: io_uring's, aio's
  bool on_disk;    // a file of a file system on a block device
  uint64_t inode;  // 0: private anonymous memory; memfds and shared anonymous memory have one
  bool file_backed() const { return inode != 0; }
};

// Walks the map in the order of addresses. A mapping that changes during the walk may be seen in
// its old or its new shape.
class MemoryMap {
 public:
  MemoryMap();
  bool ok() const { return file_.ok(); }
  bool Next(Mapping* mapping);
  // After the last mapping: false when the map was cut short, or was another's or nobody's (it must
  // hold the code that reads it).
  bool IsWhole() const { return saw_own_code_ && !lines_.failed(); }

 private:
  File file_;
  bool saw_own_code_ = false;
  char buffer_[4096 + 512];  // a path may have 4096 bytes
  LineReader lines_;
};

// Parses one line of that file. Public for its test.
bool ParseMapping(const char* line, Mapping* mapping);

// Which pages of a private mapping hold data of the process's own: resident or swapped out, and
// neither the zero page nor an unmodified page of a file. Or, for a shared mapping of a file, which
// pages the process has touched and not lost again.
class PageMap {
 public:
  enum class Of { kOwnData, kTouched };
  explicit PageMap(Of of = Of::kOwnData);
  // False: nothing can be told, every page must be taken for one that holds data.
  bool ok() const { return file_.ok() || by_residence_; }
  // Whether what holds no data costs nothing, however large it is (Linux 6.7). Known after a
  // question.
  bool fast() const { return ioctl_works_; }
  // Answers from before are out of date.
  void Forget() {
    count_ = next_ = 0;
    answered_ = {};
  }
  // The first run of such pages within `within`; false when there is none. Answers are fetched
  // ahead, for addresses up to `ahead` (>= within.hi): one system call serves many mappings.
  bool NextRun(Range within, uintptr_t ahead, Range* run);

 private:
  bool ScanByIoctl(Range within, uintptr_t ahead, Range* run);
  bool ScanByEntries(Range within, Range* run);
  bool ScanByResidence(Range within, Range* run);

  File file_;
  // A process that has changed its user may not open its own page map. Where there is no swap, what
  // is not resident holds nothing; pages of files that are resident are taken along.
  bool by_residence_ = false;
  const Of of_;
  bool ioctl_works_ = true;
  // The answers to one system call, for the runs that follow.
  static constexpr size_t kBatch = 512;
  pagemap_scan::Region regions_[kBatch];
  size_t count_ = 0;
  size_t next_ = 0;
  Range answered_{};
};

// Copies memory of this process that may fault when read, `count` ranges (at most 64) one after
// the other to `to`. Returns the bytes copied: less than the ranges' sum where a page cannot be
// read. -errno if the kernel refuses the service as such.
long ReadOwnRanges(const Range* ranges, size_t count, void* to);

// As ReadOwnRanges, for one range. Returns the bytes copied: less than
// `size` where a page cannot be read; 0 if the first cannot. -errno if the kernel refuses the
// service as such.
long ReadOwnMemory(uintptr_t from, void* to, size_t size);

// As ReadOwnMemory, by the processor's own access instead of by looking up pages: also where they
// are none that the kernel knows as memory, as in the rings of older kernels. Not for devices'
// memory.
long ReadOwnMemoryDirectly(uintptr_t from, void* to, size_t size);

// As ReadOwnMemory, also where the pages are protected against reading, by /proc/thread-self/mem.
class ProtectedMemory {
 public:
  ProtectedMemory() : file_(File::OpenForReading("/proc/thread-self/mem")) {}
  bool ok() const { return file_.ok(); }
  long Read(uintptr_t from, void* to, size_t size) { return file_.ReadAt(to, size, from); }

 private:
  File file_;
};

// Which pages of a shared mapping are resident, in one answer for [from, from + count pages):
// a byte for each, its lowest bit set when resident. False: nothing can be told.
bool ResidentPages(uintptr_t from, size_t count, unsigned char* out);

}  // namespace gcm
