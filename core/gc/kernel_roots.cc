#include "core/gc/kernel_roots.h"

#include <cstring>

#include "core/gc/kernel_values.h"
#include "platform/file.h"
#include "platform/message.h"
#include "platform/process.h"
#include "platform/test_skip.h"

namespace gcm {
namespace {

// Marks the hexadecimal number that follows `label` in each line of the file.
void ScanLines(const char* path, const char* label, char separator, Marker* marker) {
  File file = File::OpenForReading(path);
  if (!file.ok()) return;
  char buffer[1024];
  LineReader lines(&file, buffer, sizeof(buffer));
  size_t length;
  while (const char* line = lines.Next(&length)) {
    const char* p = strstr(line, label);
    if (p == nullptr) continue;
    p += strlen(label);
    if (separator != '\0') {
      p = strchr(p, separator);
      if (p == nullptr) continue;
      ++p;
    }
    while (*p == ' ') ++p;
    uint64_t value;
    if (ParseHex(&p, &value)) marker->MarkWord(value);
  }
}

}  // namespace

void ScanKernelRoots(Marker* marker, const World& world) {
  kernel_values::Scan(marker, world);
  // "tfd:        5 events:       19 data:     55d0c0ffee00  pos:0 ino:61 sdev:d"
  if (!Skips(Skip::epoll))
    process::ForEachDescriptor(
        "anon_inode:[eventpoll]",
        [](void* data, int fd) {
          Message path;
          path.Text("/proc/thread-self/fdinfo/").Decimal(static_cast<uint64_t>(fd)).Char('\0');
          ScanLines(path.data(), "data:", '\0', static_cast<Marker*>(data));
        },
        marker);
  // "signal: 60/000055d0c0ffee00"
  if (!Skips(Skip::timers)) ScanLines("/proc/self/timers", "signal:", '/', marker);
}

}  // namespace gcm
