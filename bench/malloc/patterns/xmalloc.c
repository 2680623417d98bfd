/* xmalloc, after Lever and Boreham's "malloc() performance in a multithreaded Linux environment" (USENIX 2000): one
 * thread allocates, another frees. Batches of linked blocks go through a short queue, so that every free is of a block
 * that another thread has allocated. */
#include "pattern.h"

enum { BATCH = 256, QUEUE = 16, BATCHES = 40000, LEAST = 16, MOST = 256 };

struct block {
  struct block *next;
  size_t size;
};
static struct {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  struct block *batches[QUEUE];
  uint64_t put, taken;
} queue = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

struct side {
  uint64_t batches, checksum;
  bool frees;
};

static void put(struct block *batch) {
  pthread_mutex_lock(&queue.lock);
  while (queue.put - queue.taken == QUEUE) pthread_cond_wait(&queue.changed, &queue.lock);
  queue.batches[queue.put++ % QUEUE] = batch;
  pthread_cond_signal(&queue.changed);
  pthread_mutex_unlock(&queue.lock);
}

static struct block *get(void) {
  pthread_mutex_lock(&queue.lock);
  while (queue.put == queue.taken) pthread_cond_wait(&queue.changed, &queue.lock);
  struct block *batch = queue.batches[queue.taken % QUEUE];
  queue.batches[queue.taken++ % QUEUE] = NULL;
  pthread_cond_signal(&queue.changed);
  pthread_mutex_unlock(&queue.lock);
  return batch;
}

static void produce(struct side *side) {
  struct chance chance = {2000};
  for (uint64_t i = 0; i < side->batches; i++) {
    struct block *batch = NULL;
    for (unsigned n = 0; n < BATCH; n++) {
      size_t size = LEAST + chance_below(&chance, MOST - LEAST);
      struct block *block = take(size);
      *block = (struct block){batch, size};
      batch = block;
    }
    put(batch);
  }
}

static void consume(struct side *side) {
  for (uint64_t i = 0; i < side->batches; i++)
    for (struct block *block = get(), *next; block; block = next) {
      next = block->next;
      side->checksum += block->size;
      give(block);
    }
}

static void *work(void *argument) {
  struct side *side = argument;
  (side->frees ? consume : produce)(side);
  return NULL;
}

static struct outcome run(double scale) {
  uint64_t batches = scaled(BATCHES, scale);
  struct side sides[2] = {{batches, 0, false}, {batches, 0, true}};
  run_threads(work, sides, sizeof *sides, 2);
  return (struct outcome){batches * BATCH, sides[1].checksum};
}

const struct pattern pattern = {"xmalloc", run};
