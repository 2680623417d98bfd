// Threads that allocate, link, move, free and lose blocks at full speed, and look whether what they
// hold is whole: mutator SECONDS THREADS [SEED]. With MUTATOR_BARRIER=1 it tells of each write.
//
// Law: every block carries its own size and a sum over what the program wrote; each is looked at
// whenever it is met. What a thread holds hangs on a table in memory of the C library's malloc, on
// the stack or in registers only. Each node is reachable by one path, which changes all the time, so
// that a marker that misses one write loses it.
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { kChildren = 3, kSlots = 512, kShared = 64, kMagic = 0x6d757461 };

struct node {
  uint32_t magic, size;
  uint64_t sum;
  struct node *child[kChildren];
};

struct owner {
  uint64_t random;
  uint64_t operations, looked;
  struct node **table;
};

static struct node *g_shared[kShared];  // handed from thread to thread
static pthread_mutex_t g_lock = PTHREAD_MUTEX_INITIALIZER;
static volatile int g_stop;

static void (*g_barrier)(void *slot);

static void put(struct node **slot, struct node *n) {
  *slot = n;
  if (g_barrier != NULL) g_barrier(slot);
  __asm__ volatile("" : : "r"(n) : "memory");
}
// The children of a block that was written as a whole.
static void put_again(struct node *n) {
  for (int i = 0; i < kChildren; ++i) put(&n->child[i], n->child[i]);
}

static uint64_t next(struct owner *o) {
  o->random ^= o->random << 13;
  o->random ^= o->random >> 7;
  o->random ^= o->random << 17;
  return o->random;
}

static uint64_t sum_of(const struct node *n) { return n->size * 0x9e3779b97f4a7c15ull ^ n->magic; }

static void broken(const struct node *n, const char *what) {
  fprintf(stderr, "node %p: %s: magic %08x, size %u, sum %016llx\n", (const void *)n, what, n->magic, n->size,
          (unsigned long long)n->sum);
  abort();
}

static void look(struct owner *o, const struct node *n) {
  ++o->looked;
  if (n->magic != kMagic) broken(n, "no magic");
  if (n->sum != sum_of(n)) broken(n, "a wrong sum");
  const unsigned char *bytes = (const unsigned char *)n;
  if (n->size > sizeof *n && bytes[n->size - 1] != (n->size & 255)) broken(n, "a wrong end");
}

static struct node *make(struct owner *o) {
  const uint64_t r = next(o);
  size_t size = sizeof(struct node);
  if (r % 4 == 0) size += r >> 8 & 255;
  if (r % 64 == 0) size += r >> 16 & 8191;
  if (r % 4096 == 0) size += r >> 32 & 0xfffff;
  struct node *n = malloc(size);
  if (n == NULL) abort();
  memset(n, 0, sizeof *n);
  n->magic = kMagic;
  n->size = (uint32_t)size;
  n->sum = sum_of(n);
  if (size > sizeof *n) ((unsigned char *)n)[size - 1] = size & 255;
  return n;
}

// The place of a random node below `root`: the pointer to it.
static struct node **descend(struct owner *o, struct node **root) {
  uint64_t r = next(o);
  while (*root != NULL && r % 4 != 0) {
    look(o, *root);
    root = &(*root)->child[r % kChildren];
    r /= 4;
  }
  return root;
}

static void free_tree(struct owner *o, struct node *n, int depth) {
  if (n == NULL || depth == 0) return;  // what lies deeper is lost
  look(o, n);
  for (int i = 0; i < kChildren; ++i) free_tree(o, n->child[i], depth - 1);
  n->magic = 0;
  free(n);
}

static void step(struct owner *o) {
  struct node **place = descend(o, &o->table[next(o) % kSlots]);
  struct node **other = descend(o, &o->table[next(o) % kSlots]);
  struct node *n = *place;
  switch (next(o) % 16) {
    case 0 ... 4:  // a new one, above what was there
      n = make(o);
      put(&n->child[next(o) % kChildren], *place);
      put(place, n);
      break;
    case 5:  // a leak of one, whose first child takes its place
      if (n != NULL) put(place, n->child[0]);
      break;
    case 6:  // a leak of all below
      if (next(o) % 8 == 0) *place = NULL;
      break;
    case 7:  // freed
      *place = NULL;
      free_tree(o, n, 6);
      break;
    case 8:  // moved by realloc
      if (n == NULL) break;
      {
        const size_t size = sizeof *n + next(o) % 600;
        n = realloc(n, size);
        if (n == NULL) abort();
        n->size = (uint32_t)size;
        n->sum = sum_of(n);
        if (size > sizeof *n) ((unsigned char *)n)[size - 1] = size & 255;
        put_again(n);
        put(place, n);
      }
      break;
    case 9 ... 12:  // two subtrees change places, and are nowhere but in registers in between
      if (place != other && n != NULL && *other == NULL) {
        *place = NULL;
        __asm__ volatile("" : "+r"(n) : : "memory");
        // The other place may lie below this one, and is lost with it then.
        put(other, n);
        if (n->child[0] == n || n->child[1] == n || n->child[2] == n) *other = NULL;
      }
      break;
    case 13:  // through another thread's hands
      pthread_mutex_lock(&g_lock);
      other = &g_shared[next(o) % kShared];
      put(place, *other);
      put(other, n);
      pthread_mutex_unlock(&g_lock);
      break;
    case 14:  // a copy in place of the original
      if (n != NULL) {
        struct node *copy = make(o);
        memcpy(copy->child, n->child, sizeof copy->child);
        put_again(copy);
        put(place, copy);
      }
      break;
    default:
      break;
  }
  ++o->operations;
}

static void *work(void *data) {
  struct owner *o = data;
  o->table = malloc(kSlots * sizeof *o->table);
  memset(o->table, 0, kSlots * sizeof *o->table);
  while (!g_stop) {
    for (int i = 0; i < 256; ++i) step(o);
  }
  return NULL;
}

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  const double seconds = atof(argv[1]);
  const int threads = atoi(argv[2]);
  const uint64_t seed = argc > 3 ? strtoull(argv[3], NULL, 10) : (uint64_t)getpid() * 2654435761u;
  if (getenv("MUTATOR_BARRIER") != NULL) *(void **)&g_barrier = dlsym(RTLD_DEFAULT, "gcmalloc_write_barrier");
  struct owner *owners = calloc((size_t)threads, sizeof *owners);
  pthread_t *ids = calloc((size_t)threads, sizeof *ids);
  for (int i = 0; i < threads; ++i) {
    owners[i].random = seed * 2862933555777941757ull + 3037000493ull * (uint64_t)(i + 1) + 1;
    pthread_create(&ids[i], NULL, work, &owners[i]);
  }
  usleep((useconds_t)(seconds * 1e6));
  g_stop = 1;
  uint64_t operations = 0, looked = 0;
  for (int i = 0; i < threads; ++i) {
    pthread_join(ids[i], NULL);
    operations += owners[i].operations;
    looked += owners[i].looked;
  }
  printf("ok: %llu operations, %llu looks, seed %llu\n", (unsigned long long)operations, (unsigned long long)looked,
         (unsigned long long)seed);
  return 0;
}
