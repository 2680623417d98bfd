// Pointers that handlers of the program move while it is collected.
//
// Law: a pointer lies in one of three places at a time: in a slot at the end of a long list in the heap, which the
// marker reaches late; on the stack of a thread that goes in and out of a blocking call; in static data. A handler
// moves it on at every signal, and leaves nothing behind. If one ever runs while marking is under way, it moves a
// pointer from where the marker has not been to where it has been already, and the block is lost: with
// GCMALLOC_POISON=1 the next look at it shows that. The signals come from the kernel's timers, so that they come
// too while every running thread stands still.
#include "host.h"

#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

enum { kWorkers = 2, kPointers = 16, kList = 60000 };
static const double kTime = 2.5;

struct node {
  struct node *next;
  uint64_t filler[2];
};
// The last node of a worker's list: where the pointers are that the marker finds late.
struct tail {
  uint64_t *late[kPointers];
};
struct worker {
  struct node *list;
  int index, ends[2], word, peer_ends;
  long moves;
  pthread_mutex_t mutex;
  pthread_cond_t condition;
  int turn;
};
static struct worker workers[kWorkers];
static uint64_t *statics[kWorkers][kPointers];
static int over;

// What the handler knows of the thread that it interrupts.
static __thread struct {
  struct worker *worker;
  uint64_t hidden_tail;  // XOR-ed with kKey: the marker finds the tail by its list alone
  uint64_t *volatile *on_stack;
} mine;
static const uint64_t kKey = 0xA5A5A5A5A5A5A5A5u;

static void check(uint64_t *p, int index) {
  if (p != NULL && !is_block(p, (uint64_t)(100 + index))) fail("a block was reclaimed while a handler moved its pointer");
}

// From the heap to the stack, from the stack to static data, from there to the heap.
static void on_move(int number) {
  (void)number;
  const int before = errno;
  struct worker *w = mine.worker;
  if (w == NULL || over) return;
  struct tail *tail = (struct tail *)(uintptr_t)(mine.hidden_tail ^ kKey);
  for (int i = 0; i < kPointers; ++i) {
    uint64_t **late = &tail->late[i], **fixed = &statics[w->index][i];
    uint64_t *volatile *local = &mine.on_stack[i];
    uint64_t *p = *late != NULL ? *late : *local != NULL ? *local : *fixed;
    if (p == NULL) fail("a pointer was lost");
    check(p, i);
    if (*late != NULL) {
      *local = p;
      *late = NULL;
    } else if (*local != NULL) {
      *fixed = p;
      *local = NULL;
    } else {
      *late = p;
      *fixed = NULL;
    }
    p = NULL;
  }
  ++w->moves;
  errno = before;
}

GCM_NOINLINE static uint64_t build(struct worker *w) {
  struct tail *tail = calloc(1, sizeof *tail);
  MUST(tail != NULL);
  for (int i = 0; i < kPointers; ++i) tail->late[i] = new_block((uint64_t)(100 + i));
  struct node *last = malloc(sizeof *last);
  last->next = (struct node *)(void *)tail;
  for (int i = 0; i < kList; ++i) {
    struct node *node = malloc(sizeof *node);
    MUST(node != NULL);
    node->next = last;
    last = node;
  }
  w->list = last;
  return (uint64_t)(uintptr_t)tail ^ kKey;
}

static void set_timer(timer_t *timer, int number, long ns) {
  struct sigevent event;
  memset(&event, 0, sizeof event);
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = number;
  event.sigev_notify_thread_id = own_tid();
  const struct itimerspec every = {{0, ns}, {0, ns}};
  MUST(timer_create(CLOCK_MONOTONIC, &event, timer) == 0 && timer_settime(*timer, 0, &every, NULL) == 0);
}

typedef void (*wait_function)(struct worker *);
static wait_function wait_once;

static void *working_thread(void *data) {
  struct worker *w = data;
  uint64_t *volatile on_stack[kPointers] = {NULL};
  mine.hidden_tail = build(w);
  mine.on_stack = on_stack;
  mine.worker = w;
  timer_t timer;
  set_timer(&timer, SIGRTMIN + 7, 700000 + 130000 * w->index);
  while (!over) {
    // In a register that calls preserve, or spilled by whoever is called: the only pointer to this block.
    uint64_t *held = new_block(50);
    wait_once(w);
    MUST_BE_BLOCK(held, 50);
    for (int i = 0; i < kPointers; ++i) check(on_stack[i], i);
  }
  mine.worker = NULL;
  MUST(timer_delete(timer) == 0);
  return NULL;
}

static void *collecting_thread(void *unused) {
  while (!over) {
    collect();
    churn();
    nap(0.0002);
  }
  return unused;
}

// The other side of the ping-pongs.
static void *answering_thread(void *data) {
  struct worker *w = data;
  const int from = w->ends[0], to = w->peer_ends;
  char byte;
  for (;;) {
    if (read(from, &byte, 1) != 1) break;
    nap(0.0005);
    if (write(to, &byte, 1) != 1) break;
  }
  return NULL;
}
static int replies[kWorkers];
static void make_ping_pong(struct worker *w) {
  int there[2], back[2];
  MUST(pipe(there) == 0 && pipe(back) == 0);
  w->ends[0] = there[0];
  w->ends[1] = there[1];
  w->peer_ends = back[1];
  replies[w->index] = back[0];
  pthread_t thread;
  MUST(pthread_create(&thread, NULL, answering_thread, w) == 0 && pthread_detach(thread) == 0);
}
static void wait_read(struct worker *w) {
  char byte = 1;
  MUST(write(w->ends[1], &byte, 1) == 1);
  MUST(read(replies[w->index], &byte, 1) == 1);  // SA_RESTART
}
static void wait_raw_read(struct worker *w) {
  char byte = 1;
  MUST(write(w->ends[1], &byte, 1) == 1);
  MUST(syscall(SYS_read, replies[w->index], &byte, 1) == 1);
}

static void *signalling_thread(void *data) {
  struct worker *w = data;
  while (w != NULL) {  // to the end of the process: nobody may wait in vain
    pthread_mutex_lock(&w->mutex);
    ++w->turn;
    pthread_cond_signal(&w->condition);
    pthread_mutex_unlock(&w->mutex);
    nap(0.001);
  }
  return NULL;
}
static void make_condition(struct worker *w) {
  MUST(pthread_mutex_init(&w->mutex, NULL) == 0 && pthread_cond_init(&w->condition, NULL) == 0);
  pthread_t thread;
  MUST(pthread_create(&thread, NULL, signalling_thread, w) == 0 && pthread_detach(thread) == 0);
}
static void wait_condition(struct worker *w) {
  pthread_mutex_lock(&w->mutex);
  const int turn = w->turn;
  while (w->turn == turn && !over) pthread_cond_wait(&w->condition, &w->mutex);
  pthread_mutex_unlock(&w->mutex);
}

static void wait_nanosleep(struct worker *w) {
  const struct timespec times[] = {{0, 0}, {0, 3000000}};
  nanosleep(&times[w->moves & 1], NULL);
}
static void wait_poll(struct worker *w) { poll(NULL, 0, w->moves & 1 ? 5 : 0); }
static void wait_raw_futex(struct worker *w) {
  const struct timespec time = {0, 3000000};
  syscall(SYS_futex, &w->word, FUTEX_WAIT_PRIVATE, 0, &time, NULL, 0);
}

static void run(void (*prepare)(struct worker *), wait_function wait) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_move;
  action.sa_flags = SA_RESTART;
  MUST(sigaction(SIGRTMIN + 7, &action, NULL) == 0);
  wait_once = wait;
  pthread_t threads[kWorkers], collecting;
  for (int i = 0; i < kWorkers; ++i) {
    workers[i].index = i;
    if (prepare != NULL) prepare(&workers[i]);
    MUST(pthread_create(&threads[i], NULL, working_thread, &workers[i]) == 0);
  }
  MUST(pthread_create(&collecting, NULL, collecting_thread, NULL) == 0);
  nap(kTime);
  put(&over, 1);
  for (int i = 0; i < kWorkers; ++i) MUST(pthread_join(threads[i], NULL) == 0);
  MUST(pthread_join(collecting, NULL) == 0);
  if (refusals != 0) fail("%d collections failed", refusals);
  if (workers[0].moves < 50 || get(&collections) < 20) {
    fail("only %ld moves and %d collections", workers[0].moves, get(&collections));
  }
}

TEST(moving_in_read) { run(make_ping_pong, wait_read); }
TEST(moving_in_raw_read) { run(make_ping_pong, wait_raw_read); }
TEST(moving_in_condition) { run(make_condition, wait_condition); }
TEST(moving_in_nanosleep) { run(NULL, wait_nanosleep); }
TEST(moving_in_poll) { run(NULL, wait_poll); }
TEST(moving_in_raw_futex) { run(NULL, wait_raw_futex); }
