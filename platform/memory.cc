#include "platform/memory.h"

#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sysinfo.h>

#include <atomic>
#include <cstring>

#include "platform/dirty_mprotect.h"
#include "platform/file.h"
#include "platform/syscall.h"

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

namespace gcm::memory {
namespace {

std::atomic<FaultHook> g_fault_hook{nullptr};

bool Refused(Request request, size_t size) {
  FaultHook hook = g_fault_hook.load(std::memory_order_relaxed);
  return GCM_UNLIKELY(hook != nullptr) && hook(request, size);
}

uintptr_t MapAnonymous(uintptr_t hint, size_t size, int protection, int flags) {
  long result =
      Syscall(SYS_mmap, hint, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
  return SyscallFailed(result) ? 0 : static_cast<uintptr_t>(result);
}

}  // namespace

void SetFaultHook(FaultHook hook) { g_fault_hook.store(hook, std::memory_order_relaxed); }

size_t PageSize() {
  static std::atomic<size_t> cached{0};
  size_t size = cached.load(std::memory_order_relaxed);
  if (GCM_UNLIKELY(size == 0)) {
    size = getauxval(AT_PAGESZ);
    if (size == 0) size = 4096;
    cached.store(size, std::memory_order_relaxed);
  }
  return size;
}

void Name(uintptr_t address, size_t size, const char* name) {
  // Refused by kernels before 5.17 and by those built without the option: a name is only a help.
  Syscall(SYS_prctl, PR_SET_VMA, PR_SET_VMA_ANON_NAME, address, size, name);
}

uintptr_t Reserve(size_t size, uintptr_t hint, const char* name) {
  if (Refused(Request::kReserve, size)) return 0;
  uintptr_t address = MapAnonymous(hint, size, PROT_NONE, MAP_NORESERVE);
  if (address != 0) Name(address, size, name);
  return address;
}

namespace {

// What the kernel's heuristic (vm.overcommit_memory = 0) refuses to any malloc: more in one piece
// than there is memory and swap. Our mappings are not counted one by one, because a heap is one
// mapping, and a fork would be refused as soon as it is large.
bool ObviousOvercommit(size_t size) {
  if (size < kGiB) return false;
  struct sysinfo info {};
  if (Syscall(SYS_sysinfo, &info) != 0) return false;
  if (size / info.mem_unit <= info.totalram + info.totalswap) return false;
  char mode[8];
  return ReadSmallFile("/proc/sys/vm/overcommit_memory", mode, sizeof(mode)) > 0 && mode[0] == '0';
}

}  // namespace

bool Prepare(uintptr_t address, size_t size) {
  if (size == 0) return true;
  if (ObviousOvercommit(size)) return false;
  if (Refused(Request::kPrepare, size)) return false;
  return Syscall(SYS_mprotect, address, size, PROT_READ | PROT_WRITE) == 0;
}

uintptr_t Map(size_t size, const char* name) {
  if (Refused(Request::kMap, size)) return 0;
  uintptr_t address = MapAnonymous(0, size, PROT_READ | PROT_WRITE, 0);
  if (address != 0) Name(address, size, name);
  return address;
}

bool Decommit(uintptr_t address, size_t size) {
  return Syscall(SYS_madvise, address, size, MADV_DONTNEED) == 0;
}

void AllowHugePages(uintptr_t address, size_t size, bool allow) {
  Syscall(SYS_madvise, address, size, allow ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

bool GivesHugePagesOnRequest() {
  char modes[64];
  const long n = ReadSmallFile("/sys/kernel/mm/transparent_hugepage/enabled", modes, sizeof(modes));
  return n > 0 && strstr(modes, "[madvise]") != nullptr &&
         Syscall(SYS_prctl, PR_GET_THP_DISABLE, 0, 0, 0, 0) == 0;
}

void PopulateHuge(uintptr_t address) {
  AllowHugePages(address, kHugePage, true);
  // MADV_POPULATE_WRITE would look at each small page: twenty times as long.
  *static_cast<volatile char*>(PointerTo(address)) = 0;
  AllowHugePages(address, kHugePage, false);
}

bool Populate(uintptr_t address, size_t size) {
  return Syscall(SYS_madvise, address, size, MADV_POPULATE_WRITE) == 0;
}

void Release(uintptr_t address, size_t size) { Syscall(SYS_munmap, address, size); }

bool MovePages(uintptr_t from, uintptr_t to, size_t size) {
#ifdef MREMAP_DONTUNMAP
  dirty_mprotect::Moving moving({from, from + size}, {to, to + size});
  long result =
      Syscall(SYS_mremap, from, size, size, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, to);
  return !SyscallFailed(result);
#else
  return false;
#endif
}

}  // namespace gcm::memory
