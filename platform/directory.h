// Directories of /proc whose entries are numbers: threads, descriptors.
#pragma once

#include "platform/descriptor.h"
#include "platform/file.h"
#include "platform/syscall.h"

namespace gcm::directory {

enum class Walk { kDone, kNoDescriptor, kFailed };

struct Entry {
  uint64_t inode;
  int64_t offset;
  unsigned short length;
  unsigned char type;
  char name[];
};

// fn(number) for each entry whose name is a number. The program may run meanwhile: before each read
// it is made sure that the descriptor is still this directory's.
template <typename Fn>
Walk ForEachNumber(const char* path, Fn fn) {
  File file = File::OpenDirectory(path);
  if (!file.ok()) return file.LackedDescriptor() ? Walk::kNoDescriptor : Walk::kFailed;
  descriptor::Identity identity;
  if (!descriptor::Identify(file.fd(), &identity)) return Walk::kFailed;
  alignas(16) char buffer[4096];
  for (;;) {
    if (!descriptor::IsSame(file.fd(), identity)) return Walk::kFailed;
    long n = Syscall(SYS_getdents64, file.fd(), buffer, sizeof(buffer));
    if (n <= 0) return n == 0 ? Walk::kDone : Walk::kFailed;
    for (long at = 0; at < n;) {
      auto* entry = reinterpret_cast<Entry*>(buffer + at);
      const char* p = entry->name;
      uint64_t number;
      if (ParseDecimal(&p, &number) && *p == '\0') fn(static_cast<int>(number));
      at += entry->length;
    }
  }
}

}  // namespace gcm::directory
