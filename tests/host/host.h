// What all host tests share: whether the program notices that its memory is collected.
//
// Law: a test is a process of its own. It passes by returning, fails by fail(), and says skip() where the
// machine cannot do what it needs. Words that several threads share are plain integers, read and written with
// get() and put(), because C and C++ both include this. Times are seconds.
#ifndef GCM_TESTS_HOST_HOST_H
#define GCM_TESTS_HOST_HOST_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GCM_NOINLINE __attribute__((noinline))
#define GCM_USED __attribute__((unused))
#define GCM_COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define get(word) __atomic_load_n((word), __ATOMIC_SEQ_CST)
#define put(word, value) __atomic_store_n((word), (value), __ATOMIC_SEQ_CST)
#define add(word, value) __atomic_add_fetch((word), (value), __ATOMIC_SEQ_CST)

// TEST(name) { … } is a test of that name.
void add_test(const char *name, void (*run)(void));
#define TEST(name)                                                                           \
  static void test_##name(void);                                                             \
  __attribute__((constructor)) static void add_##name(void) { add_test(#name, test_##name); } \
  static void test_##name(void)

void fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
void skip(const char *why) __attribute__((noreturn));
#define MUST(condition)                                                                                      \
  do {                                                                                                       \
    if (!(condition)) fail("%s:%d: %s does not hold, errno %d", __FILE__, __LINE__, #condition, current_errno()); \
  } while (0)
int current_errno(void);

// How much later than asked a thing may happen on a machine with other work: 0.15, or GCM_HOST_SLACK.
double slack(void);
double seconds(void);
// Waits by raw system calls and by the processor, so that the caller's own waits are no part of the test.
void nap(double time);
void spin_until(const int *word, int at_least);
pid_t own_tid(void);
// The state letter of a thread of this process, 0 when there is none; a number of its status file.
char thread_state(pid_t tid);
void await_sleep(pid_t tid);
unsigned long long status_number(pid_t tid, const char *field, int base);

// Whether there is a collector; one collection (true also without a collector: nothing is to be done),
// counted in `collections` when it succeeded and in `refusals` otherwise.
bool collector(void);
bool collect(void);
extern int collections, refusals;
// Allocates, overwrites and frees a few small blocks, to overwrite what was reclaimed.
void churn(void);

// A thread that collects about every millisecond until it is told to stop; a second start is an error.
void start_collecting(void);
void stop_collecting(void);

// Blocks of 64 bytes with a pattern, whose only pointers are where the test puts them.
enum { kBlockWords = 8 };
GCM_NOINLINE uint64_t *new_block(uint64_t number);
bool is_block(const uint64_t *p, uint64_t number);
#define MUST_BE_BLOCK(p, number) \
  do {                           \
    if (!is_block((p), (number))) fail("%s:%d: a reachable block was reclaimed", __FILE__, __LINE__); \
  } while (0)

// Proves that the calling thread is scanned as a running one, down to its stack pointer: holds blocks in a
// frame far below while n collections pass, which another thread makes.
GCM_NOINLINE void must_be_scanned(int n);

#ifdef __cplusplus
}
#endif
#endif
