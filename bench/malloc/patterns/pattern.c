#include "pattern.h"

#include <unistd.h>

_Atomic uint64_t broken;

static void stop(const char *what) {
  fprintf(stderr, "%s\n", what);
  exit(1);
}

static unsigned char mark_of(size_t size) { return (unsigned char)(size * 31 + 7); }

void *take(size_t size) {
  unsigned char *p = malloc(size);
  if (!p) stop("no memory");
  p[0] = p[size - 1] = mark_of(size);
  return p;
}

void give(void *p, size_t size) {
  const unsigned char *bytes = p;
  if (bytes[0] != mark_of(size) || bytes[size - 1] != mark_of(size)) broken++;
  free(p);
}

void run_threads(unsigned count, void *(*fn)(void *), void *const *arguments) {
  pthread_t threads[64];
  if (count > 64) stop("too many threads");
  for (unsigned i = 0; i < count; i++) {
    if (pthread_create(&threads[i], NULL, fn, arguments[i])) stop("no thread");
  }
  for (unsigned i = 0; i < count; i++) pthread_join(threads[i], NULL);
}

uint64_t scaled(int argc, char **argv, uint64_t work) {
  double percent = argc > 1 ? atof(argv[1]) : 100;
  if (percent <= 0) stop("the scale is a percentage");
  uint64_t n = (uint64_t)((double)work * percent / 100);
  return n ? n : 1;
}

int finish(const char *name, uint64_t operations) {
  unsigned long size = 0, resident = 0;
  FILE *statm = fopen("/proc/self/statm", "r");
  if (statm) {
    if (fscanf(statm, "%lu %lu", &size, &resident) != 2) resident = 0;
    fclose(statm);
  }
  printf("{\"pattern\": \"%s\", \"operations\": %llu, \"end_bytes\": %lu, \"intact\": %s}\n", name,
         (unsigned long long)operations, resident * (unsigned long)sysconf(_SC_PAGESIZE), broken ? "false" : "true");
  return broken ? 1 : 0;
}
