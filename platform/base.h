// The words every layer speaks: integer arithmetic on addresses, and the compiler's attributes.
// Law: macros of the compiler appear here and nowhere else.
#pragma once

#include <cstddef>
#include <cstdint>

#define GCM_LIKELY(x) __builtin_expect(!!(x), 1)
#define GCM_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define GCM_NOINLINE __attribute__((noinline))
#define GCM_INLINE inline __attribute__((always_inline))
#define GCM_COLD __attribute__((cold, noinline))
#define GCM_EXPORT __attribute__((visibility("default")))
// One TLS model for the whole library: a preloaded object has room in the static TLS block, and
// any other model may allocate on first use.
#define GCM_TLS __attribute__((tls_model("initial-exec"))) thread_local
// Of a variable, where it is declared: it is the library's own, and so accessed directly.
#define GCM_HIDDEN __attribute__((visibility("hidden")))
// For functions that read memory they do not own (conservative scanning of stacks and globals).
#define GCM_NO_SANITIZE __attribute__((no_sanitize("address", "thread", "undefined"), noinline))
// Keeps `p` in a register or on the stack up to this point, where a conservative scan finds it.
#define GCM_KEEP_ALIVE(p) asm volatile("" : : "r"(p) : "memory")
// The same of what the function is about to return, in the register that it is returned in.
#if defined(__x86_64__)
#define GCM_KEEP_RESULT(p) asm volatile("" : "+a"(p) : : "memory")
#else
#define GCM_KEEP_RESULT(p) asm volatile("" : "+r"(p) : : "memory")
#endif

#if defined(__SANITIZE_THREAD__)
#define GCM_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define GCM_TSAN 1
#endif
#endif
#ifndef GCM_TSAN
#define GCM_TSAN 0
#endif

namespace gcm {

inline constexpr size_t kKiB = size_t{1} << 10;
inline constexpr size_t kMiB = size_t{1} << 20;
inline constexpr size_t kGiB = size_t{1} << 30;

constexpr bool IsPowerOfTwo(size_t n) { return n != 0 && (n & (n - 1)) == 0; }
// `unit` is a power of two. The caller guarantees that n + unit - 1 does not overflow.
constexpr uintptr_t RoundUp(uintptr_t n, size_t unit) { return (n + unit - 1) & ~(unit - 1); }
constexpr uintptr_t RoundDown(uintptr_t n, size_t unit) { return n & ~(unit - 1); }
constexpr size_t DivideUp(size_t n, size_t d) { return (n + d - 1) / d; }
template <typename T>
constexpr T Min(T a, T b) {
  return b < a ? b : a;
}
template <typename T>
constexpr T Max(T a, T b) {
  return a < b ? b : a;
}

inline uintptr_t AddressOf(const void* p) { return reinterpret_cast<uintptr_t>(p); }
template <typename T = void>
inline T* PointerTo(uintptr_t address) {
  return reinterpret_cast<T*>(address);
}

// Words that one thread writes and others may read while it does: plain moves to the processor,
// defined behaviour to the compiler. No order is implied.
template <typename T>
GCM_INLINE T LoadRelaxed(const T* p) {
  return __atomic_load_n(p, __ATOMIC_RELAXED);
}
// As LoadRelaxed, for the fast paths: the compiler does not make an atomic load an operand of the
// instruction that needs it. For a word that is looked at once between two barriers.
template <typename T>
GCM_INLINE T LoadOperand(const T* p) {
#if GCM_TSAN
  return __atomic_load_n(p, __ATOMIC_RELAXED);
#else
  return *p;
#endif
}
template <typename T>
GCM_INLINE void StoreRelaxed(T* p, T v) {
  __atomic_store_n(p, v, __ATOMIC_RELAXED);
}
// For words that one thread changes while it runs, and others while it is stopped: in one step, so
// that neither loses what the other wrote. A release.
GCM_INLINE void FlipBits(uint64_t* p, uint64_t bits) {
#if defined(__x86_64__) && !GCM_TSAN
  asm volatile("xorq %1, %0" : "+m"(*p) : "r"(bits) : "cc", "memory");
#else
  __atomic_fetch_xor(p, bits, __ATOMIC_RELEASE);  // pairs with: what its callers name
#endif
}
// As FlipBits; true when no bit of the word is set any more.
GCM_INLINE bool FlipBitsToZero(uint64_t* p, uint64_t bits) {
#if defined(__x86_64__) && !GCM_TSAN
  bool zero;
  asm volatile("xorq %2, %0" : "+m"(*p), "=@ccz"(zero) : "r"(bits) : "memory");
  return zero;
#else
  return (__atomic_fetch_xor(p, bits, __ATOMIC_RELEASE) ^ bits) == 0;  // pairs with: as FlipBits
#endif
}
GCM_INLINE bool HasBits(const uint64_t* p, uint64_t bits) {
#if defined(__x86_64__) && !GCM_TSAN
  bool any;
  asm("testq %2, %1" : "=@ccnz"(any) : "m"(*p), "r"(bits));
  return any;
#else
  return (LoadRelaxed(p) & bits) != 0;
#endif
}
// 1 << index % 64, in two instructions: nothing has to go to the register that counts shifts. What
// is done with the index afterwards is done to its register.
GCM_INLINE uint64_t BitOf(uint64_t& index) {
#if defined(__x86_64__)
  uint64_t bit = 0;
  asm("btsq %1, %0" : "+r"(bit), "+r"(index) : : "cc");
  return bit;
#else
  return uint64_t{1} << index % 64;
#endif
}
// The halves of a product, of which one factor need not be in a register.
GCM_INLINE void Multiply(uint64_t a, const uint64_t* b, uint64_t* high, uint64_t* low) {
#if defined(__x86_64__)
  asm("mulq %3" : "=d"(*high), "=a"(*low) : "1"(a), "m"(*b) : "cc");
#else
  const auto product = static_cast<unsigned __int128>(a) * *b;
  *high = static_cast<uint64_t>(product >> 64);
  *low = static_cast<uint64_t>(product);
#endif
}
GCM_INLINE void IncrementRelaxed(uint64_t* p) {
#if defined(__x86_64__) && !GCM_TSAN
  asm volatile("incq %0" : "+m"(*p) : : "cc");
#else
  StoreRelaxed(p, LoadRelaxed(p) + 1);
#endif
}

// Half-open range of addresses, in bytes.
struct Range {
  uintptr_t lo = 0;
  uintptr_t hi = 0;
  size_t size() const { return hi - lo; }
  bool Contains(uintptr_t a) const { return a - lo < hi - lo; }
};

}  // namespace gcm
