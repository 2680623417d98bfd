// What all functional tests share.
//
// Law: tests know the allocator only from outside (libc's declarations, and dlsym for the rest). A block that
// must stay alive is always held in plain sight (a local, a vector, a static array), because the collector
// reclaims what nothing points to. Sizes and pointers pass through opaque() so that the compiler can neither
// fold a call of the malloc family away nor warn about the sizes that the tests get wrong on purpose.
#pragma once

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace gcm::test {

template <class T>
inline T opaque(T value) {
  asm volatile("" : "+r"(value) : : "memory");
  return value;
}

// True when the malloc of this process is gcmalloc's.
bool ours();

inline std::uintptr_t address(const void* p) { return reinterpret_cast<std::uintptr_t>(p); }

inline bool is_aligned(const void* p, std::size_t alignment) { return (address(p) & (alignment - 1)) == 0; }

// A function of libc or of the allocator that may be absent.
template <class F>
inline F lookup(const char* name) {
  return reinterpret_cast<F>(dlsym(RTLD_DEFAULT, name));
}

// Fills n bytes with a pattern that follows from the seed alone, and checks it. No word of the pattern looks
// like an address.
void fill(void* p, std::size_t n, std::uint64_t seed);
[[nodiscard]] bool holds(const void* p, std::size_t n, std::uint64_t seed);
[[nodiscard]] bool all_bytes(const void* p, std::size_t n, unsigned char value);

// Runs body in a forked child, which is killed after so many seconds. Returns its exit status, or 1000 + the
// signal that ended it.
int in_child(int (*body)(), unsigned seconds = 20);

// Runs a routine in a new program image of this binary, with RLIMIT_AS set (soft) before it starts, so that
// the allocator sees the limit from its first call on. limit 0: none.
int in_new_process(const char* routine, std::size_t address_space_limit, unsigned seconds = 20);

// A routine that in_new_process can run: GCM_ROUTINE(name) { ...; return 0; }
struct Routine {
  const char* name;
  int (*body)();
  Routine* next;
  Routine(const char* routine_name, int (*routine_body)());
};
int run_routine(const char* name);

// Resident memory of the process now, in bytes.
std::size_t resident_bytes();

// Number of mappings of the process now; the kernel allows 65530.
std::size_t mappings();

// A small generator: xorshift64*, the same everywhere, so that a printed seed repeats a run.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed != 0 ? seed : 1) {}
  std::uint64_t next() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545F4914F6CDD1DULL;
  }
  std::size_t below(std::size_t bound) { return static_cast<std::size_t>((next() >> 11) % bound); }

 private:
  std::uint64_t state_;
};

inline constexpr std::size_t kKiB = 1024;
inline constexpr std::size_t kMiB = 1024 * kKiB;
inline constexpr std::size_t kGiB = 1024 * kMiB;
inline constexpr std::size_t kMaxObject = PTRDIFF_MAX;

// Sizes around every border that an allocator is likely to have.
inline constexpr std::size_t kSizes[] = {
    0,     1,     7,     8,     9,      15,     16,      17,      24,      25,     31,      32,       33,
    40,    48,    63,    64,    65,     80,     96,      100,     127,     128,    129,     192,      255,
    256,   257,   320,   511,   512,    513,    640,     1000,    1023,    1024,   1025,    1536,     2000,
    2047,  2048,  2049,  3000,  4095,   4096,   4097,    6000,    8191,    8192,   8193,    10000,    16383,
    16384, 16385, 32767, 32768, 32769,  50000,  65535,   65536,   65537,   100000, 131071,  131072,   131073,
    200000, 262143, 262144, 262145, 500000, 524288, 1000000, 1048575, 1048576, 1048577, 3000000, 4194304};

}  // namespace gcm::test

#define GCM_ONLY_OURS(why) \
  if (!gcm::test::ours()) GTEST_SKIP() << "another allocator: " << why

#define GCM_ROUTINE(name)                                                      \
  static int routine_##name();                                                 \
  static gcm::test::Routine registration_##name(#name, routine_##name);        \
  static int routine_##name()

// Inside a child: leave with a message, since gtest's own assertions belong to the parent.
#define GCM_REQUIRE(condition)                                                                   \
  do {                                                                                           \
    if (!(condition)) {                                                                          \
      dprintf(2, "%s:%d: in child: %s does not hold (errno %d)\n", __FILE__, __LINE__, #condition, errno); \
      return 1;                                                                                  \
    }                                                                                            \
  } while (false)
