#include "platform/descriptor.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cerrno>

#include "platform/syscall.h"
#include "platform/test_skip.h"

namespace gcm::descriptor {
namespace {

// The kernel's first table has 64 places. Numbers beyond would make it grow, for which a process
// of several threads waits some milliseconds.
constexpr int kFloor = 48;

}  // namespace

int Open(int directory, const char* path, int flags) {
  long fd;
  do {
    fd = Syscall(SYS_openat, directory, path, flags | O_CLOEXEC, 0666);
  } while (fd == -EINTR);
  return fd < 0 ? static_cast<int>(fd) : MoveUp(static_cast<int>(fd));
}

int MoveUp(int fd) { return MoveUp(fd, kFloor); }

int MoveUp(int fd, int floor) {
  if (fd >= floor || Skips(Skip::high)) return fd;
  long moved = Syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, floor);
  if (moved < 0) return fd;
  Syscall(SYS_close, fd);
  return static_cast<int>(moved);
}

bool Identify(int fd, Identity* identity) {
  struct stat status;
  if (Syscall(SYS_fstat, fd, &status) != 0) return false;
  *identity = {status.st_dev, status.st_ino};
  return true;
}

bool IsSame(int fd, const Identity& identity) {
  Identity now;
  return Identify(fd, &now) && now.device == identity.device && now.inode == identity.inode;
}

size_t Limit() {
  rlimit limit{};
  if (Syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, nullptr, &limit) != 0) return 0;
  return Min<rlim_t>(limit.rlim_cur, SIZE_MAX);
}

bool HasRoomFor(unsigned count) {
  int fds[16];
  unsigned made = 0;
  long error = 0;
  for (count = Min(count, 16u); made < count && error == 0; ++made) {
    long fd = made == 0 ? Syscall(SYS_openat, AT_FDCWD, "/", O_PATH | O_CLOEXEC)
                        : Syscall(SYS_fcntl, fds[0], F_DUPFD_CLOEXEC, 0);
    if (fd < 0) {
      error = fd;
      break;
    }
    fds[made] = static_cast<int>(fd);
  }
  while (made > 0) Syscall(SYS_close, fds[--made]);
  return error != -EMFILE && error != -ENFILE;
}

}  // namespace gcm::descriptor
