// What the process tests share: a heap in constant use, and checks that nothing is lost or kept in vain.
//
// Law: a case passes by returning (status 0), fails through fail(), and each process lives under an alarm: to hang
// is to fail.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>

namespace process_test {

[[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));
[[noreturn]] void skip(const char* why);

#define MUST(condition)                                                                    \
  do {                                                                                     \
    if (!(condition)) ::process_test::fail("%s:%d: %s, errno %d", __FILE__, __LINE__, #condition, errno); \
  } while (0)

// gcmalloc_collect, and the number of blocks reclaimed so far.
bool collect();
std::uint64_t reclaimed();

// A table of blocks that are rewritten, moved and lost; check() fails when one of them has changed.
class Table {
 public:
  explicit Table(std::uint64_t seed, std::size_t slots = 300);
  ~Table();
  void step();  // one block is lost or freed, another takes its place
  void check() const;

 private:
  struct Block;
  Block** blocks_;
  std::size_t slots_;
  std::uint64_t random_;
};

// What lives through a case, and is looked at again in children and at its end.
Table& inherited();

// Loses blocks and collects; fails when less than nine tenths of them come back. `patience` cycles are tried.
void must_reclaim(int patience = 3);
// Loses `count` blocks of `size` bytes.
void lose(std::size_t count, std::size_t size);
// Uses the heap, checks what was inherited, and if `reclaim`, must_reclaim().
void exercise(bool reclaim = true);

// Threads that allocate, lose, collect and check without rest while it lives.
class Busy {
 public:
  explicit Busy(int allocating = 2, int collecting = 1);
  ~Busy();

 private:
  struct State;
  State* state_;
};

// Awaits a child, which must exit with `status`.
void await(pid_t child, int status = 0);
// Runs body in a forked child, which must return from it; status 77 of the child skips the case.
void in_child(const std::function<void()>& body);

struct Case {
  const char* name;
  void (*run)();
  Case* next;
  static Case* first;
  Case(const char* case_name, void (*function)()) : name(case_name), run(function), next(first) { first = this; }
};
#define CASE(name)                                           \
  static void case_##name();                                 \
  static ::process_test::Case entry_##name(#name, case_##name); \
  static void case_##name()

// The path of this program, for those that exec it again: `process_tests --use-heap`.
extern const char* own_path;

}  // namespace process_test
