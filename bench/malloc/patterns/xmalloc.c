/* xmalloc: half of the threads allocate, the other half frees (Lever and Boreham, "malloc() performance
 * in a multithreaded Linux environment", 2000). Blocks travel in batches through a short queue. */
#include "pattern.h"

enum { BATCH = 4096, QUEUE = 16 };

struct batch {
  void *blocks[BATCH];
  size_t sizes[BATCH];
};

static struct {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  struct batch *entries[QUEUE];
  unsigned first, count;
} queue = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
static uint64_t batches;

static void put(struct batch *b) {
  pthread_mutex_lock(&queue.lock);
  while (queue.count == QUEUE) pthread_cond_wait(&queue.changed, &queue.lock);
  queue.entries[(queue.first + queue.count++) % QUEUE] = b;
  pthread_cond_signal(&queue.changed);
  pthread_mutex_unlock(&queue.lock);
}

static struct batch *get(void) {
  pthread_mutex_lock(&queue.lock);
  while (queue.count == 0) pthread_cond_wait(&queue.changed, &queue.lock);
  struct batch *b = queue.entries[queue.first++ % QUEUE];
  queue.count--;
  pthread_cond_signal(&queue.changed);
  pthread_mutex_unlock(&queue.lock);
  return b;
}

static void *work(void *data) {
  uint64_t random = seed(1);
  for (uint64_t i = 0; i < batches; i++) {
    struct batch *b;
    if (!data) {
      b = get();
      for (unsigned k = 0; k < BATCH; k++) give(b->blocks[k], b->sizes[k]);
      free(b);
      continue;
    }
    b = malloc(sizeof *b);
    if (!b) abort();
    for (unsigned k = 0; k < BATCH; k++) b->blocks[k] = take(b->sizes[k] = 8 + below(&random, 112));
    put(b);
  }
  return NULL;
}

int main(int argc, char **argv) {
  batches = scaled(argc, argv, 5000);
  void *arguments[] = {NULL, (void *)1};
  run_threads(2, work, arguments);
  return finish("xmalloc", batches * BATCH);
}
