#include "platform/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <atomic>
#include <cstring>

#include "platform/file.h"
#include "platform/memory.h"
#include "platform/message.h"
#include "platform/syscall.h"

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

namespace gcm::process {
namespace {

struct DirectoryEntry {
  uint64_t inode;
  int64_t offset;
  unsigned short length;
  unsigned char type;
  char name[];
};

struct TagPage {
  int pid;
};
TagPage* g_tag = nullptr;
bool g_marked = false;
bool g_forked = false;

}  // namespace

int Pid() { return static_cast<int>(Syscall(SYS_getpid)); }
int ThreadId() { return static_cast<int>(Syscall(SYS_gettid)); }

namespace {

// fn(data, number) for each entry of a directory whose name is a number. False: it cannot be read.
template <typename Fn>
bool ForEachNumber(const char* directory, Fn fn) {
  long fd = Syscall(SYS_openat, AT_FDCWD, directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return false;
  alignas(16) char buffer[4096];
  long n;
  while ((n = Syscall(SYS_getdents64, fd, buffer, sizeof(buffer))) > 0) {
    for (long at = 0; at < n;) {
      auto* entry = reinterpret_cast<DirectoryEntry*>(buffer + at);
      const char* p = entry->name;
      uint64_t number;
      if (ParseDecimal(&p, &number) && *p == '\0') fn(static_cast<int>(number));
      at += entry->length;
    }
  }
  Syscall(SYS_close, fd);
  return n == 0;
}

}  // namespace

bool ForEachThread(void (*fn)(void* data, int tid), void* data) {
  return ForEachNumber("/proc/self/task", [&](int tid) { fn(data, tid); });
}

void ForEachDescriptor(const char* target, void (*fn)(void* data, int fd), void* data) {
  const size_t length = strlen(target);
  ForEachNumber("/proc/self/fd", [&](int fd) {
    Message path;
    path.Text("/proc/self/fd/").Decimal(static_cast<uint64_t>(fd)).Char('\0');
    char link[64];
    long n = Syscall(SYS_readlinkat, AT_FDCWD, path.data(), link, sizeof(link));
    if (n == static_cast<long>(length) && memcmp(link, target, length) == 0) fn(data, fd);
  });
}

unsigned ThreadCount() {
  // The number of links of the task directory is 2 + threads; stat's field is cheaper to get.
  char text[1024];
  if (ReadSmallFile("/proc/self/stat", text, sizeof(text)) <= 0) return 0;
  const char* p = strrchr(text, ')');
  if (p == nullptr) return 0;
  for (int field = 2; field < 20; ++field) {
    p = strchr(p + 1, ' ');
    if (p == nullptr) return 0;
  }
  ++p;
  uint64_t count = 0;
  return ParseDecimal(&p, &count) ? static_cast<unsigned>(count) : 0;
}

char ThreadState(int tid) {
  Message path;
  path.Text("/proc/self/task/").Decimal(static_cast<uint64_t>(tid)).Text("/stat", 6);
  char text[512];
  if (ReadSmallFile(path.data(), text, sizeof(text)) <= 0) return 0;
  const char* p = strrchr(text, ')');
  return p != nullptr && p[1] == ' ' ? p[2] : '\0';
}

uint64_t PendingSignals(int tid) {
  Message path;
  path.Text("/proc/self/task/").Decimal(static_cast<uint64_t>(tid)).Text("/status", 8);
  File file = File::OpenForReading(path.data());
  char buffer[256];  // longer lines (the groups) are cut
  LineReader lines(&file, buffer, sizeof(buffer));
  uint64_t pending = 0, mask;
  int found = 0;
  size_t length;
  while (file.ok() && found < 2) {
    const char* p = lines.Next(&length);
    if (p == nullptr) break;
    if (strncmp(p, "SigPnd:\t", 8) != 0 && strncmp(p, "ShdPnd:\t", 8) != 0) continue;
    if (!ParseHex(&(p += 8), &mask)) break;
    pending |= mask;
    ++found;
  }
  return found == 2 ? pending : ~uint64_t{0};
}

size_t AddressSpaceLimit() {
  rlimit limit{};
  if (Syscall(SYS_prlimit64, 0, RLIMIT_AS, nullptr, &limit) != 0) return SIZE_MAX;
  return limit.rlim_cur == RLIM_INFINITY ? SIZE_MAX : static_cast<size_t>(limit.rlim_cur);
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

bool SharesParentMemory() {
  if (g_tag == nullptr) return false;
  int pid = LoadRelaxed(&g_tag->pid);
  return pid != 0 && pid != Pid();
}

}  // namespace gcm::process
