#include "platform/process.h"

#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "platform/memory.h"
#include "platform/syscall.h"

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

namespace gcm::process {
namespace {

struct TagPage {
  int pid;
};
TagPage* g_tag = nullptr;
bool g_marked = false;
bool g_forked = false;

// Where the calling thread may run, of up to 1024 processors; nowhere where the kernel has more.
struct Affinity {
  uint64_t mask[16] = {};
  int size = static_cast<int>(Syscall(SYS_sched_getaffinity, 0, sizeof(mask), mask));  // bytes
};

}  // namespace

int Pid() { return static_cast<int>(Syscall(SYS_getpid)); }
int ThreadId() { return static_cast<int>(Syscall(SYS_gettid)); }

size_t AddressSpaceLimit() {
  rlimit limit{};
  if (Syscall(SYS_prlimit64, 0, RLIMIT_AS, nullptr, &limit) != 0) return SIZE_MAX;
  return limit.rlim_cur == RLIM_INFINITY ? SIZE_MAX : static_cast<size_t>(limit.rlim_cur);
}

unsigned Processors() {
  Affinity affinity;
  unsigned count = 0;
  for (const uint64_t word : affinity.mask)
    count += static_cast<unsigned>(__builtin_popcountll(word));
  return Max(count, 1u);
}

int Processor() {
  unsigned processor = 0;
  if (Syscall(SYS_getcpu, &processor, nullptr, nullptr) != 0) return -1;
  return static_cast<int>(processor);
}

void KeepOff(int tid, int processor) {
  if (Syscall(SYS_prctl, PR_GET_SECCOMP, 0, 0, 0, 0) != 0) return;
  Affinity affinity;
  if (processor < 0 || processor >= affinity.size * 8) return;
  affinity.mask[processor / 64] &= ~(uint64_t{1} << processor % 64);
  for (const uint64_t word : affinity.mask) {
    if (word == 0) continue;
    Syscall(SYS_sched_setaffinity, tid, affinity.size, affinity.mask);
    return;
  }
}

uint64_t PageFaults() {
  rusage usage{};
  if (Syscall(SYS_getrusage, RUSAGE_SELF, &usage) != 0) return 0;
  return static_cast<uint64_t>(usage.ru_minflt) + static_cast<uint64_t>(usage.ru_majflt);
}

bool IsPrivileged() { return getauxval(AT_SECURE) != 0; }

// A child that libc knows nothing of has only lost its tag.
bool IsForked() { return g_forked || (g_tag != nullptr && LoadRelaxed(&g_tag->pid) == 0); }

void MarkParent() {
  g_forked = g_marked;
  g_marked = true;
  if (g_tag == nullptr) {
    uintptr_t page = memory::Map(memory::PageSize(), "gcmalloc: fork tag");
    if (page == 0) return;
    if (Syscall(SYS_madvise, page, memory::PageSize(), MADV_WIPEONFORK) != 0) {
      memory::Release(page, memory::PageSize());
      return;
    }
    g_tag = PointerTo<TagPage>(page);
  }
  g_tag->pid = Pid();
}

bool WasForked() { return g_tag != nullptr && LoadRelaxed(&g_tag->pid) == 0; }

bool SharesParentMemory() {
  if (g_tag == nullptr) return false;
  int pid = LoadRelaxed(&g_tag->pid);
  return pid != 0 && pid != Pid();
}

}  // namespace gcm::process
