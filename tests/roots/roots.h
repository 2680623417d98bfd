// What all root tests share.
//
// Law: each case puts the only pointers to some blocks into one kind of place, and collects. The blocks must
// keep their contents. With --drop the place is cleared first, and at least half of the blocks must be gone:
// the control, without which a case that passes would prove nothing. What a test itself remembers of a block's
// address is XOR-ed with kKey, so that no collector takes it for a pointer; what function calls left on dead
// stack is overwritten by hide().
#ifndef GCM_TESTS_ROOTS_ROOTS_H
#define GCM_TESTS_ROOTS_ROOTS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { kBlocks = 64, kMaxBlocks = 4096 };
#define kKey 0xA5A5A5A5A5A5A5A5u

// Whether this run is a control.
extern bool dropping;

// Addresses of the blocks, XOR-ed with kKey, and their sizes.
extern uint64_t hidden[kMaxBlocks];
extern size_t sizes[kMaxBlocks];
extern int blocks;

#define GCM_NOINLINE __attribute__((noinline, noclone))

// The collector, or stand-ins when another allocator is tested.
void collect(void);
void *block_base(const void *p);

// Makes block number `blocks` with a pattern in it and counts it; the second form with a given size.
GCM_NOINLINE void *new_block(void);
GCM_NOINLINE void *new_block_sized(size_t size);
// A new block's address, XOR-ed.
GCM_NOINLINE uint64_t new_hidden_block(void);

// Fills n slots with pointers to new blocks, or, in a control, leaves NULL there; ends with hide().
GCM_NOINLINE void fill_slots(void *volatile *slots, int n);
// The same with each pointer changed by a function that is given the pointer and its block's number.
GCM_NOINLINE void fill_slots_with(void *volatile *slots, int n, void *(*change)(void *, int));

// Overwrites the dead stack below the caller's frame, and the registers that calls do not preserve.
GCM_NOINLINE void hide(void);

// Collects several times; allocates and frees much of all sizes in between, to overwrite what was reclaimed.
GCM_NOINLINE void collect_and_churn(void);
// The same, once.
GCM_NOINLINE void churn(void);

// True when the block has its pattern and is live.
GCM_NOINLINE bool intact(int number);
// Collects and judges: ends the process with a message when the outcome is wrong.
GCM_NOINLINE void judge(void);
// Judges without a collection (the case made its own).
GCM_NOINLINE void judge_now(void);

void fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
void skip(const char *why) __attribute__((noreturn));
#define MUST(condition)                                                            \
  do {                                                                             \
    if (!(condition)) fail("%s:%d: %s does not hold", __FILE__, __LINE__, #condition); \
  } while (0)

// A second thread that holds something while it waits.
struct waiter {
  pthread_t thread;
  atomic_int ready;  // set by the thread when it is about to wait
  atomic_int go;     // set by main to end the wait
  pid_t tid;
  int fds[2];        // a pipe, where the wait needs one
  void (*wait)(struct waiter *);
};

// Starts a thread and returns when it is ready.
void start(struct waiter *w, void (*body)(struct waiter *), void (*wait)(struct waiter *));
void *finish(struct waiter *w);
// Spins until a thread of this process sleeps in the kernel, or is gone.
void await_sleep(pid_t tid);
void await_gone(pid_t tid);
pid_t own_tid(void);
void spin_until(atomic_int *flag);
double seconds(void);

// Holds kBlocks pointers in an array on its own stack while it waits.
GCM_NOINLINE void hold_on_stack(struct waiter *w);
// The plainest wait: spins.
void wait_spinning(struct waiter *w);

// A file beside this program.
const char *beside(const char *name);

#endif
