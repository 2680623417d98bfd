// Time. No allocation, errno kept, safe in signal handlers.
#pragma once

#include "platform/base.h"

namespace gcm::clock {

// Nanoseconds of the monotonic clock.
uint64_t Now();
// The same clock at the resolution of the scheduler's tick, a few times cheaper.
uint64_t Coarse();
// Nanoseconds of processor time that the calling thread has used.
uint64_t ThreadCpu();
// The same of any thread of the process; 0 when it has ended. Opens nothing.
uint64_t ThreadCpu(int tid);

// Not for threads of the program: a signal would end it.
void Sleep(uint64_t nanoseconds);

inline constexpr uint64_t kSecond = 1'000'000'000;
inline constexpr uint64_t kMillisecond = 1'000'000;
inline constexpr uint64_t kMicrosecond = 1'000;

}  // namespace gcm::clock
