// What the user chose by GCMALLOC_* (SPEC section 5). Read once at start; defaults serve before.
#pragma once

#include <climits>

#include "platform/dirty_pages.h"

namespace gcm {

enum class Mode : uint8_t { kCollect, kOff };
enum class HugePageChoice : uint8_t { kAuto, kOn, kOff };

struct Options {
  static constexpr uint64_t kOff = UINT64_MAX;
  static constexpr size_t kAutoLimit = SIZE_MAX - 1;
  static constexpr unsigned kAutoWorkers = UINT_MAX;

  Mode mode = Mode::kCollect;
  uint64_t percent = 100;              // kOff: growth starts no cycle
  size_t limit = kAutoLimit;           // bytes; SIZE_MAX: none
  uint64_t interval = 120;             // seconds; 0: never
  uint64_t scavenge = 10'000'000'000;  // nanoseconds; kOff: never
  HugePageChoice huge_pages = HugePageChoice::kAuto;
  unsigned align = 4;  // stride of conservative scanning: packed structures hold pointers, too
  bool ignore_foreign = false;
  DirtySource dirty = DirtySource::kAuto;
  unsigned workers = kAutoWorkers;
  bool checkmark = false;
  bool poison = false;
  uint64_t stress = 0;  // a cycle every so many allocations
  bool verbose = false;
  bool trace_stderr = false;
  char trace_path[512] = {};  // empty: none
  char trace_json_path[512] = {};
  char stats_path[512] = {};
};

// The options in force. Written at start only, while one thread runs.
Options& options();

// Reads the GCMALLOC_* entries of an environment vector. What cannot be understood gives one line
// on standard error each, and the default stays.
void ReadEnvironment(char** environment, Options* out);

// "64M" -> 67108864. K, M, G, T are powers of 1024, an ending "B" or "iB" is allowed. False: not a
// size.
bool ParseSize(const char* text, size_t* size);
// "10s", "500ms", "2m", "1h", "10" (seconds) -> nanoseconds.
bool ParseDuration(const char* text, uint64_t* nanoseconds);

}  // namespace gcm
