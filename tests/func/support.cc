// Law: see support.h. Children end by _exit, so that nothing of the parent's is flushed or destroyed twice.
#include "support.h"

#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace gcm::test {

namespace {

Routine* routines = nullptr;

std::uint64_t pattern_word(std::uint64_t seed, std::size_t index) {
  std::uint64_t x = (seed + 1) * 0x9E3779B97F4A7C15ULL + index * 0xBF58476D1CE4E5B9ULL;
  return x | 0xF000000000000000ULL;
}

int wait_for(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return 2000;
  }
  return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace

void fill(void* p, std::size_t n, std::uint64_t seed) {
  auto* bytes = static_cast<unsigned char*>(p);
  std::size_t word = 0;
  for (; (word + 1) * 8 <= n; ++word) {
    const std::uint64_t value = pattern_word(seed, word);
    memcpy(bytes + word * 8, &value, 8);
  }
  const std::uint64_t value = pattern_word(seed, word);
  memcpy(bytes + word * 8, &value, n - word * 8);
}

bool holds(const void* p, std::size_t n, std::uint64_t seed) {
  const auto* bytes = static_cast<const unsigned char*>(p);
  std::size_t word = 0;
  for (; (word + 1) * 8 <= n; ++word) {
    const std::uint64_t value = pattern_word(seed, word);
    if (memcmp(bytes + word * 8, &value, 8) != 0) return false;
  }
  const std::uint64_t value = pattern_word(seed, word);
  return memcmp(bytes + word * 8, &value, n - word * 8) == 0;
}

bool all_bytes(const void* p, std::size_t n, unsigned char value) {
  const auto* bytes = static_cast<const unsigned char*>(p);
  return n == 0 || (bytes[0] == value && memcmp(bytes, bytes + 1, n - 1) == 0);
}

int in_child(int (*body)(), unsigned seconds) {
  const pid_t child = fork();
  if (child < 0) return 2001;
  if (child == 0) {
    alarm(seconds);
    try {
      _exit(body());
    } catch (...) {
      _exit(103);  // must not unwind into the parent's test runner
    }
  }
  return wait_for(child);
}

int in_new_process(const char* routine, std::size_t address_space_limit, unsigned seconds) {
  const pid_t child = fork();
  if (child < 0) return 2001;
  if (child == 0) {
    if (address_space_limit != 0) {
      struct rlimit limit = {};
      getrlimit(RLIMIT_AS, &limit);
      limit.rlim_cur = address_space_limit;
      if (setrlimit(RLIMIT_AS, &limit) != 0) _exit(100);
    }
    alarm(seconds);
    execl("/proc/self/exe", "func_tests", "--routine", routine, static_cast<char*>(nullptr));
    _exit(101);
  }
  return wait_for(child);
}

Routine::Routine(const char* routine_name, int (*routine_body)())
    : name(routine_name), body(routine_body), next(routines) {
  routines = this;
}

int run_routine(const char* name) {
  for (Routine* routine = routines; routine != nullptr; routine = routine->next) {
    if (strcmp(routine->name, name) == 0) return routine->body();
  }
  return 102;
}

std::size_t resident_bytes() {
  FILE* file = fopen("/proc/self/statm", "re");
  if (file == nullptr) return 0;
  std::size_t total = 0;
  std::size_t resident = 0;
  const int fields = fscanf(file, "%zu %zu", &total, &resident);
  fclose(file);
  return fields == 2 ? resident * static_cast<std::size_t>(sysconf(_SC_PAGESIZE)) : 0;
}

std::size_t mappings() {
  FILE* file = fopen("/proc/self/maps", "re");
  if (file == nullptr) return 0;
  std::size_t lines = 0;
  for (int c = 0; (c = fgetc(file)) != EOF;) lines += c == '\n' ? 1 : 0;
  fclose(file);
  return lines;
}

}  // namespace gcm::test
