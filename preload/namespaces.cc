// Calls that the kernel refuses to processes of several threads, or that reach all threads: they
// wait for the end of the cycle that runs beside the program, and none begins meanwhile.
#include <sched.h>

#include "core/gc/collector.h"
#include "platform/own_thread.h"
#include "platform/process.h"
#include "preload/wrapped.h"

namespace gcm {
namespace {

class Alone {
 public:
  Alone() : held_(!process::SharesParentMemory() && OwnThread::Count() != 0) {
    if (held_) collector().HoldOffAlone();
  }
  ~Alone() {
    if (held_) collector().LetGo();
  }
  Alone(const Alone&) = delete;
  Alone& operator=(const Alone&) = delete;

 private:
  const bool held_;
};

}  // namespace

void EndCycleBeside() { Alone alone; }

}  // namespace gcm

extern "C" {

GCM_EXPORT int unshare(int flags) noexcept {
  gcm::Alone alone;
  return GCM_NEXT(unshare)(flags);
}

GCM_EXPORT int setns(int descriptor, int type) noexcept {
  gcm::Alone alone;
  return GCM_NEXT(setns)(descriptor, type);
}

}  // extern "C"
