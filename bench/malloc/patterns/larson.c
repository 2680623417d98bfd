/* larson: a server (Larson and Krishnan, "Memory allocation for long-running server applications",
 * 1998). Each thread replaces random blocks of its own table, and after some time hands the table on to
 * a new thread and ends: so most blocks are freed by others than those who allocated them. */
#include "pattern.h"

enum { SLOTS = 1000, SMALLEST = 10, LARGEST = 500, GENERATIONS = 100 };

struct table {
  uint64_t random, replacements;
  unsigned generations;
  size_t sizes[SLOTS];
  void *blocks[SLOTS];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t one_ended = PTHREAD_COND_INITIALIZER;
static unsigned ended;

static void start(struct table *t);

static void *serve(void *data) {
  struct table *t = data;
  for (uint64_t i = 0; i < t->replacements; i++) {
    const uint64_t slot = below(&t->random, SLOTS);
    give(t->blocks[slot], t->sizes[slot]);
    t->sizes[slot] = SMALLEST + below(&t->random, LARGEST - SMALLEST);
    t->blocks[slot] = take(t->sizes[slot]);
  }
  if (--t->generations == 0) {
    pthread_mutex_lock(&lock);
    ended++;
    pthread_cond_signal(&one_ended);
    pthread_mutex_unlock(&lock);
    return NULL;
  }
  start(t);
  return NULL;
}

static void start(struct table *t) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, serve, t) || pthread_detach(thread)) abort();
}

int main(int argc, char **argv) {
  const uint64_t replacements = scaled(argc, argv, 120000);
  void *tables[THREADS];
  for (unsigned i = 0; i < THREADS; i++) {
    struct table *t = tables[i] = take(sizeof *t);
    memset(t, 0, sizeof *t);
    t->random = seed(i);
    t->replacements = replacements;
    t->generations = GENERATIONS;
    for (unsigned k = 0; k < SLOTS; k++) t->blocks[k] = take(t->sizes[k] = SMALLEST + below(&t->random, LARGEST - SMALLEST));
  }
  for (unsigned i = 0; i < THREADS; i++) start(tables[i]);
  pthread_mutex_lock(&lock);
  while (ended < THREADS) pthread_cond_wait(&one_ended, &lock);
  pthread_mutex_unlock(&lock);
  for (unsigned i = 0; i < THREADS; i++) {
    struct table *t = tables[i];
    for (unsigned k = 0; k < SLOTS; k++) give(t->blocks[k], t->sizes[k]);
    free(t);
  }
  return finish("larson", replacements * GENERATIONS * THREADS);
}
