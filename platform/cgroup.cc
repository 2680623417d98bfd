#include <cstring>

#include "platform/file.h"
#include "platform/message.h"
#include "platform/process.h"

namespace gcm::process {
namespace {

// A limit as the kernel writes it: a number, or "max".
size_t ReadLimit(const char* path) {
  char text[64];
  if (ReadSmallFile(path, text, sizeof(text)) <= 0) return SIZE_MAX;
  const char* p = text;
  uint64_t value;
  if (!ParseDecimal(&p, &value)) return SIZE_MAX;
  // Version 1 says "no limit" by a number just below 2^63.
  return value >= (uint64_t{1} << 62) ? SIZE_MAX : value;
}

// The least limit on the way from the group up to the root of the hierarchy at `mount`.
size_t TightestLimit(const char* mount, char* group, const char* file) {
  size_t tightest = SIZE_MAX;
  for (;;) {
    Message path;
    path.Text(mount).Text(group).Char('/').Text(file).Char('\0');
    tightest = Min(tightest, ReadLimit(path.data()));
    char* slash = strrchr(group, '/');
    if (slash == nullptr) return tightest;
    *slash = '\0';
  }
}

}  // namespace

size_t CgroupMemoryLimit() {
  char groups[4096];
  if (ReadSmallFile("/proc/self/cgroup", groups, sizeof(groups)) <= 0) return SIZE_MAX;
  size_t tightest = SIZE_MAX;
  for (char *line = groups, *next; line != nullptr; line = next) {
    next = strchr(line, '\n');
    if (next != nullptr) *next++ = '\0';
    // "0::/group" is version 2; "N:memory:/group" version 1.
    char* controllers = strchr(line, ':');
    char* group = controllers == nullptr ? nullptr : strchr(controllers + 1, ':');
    if (group == nullptr) continue;
    *group++ = '\0';
    if (strcmp(group, "/") == 0) *group = '\0';
    ++controllers;
    if (*controllers == '\0') {
      tightest = Min(tightest, TightestLimit("/sys/fs/cgroup", group, "memory.max"));
    } else if (strstr(controllers, "memory") != nullptr) {
      tightest =
          Min(tightest, TightestLimit("/sys/fs/cgroup/memory", group, "memory.limit_in_bytes"));
    }
  }
  return tightest;
}

}  // namespace gcm::process
