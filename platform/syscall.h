// System calls without libc: errno is not touched, nothing is a cancellation point, and no
// interposed wrapper of the host is entered. The result is the kernel's: -errno on failure.
#pragma once

#include <sys/syscall.h>

#include <type_traits>

#include "platform/base.h"

namespace gcm {

#if defined(__x86_64__)
GCM_INLINE long RawSyscall(long n, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0,
                           long f = 0) {
  long result;
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  register long r9 asm("r9") = f;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
               : "rcx", "r11", "memory");
  return result;
}
#elif defined(__aarch64__)
GCM_INLINE long RawSyscall(long n, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0,
                           long f = 0) {
  register long x8 asm("x8") = n;
  register long x0 asm("x0") = a;
  register long x1 asm("x1") = b;
  register long x2 asm("x2") = c;
  register long x3 asm("x3") = d;
  register long x4 asm("x4") = e;
  register long x5 asm("x5") = f;
  asm volatile("svc 0"
               : "+r"(x0)
               : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
               : "memory");
  return x0;
}
#else
#error "gcmalloc knows x86-64 and aarch64"
#endif

// Takes pointers, integers and enums alike.
template <typename T>
GCM_INLINE long SyscallArg(T value) {
  if constexpr (std::is_null_pointer_v<T>) {
    return 0;
  } else if constexpr (std::is_pointer_v<T>) {
    return reinterpret_cast<long>(value);
  } else {
    return static_cast<long>(value);
  }
}

template <typename... Args>
GCM_INLINE long Syscall(long number, Args... args) {
  return RawSyscall(number, SyscallArg(args)...);
}

inline bool SyscallFailed(long result) { return result < 0 && result >= -4095; }

}  // namespace gcm
