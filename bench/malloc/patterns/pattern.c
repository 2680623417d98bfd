#include "pattern.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

void run_threads(void *(*entry)(void *), void *arguments, size_t size, unsigned count) {
  pthread_t threads[64];
  if (count > sizeof threads / sizeof *threads) fail("too many threads");
  for (unsigned i = 0; i < count; i++)
    if (pthread_create(&threads[i], NULL, entry, (char *)arguments + i * size)) fail("pthread_create");
  for (unsigned i = 0; i < count; i++) pthread_join(threads[i], NULL);
}

void start_detached(void *(*entry)(void *), void *argument) {
  pthread_attr_t attributes;
  pthread_t thread;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  if (pthread_create(&thread, &attributes, entry, argument)) fail("pthread_create");
  pthread_attr_destroy(&attributes);
}

/* What is resident of this process now, in bytes. */
static long resident_bytes(void) {
  long size = 0, resident = 0;
  char text[128];
  FILE *file = fopen("/proc/self/statm", "r");
  if (!file) return 0;
  if (!fgets(text, sizeof text, file) || sscanf(text, "%ld %ld", &size, &resident) != 2) resident = 0;
  fclose(file);
  return resident * sysconf(_SC_PAGESIZE);
}

int main(int argc, char **argv) {
  double scale = 1;
  const struct option options[] = {{"scale", &scale}, {NULL, NULL}};
  parse_options(argc, argv, options);
  if (!(scale > 0 && scale <= 1000)) fail("--scale is above 0");
#if defined BENCH_BDWGC
  GC_INIT();
#endif
  uint64_t begin = now_ns();
  struct outcome outcome = pattern.run(scale);
  uint64_t end = now_ns();
  printf("{\"pattern\": \"%s\", \"operations\": %" PRIu64 ", \"checksum\": \"%016" PRIx64 "\", \"seconds\": %.6f, "
         "\"end_bytes\": %ld}\n",
         pattern.name, outcome.operations, outcome.checksum, (double)(end - begin) / 1e9, resident_bytes());
  return 0;
}
