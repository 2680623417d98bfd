#include "platform/clock.h"

#include <time.h>

#include "platform/syscall.h"

namespace gcm::clock {
namespace {

uint64_t Read(clockid_t id) {
  timespec t{};
  clock_gettime(id, &t);  // cannot fail for these clocks, so errno stays as it was
  return static_cast<uint64_t>(t.tv_sec) * kSecond + static_cast<uint64_t>(t.tv_nsec);
}

}  // namespace

uint64_t Now() { return Read(CLOCK_MONOTONIC); }
uint64_t Coarse() { return Read(CLOCK_MONOTONIC_COARSE); }
void Sleep(uint64_t nanoseconds) {
  const timespec time{static_cast<time_t>(nanoseconds / kSecond),
                      static_cast<long>(nanoseconds % kSecond)};
  Syscall(SYS_nanosleep, &time, nullptr);
}
uint64_t ThreadCpu() { return Read(CLOCK_THREAD_CPUTIME_ID); }

uint64_t ThreadCpu(int tid) {
  // The kernel's clock of a thread: the number inverted, and what is asked of it in the low bits.
  constexpr unsigned kPerThread = 4, kScheduled = 2;
  timespec t{};
  const auto id =
      static_cast<clockid_t>(~static_cast<unsigned>(tid) << 3 | kPerThread | kScheduled);
  if (Syscall(SYS_clock_gettime, id, &t) != 0) return 0;
  return static_cast<uint64_t>(t.tv_sec) * kSecond + static_cast<uint64_t>(t.tv_nsec);
}

}  // namespace gcm::clock
