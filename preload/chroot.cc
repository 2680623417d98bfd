// chroot: a process whose new root has no /proc is collected through the old one.
#include <unistd.h>

#include "platform/proc.h"
#include "preload/wrapped.h"

extern "C" GCM_EXPORT int chroot(const char* path) noexcept {
  gcm::proc::Keep();
  const int result = GCM_NEXT(chroot)(path);
  gcm::proc::Settle();
  return result;
}
