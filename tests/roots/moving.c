// Pointers that never rest: the program moves the only pointer to each block about while collections run.
//
// Law: at every moment each block has a pointer in a place that counts as a root or in a reachable block; a
// collector that looks at the places one after the other must not lose a block that moves behind its back.
#include "cases.h"
#include "roots.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static const double kTime = 0.8;

enum { kSlots = 1024, kMoved = 512 };
static void *volatile in_static[kSlots];
static void *volatile *in_heap;
static void *volatile *in_mapping;
static atomic_int stop;

static uint64_t next_random(uint64_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

// Runs collections for a while, then ends the movers and judges.
static void collect_for_a_while(pthread_t *threads, int n) {
  const double until = seconds() + kTime;
  while (seconds() < until) {
    collect();
    churn();
  }
  atomic_store(&stop, 1);
  for (int i = 0; i < n; ++i) MUST(pthread_join(threads[i], NULL) == 0);
  judge();
}

static GCM_NOINLINE void make_places(void) {
  in_heap = calloc(kSlots, sizeof(void *));
  in_mapping = mmap(NULL, kSlots * sizeof(void *), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  MUST(in_heap != NULL && (void *)in_mapping != MAP_FAILED);
  fill_slots(in_heap, kMoved);
}

static void *move_between_places(void *unused) {
  (void)unused;
  void *volatile on_stack[kSlots];
  memset((void *)on_stack, 0, sizeof on_stack);
  void *volatile *places[] = {in_static, in_heap, in_mapping, on_stack};
  uint64_t state = 88172645463325252u;
  while (atomic_load(&stop) == 0) {
    for (int n = 0; n < 1000; ++n) {
      const uint64_t random = next_random(&state);
      void *volatile *from = &places[random % 4][(random >> 8) % kSlots];
      void *volatile *to = &places[(random >> 20) % 4][(random >> 28) % kSlots];
      if (*from == NULL || *to != NULL) continue;
      *to = *from;
      *from = NULL;
    }
  }
  // Whatever is on this stack goes where it is seen after the thread has ended.
  for (int i = 0, free_slot = 0; i < kSlots; ++i) {
    if (on_stack[i] == NULL) continue;
    while (in_static[free_slot] != NULL) ++free_slot;
    in_static[free_slot] = on_stack[i];
    on_stack[i] = NULL;
  }
  return NULL;
}

static void run_movers(void *(*mover)(void *)) {
  pthread_t thread;
  make_places();
  if (dropping) {
    judge();
    return;
  }
  MUST(pthread_create(&thread, NULL, mover, NULL) == 0);
  collect_for_a_while(&thread, 1);
}

void case_moving_between_places(void) { run_movers(move_between_places); }

// memmove carries runs of pointers in wide registers.
static void *rotate(void *unused) {
  (void)unused;
  while (atomic_load(&stop) == 0) {
    for (int n = 0; n < 1000; ++n) {
      void *first = in_heap[0];
      memmove((void *)in_heap, (void *)(in_heap + 1), (kMoved - 1) * sizeof(void *));
      in_heap[kMoved - 1] = first;
    }
  }
  return NULL;
}

void case_moving_by_rotation(void) { run_movers(rotate); }

// A list that is reversed in place again and again.
struct node {
  struct node *volatile next;
  void *volatile block;
};

static struct node *volatile list;

static GCM_NOINLINE void make_list(void) {
  for (int i = 0; i < kMoved; ++i) {
    struct node *node = malloc(sizeof *node);
    MUST(node != NULL);
    node->next = list;
    node->block = new_block();
    list = node;
  }
  if (dropping) list = NULL;
}

static void *reverse(void *unused) {
  (void)unused;
  while (atomic_load(&stop) == 0) {
    struct node *done = NULL;
    struct node *rest = list;
    list = NULL;
    while (rest != NULL) {
      struct node *next = rest->next;
      rest->next = done;
      done = rest;
      rest = next;
    }
    list = done;
  }
  return NULL;
}

void case_moving_in_list(void) {
  pthread_t thread;
  make_list();
  hide();
  if (dropping) {
    judge();
    return;
  }
  MUST(pthread_create(&thread, NULL, reverse, NULL) == 0);
  collect_for_a_while(&thread, 1);
}

// Two threads hand all pointers to each other through one table.
static _Atomic(void *) table[kMoved];

static void *exchange(void *argument) {
  uint64_t state = 0x2545F4914F6CDD1Du + (uintptr_t)argument;
  void *volatile carried = NULL;
  while (atomic_load(&stop) == 0) {
    for (int n = 0; n < 1000; ++n) carried = atomic_exchange(&table[next_random(&state) % kMoved], carried);
  }
  while (carried != NULL) carried = atomic_exchange(&table[next_random(&state) % kMoved], carried);
  return NULL;
}

void case_moving_between_threads(void) {
  pthread_t threads[2];
  fill_slots((void *volatile *)table, kMoved);
  if (dropping) {
    judge();
    return;
  }
  for (size_t i = 0; i < 2; ++i) MUST(pthread_create(&threads[i], NULL, exchange, (void *)(i + 1)) == 0);
  collect_for_a_while(threads, 2);
}
