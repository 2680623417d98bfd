/* larson, after Larson and Krishnan's "Memory allocation for long-running server applications" (ISMM 1998): a server
 * whose threads replace random blocks of a table with ones of another random size; a thread ends after some requests
 * and hands its table to a new one, so that blocks are freed by threads that have not allocated them. */
#include "pattern.h"

enum { BLOCKS = 5000, LEAST = 8, MOST = 1000, REQUESTS = 50000, GENERATIONS = 70 };

static struct {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  unsigned running;
} server = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};

struct desk {
  struct chance chance;
  uint64_t generations, checksum;
  unsigned char *blocks[BLOCKS];
};
static struct desk *desks[THREADS];

static size_t some_size(struct desk *desk) { return LEAST + chance_below(&desk->chance, MOST - LEAST); }

static void *serve(void *argument) {
  struct desk *desk = argument;
  for (unsigned i = 0; i < REQUESTS; i++) {
    unsigned slot = chance_below(&desk->chance, BLOCKS);
    size_t size = some_size(desk);
    desk->checksum += desk->blocks[slot][0] * size;
    give(desk->blocks[slot]);
    desk->blocks[slot] = take_marked(size, (unsigned char)size);
  }
  if (--desk->generations) {
    start_detached(serve, desk);
    return NULL;
  }
  pthread_mutex_lock(&server.lock);
  server.running--;
  pthread_cond_signal(&server.changed);
  pthread_mutex_unlock(&server.lock);
  return NULL;
}

static struct outcome run(double scale) {
  uint64_t generations = scaled(GENERATIONS, scale);
  struct outcome outcome = {generations * REQUESTS * THREADS, 0};
  server.running = THREADS;
  for (unsigned i = 0; i < THREADS; i++) {
    struct desk *desk = desks[i] = take_zeroed(1, sizeof *desk);
    desk->chance.state = 4141 + i;
    desk->generations = generations;
    for (unsigned slot = 0; slot < BLOCKS; slot++) {
      size_t size = some_size(desk);
      desk->blocks[slot] = take_marked(size, (unsigned char)size);
    }
  }
  for (unsigned i = 0; i < THREADS; i++) start_detached(serve, desks[i]);
  pthread_mutex_lock(&server.lock);
  while (server.running) pthread_cond_wait(&server.changed, &server.lock);
  pthread_mutex_unlock(&server.lock);
  for (unsigned i = 0; i < THREADS; i++) {
    outcome.checksum += desks[i]->checksum;
    for (unsigned slot = 0; slot < BLOCKS; slot++) give(desks[i]->blocks[slot]);
    give(desks[i]);
    desks[i] = NULL;
  }
  return outcome;
}

const struct pattern pattern = {"larson", run};
