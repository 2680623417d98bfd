#include "platform/proc.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "platform/apart.h"
#include "platform/descriptor.h"
#include "platform/message.h"
#include "platform/syscall.h"
#include "platform/test_skip.h"

namespace gcm::proc {
namespace {

constexpr char kProc[] = "/proc";
constexpr char kThread[] = "/proc/thread-self/";
// Where the kept descriptor lies: above what programs count through, where their limit allows it.
constexpr int kKeptFloor = 1000;

// -1 when there is none. The identity is written before the number.
std::atomic<int> g_kept{-1};
descriptor::Identity g_identity;

// The kept descriptor, if it is still ours. If not, it is the program's, and is not closed.
int Kept() {
  // pairs with: the release in Keep
  int fd = g_kept.load(std::memory_order_acquire);
  if (fd < 0) return -1;
  if (descriptor::IsSame(fd, g_identity)) return fd;
  g_kept.store(-1, std::memory_order_relaxed);
  return -1;
}

// A name below /proc as the system calls take it.
struct Place {
  int directory;
  const char* path;
  Message built;  // behind the path, where that is another than the name

  explicit Place(const char* name) : directory(AT_FDCWD), path(name) {
    const char* caller = apart::CallersDirectory();
    if (caller != nullptr && strncmp(name, kThread, sizeof(kThread) - 1) == 0) {
      built.Text("/proc/").Text(caller).Text(name + sizeof(kThread) - 2).Char('\0');
      path = built.data();
    }
    if (Skips(Skip::own_proc) && strncmp(name, kThread, sizeof(kThread) - 1) == 0) {
      built.Clear();
      built.Text("/proc/self/").Text(name + sizeof(kThread) - 1).Char('\0');
      path = built.data();
    }
    directory = Kept();
    if (directory < 0) {
      directory = AT_FDCWD;
      return;
    }
    path += sizeof(kProc) - 1;
    while (*path == '/') ++path;
  }
};

}  // namespace

int Open(const char* path, int flags) {
  Place place(path);
  return descriptor::Open(place.directory, place.path, flags);
}

bool CountLinks(const char* path, uint64_t* links, uint64_t* device) {
  Place place(path);
  struct stat status;
  if (Syscall(SYS_newfstatat, place.directory, place.path, &status, 0) != 0) return false;
  *links = status.st_nlink;
  *device = status.st_dev;
  return true;
}

long ReadLink(const char* path, char* buffer, size_t size) {
  Place place(path);
  return Syscall(SYS_readlinkat, place.directory, place.path, buffer, size);
}

bool OwnDirectory(char* buffer, size_t size) {
  long n = ReadLink("/proc/thread-self", buffer, size);
  if (n <= 0 || n >= static_cast<long>(size)) return false;
  buffer[n] = '\0';
  return true;
}

void Keep() {
  if (Kept() >= 0 || Skips(Skip::keep_proc)) return;
  int fd = descriptor::Open(AT_FDCWD, kProc, O_PATH | O_DIRECTORY);
  if (fd < 0) return;
  fd = descriptor::MoveUp(fd,
                          static_cast<int>(Min<size_t>(kKeptFloor + 1, descriptor::Limit())) - 1);
  if (!descriptor::Identify(fd, &g_identity)) return;
  g_kept.store(fd, std::memory_order_release);  // pairs with: the acquire in Kept
}

void Settle() {
  char own[64];
  if (Syscall(SYS_readlinkat, AT_FDCWD, "/proc/thread-self", own, sizeof(own)) <= 0) return;
  int fd = Kept();
  g_kept.store(-1, std::memory_order_relaxed);
  if (fd >= 0) Syscall(SYS_close, fd);
}

int KeptNumber() { return g_kept.load(std::memory_order_relaxed); }
bool IsKept(int fd) { return fd == g_kept.load(std::memory_order_relaxed); }

}  // namespace gcm::proc
